"""The directory of a container on a disk: the names in it that are ours, the check of their kinds, and what to do
where there is no container."""

from __future__ import annotations

import os
import re
import stat
import time
from enum import Enum

from rsdos.errors import NotAContainer, NotOurs
from rsdos.model import Links
from rsdos.names import CONFIG
from rsdos.storage import posix
from rsdos.storage.directory import Form

_LOOSE = Form(r"[0-9a-f]{1,64}(\.zz|\.zst)?")
_WRITER = r"[0-9a-z]+-\d+-[0-9a-f]{16}"
_SANDBOX = Form(r"\d+|\.lock(\.own)?")
_OF_INDEX = Form(r"\d{10}-[0-9a-f]{16}\.(seg|tab|new)")
_UNFINISHED = r"(manifest[\w.-]*|\d{10}-[0-9a-f]{16}|merged-[0-9a-f]{16}-\d)"
_LOCKS = (
    r"(commit|maintenance|merge|turn|readers|backup|remotes|(pack|save)-\d{1,18})(\.own)?|reserve"
    r"|last-backup\.json(\.new)?"
)

CONTAINER = Form(
    r"config\.json(\.new|\.clearing)?|(migration|notes|remotes|validation)\.json(\.new)?|\.lock(\.own)?"
    r"|packs\.idx(\.new|\.salvaged)?(-wal|-shm|-journal)?",
    (
        ("loose", Form(_LOOSE.files, (("[0-9a-f]{1,63}", _LOOSE),))),
        ("packed", Form(r"\d{10}\.pack(\.found)?")),
        ("packs", Form(r"(-1|0|[1-9]\d{0,17})(\.lock)?")),
        ("index", Form(rf"manifest-\d{{10}}\.json|{_UNFINISHED}\.new|\d{{10}}\.(seg|tab)")),
        # One directory or file for each writer; the files of disk-objectstore there have names of another form.
        ("sandbox", Form(rf"[0-9a-f]{{32}}|{_WRITER}", ((_WRITER, _SANDBOX),))),
        ("duplicates", Form(r"[0-9a-f]{40,64}\.[\w.-]+")),
        ("locks", Form(_LOCKS)),
        ("remotes", Form("", (("[0-9a-f]{32}", Form("", (("segments|tables", _OF_INDEX),))),))),
        ("checkouts", Form(r"[0-9a-f]{32}\.state(\.[0-9a-f]{16}\.new)?")),
    ),
)
"""The names that are ours in a container of either version. The files in ``quarantine/`` are the user's."""

_DIRECTORIES = frozenset(
    {"loose", "packed", "packs", "index", "sandbox", "duplicates", "locks", "quarantine", "checkouts", "remotes"}
)
_FILES = frozenset(
    {"config.json", "migration.json", "notes.json", "remotes.json", "validation.json"}
    | {f"packs.idx{suffix}" for suffix in ("", "-wal", "-shm", "-journal")}
)

_SETTLED = 2 * 10**9
"""Nanoseconds between two changes that certainly get different times, on all file systems but FAT."""

_MOST_CHECKED = 16
_checked: dict[str, tuple[tuple[int, int, int, Links], frozenset[str]]] = {}
"""Roots that `check_root` found good: when their entries were last changed, and their directories."""


def check_root(root: str, links: Links) -> tuple[int, frozenset[str]]:
    """Return the user who owns a container's root, and the names of our directories in it.

    One listing checks all names, before anything is read, written or made through one of them. It takes 8 us, or one
    ``stat`` if this process has listed the root before and no name in it has changed since. A missing root is empty,
    and belongs to nobody (-1).

    Raise `NotOurs` if a link or a foreign file is in the place of a directory or file of the container.
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
                # Opening a directory as a file fails anyway. SQLite would wait for a FIFO, and follow a link.
                if entry.name in _FILES and not (
                    entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
                ):
                    raise not_ours(entry.path, "file")
    except PermissionError:
        return _directories_one_by_one(root, links)
    return present


def _directories_one_by_one(root: str, links: Links) -> list[str]:
    """Return the same as `_directories_in`, for a directory that may be used but not listed."""
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
    """Return the error for a link or foreign file in the place of a directory or file (``what``) of a container."""
    if not os.path.islink(path):
        return NotOurs(path, f"is not a {what}, but in the place of one")
    way_out = "; with follow_links=True, or RSDOS_FOLLOW_LINKS=1, it is" if what == "directory" else ""
    return NotOurs(path, f"a symbolic link in the place of a {what}, which is not followed{way_out}")


def is_inside(path: str, root: str) -> bool:
    """Return whether a path is that of a container's directory, or inside it, also through links.

    The path need not exist. Each directory above it costs one ``stat``.
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


BACKUP_MARK = ".rsdos-backup"
"""A file that says that a backup has made the directory, and of which container. `rsdos restore` leaves it out."""

UNFINISHED_CONFIG = "config.json.new"
"""The name of the configuration in a copy that is not finished."""

_BACKUP = r"backup_\d{14}_[0-9A-Za-z]{1,32}"
_UNFINISHED_BACKUP = "live-backup"
_FOUND = "lost+found"
_MOST_CONFIG = 1 << 20
_MOST_LISTED = 1000
"""Names in a directory that are looked at for a container: an error comes at once, whatever the directory has."""


def is_backup(root: str) -> bool:
    """Return whether a container is one that `rsdos backup` has made, among the others: no copy of one elsewhere."""
    own = os.path.basename(os.path.realpath(root))
    return bool(re.fullmatch(_BACKUP, own)) and os.path.exists(os.path.join(root, BACKUP_MARK))


class NamedBy(Enum):
    """How a user has named a container: what to do where none is depends on it."""

    PATH = "--path "
    """With the option, or as the only container of a program."""
    OTHER = ""
    """As another one than that: a remote, or the container that something is copied from."""

    def instead(self, what: str) -> str:
        """Return how to name another one."""
        return f"name {what} with --path" if self is NamedBy.PATH else f"name {what}"


def no_container(root: str, *, is_directory: bool = True, by: NamedBy = NamedBy.PATH) -> NotAContainer:
    """Return the error for a path, or a URL, where no container is: what is there instead, and what to do."""
    url = f"file://{root}" if root.startswith("/") and not is_directory else root
    make = f"make one with `rsdos init {_quoted(url)}` (Container.create), or {by.instead('another')}"
    if not is_directory:
        return NotAContainer(root, advice=make if "://" in url else "")
    if above := _container_above(root):
        return _inside(root, above, by)
    try:
        names = set(os.listdir(root))
    except FileNotFoundError:
        return NotAContainer(root, "not a container (there is no such directory)", make)
    except NotADirectoryError:
        return NotAContainer(root, "not a container (a file)", by.instead("its directory"))
    except OSError:
        return NotAContainer(root)
    return _among(root, names, make, by)


def _inside(root: str, above: str, by: NamedBy) -> NotAContainer:
    """Return the error for a path inside a container."""
    if re.fullmatch(_BACKUP, os.path.basename(above)):
        advice = f"`rsdos restore {_quoted(above)} NEW` makes a container of it"
        return NotAContainer(root, "not a container, but inside a backup", advice)
    return NotAContainer(root, "not a container, but inside one", f"name that: {by.value}{_quoted(above)}")


def _among(root: str, names: set[str], make: str, by: NamedBy) -> NotAContainer:
    """Return the error for a directory with these names in it."""
    if advice := _of_backups(root, names):
        return NotAContainer(root, "not a container, but a directory of backups", advice)
    if not names - {_FOUND}:
        return NotAContainer(root, "not a container (the directory is empty)", make)
    if UNFINISHED_CONFIG in names and names & _OF_ALL:
        advice = "run the same command again, such as `rsdos restore`"
        return NotAContainer(root, "not a container, but an unfinished copy of one", advice)
    if len(left := sorted(names & _OF_ALL)) > 1:
        reason = f"not a container (no config.json there, but {', '.join(left)})"
        return NotAContainer(root, reason, "take config.json from a backup; docs/how-to/recover.md has other ways")
    below = (os.path.join(root, name) for name in sorted(names)[:_MOST_LISTED])
    if found := next(filter(_is_container, below), None):
        return NotAContainer(root, advice=f"there is one in it: {by.value}{_quoted(found)}")
    advice = make.replace(_quoted(root), _quoted(os.path.join(root, "container")))
    return NotAContainer(root, "not a container (no config.json there, but other files)", advice)


def _of_backups(root: str, names: set[str]) -> str:
    """Return what to do about a directory of backups, or an unfinished one; "" for any other."""
    parent, own = os.path.split(root)
    if any(re.fullmatch(_BACKUP, name) for name in names):
        return f"`rsdos restore {_quoted(root)} NEW` makes a container of the newest"
    if own == _UNFINISHED_BACKUP or _UNFINISHED_BACKUP in names:
        return f"none is finished: run `rsdos backup {_quoted(parent if own == _UNFINISHED_BACKUP else root)}` again"
    return ""


_OF_ALL = frozenset({"loose", "packed", "packs", "index", "packs.idx"})
"""Names of which a container has several, and hardly anything else has two."""


def _container_above(path: str) -> str | None:
    """Return the nearest container that a path is inside of."""
    at = os.path.realpath(path)
    while at != (at := os.path.dirname(at)):
        if _is_container(at):
            return at
    return None


def _is_container(path: str) -> bool:
    """Return whether a directory looks like a container. Other programs have a ``config.json`` as well."""
    try:
        return b'"container_version"' in posix.read_file(os.path.join(path, CONFIG), _MOST_CONFIG)
    except (OSError, ValueError):
        return False


def _quoted(path: str) -> str:
    """Return a path as a shell takes it."""
    import shlex

    return shlex.quote(path)
