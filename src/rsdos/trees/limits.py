"""The rules for names, paths and targets, checked for what is put into a tree and for what is read from one.

Each function returns what is wrong in words, or "". An answer for a whole page costs as much as one for a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import ge

from rsdos.errors import InvalidName

LONGEST_NAME = 255
LONGEST_PATH = 32_767
MOST_PARTS = 1024
LONGEST_TARGET = 4095


def names_fault(names: Sequence[bytes], lengths: bytes, joined: bytes) -> str:
    """Return what is wrong with some names of one page; their order is not looked at."""
    if 0 in lengths:
        return "a name is empty"
    if b"/" in joined or b"\0" in joined:
        return "a name has a slash or a NUL"
    if (1 in lengths or 2 in lengths) and (b"." in names or b".." in names):
        return 'a name is "." or ".."'
    return ""


def path_fault(directory: bytes, longest_name: int) -> str:
    """Return what is wrong with the length of the paths in a directory."""
    if len(directory) + 1 + longest_name > LONGEST_PATH:
        return f"a path of more than {LONGEST_PATH} bytes"
    if directory.count(b"/") + 2 > MOST_PARTS:
        return f"a path of more than {MOST_PARTS} parts"
    return ""


def directories_fault(directories: Sequence[bytes]) -> str:
    """Return what is wrong with the paths of directories, or with their order."""
    some = directories[1:] if directories and not directories[0] else directories
    if not some:
        return ""
    text = b"/\0/".join([b"", *some, b""])
    if text.count(b"\0") != len(some) + 1 or b"//" in text or b"/./" in text or b"/../" in text:
        return "the path of a directory has an empty part, or . or .., or a NUL"
    for directory in some:
        if len(directory) > LONGEST_NAME and max(map(len, directory.split(b"/"))) > LONGEST_NAME:
            return f"a name of more than {LONGEST_NAME} bytes"
    in_order = [directory.replace(b"/", b"\0") for directory in directories]
    if any(map(ge, in_order, in_order[1:])):
        return "directories out of order"
    return ""


def targets_fault(targets: Sequence[bytes]) -> str:
    """Return what is wrong with the targets of links."""
    if not all(targets) or any(len(target) > LONGEST_TARGET for target in targets):
        return f"the target of a link is empty, or has more than {LONGEST_TARGET} bytes"
    return "the target of a link has a NUL" if any(b"\0" in target for target in targets) else ""


def check_entry_name(name: bytes) -> None:
    """Raise `InvalidName` for a name that no entry can have."""
    fault = f"more than {LONGEST_NAME} bytes" if len(name) > LONGEST_NAME else ""
    fault = fault or names_fault([name], bytes([len(name)]), name)
    if fault:
        raise InvalidName(name, fault)


def check_path(path: bytes) -> None:
    """Raise `InvalidName` for a path that no entry can have: absolute, with empty parts, ``..`` or a NUL, too long."""
    directory, _, name = path.rpartition(b"/")
    fault = path_fault(directory, len(name))
    if fault:
        raise InvalidName(path, fault)
    for part in path.split(b"/"):
        check_entry_name(part)
