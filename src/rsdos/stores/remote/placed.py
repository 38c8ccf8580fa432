"""The names of version 3 on a medium: the same objects as in version 2, each written once under a name of its own.

====================================  ====================================================================
here                                  on the medium
====================================  ====================================================================
``config.json``                       ``config.json``
``packed/0000001234.pack``            ``packs/0000001234-9f2c41d07be8a655.pack``
``index/0000001240.seg``              ``segments/0000001240-0c5b….seg``
``index/0000001241.tab``              ``tables/0000001241-77e0….tab``
``index/manifest-0000000042.json``    ``manifests/9999999999999957.json.zst``: 10^16 - 1 - 42, so that a
                                      listing begins with the newest
``locks/…``                           nothing: locks are of this process
====================================  ====================================================================

The 64 random bits are in the manifest: two attempts of one task never write to one name.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count, islice
from typing import TYPE_CHECKING

from rsdos import names
from rsdos.errors import Unavailable
from rsdos.index.remote_state import PACK, SEGMENT, TABLE
from rsdos.model import BytesLike
from rsdos.storage import chance
from rsdos.storage.base import FileInfo, Put, PutResult, Storage, Version
from rsdos.storage.one_winner import refuse_two_winners
from rsdos.storage.opened import RandomAccess
from rsdos.storage.process_locks import ProcessLock, ProcessLocks
from rsdos.stores.remote.spool import AT_ONCE, SpooledFile

if TYPE_CHECKING:
    from rsdos.index.manifest import Manifest
    from rsdos.index.pack_entry import PackEntry
    from rsdos.index.pack_table import TableEntry
    from rsdos.index.packs import PackTables

PACKS = "packs"
SEGMENTS = "segments"
TABLES = "tables"
MANIFESTS = "manifests"
DIRECTORIES = (PACKS, SEGMENTS, TABLES, MANIFESTS)

_LAST_MANIFEST = 10**16 - 1
DEADLINE = 300.0
"""Seconds for which a missing object is put again: the medium cannot be reached, or answers are lost."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
"""Seconds: before an object is put again a random part of twice as long passes each time."""

_DIRECTORY_OF = {PACK: PACKS, SEGMENT: SEGMENTS, TABLE: TABLES}
_ENDING_OF = {PACK: "pack", SEGMENT: "seg", TABLE: "tab"}
_KIND_OF = {"pack": PACK, "seg": SEGMENT, "tab": TABLE}

_KEPT_TABLES = 4
"""Manifests whose tables are asked for names: a reader holds one that is that much older than the newest."""

_NUMBERED = re.compile(r"(?:packed|index)/(\d{10})\.(pack|seg|tab)")
_MANIFEST = re.compile(r"index/manifest-(\d{10})\.json")
_PLACED = re.compile(r"(\d{10})-([0-9a-f]{16})\.(pack|seg|tab)")
_PLACED_MANIFEST = re.compile(r"(\d{16})\.json\.zst")


def placed_name(kind: str, number: int, suffix: str) -> str:
    """Return the name of a pack, segment or table on the medium."""
    return f"{_DIRECTORY_OF[kind]}/{number:010d}-{suffix}.{_ENDING_OF[kind]}"


def placed_manifest(number: int) -> str:
    """Return the name of a manifest on the medium."""
    return f"{MANIFESTS}/{_LAST_MANIFEST - number:016d}.json.zst"


def manifest_of(name: str) -> int | None:
    """Return the number of the manifest that has this name in ``manifests/``; None for a name of another form."""
    found = _PLACED_MANIFEST.fullmatch(name)
    return _LAST_MANIFEST - int(found[1]) if found else None


def object_of(name: str) -> tuple[str, int, str] | None:
    """Return kind, id and suffix of the object that has this name in its directory; None for one of another form."""
    found = _PLACED.fullmatch(name)
    return (_KIND_OF[found[3]], int(found[1]), found[2]) if found else None


class PlacedStorage(Storage):
    """A medium under the names of version 2. Any number of threads.

    It appends to objects that it makes itself, in memory, and uploads each whole (`SpooledFile`). Its locks are seen by
    this object alone: ids are reserved, so no other process can write under one of this process.

    The suffix of a name is known for objects that a manifest names (`learn`), that were listed, or that were made here.
    An object whose suffix is not known is missing.
    """

    def __init__(self, inner: Storage) -> None:
        self.inner = inner
        """The medium."""
        self.root = inner.root
        self.traits = inner.traits._replace(appends=True, locks=True, files=False)
        self._suffixes: dict[tuple[str, int], str] = {}
        self._lengths: dict[int, int] = {}
        """Of packs, which never change: a request less for each that is opened."""
        self._spools: dict[str, SpooledFile] = {}
        """The objects that are not uploaded yet, by their names here."""
        self._tables: tuple[PackTables, ...] = ()
        """Those of the manifests that were learned last, the newest first."""
        self._locks = ProcessLocks()

    # Names.

    def learn(self, manifest: Manifest) -> None:
        """Learn the names of the objects that a manifest names."""
        packs = manifest.packs
        for pack in packs.changed.values():
            self._learn_pack(pack)
        if packs.tables.count and packs.tables not in self._tables:
            self._tables = (packs.tables, *self._tables)[:_KEPT_TABLES]
        for table in packs.tables.entries:
            self.learn_table(table)
        known = self._suffixes
        for segment in manifest.segments:
            if segment.number:
                known[SEGMENT, segment.number] = segment.suffix

    def learn_table(self, entry: TableEntry) -> None:
        """Learn the name of a pack table, before it is read."""
        self._suffixes[TABLE, entry.number] = entry.suffix

    def _learn_pack(self, pack: PackEntry) -> str:
        self._lengths[pack.id] = pack.length
        self._suffixes[PACK, pack.id] = pack.suffix
        return pack.suffix

    def suffix_of(self, kind: str, number: int) -> str:
        """Return the random part of the name of an object that was made here, or learned. Raise KeyError."""
        found = self._suffixes.get((kind, number))
        if found is None and kind == PACK:
            # Most packs of a container with many are in tables, and no caller needs all of these.
            for tables in self._tables:
                if pack := tables.find(number):
                    return self._learn_pack(pack)
        if found is None:
            raise KeyError(number)
        return found

    def placed(self, name: str) -> str:
        """Return the name on the medium. Raise FileNotFoundError where it is not known."""
        found = _NUMBERED.fullmatch(name)
        if found:
            kind, number = _KIND_OF[found[2]], int(found[1])
            try:
                return placed_name(kind, number, self.suffix_of(kind, number))
            except KeyError:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.root}/{name}") from None
        found = _MANIFEST.fullmatch(name)
        return placed_manifest(int(found[1])) if found else name

    def _new_name(self, name: str) -> str:
        """Give an object that is made here a suffix, and return its name on the medium."""
        found = _NUMBERED.fullmatch(name)
        if not found:
            raise ValueError(f"not a name of a pack, segment or table: {name!r:.100}")
        self._suffixes[_KIND_OF[found[2]], int(found[1])] = chance.token(64)
        return self.placed(name)

    def path(self, name: str) -> str:
        with suppress(FileNotFoundError):
            name = self.placed(name)
        return self.inner.path(name)

    # Reading.

    def read(self, name: str, most: int) -> bytes:
        return self.inner.read(self.placed(name), most)

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        return self.inner.read_with_version(self.placed(name), most)

    def open(self, name: str, length: int | None = None) -> RandomAccess:
        placed = self.placed(name)
        found = _NUMBERED.fullmatch(name) if length is None else None
        if found and found[2] == "pack":
            length = self._lengths.get(int(found[1]))
        return self.inner.open(placed, length)

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        if directory == names.LOCKS:
            listed: Iterable[str] = self._locks.notes
            found = {name.partition("/")[2] for name in listed}
        elif directory == names.PACKED:
            found = self._listed(PACKS)
        elif directory == names.INDEX:
            found = {name.partition("/")[2] for name in map(names.manifest, self._manifests())}
            found |= self._listed(SEGMENTS) | self._listed(TABLES)
        else:
            return self.inner.list(directory, after, most)
        return islice((name for name in sorted(found) if name > after), most)

    def list_infos(self, directory: str, after: str = "", most: int | None = None) -> Iterator[FileInfo]:
        if directory != names.PACKED:
            return super().list_infos(directory, after, most)
        return islice((info for info in self._packs() if info.name > f"{directory}/{after}"), most)

    def _packs(self) -> Iterator[FileInfo]:
        """Yield what a listing says of packs, each under the one name that is known to be its own."""
        with suppress(FileNotFoundError):
            for info in self.inner.list_infos(PACKS):
                found = object_of(info.name.rpartition("/")[2])
                if found and self._suffixes.setdefault(found[:2], found[2]) == found[2]:
                    yield info._replace(name=names.pack(found[1]))

    def _listed(self, directory: str) -> set[str]:
        found = set()
        for kind, number, suffix in filter(None, map(object_of, self._names_in(directory))):
            self._suffixes.setdefault((kind, number), suffix)
            found.add(f"{number:010d}.{_ENDING_OF[kind]}")
        return found

    def _manifests(self) -> Iterator[int]:
        return filter(None, map(manifest_of, self._names_in(MANIFESTS)))

    def _names_in(self, directory: str) -> Iterator[str]:
        try:
            yield from self.inner.list(directory)
        except FileNotFoundError:
            return  # A directory without objects need not be there.

    def first_manifest(self) -> int:
        """Return the newest manifest in a listing, which may be an old one; 0 if there is none. One request."""
        for name in self.inner.list(MANIFESTS, most=1) if self.traits.lists_in_order else self._names_in(MANIFESTS):
            if number := manifest_of(name):
                return number
        return max(self._manifests(), default=0)

    def refuse_two_winners(self) -> None:
        """Raise `ReadOnlyContainer` if the medium gives a name twice. Three requests."""
        refuse_two_winners(self.inner)

    def stat(self, name: str) -> FileInfo | None:
        try:
            info = self.inner.stat(self.placed(name))
        except FileNotFoundError:
            return None
        return info and info._replace(name=name)

    def version(self, name: str) -> Version | None:
        try:
            return self.inner.version(self.placed(name))
        except FileNotFoundError:
            return None

    def is_prompt(self) -> bool:
        return self.inner.is_prompt()

    def drop_copy(self, name: str) -> bool:
        try:
            return self.inner.drop_copy(self.placed(name))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        self.inner.close()

    # Writing.

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        return self.inner.put_new(self.placed(name), data, still)

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        self.inner.put_stream(self.placed(name), parts, length)

    def empty(self, name: str) -> None:
        self.inner.empty(self.placed(name))

    def remove(self, name: str) -> bool:
        """Give up what was not uploaded yet. What was is left to the collector: an old manifest may lead to it."""
        spool = self._spools.get(name)
        if spool is None:
            return False
        spool.remove()
        return True

    def append(self, name: str, *, new: bool, still: Callable[[], bool] | None = None) -> SpooledFile:
        if not new:
            raise OSError(errno.EROFS, "nothing is appended to what was uploaded", self.path(name))
        return self._spool(name, stays=False)

    def create(self, name: str) -> SpooledFile:
        return self._spool(name, stays=True)

    def _spool(self, name: str, *, stays: bool) -> SpooledFile:
        placed = self._new_name(name)
        spool = SpooledFile(
            self.inner.path(placed), lambda file: self._upload(name, placed, file), lambda: self._drop(name), stays
        )
        self._spools[name] = spool
        return spool

    def _drop(self, name: str) -> None:
        self._spools.pop(name, None)

    def _upload(self, name: str, placed: str, spool: SpooledFile) -> None:
        length = spool.size()
        if length <= AT_ONCE:
            self._put(placed, spool.whole())
        else:
            self._stream(placed, spool)
        # On object storage that is nothing; in a directory the name must not be lost after the commit.
        self.inner.sync_names(placed.partition("/")[0])

    def _put(self, placed: str, data: bytes) -> None:
        """Put an object. Where an answer was lost it is looked for: no other program writes under a name of ours.

        It is put again for `DEADLINE` seconds while the medium cannot be reached. Raise `Unavailable` then.
        """
        ends = chance.now() + DEADLINE
        for tries in count():
            unavailable: Unavailable | None = None
            try:
                if self.inner.put_new(placed, data).outcome is Put.OURS:
                    return
            except Unavailable as error:
                unavailable = error
            if unavailable is None and (info := self.inner.stat(placed)):
                if info.length == len(data):
                    return
                raise OSError(errno.EIO, "something else has its name", self.inner.path(placed))
            if chance.now() > ends:
                raise unavailable or Unavailable(self.inner.path(placed), f"put {tries + 1} times, and never there")
            chance.pause(chance.fraction() * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(tries, 16)))

    def _stream(self, placed: str, spool: SpooledFile) -> None:
        try:
            self.inner.put_stream(placed, spool.parts(), spool.size())
        except FileExistsError:
            info = self.inner.stat(placed)
            if info is None or info.length != spool.size():
                raise

    def sync(self, name: str) -> None:
        """Upload an object that was not uploaded yet."""
        if spool := self._spools.get(name):
            spool.upload_ended()

    def sync_names(self, directory: str) -> None:
        if directory == names.INDEX:
            self.inner.sync_names(MANIFESTS)

    # Locks of this object.

    def lock(self, name: str, *, shared: bool = False, wait: bool = True) -> ProcessLock | None:
        return self._locks.take(name, shared, wait)

    def holder(self, name: str) -> str:
        return self._locks.holders.get(name, "")

    def read_note(self, name: str, most: int) -> bytes:
        return self._locks.notes.get(name, b"")[:most]


def names_of(manifest: Manifest) -> set[str]:
    """Return the names on the medium of all that a manifest leads to."""
    return {
        *(placed_name(PACK, pack.id, pack.suffix) for pack in manifest.packs),
        *(placed_name(SEGMENT, one.number, one.suffix) for one in manifest.segments if one.number),
        *(placed_name(TABLE, one.number, one.suffix) for one in manifest.packs.tables.entries),
    }
