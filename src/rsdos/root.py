"""The directory of a container on a disk: which names in it are ours, and that nothing else stands in their place."""

from __future__ import annotations

import os
import stat
import time

from rsdos.errors import NotOurs
from rsdos.model import Links
from rsdos.storage.directory import Form

_LOOSE = Form(r"[0-9a-f]{1,64}(\.zz|\.zst)?")
_WRITER = r"[0-9a-z]+-\d+-[0-9a-f]{16}"
_SANDBOX = Form(r"\d+|\.lock(\.own)?")
_LOCKS = r"(commit|maintenance|turn|readers|backup|pack-\d{1,18})(\.own)?|reserve|last-backup\.json(\.new)?"

CONTAINER = Form(
    r"config\.json(\.new|\.clearing)?|(migration|notes|validation)\.json(\.new)?|\.lock(\.own)?"
    r"|packs\.idx(\.new|\.salvaged)?(-wal|-shm|-journal)?",
    (
        ("loose", Form(_LOOSE.files, (("[0-9a-f]{1,63}", _LOOSE),))),
        ("packed", Form(r"\d{10}\.pack(\.found)?")),
        ("packs", Form(r"(-1|0|[1-9]\d{0,17})(\.lock)?")),
        ("index", Form(r"manifest-\d{10}\.json|manifest[\w.-]*\.new|\d{10}\.seg")),
        # One directory or file for each writer; disk-objectstore has files of another form there.
        ("sandbox", Form(rf"[0-9a-f]{{32}}|{_WRITER}", ((_WRITER, _SANDBOX),))),
        ("duplicates", Form(r"[0-9a-f]{40,64}\.[\w.-]+")),
        ("locks", Form(_LOCKS)),
    ),
)
"""What is ours in a container of either version, by name. What is in ``quarantine/`` is its owner's."""

_DIRECTORIES = frozenset({"loose", "packed", "packs", "index", "sandbox", "duplicates", "locks", "quarantine"})
_FILES = frozenset(
    {"config.json", "migration.json", "notes.json", "validation.json"}
    | {f"packs.idx{suffix}" for suffix in ("", "-wal", "-shm", "-journal")}
)

_SETTLED = 2 * 10**9
"""Nanoseconds after which a change has another time than the one before it, on all file systems but FAT."""

_MOST_CHECKED = 16
_checked: dict[str, tuple[tuple[int, int, int, Links], frozenset[str]]] = {}
"""Roots in which all is what it should be: when their entries were changed last, and which directories are there."""


def check_root(root: str, links: Links) -> tuple[int, frozenset[str]]:
    """Return the user whose directory a container's root is, and the names of our directories that are in it.

    One listing answers for all of them, before anything is read, written or made through such a name. It takes 8 us, or
    one ``stat`` where this process has listed the root and no name in it has changed since. A root that is gone is
    empty, and belongs to nobody (-1).

    Raises `NotOurs` where a link or anything else stands in the place of a directory or file of the container.
    """
    try:
        status = os.stat(root)
    except FileNotFoundError:
        return -1, frozenset()
    seen = status.st_dev, status.st_ino, status.st_ctime_ns, links
    before, present = _checked.get(root) or (None, frozenset())
    if before != seen:
        present = frozenset(_directories_in(root, links))
        if time.time_ns() - status.st_ctime_ns > _SETTLED:
            if len(_checked) >= _MOST_CHECKED:
                _checked.clear()
            _checked[root] = seen, present
    return status.st_uid, present


def _directories_in(root: str, links: Links) -> list[str]:
    present = []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                is_directory = entry.name in _DIRECTORIES
                if is_directory and not entry.is_dir(follow_symlinks=links is Links.FOLLOW):
                    raise not_ours(entry.path, "directory")
                if is_directory:
                    present.append(entry.name)
                # To open a directory as a file is an error anyway. SQLite would wait for a FIFO, and follow a link.
                if entry.name in _FILES and not (
                    entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
                ):
                    raise not_ours(entry.path, "file")
    except PermissionError:
        return _directories_one_by_one(root, links)
    return present


def _directories_one_by_one(root: str, links: Links) -> list[str]:
    """`_directories_in` of a directory that may be used and not listed."""
    present = []
    for name in _DIRECTORIES | _FILES:
        path = f"{root}/{name}"
        follow = links is Links.FOLLOW and name in _DIRECTORIES
        try:
            mode = os.stat(path, follow_symlinks=follow).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(mode) and (name in _DIRECTORIES or not stat.S_ISREG(mode)):
            raise not_ours(path, "directory" if name in _DIRECTORIES else "file")
        if name in _DIRECTORIES:
            present.append(name)
    return present


def not_ours(path: str, what: str) -> NotOurs:
    """Return the error for what stands in the place of a directory or a file (``what``) of a container."""
    if not os.path.islink(path):
        return NotOurs(path, f"no {what}, but stands in the place of one")
    way_out = "; with follow_links=True, or RSDOS_FOLLOW_LINKS=1, it is" if what == "directory" else ""
    return NotOurs(path, f"a symbolic link in the place of a {what}, which is not followed{way_out}")


def is_inside(path: str, root: str) -> bool:
    """Return whether a path is that of a container's directory, or of something in it, whatever links lead there.

    The path need not be there. Takes a ``stat`` for each directory above it.
    """
    own = os.stat(root)
    at = os.path.realpath(path)
    while True:
        try:
            status = os.stat(at)
        except OSError:
            pass  # Not made yet.
        else:
            if (status.st_dev, status.st_ino) == (own.st_dev, own.st_ino):
                return True
        at, below = os.path.dirname(at), at
        if at == below:
            return False
