"""The symbolic links of a checkout: which are written, and writing them, after everything else."""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from rsdos.storage import directory as place
from rsdos.storage import syscalls
from rsdos.trees.entry import EntryKind, Listing
from rsdos.worktree.checkout_files import CHANGED, Outcome, Trouble
from rsdos.worktree.checkout_rows import RowSpool
from rsdos.worktree.checkout_rules import Obstacles
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.rows import ROW_BYTES, SETTLED, pack_row
from rsdos.worktree.temporary import TEMPORARY, TemporaryNames


class TreeLinks(Enum):
    """Which symbolic links of a tree are written. They are never followed."""

    ALL = "all"
    """All, as they are."""
    INSIDE = "inside"
    """Those that certainly stay in the working directory; others are refused. For the data of a stranger."""
    NONE = "none"
    """None."""


LEADS_OUT = "the link may lead out of the directory"
NO_LINKS = "links are not written"
RESERVED = "rsdos uses such names for unfinished files"


def leads_inside(directory: bytes, target: bytes) -> bool:
    """Return whether a link in a directory of the tree certainly leads to a place in the tree.

    Such a link is relative, and leads up only at its beginning and not above the top. A path that leads up after a name
    is not certain: that name may be a link itself.
    """
    if target.startswith(b"/"):
        return False
    depth = directory.count(b"/") + 1 if directory else 0
    parts = target.split(b"/")
    up = 0
    while up < len(parts) and parts[up] in (b"..", b"."):
        depth -= parts[up] == b".."
        up += 1
    return depth >= 0 and b".." not in parts[up:]


def refusals(links: TreeLinks, listing: Listing) -> Sequence[str]:
    """Return for each entry why it is not written, or "". Return an empty sequence if all are written."""
    reserved = any(name.startswith(TEMPORARY) for name in listing.names)
    if not reserved and (links is TreeLinks.ALL or EntryKind.LINK not in listing.kinds):
        return ()
    reasons = []
    for name, kind, target in zip(listing.names, listing.kinds, listing.targets, strict=True):
        reason = ""
        if name.startswith(TEMPORARY):
            reason = RESERVED
        elif kind == EntryKind.LINK and links is TreeLinks.NONE:
            reason = NO_LINKS
        elif kind == EntryKind.LINK and links is TreeLinks.INSIDE and not leads_inside(listing.directory, target):
            reason = LEADS_OUT
        reasons.append(reason)
    return reasons if any(reasons) else ()


class PendingLinks(NamedTuple):
    """The links of one directory that are to be written. Names and targets have no NUL: it separates them."""

    directory: bytes
    numbers: array[int]
    names: bytes
    targets: bytes
    replaces: bytes
    """The rows of entries that may be replaced; `NO_ROW` if there is none."""
    mtimes: array[int]
    """Empty for a tree without times."""


class LinkWriter:
    """Keeps links until everything else is written, and then writes them. One thread."""

    def __init__(
        self,
        directories: OpenDirectories,
        obstacles: Obstacles,
        trouble: Trouble,
        outcome: Outcome,
        rows: RowSpool,
    ) -> None:
        self._directories = directories
        self._looks_again = obstacles is Obstacles.REFUSE
        self._trouble = trouble
        self._outcome = outcome
        self._rows = rows
        self._names = TemporaryNames()
        self._pending: list[PendingLinks] = []

    def add(self, directory: bytes, links: Sequence[tuple[int, bytes, bytes, bytes, int | None]]) -> None:
        """Keep links of a directory: number, name, target, row of what is replaced, mtime."""
        numbers, names, targets, rows, mtimes = zip(*links, strict=True)
        times = array("q", [mtime for mtime in mtimes if mtime is not None])
        self._pending.append(
            PendingLinks(directory, array("q", numbers), b"\0".join(names), b"\0".join(targets), b"".join(rows), times)
        )

    def write(self) -> None:
        """Write all of them. Raise OSError."""
        for links in self._pending:
            prefix = links.directory + b"/" if links.directory else b""
            columns = zip(links.numbers, links.names.split(b"\0"), links.targets.split(b"\0"), strict=True)
            for at, (number, name, target) in enumerate(columns):
                replaces = links.replaces[at * ROW_BYTES : (at + 1) * ROW_BYTES]
                try:
                    mtime = links.mtimes[at] if links.mtimes else None
                    row = self._link(self._directories.open(links.directory), name, target, replaces, mtime)
                except OSError as error:
                    error.filename, error.filename2 = self._directories.path_of(prefix + name), None
                    self._trouble.tell(prefix + name, error)
                    continue
                self._rows.put(number, row)
                self._outcome.written += 1
                self._outcome.links += 1
        self._pending.clear()

    def _link(self, directory: int, name: bytes, target: bytes, replaces: bytes, mtime: int | None) -> bytes:
        if not any(replaces) and mtime is None:
            os.symlink(target, name, dir_fd=directory)
        else:
            if self._looks_again and any(replaces):
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if pack_row(status, SETTLED) != replaces:
                    raise FileExistsError(errno.EEXIST, CHANGED)
            temporary = self._names.next()
            try:
                os.symlink(target, temporary, dir_fd=directory)
                if mtime is not None:
                    os.utime(temporary, ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)
                if any(replaces):
                    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
                else:
                    syscalls.rename_new(temporary, name, directory)
            except BaseException:
                with suppress(OSError):
                    place.remove_own(temporary, directory)
                raise
        return pack_row(os.stat(name, dir_fd=directory, follow_symlinks=False), SETTLED)
