"""The manifests of a container: the highest number counts, and a commit makes the next one.

A commit is a put of the next number, which only one process wins. If the storage has locks, a commit holds one, so that
no process works in vain. If it has none, the process that lost reads the newest manifest and makes its change again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from rsdos import names
from rsdos.config import VERSION
from rsdos.errors import Busy, ContainerReplaced, DamagedContainer, NotAContainer, UnsupportedContainer
from rsdos.index.last_commit import NOTE_LENGTH, LastCommit, decode_note, read_committed
from rsdos.index.manifest import (
    Manifest,
    Published,
    UnknownManifest,
    decode_manifest,
    encode_manifest,
)
from rsdos.index.pruning import MOST_BYTES, IndexListing, Pruning
from rsdos.layout import Layout
from rsdos.model import Durability
from rsdos.storage.base import Put, Version

if TYPE_CHECKING:
    from rsdos.index.pack_table import TableEntry
    from rsdos.index.packs import PackTables
    from rsdos.index.table_reader import TableReader
    from rsdos.migration import Original
    from rsdos.storage.opened import HeldLock

MOST_LOOKUPS = 100
"""Times that a listed manifest may be gone when it is opened. Each time, 16 commits have run in a millisecond."""

_MOST_TRIES = 10
"""Times that a commit begins again because ``locks/commit`` is no longer the file that it has locked."""

_ANOTHER_TIME = 2_000_000_000
"""Nanoseconds: the coarsest times of files that a file system stores are two seconds apart (FAT)."""

_MOST_CONFLICTS = 100
"""Times that a commit begins again where there are no locks: each time another process has committed first."""

_MOST_PUTS = 10
"""Times that a manifest is put again because the answer was lost and the manifest is not there."""


class CommitLog:
    """Reads and makes manifests. Any number of threads and processes."""

    def __init__(self, layout: Layout, container_id: str) -> None:
        self._layout = layout
        self._storage = layout.storage
        self._pruning = Pruning(layout)
        self._container_id = container_id
        self.original: Original | None = None
        """The identity that `check` compares. The first check makes it."""
        self._known: Published | None = None
        """The manifest that was read or made here last. The file of a manifest does not change."""
        self._noted = b"", 0
        """The note of the last commit when it was read or written here last, and its number. Every miss reads the same
        note again, and decoding it is half of that cost."""
        self._tables: TableReader | None = None
        """Reads pack tables. The first manifest that has any makes it."""

    def check(self) -> None:
        """Raise `ContainerReplaced` or `NotAContainer` if the container is no longer the one that was opened."""
        if self.original is None:
            from rsdos.migration import Original  # A program that only reads does not need it.

            self.original = Original(self._layout, VERSION, self._container_id)
        self.original.check()

    def committed(self, *, again: bool = False) -> int:
        """Return the highest number that is known to be committed, 0 if none is. No older manifest is the newest.

        If the index is read ``again``, first do `check`: a manifest of the same number may belong to another container.
        """
        if again:
            self.check()
        note = self._storage.read_note(names.COMMIT_LOCK, NOTE_LENGTH)
        noted = self._noted
        if noted[0] != note:
            noted = self._noted = note, decode_note(note).number
        return noted[1]

    def begin_at(self, number: int) -> None:
        """Do nothing: a listing has all numbers."""

    def latest(self, *, again: bool = False) -> tuple[int, int]:
        """Return the number of the newest manifest that is there, and of a newer one that is missing; 0 means none.

        ``again`` as in `committed`.
        """
        return self._listed(again)[:2]

    def _listed(self, again: bool = False) -> IndexListing:
        """Do `latest` by a fresh listing, and return that as well."""
        committed = self.committed(again=again)
        listed = self._layout.index_names()
        numbers = names.numbers_among(listed, names.MANIFESTS)
        number, missing = numbers[-1] if numbers else 0, 0
        if committed > number:
            # On a network file system the listing may be an older one.
            is_there = self._storage.exists(names.manifest(committed))
            number, missing = (committed, 0) if is_there else (number, committed)
        return IndexListing(number, missing, listed, numbers)

    def newest_number(self) -> int:
        """Return the newest manifest's number, from a fresh listing. Raise `DamagedContainer` if it is missing."""
        return self._listed_whole().number

    def _listed_whole(self, again: bool = False) -> IndexListing:
        """Return `_listed`. Raise `DamagedContainer` if the newest manifest is missing."""
        seen = self._listed(again)
        if seen.missing or not seen.number:
            self.check()
        if not seen.number:
            raise DamagedContainer(self._layout.index, "there is no manifest (see: rsdos repair index)")
        if missing := seen.missing:
            raise DamagedContainer(self._layout.manifest(missing), "this manifest was committed last, and is missing")
        return seen

    def newest(self) -> Manifest:
        """Return the newest manifest, from a fresh listing.

        Raise `DamagedContainer` if it is damaged or missing, and `UnsupportedContainer` if a later release has written
        it.
        """
        return self._newest()[0].manifest

    def _newest(self, again: bool = False) -> tuple[Published, IndexListing]:
        """Return the newest manifest, and the listing that shows it; ``again`` as in `committed`."""
        number = 0
        for _ in range(MOST_LOOKUPS):
            seen = self._listed_whole(again)
            number, known = seen.number, self._known
            name = names.manifest(number)
            if known and known.manifest.number == number and known.version == self._storage.version(name):
                return known, seen  # This saves 20 us for each pack.
            try:
                return self.read_with_file(number), seen
            except NotAContainer:
                raise  # This is a FileNotFoundError, too.
            except FileNotFoundError:
                pass  # Sixteen commits have run since the listing.
        raise self.never_there(number)

    def never_there(self, number: int) -> DamagedContainer:
        """Return the error for a manifest that was gone each time it was opened."""
        return DamagedContainer(self._layout.manifest(number), f"listed {MOST_LOOKUPS} times, and never there")

    def read(self, number: int) -> Manifest:
        """Return one manifest. Raise FileNotFoundError, `DamagedContainer`, `UnsupportedContainer`."""
        return self.read_with_file(number).manifest

    def read_with_file(self, number: int) -> Published:
        """Return one manifest, and the version of its file. Raise what `read` does."""
        path = self._layout.manifest(number)
        data, version = self._storage.read_with_version(names.manifest(number), MOST_BYTES)
        try:
            manifest = decode_manifest(data, self._open_tables)
        except FileNotFoundError as error:
            # Tables are removed after the manifests that name them.
            if self.file_of(number) != version:
                raise
            raise DamagedContainer(path, f"a pack table is missing: {error.filename}") from None
        except UnknownManifest as error:
            reason = f"{error}: a later release of rsdos has written it, which can also read it"
            raise UnsupportedContainer(path, reason) from None
        except ValueError as error:
            raise DamagedContainer(path, str(error)) from None
        if manifest.number != number or manifest.container_id != self._container_id:
            self.check()
            raise DamagedContainer(path, "it is a manifest of another number or another container")
        self._known = Published(manifest, version)
        return self._known

    def _open_tables(self, entries: tuple[TableEntry, ...]) -> PackTables:
        """Return the pack tables of a manifest. Raise FileNotFoundError, and ValueError for a damaged table."""
        if self._tables is None:
            from rsdos.index.table_reader import TableReader, read_pack_table  # Most containers have none.

            self._tables = TableReader(partial(read_pack_table, self._storage))
        return self._tables(entries)

    def let_go(self) -> None:
        """Read manifests and pack tables again the next time."""
        self._known = self._tables = None

    def file_of(self, number: int) -> Version | None:
        """Return the version of a manifest's file; None when it is missing. Takes one ``stat``."""
        return self._storage.version(names.manifest(number))

    def is_newest(self, number: int, known: Version | None = None) -> bool:
        """Return whether this manifest was the newest when this call began, and is still there as ``known``. Two calls.

        1. Look for the next manifest. This finds every commit that ended before this call, unless its manifest was
           pruned.
        2. Look for this manifest. Manifests are pruned oldest first: if this one is there, the next one was not pruned
           at step 1. Its file may be another one: after a copy is restored over the container, numbers repeat.

        In the other order, `KEPT` commits between the two steps would not be noticed. That a manifest was lost is known
        from `committed` alone.
        """
        if self._storage.exists(names.manifest(number + 1)):
            return False
        now = self.file_of(number)
        return now is not None and (known is None or known == now)

    def commit(self, change: Callable[[Manifest], Manifest], durability: Durability) -> Published:
        """Publish what ``change`` makes of the newest manifest, and return it. Wait for other commits.

        After a return with full durability the new manifest survives a power loss. After an error the new manifest may
        still be there, if only the last sync failed: look at `newest` before you undo anything. ``change`` is called
        again if files in ``locks/`` were removed and another commit was faster.
        Raise `ContainerReplaced`, `NotAContainer`, `DamagedContainer`, `UnsupportedContainer`, OSError.
        """
        for _ in range(_MOST_TRIES if self._storage.traits.locks else _MOST_CONFLICTS):
            # 5. From here to the end of the block no other process commits.
            with self._lock() as lock, suppress(_Outrun):
                return self._commit(lock, change, durability)
        if not self._storage.traits.locks:
            raise Busy(self._layout.index, f"others, who committed {_MOST_CONFLICTS} times just before")
        raise ContainerReplaced(
            self._layout.commit_lock, "it was removed or replaced again and again while it was held"
        )

    def _lock(self) -> HeldLock | _NoLock:
        """Wait for the lock on commits, where there are locks."""
        return self._storage.lock(names.COMMIT_LOCK) or _NoLock() if self._storage.traits.locks else _NoLock()

    def _commit(
        self, lock: HeldLock | _NoLock, change: Callable[[Manifest], Manifest], durability: Durability
    ) -> Published:
        base, listed = self._newest(again=True)
        newest = base.manifest
        number = self._after(newest.number)
        manifest = change(newest)._replace(number=number)
        try:
            file = self._publish(lock, manifest, durability)
        except BaseException as error:
            # If only its last sync failed, the manifest is there. In a forked child nothing is undone.
            is_gone = isinstance(error, _Outrun) or self._is_absent(manifest.number)
            if is_gone and lock.is_held:
                self._pruning.undo(newest, manifest)
            raise
        self._note(lock, manifest.number, durability)
        # The commit is valid. A later one drops the files that could not be dropped.
        with suppress(OSError, UnsupportedContainer):
            self._pruning.drop_replaced(newest, manifest, durability)
            self._pruning.prune(manifest, listed)
        self._known = Published(manifest, file)
        return self._known._replace(before=base.version)

    def _after(self, number: int) -> int:
        """Return the next number. Raise `DamagedContainer` if there is none: no name of more digits would be found."""
        if number >= names.LAST_NUMBER:
            raise DamagedContainer(self._layout.manifest(number), "no number is left for a manifest after this one")
        return number + 1

    def readable(self) -> Manifest | None:
        """Return the newest manifest that is not damaged; None when there is none. Raise `UnsupportedContainer`."""
        for number in reversed(self._layout.manifest_numbers()):
            with suppress(FileNotFoundError, DamagedContainer):
                return self.read(number)
        return None

    def restore(self, make: Callable[[], Manifest | None]) -> Manifest | None:
        """Publish durably the manifest that ``make`` returns, whatever the newest one is. For None publish nothing.

        Other commits wait. The manifest that was the newest stays where it is.
        """
        with self._lock() as lock:
            made = make()
            if made is None:
                return None
            number = self._after(max([self.committed(), *self._layout.manifest_numbers()]))
            manifest = made._replace(number=number)
            try:
                decode_manifest(encode_manifest(manifest), lambda _: manifest.packs.tables)
            except ValueError as error:
                raise DamagedContainer(self._layout.packed, f"what the packs say makes no manifest: {error}") from None
            try:
                self._publish(lock, manifest, Durability.FULL)
            except _Outrun:
                reason = "it was removed or replaced while it was held: try again"
                raise ContainerReplaced(self._layout.commit_lock, reason) from None
            self._note(lock, manifest.number, Durability.FULL)
        return manifest

    def _note(self, lock: HeldLock | _NoLock, number: int, durability: Durability) -> None:
        # After the syncs: a power loss that takes the commit must not leave its number.
        if durability is Durability.FULL:
            committed = LastCommit(number, number)
        else:
            committed = read_committed(self._storage).followed_by(number)
        noted = committed.encode(), committed.number
        with suppress(OSError):  # The commit is valid.
            lock.write_note(noted[0])
            self._noted = noted

    def pass_over(self, lock: HeldLock) -> None:
        """Give an index up: note a commit after its newest one, so that no program takes that for the newest.

        Also change the time of the newest manifest: programs that have it loaded then get False from `is_newest`.
        The caller holds the lock on commits, and from now on `check` raises an error.
        """
        with suppress(DamagedContainer):
            number = self.newest_number()
            self._note(lock, self._after(number), Durability.FULL)
            with suppress(OSError):  # Some file systems cannot do this. Then programs find the note within a second.
                path = self._layout.manifest(number)
                status = os.lstat(path)
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + _ANOTHER_TIME), follow_symlinks=False)

    def forget(self) -> None:
        """Forget durably the last commit to an index that is gone. There is no manifest yet."""
        if self.committed():
            with self._lock() as lock:
                lock.write_note(LastCommit().encode())
            self._storage.sync(names.COMMIT_LOCK)

    def _publish(self, lock: HeldLock | _NoLock, manifest: Manifest, durability: Durability) -> Version:
        # 6. Put it under its number, unless the number is taken or the lock is lost. Sync the name.
        data = encode_manifest(manifest)
        if len(data) > MOST_BYTES:
            raise OSError(errno.EFBIG, f"a manifest of more than {MOST_BYTES} bytes: too many packs, or long notes")
        version = self._put(names.manifest(manifest.number), data, lock)
        if durability is Durability.FULL:
            self._storage.sync_names(names.INDEX)
        return version

    def _put(self, name: str, data: bytes, lock: HeldLock | _NoLock) -> Version:
        """Put a manifest, and return its version. Raise `_Outrun` when another is there.

        If the answer was lost, read the name. A manifest is the whole state, so one with the same bytes is this commit,
        even if another process put it. If nothing is there, put the same bytes again: there are never two candidates.
        """
        for _ in range(_MOST_PUTS):
            result = self._storage.put_new(name, data, lock.is_in_place)
            if result.version is not None:
                return result.version
            if result.outcome is Put.TAKEN:
                raise _Outrun
            with suppress(FileNotFoundError):
                there, version = self._storage.read_with_version(name, MOST_BYTES)
                if there == data:
                    return version
                raise _Outrun
        raise OSError(errno.EIO, f"put {_MOST_PUTS} times, and never answered nor there", self._storage.path(name))

    def _is_absent(self, number: int) -> bool:
        """Return whether a manifest is certainly missing."""
        try:
            return self.file_of(number) is None
        except OSError:
            return False


class _NoLock:
    """Takes the place of a lock where there are none: the put alone keeps other commits out."""

    is_held = True

    def is_in_place(self) -> bool:
        return True

    def write_note(self, data: bytes) -> None:
        return

    def __enter__(self) -> _NoLock:
        return self

    def __exit__(self, *_: object) -> None:
        return


class _Outrun(Exception):
    """Another commit was faster. This one is made again."""
