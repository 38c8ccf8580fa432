"""The packed store: many objects in one file, found through the index."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from operator import add
from typing import TYPE_CHECKING, TypeVar, cast

from rsdos import fsio, locks
from rsdos.codecs import crc32, decode
from rsdos.config import Config
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, log_warning
from rsdos.index import Found, Index, Manifest, Run, Snapshot
from rsdos.layout import Layout
from rsdos.model import (
    FRAME_SIZE,
    BytesLike,
    Codec,
    Copy,
    Durability,
    ObjectMeta,
    Place,
    Record,
    RecordFlag,
    Stored,
    Trust,
)
from rsdos.pack import PackFile, Scan, check_header, scan
from rsdos.stores.appending import Look
from rsdos.stores.checking import Depth, Finding, Sample
from rsdos.stores.encoding import Encoding
from rsdos.stores.packs import (
    GAP,
    MOST_OPEN,
    WINDOW,
    PackedSums,
    Packs,
    PackSums,
    Pin,
    Rebuilt,
    Rewritten,
    Swept,
    Whole,
)
from rsdos.stores.pinned import pinned
from rsdos.stores.recover import recover
from rsdos.stores.runs import decoded
from rsdos.stores.store import first_good
from rsdos.streams.frames import frames
from rsdos.streams.reader import FramedReader

if TYPE_CHECKING:
    from rsdos.stores.appender import Appender
    from rsdos.stores.check import NativeCheck
    from rsdos.stores.rebuild import Rebuild

_T = TypeVar("_T")


class PackedStore(Packs):
    """The packed objects of a container of version 2; `Appender` has the commit protocol."""

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        super().__init__(layout, config, durability)
        self._container_id = bytes.fromhex(config.container_id)
        self._packs: dict[int, PackFile] = {}
        check = partial(check_header, container_id=bytes.fromhex(config.container_id))
        self.index = Index(layout, config.container_id, partial(recover, layout, config.container_id), check)

    def sight(self) -> object:
        return self.index.state

    def is_current(self, sight: object) -> bool:
        return self.index.is_current(sight)

    def refresh(self) -> None:
        live = set(self.index.refresh().manifest.pack_ids)
        # The space of a pack that is gone is not free as long as somebody has it open.
        self._packs = {pack_id: pack for pack_id, pack in self._packs.items() if pack_id in live}

    def close(self) -> None:
        self._packs = {}
        self.index.close()

    # Reading one object.

    def _pack(self, pack_id: int) -> PackFile:
        pack = self._packs.get(pack_id)
        if pack is None:
            pack = PackFile(self._layout.pack(pack_id), pack_id, self._container_id)
            if len(self._packs) >= MOST_OPEN:
                self._packs = {}
            self._packs[pack_id] = pack
        return pack

    def read(self, digest: bytes) -> bytes | None:
        record = self.index.find(digest)
        if record is None:
            return None
        try:
            return self._whole(record)
        except (DecodeError, OSError):
            return self._from_good_copy(digest, self._whole)

    def _whole(self, record: Record) -> bytes:
        if record.flags:
            return b"".join(self._frames(record))
        stored = self._pack(record.pack_id).read(record.offset, record.length)
        if crc32(stored) ^ _key_word(record.digest) != record.crc:
            raise DecodeError("its stored bytes have another CRC-32 than when they were written")
        if record.codec == Codec.RAW and record.size == record.length:
            return stored
        return decode(stored, _codec(record), record.size)

    def _frames(self, record: Record) -> Iterator[BytesLike]:
        """The frames of a framed object; at its end the CRC-32 of all its stored bytes is checked as well."""
        pack = self._pack(record.pack_id)
        crc = done = 0

        def fetch(offset: int, length: int) -> bytes:
            nonlocal crc, done
            data = pack.read(record.offset + offset, length)
            if offset == done:
                crc, done = crc32(data, crc), done + length
            return data

        yield from frames(fetch, _stored(record))
        fetch(done, record.length - done)
        if crc ^ _key_word(record.digest) != record.crc:
            raise DecodeError("its stored bytes have another CRC-32 than when they were written")

    def _from_good_copy(self, digest: bytes, use: Callable[[Record], _T]) -> _T | None:
        """What ``use`` makes of the first good copy; None when there is no copy at all."""
        reason = ""
        while True:
            sight = self.sight()
            for record in self.index.find_all(digest):
                try:
                    result = use(record)
                except (DecodeError, OSError) as error:
                    if isinstance(error, OSError) and error.errno not in (errno.EIO, errno.ENOENT):
                        raise
                    reason = f"{error} (pack {record.pack_id}, byte {record.offset})"
                else:
                    if reason:
                        log_warning("object %s: passed over a damaged copy: %s", digest.hex(), reason)
                    return result
            if self.is_current(sight):
                break
            self.index.refresh()
            reason = ""  # What was not there has been repacked, or deleted, since.
        if reason:
            raise DamagedObject(digest.hex(), reason)
        return None

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        record = self.index.find(digest)
        if record is None:
            return None
        if record.flags:
            return first_good(digest, (partial(self._frames, copy) for copy in self._copies_until_current(digest)))
        data = self.read(digest)
        return None if data is None else iter((data,))

    def _copies_until_current(self, digest: bytes) -> Iterator[Record]:
        """All copies in sight; when none of those would do, those of the newest sight, if that is another."""
        while True:
            sight = self.sight()
            yield from self.index.find_all(digest)
            if self.is_current(sight):
                return
            self.index.refresh()

    def stream(self, digest: bytes) -> io.BufferedReader | None:
        record = self.index.find(digest)
        if record is None:
            return None
        if record.flags:
            return self._from_good_copy(digest, self._framed_stream)
        data = self.read(digest)
        return None if data is None else io.BufferedReader(io.BytesIO(data))

    def _framed_stream(self, record: Record) -> io.BufferedReader:
        pack = self._pack(record.pack_id)

        def fetch(offset: int, length: int) -> bytes:
            return pack.read(record.offset + offset, length)

        return io.BufferedReader(FramedReader(fetch, _stored(record), partial(DamagedObject, record.key)))

    def describe(self, digest: bytes) -> ObjectMeta | None:
        record = self.index.find(digest)
        if record is None:
            return None
        return _meta(record)

    # Reading many.

    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        if len(digests) == 1:
            return [self.index.find(digests[0]) is not None]
        present = bytearray(b"\1") * len(digests)
        for at in self.index.find_many(digests).missing.tolist():
            present[at] = 0
        return list(map(bool, present))

    def read_many(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        for positions, payloads in self.read_lists(digests, read):
            yield from zip(positions, payloads, strict=True)

    def read_lists(
        self, digests: Sequence[bytes], read: Callable[[bytes], bytes | None] | None = None
    ) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        for run in self.index.find_many(digests).runs(GAP, WINDOW):
            stored = None if run.flags else self._stored_run(run)
            raws = [None] * len(run.positions) if stored is None else decoded(run, stored)
            if None not in raws:
                yield run.positions, cast(Sequence[bytes], raws)
                continue
            for at, raw in zip(run.positions, raws, strict=True):
                data = (read or self.read)(digests[at]) if raw is None else raw
                if data is not None:
                    yield (at,), (data,)

    def _stored_run(self, run: Run) -> list[bytes] | None:
        """The stored bytes of a run, or None when one of them is not what was written."""
        start = run.offset[0]
        ends = [offset + length for offset, length in zip(run.offset, run.length, strict=True)]
        try:
            data = self._pack(run.pack_id).read(start, max(ends) - start)
        except OSError:
            return None
        stored = [data[offset - start : end - start] for offset, end in zip(run.offset, ends, strict=True)]
        return stored if list(map(crc32, stored)) == run.crc else None

    def copies(self, digests: Sequence[bytes], trust: Trust, durability: Durability) -> list[Copy]:
        """As promised. Of a damaged part of the index nothing is known: what it may have had is missing."""
        while True:
            state = self.index.state
            answers = self._copies_in_sight(digests, trust, durability)
            # What was found may have been deleted since this state was loaded.
            if Copy.GOOD not in answers or self.index.is_current(state):
                break
            self.index.refresh()
        if durability is Durability.FULL and Copy.GOOD in answers:
            self.index.make_durable()
        return answers

    def _copies_in_sight(self, digests: Sequence[bytes], trust: Trust, durability: Durability) -> list[Copy]:
        try:
            if len(digests) == 1 and self.index.find(digests[0]) is None:
                return [Copy.MISSING]  # A tenth of the cost of what follows: of every fresh loose object.
            found = self.index.find_many(digests)
        except DamagedContainer:
            return [self._copy(digest, self._synced(), durability) for digest in digests]
        return self._copies_of(found, digests, trust, self._synced(), durability)

    def _synced(self) -> dict[int, int]:
        """How much of each pack is on stable storage."""
        return {pack.id: pack.synced for pack in self.index.snapshot.manifest.packs}

    def _copies_of(
        self, found: Found, digests: Sequence[bytes], trust: Trust, synced: Mapping[int, int], durability: Durability
    ) -> list[Copy]:
        answers = [Copy.MISSING] * len(digests)
        for run in found.runs(GAP, WINDOW):
            good = trust is Trust.INDEX or (not run.flags and self._stored_run(run) is not None)
            ends = map(add, run.offset, run.length)
            if good and (durability is Durability.RELAXED or max(ends) <= synced.get(run.pack_id, 0)):
                for at in run.positions:
                    answers[at] = Copy.GOOD
            else:
                for at in run.positions:
                    answers[at] = self._copy(digests[at], synced, durability)
        return answers

    def _copy(self, digest: bytes, synced: Mapping[int, int], durability: Durability) -> Copy:
        """The best of the copies of one object; one that a power loss could take is none under full durability."""
        try:
            records = self.index.find_all(digest)
        except DamagedContainer:
            return Copy.MISSING
        best = Copy.MISSING
        for record in records:
            if durability is Durability.FULL and record.offset + record.length > synced.get(record.pack_id, 0):
                continue
            if self.is_intact(record):
                return Copy.GOOD
            best = Copy.DAMAGED
        return best

    def is_intact(self, record: Record) -> bool:
        """Whether the stored bytes of a copy are those that were written."""
        crc = 0
        try:
            pack = self._pack(record.pack_id)
            for at in range(0, record.length, FRAME_SIZE):
                crc = crc32(pack.read(record.offset + at, min(FRAME_SIZE, record.length - at)), crc)
        except (DamagedContainer, FileNotFoundError):
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        return crc ^ _key_word(record.digest) == record.crc

    def whole_many(self, digests: Sequence[bytes]) -> Iterator[Whole]:
        for run in self.index.find_many(digests).runs(GAP, WINDOW):
            stored = None if run.flags else self._stored_run(run)
            if stored is None:
                continue
            for at, raw, codec, form in zip(run.positions, decoded(run, stored), run.codec, stored, strict=True):
                if raw is not None and self.hash.digest_of(raw) == digests[at]:
                    yield Whole(digests[at], raw, Codec(codec), form)

    # Inserting.

    def appender(self, look: Look | None = None, durability: Durability | None = None) -> Appender:
        from rsdos.stores.appender import Appender

        return Appender(
            self._layout,
            self._config,
            self.index,
            durability or self._durability,
            look or partial(self._own_copies, Trust.VERIFY),
        )

    # Copying.

    def pin(self, root: str) -> AbstractContextManager[Pin]:
        return pinned(self._layout, self.index.history, root)

    # Deleting.

    def delete(self, digests: Sequence[bytes], seen: object = None) -> list[bytes]:
        from rsdos.stores.tombstones import MOST_TOMBSTONES, bury

        self.index.refresh()
        copies = self.index.live_copies(digests)
        if isinstance(seen, Snapshot):
            copies = copies.take(copies.of_extents(seen.live_copies(digests)))
        for at in range(0, len(copies), MOST_TOMBSTONES):
            some = copies.take(slice(at, at + MOST_TOMBSTONES))
            bury(self._layout, self._config, self.index, self._durability, some)
        return copies.take(copies.distinct()).digests()

    def drop_damaged(self, digests: Sequence[bytes], *, even_the_last: bool = False) -> None:
        self.index.refresh()
        copies = self.index.live_copies(digests)
        good = [self._is_good(record) for record in copies]
        whole = {digest for digest, is_good in zip(copies.digests(), good, strict=True) if is_good}
        dropped = [
            not is_good and (even_the_last or digest in whole)
            for digest, is_good in zip(copies.digests(), good, strict=True)
        ]
        if any(dropped):
            from rsdos.stores.tombstones import bury

            bury(self._layout, self._config, self.index, Durability.FULL, copies.take(dropped))

    def _is_good(self, record: Record) -> bool:
        """Whether one copy decodes to the bytes of its key."""
        hasher = self.hash.new()
        try:
            for part in self._frames(record) if record.flags else (self._whole(record),):
                hasher.update(part)
        except (DecodeError, DamagedObject, DamagedContainer, FileNotFoundError):
            return False
        return hasher.digest() == record.digest

    def moment(self) -> object:
        return self.index.refresh()

    def listing(self, seen: object) -> Iterator[list[bytes]]:
        assert isinstance(seen, Snapshot)
        for entries in seen.tables():
            yield entries.digests()

    # Repacking.

    def rewrite(self, pack_id: int, encoding: Encoding | None, advance: Callable[[int], None]) -> Rewritten:
        from rsdos.stores.repack import Repack

        rewritten = Repack(self._layout, self._config, self.index, self, encoding, advance).run(pack_id)
        self._packs.pop(pack_id, None)
        return rewritten

    def record_frames(self, record: Record) -> Iterator[BytesLike]:
        """The verified frames of one copy of an object of more than one frame."""
        return self._frames(record)

    def merge_index(self) -> None:
        self.index.merge(self._durability)

    def index_faults(self) -> list[Finding]:
        self.close()
        return self._rebuild().faults()

    def rebuild_index(self, aside: Callable[[], str]) -> Rebuilt:
        self.close()
        return self._rebuild().run(aside)

    def _rebuild(self) -> Rebuild:
        from rsdos.stores.rebuild import Rebuild

        return Rebuild(self._layout, self._config, self.index, self.unlink)

    def sweep(self) -> Swept:
        # Packs that the newest manifest does not have, and what stands behind the committed length of those it has. A
        # live writer holds the lock of its pack, and a long reader that of all that may go.
        files = length = 0
        manifest = self.index.history.newest()
        for pack_id in self._layout.pack_ids():
            if self._leftover(manifest, pack_id) is None:
                continue
            if lock := locks.try_acquire(self._layout.pack_lock(pack_id)):
                with lock:
                    # Once more, now that nobody writes to it.
                    freed = self._sweep_pack(self.index.history.newest(), pack_id)
                files, length = files + (freed is not None), length + (freed or 0)
        if files:
            # A tombstone may be forgotten when the pack it points into is gone for good.
            fsio.sync_directory(self._layout.packed)
        return Swept(files, length)

    def _leftover(self, manifest: Manifest, pack_id: int) -> int | None:
        """Bytes of a pack file that the manifest knows nothing of; None where it knows all."""
        pack = manifest.pack(pack_id)
        try:
            size = os.stat(self._layout.pack(pack_id), follow_symlinks=False).st_size
        except FileNotFoundError:
            return None
        if pack is None:
            return size
        return size - pack.length if size > pack.length else None

    def _sweep_pack(self, manifest: Manifest, pack_id: int) -> int | None:
        freed = self._leftover(manifest, pack_id)
        pack = manifest.pack(pack_id)
        if pack is not None and freed:
            os.truncate(self._layout.pack(pack_id), pack.length)
        elif freed is not None and not self.unlink(pack_id):
            return None
        return freed

    # The whole.

    def copies_of(self, digest: bytes) -> list[ObjectMeta]:
        return list(map(_meta, self.index.find_all(digest)))

    def sums(self) -> PackedSums:
        manifest = self.index.refresh().manifest
        return PackedSums(
            tuple(PackSums(**asdict(pack)) for pack in manifest.packs),
            fsio.length_of_files(self._layout.index),
            manifest.number,
            len(manifest.segments),
            self.index.is_recovered,
        )

    def digests_of(self, pack_id: int) -> Iterator[list[bytes]]:
        return self.index.digests_of(pack_id)

    def check(self, depth: Depth, sample: Sample) -> NativeCheck:
        from rsdos.stores.check import NativeCheck

        self.close()  # What was checked once is read again.
        return NativeCheck(self._layout, self._config, self.index, self, depth, sample)

    def note(self, name: str, note: object) -> None:
        self.index.commit(lambda newest: newest.with_note(name, note), self._durability)

    def notes(self) -> Mapping[str, object]:
        return self.index.refresh().manifest.notes

    def scan(self, pack_id: int) -> Scan:
        return scan(PackFile(self._layout.pack(pack_id), pack_id, self._container_id))

    def __iter__(self) -> Iterator[str]:
        for keys in self.index.key_lists():
            yield from keys

    def with_prefix(self, prefix: str) -> Iterator[str]:
        for keys in self.index.key_lists(prefix):
            yield from keys

    def __len__(self) -> int:
        return self.index.refresh().manifest.objects


def _key_word(digest: bytes) -> int:
    """What is mixed into the CRC-32 of an entry, so that exchanged entries are told."""
    return int.from_bytes(digest[:4], "big")


def _codec(record: Record) -> Codec:
    try:
        return Codec(record.codec)
    except ValueError:
        raise DecodeError(f"codec {record.codec} is not known") from None


def _meta(record: Record) -> ObjectMeta:
    try:
        codec = _codec(record)
    except DecodeError as error:
        raise DamagedObject(record.key, str(error)) from None
    return ObjectMeta(record.key, Place.PACKED, record.size, record.length, codec, record.extent)


def _stored(record: Record) -> Stored:
    return Stored(_codec(record), RecordFlag(record.flags), record.length, record.size)
