"""The paths of a container's files. Plain strings: a ``Path`` costs 2 µs to make, a third of a packed read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress

from rsdos import names
from rsdos.errors import NotAContainer
from rsdos.model import Links
from rsdos.root import CONTAINER, check_root, not_ours
from rsdos.storage.base import Storage
from rsdos.storage.directory import Directory, open_at
from rsdos.storage.local import LocalStorage
from rsdos.storage.permissions import make_directory

_V1_PACKED = "packs"
_V1_PACKS = r"(0|[1-9]\d{0,17})"
_V1_LOCKS = r"(-1|0|[1-9]\d{0,17})\.lock"


class Layout:
    """The paths of the container at ``root``, for code that works on files, and for messages; and its storage.

    Code that runs on every storage takes names from `rsdos.names`, and uses `storage` and the lists of this class.
    """

    def __init__(self, root: str, loose_prefix_len: int = 2, storage: Storage | None = None) -> None:
        """``storage``: the storage of the container, if it is not a directory."""
        self.root = root
        # Not `isinstance`, which takes 1 us with a protocol; opening, reading and leaving take 60.
        self.local = storage if type(storage) is LocalStorage else LocalStorage(root, CONTAINER)
        self.storage: Storage = storage or self.local
        self.links = self.local.links
        """How links in the place of the container's directories are treated; see `set_links`."""
        self.config = f"{root}/config.json"
        self.loose = f"{root}/loose"
        self.packed = f"{root}/packed"
        self.index = f"{root}/index"
        self.sandbox = f"{root}/sandbox"
        self.locks = f"{root}/locks"
        self.checkouts = f"{root}/checkouts"
        """The states of working directories. It is made by the first save or checkout."""
        self.loose_prefix_len = loose_prefix_len
        self._plain: set[str] = set()
        """The directories of loose files that were checked: they are not links."""
        self.refuse_another: Callable[[], None] = lambda: None
        """Raises `ContainerReplaced` if another container than the opened one is at the path now."""
        self._present: frozenset[str] = frozenset()
        """The names of the directories that the last `check` has found."""

    def set_links(self, links: Links) -> None:
        """Set how links in the place of the container's directories are treated."""
        self.links = self.local.links = links

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories that every container has."""
        return self.loose, self.packed, self.index, self.sandbox, self.locks

    def relative(self, path: str | os.PathLike[str]) -> str:
        """Return the path of a file relative to the container, for findings and reports."""
        return os.path.relpath(path, self.root)

    @property
    def beginnings(self) -> tuple[str, ...]:
        """The files that are written before the configuration when a container is made, unfinished ones too."""
        unfinished = self.new_manifests() if os.path.isdir(self.index) else ()
        return *unfinished, self.manifest(1), self.readers_lock, self.reserve

    def open(self, directory: str | None = None) -> Directory:
        """Open the root, or a directory below it. Files are removed and moved only through such a `Directory`.

        Raise FileNotFoundError, and `NotOurs` if a link or a file is in the place of it or of a directory above it.
        """
        steps = () if directory is None else tuple(directory.removeprefix(f"{self.root}/").split("/"))
        return open_at(self.root, CONTAINER, steps, self.links)

    def check(self) -> int:
        """Check that no link or foreign file is in the place of our directories and files. Return the root's owner.

        See `check_root`, also for what it raises.
        """
        owner, self._present = check_root(self.root, self.links)
        return owner

    def has_directories(self) -> bool:
        """Return whether the last `check` found all directories that every container has."""
        cut = len(self.root) + 1
        return self._present.issuperset([path[cut:] for path in self.directories])

    @property
    def remotes_cache(self) -> str:
        """The index files of remotes. A lazy clone has this directory from the beginning."""
        return f"{self.root}/remotes"

    @property
    def has_remote_files(self) -> bool:
        """Whether the last `check` found a lazy clone, or what was fetched of a remote."""
        return "remotes" in self._present

    def check_loose(self, directory: str) -> bool:
        """Return whether a directory of loose files exists, or did. Called before a file in it is opened.

        Raise `NotOurs` if it is a link. A directory that was found good is not checked again.
        """
        if directory in self._plain:
            return True
        try:
            mode = os.lstat(directory).st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISLNK(mode) and directory != self.loose:
            raise not_ours(directory, "directory")
        self._plain.add(directory)
        return True

    def make(self, directory: str) -> None:
        """Make a missing directory directly in the root. A copy of a container may lack the empty ones.

        Raise `NotAContainer` if the container is gone from its path: no part of it is made again there.
        """
        if not os.path.isdir(directory):
            self.refuse_gone()
            with suppress(FileExistsError):
                make_directory(directory)

    def refuse_gone(self) -> None:
        """Raise `NotAContainer` if the container is not at its path any more: renamed, removed, not mounted.

        Raise `ContainerReplaced` if another container is there, perhaps of another version, with other directories.
        """
        if self.storage.version(names.CONFIG) is None:
            raise NotAContainer(self.root, "the container was removed after it was opened")
        self.refuse_another()

    def remove(self, path: str) -> bool:
        """Remove a file of the container. Return whether it was there. For many in one directory use `open`."""
        directory, _, name = path.rpartition("/")
        try:
            with self.open(None if directory == self.root else directory) as opened:
                return opened.remove(name)
        except FileNotFoundError:
            return False

    @property
    def may_remove_directories(self) -> bool:
        """Whether empty directories of loose files are removed: if there may be more than 256 of them.

        Writers of rsdos make a removed directory again; those of disk-objectstore do not.
        """
        return self.loose_prefix_len > 2

    def loose_directory(self, key: str) -> str:
        """Return the directory of a loose object. ``key`` has passed `HashType.parse_key`."""
        return f"{self.loose}/{key[: self.loose_prefix_len]}" if self.loose_prefix_len else self.loose

    def loose_file(self, key: str) -> str:
        """Return the file of a loose object, without a codec's suffix."""
        cut = self.loose_prefix_len
        return f"{self.loose}/{key[:cut]}/{key[cut:]}" if cut else f"{self.loose}/{key}"

    def checked_loose_file(self, key: str) -> str:
        """Return `loose_file`, after `check_loose` of its directory. One call, because every loose read makes it."""
        cut = self.loose_prefix_len
        directory = f"{self.loose}/{key[:cut]}" if cut else self.loose
        if directory not in self._plain:
            self.check_loose(directory)
        return f"{directory}/{key[cut:]}"

    def pack(self, pack_id: int) -> str:
        return f"{self.root}/{names.pack(pack_id)}"

    def manifest(self, number: int) -> str:
        return f"{self.root}/{names.manifest(number)}"

    @property
    def migration(self) -> str:
        """The marker that a migration in place has begun, with the version that it leads to."""
        return f"{self.root}/migration.json"

    @property
    def notes(self) -> str:
        """The notes of maintenance, in a version whose index has no room for them."""
        return f"{self.root}/notes.json"

    @property
    def remotes(self) -> str:
        """The names that the container has for others, with their URLs."""
        return f"{self.root}/remotes.json"

    @property
    def validation(self) -> str:
        """The position of a validation that can be resumed."""
        return f"{self.root}/validation.json"

    @property
    def quarantine(self) -> str:
        """The directory for damaged files, and for foreign files that are in the way."""
        return f"{self.root}/quarantine"

    def new_manifest(self) -> str:
        """Return a path for an unfinished manifest that no other writer has."""
        return f"{self.index}/manifest-{os.urandom(8).hex()}.new"

    def new_manifests(self) -> list[str]:
        """Return the unfinished manifests."""
        return [f"{self.index}/{name}" for name in filter(names.is_unfinished, self.index_names())]

    def segment(self, number: int) -> str:
        return f"{self.root}/{names.segment(number)}"

    def pack_table(self, number: int) -> str:
        return f"{self.root}/{names.pack_table(number)}"

    @property
    def commit_lock(self) -> str:
        return f"{self.root}/{names.COMMIT_LOCK}"

    @property
    def maintenance_lock(self) -> str:
        return f"{self.root}/{names.MAINTENANCE_LOCK}"

    @property
    def reserve(self) -> str:
        """A file whose space is given up when the disk is full."""
        return f"{self.locks}/reserve"

    @property
    def backup_lock(self) -> str:
        """Held by a backup to another machine."""
        return f"{self.locks}/backup"

    @property
    def last_backup(self) -> str:
        """The note of the last backup. It is among the locks, where no program of any version minds another file."""
        return f"{self.locks}/last-backup.json"

    @property
    def readers_lock(self) -> str:
        """Held shared by long readers. Packs are removed only by a process that holds it exclusively."""
        return f"{self.root}/{names.READERS_LOCK}"

    def pack_lock(self, pack_id: int) -> str:
        return f"{self.root}/{names.pack_lock(pack_id)}"

    def found_pack(self, pack_id: int) -> str:
        """Return a temporary path for a pack that had the name of another pack, until it gets its own name."""
        return f"{self.pack(pack_id)}.found"

    def found_packs(self) -> list[int]:
        """Return the ids of the packs at such temporary paths."""
        return self._numbers(names.PACKED, names.FOUND_PACKS)

    def locked_ids(self) -> list[int]:
        """Return the ids of all packs that rsdos has ever written here: their lock files are never deleted."""
        try:
            return self._numbers(names.LOCKS, names.PACK_LOCKS)
        except FileNotFoundError:
            return []

    def pack_ids(self) -> list[int]:
        """Return the ids of the existing pack files, ascending, without foreign names."""
        return [number for number in self._numbers(names.PACKED, names.PACKS) if 0 < number <= names.LAST_PACK]

    def manifest_numbers(self) -> list[int]:
        """Return the numbers of the existing manifests, ascending; none if ``index/`` is lost."""
        return names.numbers_among(self.index_names(), names.MANIFESTS)

    def segment_numbers(self) -> list[int]:
        """Return the numbers of the existing segment files, ascending; none if ``index/`` is lost."""
        return names.numbers_among(self.index_names(), names.SEGMENTS)

    def table_numbers(self) -> list[int]:
        """Return the numbers of the existing pack tables, ascending; none if ``index/`` is lost."""
        return names.numbers_among(self.index_names(), names.PACK_TABLES)

    def index_names(self) -> list[str]:
        """Return the names of the files in ``index/``; none if it is lost. Raise `NotAContainer` if all is."""
        try:
            return list(self.storage.list(names.INDEX))
        except FileNotFoundError:
            self.refuse_gone()
            return []

    def _numbers(self, directory: str, pattern: str) -> list[int]:
        try:
            listed = self.storage.list(directory)
        except FileNotFoundError:
            self.refuse_gone()
            raise
        return names.numbers_among(listed, pattern)


class RemoteLayout(Layout):
    """The paths of a container of version 3, whose storage knows the names on the medium. They are for messages."""

    def pack(self, pack_id: int) -> str:
        return self.storage.path(names.pack(pack_id))

    def manifest(self, number: int) -> str:
        return self.storage.path(names.manifest(number))

    def segment(self, number: int) -> str:
        return self.storage.path(names.segment(number))


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
        """The index, and the files that SQLite keeps beside it."""
        return self.database, f"{self.database}-wal", f"{self.database}-shm", f"{self.database}-journal"

    @property
    def salvaged(self) -> str:
        """A complete new index, which is about to replace the damaged one."""
        return f"{self.database}.salvaged"

    @property
    def may_remove_directories(self) -> bool:
        return False

    def pack(self, pack_id: int) -> str:
        return f"{self.packed}/{pack_id}"

    def pack_ids(self) -> list[int]:
        return self._numbers(_V1_PACKED, _V1_PACKS)

    def peer_lock(self, pack_id: int) -> str:
        """Return the lock file by which disk-objectstore knows that a pack is being written."""
        return f"{self.packed}/{pack_id}.lock"

    def peer_locks(self) -> list[int]:
        """Return the ids of the packs that have such a file."""
        return self._numbers(_V1_PACKED, _V1_LOCKS)
