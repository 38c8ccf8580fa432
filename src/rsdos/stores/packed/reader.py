"""The stored bytes of single records, read from packs of version 2 and verified."""

from __future__ import annotations

import errno
import io
import struct
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from functools import partial
from io import BytesIO
from itertools import repeat
from operator import add
from time import perf_counter
from typing import TYPE_CHECKING, cast

from rsdos.codecs.checksum import crc32, crc32_of_each
from rsdos.codecs.coding import decode, decode_many
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError
from rsdos.hashing import HashType
from rsdos.index.runs import Found, ReadRange
from rsdos.layout import Layout
from rsdos.model import (
    FIRST_DICTIONARY,
    FRAME_SIZE,
    BytesLike,
    Codec,
    Extent,
    MetaColumns,
    ObjectMeta,
    Place,
    Record,
    RecordFlag,
    Stored,
    Verify,
)
from rsdos.pack.reader import PackFile
from rsdos.storage.base import says_nothing
from rsdos.storage.opened import RandomAccess
from rsdos.stores.packed.ahead import LOCAL, MOST_SPAN, WAIT, InSequence, Reach, ReadAhead, read_parts
from rsdos.stores.packed.open_packs import OpenPacks
from rsdos.streams.buffers import AT_ONCE, join_parts, room_for
from rsdos.streams.frames import frames, read_table
from rsdos.streams.plain import OTHER_HASH, hashed
from rsdos.streams.reader import FramedReader

if TYPE_CHECKING:
    from rsdos.codecs.dictionary import Dictionary
    from rsdos.index.entries import Entries
    from rsdos.index.index import Index
    from rsdos.stores.packed.dictionaries import PackDictionaries
    from rsdos.stores.packed.pace import Pace

_OTHER_CRC = "its stored bytes have another CRC-32 than when they were written"


class RecordReader:
    """Reads the objects that records of the index lead to. Any number of threads.

    Raises `DecodeError` if the bytes do not match the record, and `DamagedContainer` if a pack is cut short.
    """

    def __init__(
        self, layout: Layout, container_id: bytes, hash_type: HashType, index: Callable[[], Index | None]
    ) -> None:
        """``index`` is a weak reference: the index refers to this reader."""
        self._hash = hash_type
        self._index = index
        self._packs = OpenPacks(layout, container_id)
        self._dictionaries: PackDictionaries | None = None
        self._pace = _new_pace() if layout.storage.traits.is_remote else None
        self.hashes = self._pace is not None
        """Whether whole objects that are read are hashed too; see `rsdos.model.Verify`. A remote's always are."""
        self._hashes_ranges = False

    clock: Callable[[], float] = staticmethod(perf_counter)
    """Seconds."""

    def verify(self, verify: Verify) -> None:
        """Set what reads compare from now on."""
        self._hashes_ranges = verify is Verify.HASH
        self.hashes = self._hashes_ranges or self._pace is not None

    @property
    def reach(self) -> Reach:
        """How far a bulk read reaches now."""
        return LOCAL if self._pace is None else self._pace.reach

    def close(self) -> None:
        """Close all packs."""
        self._packs.close()
        self._dictionaries = None

    def keep(self, live: Container[int]) -> None:
        """Close all packs but these; see `OpenPacks`."""
        self._packs.keep(live)

    def forget(self, pack_id: int) -> None:
        """Close one pack."""
        self._packs.forget(pack_id)

    @property
    def dictionaries(self) -> PackDictionaries:
        """The dictionaries of the packs; made by the first object that needs one."""
        found = self._dictionaries
        if found is None:
            from rsdos.stores.packed.dictionaries import PackDictionaries

            found = self._dictionaries = PackDictionaries(self._packs, self._index)
        return found

    def read_object(self, record: Record) -> bytes:
        """Return the raw bytes of one copy."""
        digest, pack_id, offset, length, size, crc, codec, flags = record
        if flags and codec == 0 and length <= AT_ONCE:
            return self._large_raw(record)
        if flags:
            return join_parts(self.frames(record), room_for(_stored(record)))
        try:
            stored = (self._packs.known.get(pack_id) or self._packs.get(pack_id)).read(offset, length)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            stored = self._packs.get(pack_id).read(offset, length)  # It was closed: another is opened.
        # `key_word`, without the call.
        if crc32(stored) ^ _read_word(digest)[0] != crc:
            raise DecodeError(_OTHER_CRC)
        if codec == 0 and size == length:
            raw = stored
        elif codec < FIRST_DICTIONARY:
            raw = decode(stored, codec_of_record(record), size)
        else:
            raw = self.dictionaries.named(pack_id, codec).decompress(stored, size)
        if self.hashes and self._hash.digest_of(raw) != digest:
            raise DecodeError(OTHER_HASH)
        return raw

    def _large_raw(self, record: Record) -> bytes:
        """`read_object` of raw frames, which follow one another."""
        pack = self._packs.get(record.pack_id)
        fetch = self._fetch(pack, record)

        def fetch_parts(offset: int, length: int) -> bytes:
            return b"".join(read_parts(pack, record.offset + offset, length))

        begin = self.clock()
        table = read_table(fetch, _stored(record))
        waits = self._pace is None and self.clock() - begin > WAIT and pack.is_cached(record.offset) is None
        raw = table.read_raw(fetch_parts if waits else fetch, 0)
        if crc32(fetch(len(raw), record.length - len(raw)), crc32(raw)) ^ key_word(record.digest) != record.crc:
            raise DecodeError(_OTHER_CRC)
        if self.hashes and self._hash.digest_of(raw) != record.digest:
            raise DecodeError(OTHER_HASH)
        return raw

    def frames(self, record: Record) -> Iterator[BytesLike]:
        """Yield the frames of a framed object; at its end the CRC-32 of all its stored bytes is checked too."""
        parts = self._checked_frames(record)
        return hashed(parts, record.digest, self._hash) if self.hashes else parts

    def _checked_frames(self, record: Record) -> Iterator[BytesLike]:
        read = self._fetch(self._packs.get(record.pack_id), record)
        crc = done = 0

        def fetch(offset: int, length: int) -> bytes:
            nonlocal crc, done
            data = read(offset, length)
            if offset == done:
                crc, done = crc32(data, crc), done + length
            return data

        yield from frames(fetch, _stored(record))
        fetch(done, record.length - done)
        if crc ^ key_word(record.digest) != record.crc:
            raise DecodeError(_OTHER_CRC)

    def stream(self, record: Record) -> io.BufferedReader:
        """Return a seekable stream of a framed object; where ranges are hashed too, it is read once before."""
        if self._hashes_ranges:
            for _ in self.frames(record):
                pass
        pack = self._packs.get(record.pack_id)

        def fetch(offset: int, length: int) -> bytes:
            return pack.read(record.offset + offset, length)

        def fill(offset: int, buffer: memoryview) -> int:
            return pack.read_into(record.offset + offset, buffer)

        return io.BufferedReader(FramedReader(fetch, fill, _stored(record), partial(DamagedObject, record.key)))

    def stored_run(self, run: ReadRange) -> list[bytes] | None:
        """Return the stored bytes of a run, or None when one of them is not what was written.

        Raise `Unavailable` and `Refused` of a remote: to ask for each object by itself would be refused as well.
        """
        try:
            pack = self._packs.get(run.pack_id)
            if len(run.crc) == 1:  # 6 us instead of 7: most runs of scattered objects have one.
                data = pack.read(run.offset[0], run.length[0])
                return [data] if crc32(data) == run.crc[0] else None
            stored, _ = read_run(pack, run)
        except OSError as error:
            if says_nothing(error):
                raise
            return None
        return stored if crc32_of_each(stored) == run.crc else None

    def decoded(self, run: ReadRange, stored: list[bytes]) -> Sequence[bytes | None]:
        """Return the raw bytes of a run; None for all of a codec when one of these does not decode."""
        if not any(run.codec) and run.size == run.length:
            return stored
        decoded: list[bytes | None] = [None] * len(stored)
        codecs = set(run.codec)
        if len(codecs) == 1:
            with suppress(ValueError):
                return self._decode(run.pack_id, run.codec[0], stored, run.size)
            return decoded
        for codec in codecs:
            at = [i for i, own in enumerate(run.codec) if own == codec]
            with suppress(ValueError):
                raws = self._decode(run.pack_id, codec, [stored[i] for i in at], [run.size[i] for i in at])
                for i, raw in zip(at, raws, strict=True):
                    decoded[i] = raw
        return decoded

    def _decode(self, pack_id: int, codec: int, stored: Sequence[bytes], sizes: Sequence[int]) -> list[bytes]:
        if codec < FIRST_DICTIONARY:
            return decode_many(stored, Codec(codec), sizes)
        return self.dictionaries.named(pack_id, codec).decompress_many(stored, sizes)

    def dictionaries_of(self, run: ReadRange) -> dict[int, Dictionary]:
        """Return the dictionaries that a run needs, by codec, as far as there are good copies."""
        found = {}
        for codec in set(run.codec):
            if codec >= FIRST_DICTIONARY:
                with suppress(DecodeError):
                    found[codec] = self.dictionaries.named(run.pack_id, codec)
        return found

    def are_good(self, digests: Sequence[bytes], run: ReadRange, raws: Sequence[bytes | None]) -> bool:
        """Return whether these are the bytes of the keys of a run."""
        wanted = b"".join([digests[at] for at in run.positions]).hex()
        return None not in raws and "".join(self._hash.keys_of(cast(Sequence[bytes], raws))) == wanted

    def stored_runs(self, runs: Iterator[ReadRange]) -> Iterator[tuple[ReadRange, list[bytes] | None]]:
        """Yield each run with its `stored_run`; with None if it is a framed object. See `ReadAhead`."""
        if self._pace is None:
            return ReadAhead(self._packs.get, self.stored_run).read(runs)
        return ReadAhead(self._packs.get, self.stored_run, self._pace.add, self._pace.reach.held).read(runs)

    def found_runs(self, found: Found) -> Iterator[tuple[ReadRange, list[bytes] | None]]:
        """Do `stored_runs` for what a bulk lookup found."""
        reach = self.reach
        return self.stored_runs(found.runs(reach.gap, reach.window))

    def stored_form(self, record: Record) -> tuple[Stored, Iterator[bytes]]:
        """Return the stored form and the stored bytes of a copy. At their end their CRC-32 is verified."""
        return _stored(record), self._stored_parts(record)

    def _stored_parts(self, record: Record) -> Iterator[bytes]:
        fetch = self._fetch(self._packs.get(record.pack_id), record)
        crc = 0
        for at in range(0, record.length, FRAME_SIZE):
            part = fetch(at, min(FRAME_SIZE, record.length - at))
            crc = crc32(part, crc)
            yield part
        if crc ^ key_word(record.digest) != record.crc:
            raise DecodeError(_OTHER_CRC)

    def _fetch(self, pack: RandomAccess, record: Record) -> Callable[[int, int], bytes]:
        """Return a function that reads bytes of a record. From a remote, threads read spans ahead."""

        def fetch(offset: int, length: int) -> bytes:
            return pack.read(record.offset + offset, length)

        if self._pace is None:
            return fetch
        if record.length <= MOST_SPAN:
            whole = fetch(0, record.length)
            return lambda offset, length: whole[offset : offset + length]
        parts = read_parts(pack, record.offset, record.length, MOST_SPAN, self.reach.held)
        return InSequence(parts, fetch).fetch

    def is_intact(self, record: Record) -> bool:
        """Return whether the stored bytes of a copy are those that were written, and what they need is there."""
        try:
            if record.codec >= FIRST_DICTIONARY:
                self.dictionaries.named(record.pack_id, record.codec)
            for _ in self._stored_parts(record):
                pass
        except (DecodeError, DamagedContainer, FileNotFoundError):
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        return True

    def is_good(self, record: Record) -> bool:
        """Return whether one copy decodes to the bytes of its key."""
        hasher = self._hash.new()
        try:
            for part in self.frames(record) if record.flags else (self.read_object(record),):
                hasher.update(part)
        except (DecodeError, DamagedObject, DamagedContainer, FileNotFoundError):
            return False
        return hasher.digest() == record.digest


def _new_pace() -> Pace:
    from rsdos.stores.packed.pace import Pace  # Packs on this machine have none.

    return Pace()


_read_word = struct.Struct(">I").unpack_from


def key_word(digest: bytes) -> int:
    """Return what is mixed into the CRC-32 of an entry, so that exchanged entries are found out."""
    (word,) = _read_word(digest)
    return int(word)


def codec_of_record(record: Record) -> Codec:
    """Return the codec of a record that needs no dictionary. Raise `DecodeError`."""
    try:
        return Codec(record.codec)
    except ValueError:
        raise DecodeError(f"codec {record.codec} is not known") from None


_PLAIN_CODECS = {int(codec): codec for codec in Codec}


def codec_or_none(number: int) -> Codec | None:
    """Return the codec of a number that names no dictionary; None for one that is not known."""
    return _PLAIN_CODECS.get(number)


def meta_of(record: Record) -> ObjectMeta:
    """Return what a record says of its object. Raises `DamagedObject` where its codec is not known."""
    try:
        codec = Codec.ZSTD if record.codec >= FIRST_DICTIONARY else codec_of_record(record)
    except DecodeError as error:
        raise DamagedObject(record.key, str(error)) from None
    return ObjectMeta(record.key, Place.PACKED, record.size, record.length, codec, record.extent)


def metas_of(entries: Entries) -> list[ObjectMeta | DamagedObject]:
    """Return `meta_of` of each entry, or the error."""
    records = entries.records
    pack_ids, offsets, lengths, sizes, codecs = (
        records[name].tolist() for name in ("pack_id", "offset", "length", "size", "codec")
    )
    keys = entries.hex_keys()
    if not set(codecs) <= _CODECS.keys():
        return [_meta_or_error(record) for record in entries]
    extents = map(_extent, zip(pack_ids, offsets, lengths, strict=True))
    rows = zip(keys, repeat(Place.PACKED), sizes, lengths, map(_CODECS.__getitem__, codecs), extents, strict=False)
    return list(map(_object_meta, rows))


def meta_columns_of(entries: Entries) -> MetaColumns:
    """Return the same as columns: 0.5 us an object instead of 0.7."""
    sizes, lengths, codecs = (entries.records[name].tolist() for name in ("size", "length", "codec"))
    if not set(codecs) <= _CODECS.keys():
        return MetaColumns.of(metas_of(entries))
    return MetaColumns(Place.PACKED, entries.hex_keys(), sizes, lengths, list(map(_CODECS.__getitem__, codecs)))


def _meta_or_error(record: Record) -> ObjectMeta | DamagedObject:
    try:
        return meta_of(record)
    except DamagedObject as error:
        return error


_CODECS = {int(codec): codec for codec in Codec} | dict.fromkeys(range(FIRST_DICTIONARY, 256), Codec.ZSTD)
_extent = partial(tuple.__new__, Extent)
_object_meta = partial(tuple.__new__, ObjectMeta)
"""These make the tuples without a call of their Python classes: 0.1 us instead of 0.35."""


def _stored(record: Record) -> Stored:
    return Stored(codec_of_record(record), RecordFlag(record.flags), record.length, record.size)


def read_run(file: PackFile | RandomAccess, run: ReadRange) -> tuple[list[bytes], bytes | None]:
    """Return the stored bytes of each entry of a run; and the whole run, where nothing is between them.

    Raises `DamagedContainer` where the pack is cut short, and OSError.
    """
    start = run.offset[0]
    ends = list(map(add, run.offset, run.length))
    data = file.read(start, max(ends) - start)
    if ends[:-1] == run.offset[1:]:
        # They follow one another: reading them off takes 0.09 us each, a slice 0.14.
        return list(map(BytesIO(data).read, run.length)), data
    return [data[offset - start : end - start] for offset, end in zip(run.offset, ends, strict=True)], None
