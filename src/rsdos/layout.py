"""Where the files of a container are. Plain strings: a ``Path`` costs 2 µs to make, a third of a packed read."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from rsdos.errors import NotAContainer, NotOurs
from rsdos.model import Links
from rsdos.names import CONFIG, INDEX, LOCKS, PACKED
from rsdos.storage.base import Storage
from rsdos.storage.directory import Directory, Form, open_at
from rsdos.storage.local import LocalStorage
from rsdos.storage.permissions import make_directory

LAST_NUMBER = 9_999_999_999
"""Of a manifest, and of a segment file: their names have ten digits."""

LAST_PACK = (1 << 32) - 1
"""The highest id of a pack: an entry of a segment has four bytes for it. What has a higher one is nobody's."""

# Compiled by who needs one: all of them together are 2 ms.
_PACK = r"(\d{10})\.pack"
_FOUND_PACK = r"(\d{10})\.pack\.found"
_BARE_PACK = r"(0|[1-9]\d{0,17})"
_PACK_LOCK = r"pack-(\d{1,18})"
_PEER_LOCK = r"(-1|0|[1-9]\d{0,17})\.lock"
_MANIFEST = r"manifest-(\d{10})\.json"
_NEW_MANIFEST = r"manifest(-[0-9a-f]{16})?\.new"
_SEGMENT = r"(\d{10})\.seg"

_V1_PACKED = "packs"

_LOOSE = Form(r"[0-9a-f]{1,64}(\.zz|\.zst)?")
_WRITER = r"[0-9a-z]+-\d+-[0-9a-f]{16}"
_SANDBOX = Form(r"\d+|\.lock(\.own)?")
_LOCKS = r"(commit|maintenance|turn|readers|backup|pack-\d{1,18})"

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
        (
            "locks",
            Form(r"(commit|maintenance|turn|readers|backup|pack-\d{1,18})(\.own)?|reserve|last-backup\.json(\.new)?"),
        ),
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


class Layout:
    """The paths of the container at ``root``, for what is on a disk, and for messages; and where it is stored.

    What runs on every storage names its objects by `rsdos.names`, and uses `storage` and the lists here.
    """

    def __init__(self, root: str, loose_prefix_len: int = 2, storage: Storage | None = None) -> None:
        """``storage``: where the container is, if it is no directory."""
        self.root = root
        # Not `isinstance`, 1 us of the 60 that opening, reading and leaving take: the class is that of a protocol.
        self.local = storage if type(storage) is LocalStorage else LocalStorage(root, CONTAINER)
        self.storage: Storage = storage or self.local
        self.links = self.local.links
        """What is done about links in the place of its directories; see `set_links`."""
        self.config = f"{root}/config.json"
        self.loose = f"{root}/loose"
        self.packed = f"{root}/packed"
        self.index = f"{root}/index"
        self.sandbox = f"{root}/sandbox"
        self.locks = f"{root}/locks"
        self.loose_prefix_len = loose_prefix_len
        self._plain: set[str] = set()
        """The directories of loose files that were seen to be no links."""
        self.refuse_another: Callable[[], None] = lambda: None
        """Raises `ContainerReplaced` when the container is another by now than the one that was opened."""
        self._present: frozenset[str] = frozenset()
        """The directories that the last `check` has seen, by name."""

    def set_links(self, links: Links) -> None:
        """Say what is done about links in the place of its directories."""
        self.links = self.local.links = links

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories that every container has."""
        return self.loose, self.packed, self.index, self.sandbox, self.locks

    def relative(self, path: str | os.PathLike[str]) -> str:
        """Return the name of a file relative to the container: findings and reports have it."""
        return os.path.relpath(path, self.root)

    @property
    def beginnings(self) -> tuple[str, ...]:
        """The files that making a container writes before its configuration, unfinished ones too."""
        unfinished = self.new_manifests() if os.path.isdir(self.index) else ()
        return *unfinished, self.manifest(1), self.readers_lock, self.reserve

    def open(self, directory: str | None = None) -> Directory:
        """Open the root, or a directory below it, by descriptors: what is removed or moved aside is by these.

        Raises FileNotFoundError, and `NotOurs` where something else stands in the place of it, or of one above.
        """
        steps = () if directory is None else tuple(directory.removeprefix(f"{self.root}/").split("/"))
        return open_at(self.root, CONTAINER, steps, self.links)

    def check(self) -> int:
        """Raise `NotOurs` where a link or anything else stands in the place of a directory or file of the container.

        Returns the user whose directory it is.

        One look at the root tells of all of them, before anything is read, written or made through such a name. It is
        8 us, and one ``stat`` where this process has looked and no name in the root was changed since.
        """
        try:
            status = os.stat(self.root)
        except FileNotFoundError:
            return -1  # Of what is gone nobody makes use.
        seen = status.st_dev, status.st_ino, status.st_ctime_ns, self.links
        before, self._present = _checked.get(self.root) or (None, frozenset())
        if before != seen:
            self._present = frozenset(self._look())
            if time.time_ns() - status.st_ctime_ns > _SETTLED:
                if len(_checked) >= _MOST_CHECKED:
                    _checked.clear()
                _checked[self.root] = seen, self._present
        return status.st_uid

    def has_directories(self) -> bool:
        """Whether the last `check` has seen all the directories that every container has."""
        cut = len(self.root) + 1
        return self._present.issuperset([path[cut:] for path in self.directories])

    def _look(self) -> list[str]:
        """The directories that are there, by name. Raises `NotOurs`."""
        present = []
        try:
            with os.scandir(self.root) as entries:
                for entry in entries:
                    is_directory = entry.name in _DIRECTORIES
                    if is_directory and not entry.is_dir(follow_symlinks=self.links is Links.FOLLOW):
                        raise _not_ours(entry.path, "directory")
                    if is_directory:
                        present.append(entry.name)
                    # Whoever opens a directory as a file is told so; SQLite would wait for a FIFO, and follow a link.
                    if entry.name in _FILES and not (entry.is_file(follow_symlinks=False) or _is_directory(entry)):
                        raise _not_ours(entry.path, "file")
        except PermissionError:
            return self._look_at_each()
        return present

    def _look_at_each(self) -> list[str]:
        """`_look` in a directory that may be used and not listed."""
        present = []
        for name in _DIRECTORIES | _FILES:
            path = f"{self.root}/{name}"
            follow = self.links is Links.FOLLOW and name in _DIRECTORIES
            try:
                mode = os.stat(path, follow_symlinks=follow).st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(mode) and (name in _DIRECTORIES or not stat.S_ISREG(mode)):
                raise _not_ours(path, "directory" if name in _DIRECTORIES else "file")
            if name in _DIRECTORIES:
                present.append(name)
        return present

    def check_loose(self, directory: str) -> bool:
        """Raise `NotOurs` where a link stands in the place of a directory of loose files; of one once, if it is there.

        Returns whether it is there, or was. For who is about to open a file in it, or has found that there is one.
        """
        if directory in self._plain:
            return True
        try:
            mode = os.lstat(directory).st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISLNK(mode) and directory != self.loose:
            raise _not_ours(directory, "directory")
        self._plain.add(directory)
        return True

    def make(self, directory: str) -> None:
        """Make a directory directly in the root, if it is missing: not every copy of a container has its empty ones.

        Raises `NotAContainer` when the container is gone from its path: nothing of it is made anew there.
        """
        if not os.path.isdir(directory):
            self.refuse_gone()
            with suppress(FileExistsError):
                make_directory(directory)

    def refuse_gone(self) -> None:
        """Raise `NotAContainer` when the container is not at its path any more: renamed, removed, not mounted.

        Raises `ContainerReplaced` when it is another, of another version say: that has other directories.
        """
        if self.storage.version(CONFIG) is None:
            raise NotAContainer(self.root, "the container was removed after it was opened")
        self.refuse_another()

    def remove(self, path: str) -> bool:
        """Remove a file of the container; whether it was there. Of many in one directory: `open` that."""
        directory, _, name = path.rpartition("/")
        try:
            with self.open(None if directory == self.root else directory) as opened:
                return opened.remove(name)
        except FileNotFoundError:
            return False

    @property
    def may_remove_directories(self) -> bool:
        """Whether directories of loose files go when they are empty: where there may be more of them than 256.

        Whoever puts a file into one makes it anew then, which disk-objectstore does not.
        """
        return self.loose_prefix_len > 2

    def loose_directory(self, key: str) -> str:
        """The directory of a loose object. ``key`` has passed `HashType.parse_key`."""
        return f"{self.loose}/{key[: self.loose_prefix_len]}" if self.loose_prefix_len else self.loose

    def loose_file(self, key: str) -> str:
        """The file of a loose object, without a codec's suffix."""
        cut = self.loose_prefix_len
        return f"{self.loose}/{key[:cut]}/{key[cut:]}" if cut else f"{self.loose}/{key}"

    def checked_loose_file(self, key: str) -> str:
        """`loose_file`, after `check_loose` of its directory: in one call, on the way of each loose object read."""
        cut = self.loose_prefix_len
        directory = f"{self.loose}/{key[:cut]}" if cut else self.loose
        if directory not in self._plain:
            self.check_loose(directory)
        return f"{directory}/{key[cut:]}"

    def pack(self, pack_id: int) -> str:
        return f"{self.packed}/{pack_id:010d}.pack"

    def manifest(self, number: int) -> str:
        return f"{self.index}/manifest-{number:010d}.json"

    @property
    def migration(self) -> str:
        """What says that a migration in place has begun, and to which version."""
        return f"{self.root}/migration.json"

    @property
    def notes(self) -> str:
        """What operators' tools have noted, where no manifest has room for it."""
        return f"{self.root}/notes.json"

    @property
    def validation(self) -> str:
        """How far a validation has come that can be resumed."""
        return f"{self.root}/validation.json"

    @property
    def quarantine(self) -> str:
        """Where maintenance puts what is beyond help."""
        return f"{self.root}/quarantine"

    def new_manifest(self) -> str:
        """A name for an unfinished manifest, which nobody else has."""
        return f"{self.index}/manifest-{os.urandom(8).hex()}.new"

    def new_manifests(self) -> list[str]:
        """The unfinished manifests that are there."""
        return [f"{self.index}/{name}" for name in filter(is_unfinished, self.storage.list(INDEX))]

    def segment(self, number: int) -> str:
        return f"{self.index}/{number:010d}.seg"

    @property
    def commit_lock(self) -> str:
        return f"{self.locks}/commit"

    @property
    def maintenance_lock(self) -> str:
        return f"{self.locks}/maintenance"

    @property
    def turn_lock(self) -> str:
        """The lock of the next in line for `maintenance_lock`: a run that takes that again and again lets it pass."""
        return f"{self.locks}/turn"

    @property
    def reserve(self) -> str:
        """Space that is given up when the disk is full."""
        return f"{self.locks}/reserve"

    @property
    def backup_lock(self) -> str:
        """Held by a backup to another machine."""
        return f"{self.locks}/backup"

    @property
    def last_backup(self) -> str:
        """What is known of the last backup. Beside the locks, because no program of any version minds what is there."""
        return f"{self.locks}/last-backup.json"

    @property
    def readers_lock(self) -> str:
        """Held shared by long readers; packs are unlinked only by who has it exclusively."""
        return f"{self.locks}/readers"

    def pack_lock(self, pack_id: int) -> str:
        return f"{self.locks}/pack-{pack_id}"

    def found_pack(self, pack_id: int) -> str:
        """A pack that stood under another's name, on its way to its own."""
        return f"{self.pack(pack_id)}.found"

    def found_packs(self) -> list[int]:
        """The ids of those that are there."""
        return self._numbers(PACKED, _FOUND_PACK)

    def locked_ids(self) -> list[int]:
        """The packs that one of us has ever written: their lock files are never deleted."""
        try:
            return self._numbers(LOCKS, _PACK_LOCK)
        except FileNotFoundError:
            return []

    def pack_ids(self) -> list[int]:
        """The ids of the pack files that are there, ascending; foreign names are passed over."""
        return [number for number in self._numbers(PACKED, _PACK) if 0 < number <= LAST_PACK]

    def manifest_numbers(self) -> list[int]:
        """The numbers of the manifests that are there, ascending."""
        return self._numbers(INDEX, _MANIFEST)

    def segment_numbers(self) -> list[int]:
        """The numbers of the segment files that are there, ascending."""
        return self._numbers(INDEX, _SEGMENT)

    def _numbers(self, directory: str, pattern: str) -> list[int]:
        try:
            names = self.storage.list(directory)
        except FileNotFoundError:
            self.refuse_gone()
            raise
        return sorted(int(match[1]) for match in map(re.compile(pattern).fullmatch, names) if match)


class V1Layout(Layout):
    """The paths of a container of version 1. ``locks/`` is ours: disk-objectstore neither makes nor minds it."""

    REPACKED = -1
    """The id of the pack that disk-objectstore writes while it repacks."""

    def __init__(self, root: str, loose_prefix_len: int = 2, storage: Storage | None = None) -> None:
        super().__init__(root, loose_prefix_len, storage)
        self.packed = f"{root}/packs"
        self.database = f"{root}/packs.idx"
        self.duplicates = f"{root}/duplicates"

    @property
    def directories(self) -> tuple[str, ...]:
        return self.loose, self.packed, self.sandbox, self.duplicates

    @property
    def beginnings(self) -> tuple[str, ...]:
        return self.database_files

    @property
    def database_files(self) -> tuple[str, ...]:
        """The index and what SQLite keeps beside it."""
        return self.database, f"{self.database}-wal", f"{self.database}-shm", f"{self.database}-journal"

    @property
    def salvaged(self) -> str:
        """A new index, whole, that has only to take the place of the damaged one."""
        return f"{self.database}.salvaged"

    @property
    def may_remove_directories(self) -> bool:
        return False

    def pack(self, pack_id: int) -> str:
        return f"{self.packed}/{pack_id}"

    def pack_ids(self) -> list[int]:
        return self._numbers(_V1_PACKED, _BARE_PACK)

    def peer_lock(self, pack_id: int) -> str:
        """The file that tells disk-objectstore that a pack is being written."""
        return f"{self.packed}/{pack_id}.lock"

    def peer_locks(self) -> list[int]:
        """The packs that have such a file."""
        return self._numbers(_V1_PACKED, _PEER_LOCK)


def manifests_among(listed: Iterable[str]) -> list[int]:
    """Return the numbers of the manifests among the names in ``index/``, ascending."""
    return sorted(int(match[1]) for match in map(re.compile(_MANIFEST).fullmatch, listed) if match)


def is_unfinished(name: str) -> bool:
    """Whether this is the name, in ``index/``, of a manifest that was not finished."""
    return re.fullmatch(_NEW_MANIFEST, name) is not None


def _is_directory(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _not_ours(path: str, what: str) -> NotOurs:
    if not os.path.islink(path):
        return NotOurs(path, f"no {what}, but stands in the place of one")
    way_out = "; with follow_links=True, or RSDOS_FOLLOW_LINKS=1, it is" if what == "directory" else ""
    return NotOurs(path, f"a symbolic link in the place of a {what}, which is not followed{way_out}")


def is_inside(path: str, root: str) -> bool:
    """Whether a path is that of a container's directory, or of something in it, whatever links lead there.

    The path need not be there. A `stat` for each directory above it.
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
