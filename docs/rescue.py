#!/usr/bin/env python3
"""Get every object out of an rsdos container (version 2 or 3) when rsdos itself is gone.

    python rescue.py CONTAINER list
    python rescue.py CONTAINER extract DEST [KEY ...]
    python rescue.py CONTAINER refs
    python rescue.py CONTAINER restore REF DEST

`list` prints one line for each stored copy of an object: key, size in bytes, codec, pack, offset. `extract` writes the
objects (all, or those with the given keys) to DEST/ab/abcdef..., named by their keys. It can be interrupted and called
again. `refs` prints one line for each version of a snapshot and each tag: name, key of the snapshot, time. `restore`
writes the files of one snapshot by their names to DEST, which must be empty or missing; REF is NAME (its newest
version), NAME@3, a tag, or the key of a snapshot. Nothing in the container is changed. The exit code is 0 if everything
that was found came out; 1 if not, and standard error lists the others; 2 for a wrong command line.

This file needs only Python 3.8 or newer. Objects that are compressed with zstd also need one of the modules
compression.zstd (Python 3.14), backports.zstd, zstandard or pyzstd, or the program `zstd`.

This is how it works, and all that you need to know. The whole format is in format.md, beside this file.

A container of version 3 is in a bucket of an object store: copy all of it to a directory first. Its packs are in
`packs/`, with 16 random digits more in their names, and are read as those of version 2; nothing else is needed.

A container is a directory. Its objects are byte strings; an object's **key** is the SHA-256 of its bytes, in hex. It
is either in a **pack**, `packed/0000000001.pack` and so on, or **loose**, `loose/ab/cdef...`, a file of its own. The
files in `index/` make finding objects fast. The packs are enough: those files are read only if the table of contents of
a large batch is damaged. (`config.json` is read only if the headers of all packs are damaged: for the container's id.)

    pack   = header (64 bytes) | zeros to 4096 | batch | batch | ...
    batch  = stored objects, one after another | zeros | segment | zeros | footer (64 bytes)

Every batch starts and ends on a multiple of 4096. Its **segment** is its table of contents, its **footer** says where
the segment is. To find a footer, look at the 64 bytes before each multiple of 4096, from the end of the pack to its
beginning. A footer has a checksum over the container's id, the pack's id and its own offset, which nothing else has.
All numbers are little-endian and unsigned. **Size** is the raw bytes of an object, **length** its stored bytes.

Small zstd objects may need a **dictionary**, which is among the stored bytes of the same pack, twice. The table of
contents of the batch that brought it there has its place and its SHA-256. The dictionaries of a pack are numbered from
0; an object of the codec 16 + k needs number k.

A **snapshot** is a directory that was saved. Snapshots, their trees and their names are objects as well, in packs of
the kind 2 (byte 40 of the header). The newest **refs document**, a line of JSON with the highest `number`, has the
names. A snapshot is a line of JSON, too, and has the key of its tree's root **page**. A page has the names of files
with the keys of their contents, or the keys of pages.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

ALIGNMENT = 4096
FRAME_SIZE = 1 << 20  # objects larger than this are stored in frames of this size
FORMS = {2: (64, 1 << 16), 4: (4096, 1 << 14)}  # of segments by version: where columns begin, bytes with a CRC-32 each
RAW, ZLIB, ZSTD, MIXED = 0, 1, 2, 3  # the codecs
CODEC_NAMES = {RAW: "raw", ZLIB: "zlib", ZSTD: "zstd", MIXED: "mixed"}
DICTIONARY = 16  # the codec of a zstd object that needs dictionary 0 of its pack; the next needs 1, and so on
FRAMED, TOMBSTONE = 1, 2  # the flags of a record

TREES = 2  # the kind of packs of pages, snapshots and refs documents
FILE, EXECUTABLE, LINK, DIRECTORY = 0, 1, 2, 3  # the kinds of entries of a tree
TIMES, MODES = 1, 2  # the attributes of a tree

PACK_HEADER = struct.Struct("<8sH6x16sQB7x")  # magic, version, container id, pack id, kind; then 16 bytes of SHA-256
FOOTER = struct.Struct("<8sHHIQQQQ")  # magic, version, 0, entries, batch, segment, its length, last footer; SHA-256
SEGMENT_HEADER = struct.Struct("<8sHHIQQIII4x")  # magic, version, 0, block size or length of the zlib stream, entries,
# tombstones, CRC, dictionaries, number of the first; then 16 bytes of SHA-256
RECORD = struct.Struct("<24sQQQIIBB")  # key bytes 8 to 32, offset, length, size, pack id, CRC, codec, flags
PLACE = struct.Struct("<32sQQQ")  # of a dictionary: its SHA-256, length, offset, offset of the second copy
TRAILER = struct.Struct("<IIQII")  # of a compressed loose object: 0x184D2A50, 16, size, flags, CRC

KEY = re.compile(r"[0-9a-f]{64}").fullmatch


class Damaged(Exception):
    """The bytes that were read are not those that were once written."""


class Record(NamedTuple):
    """One entry of a segment: the place of a copy of an object, and what is needed to read and check it."""

    digest: bytes
    offset: int
    length: int
    size: int
    pack_id: int
    crc: int  # of the stored bytes; -1: not known
    codec: int
    flags: int
    sound: bool  # the checksums of the segment say that this record is as it was written

    @property
    def key(self) -> str:
        return self.digest.hex()


class Batch(NamedTuple):
    """A batch, or the rest of one: the place of its table of contents."""

    start: int
    segment: int
    length: int  # of the table
    entries: int
    has_footer: bool


class Pack(NamedTuple):
    """A pack file. The id is that in its header or, if the header is damaged, that in its name."""

    path: str
    pack_id: int
    container_id: bytes
    kind: int  # TREES where the header is damaged: it may be one


def read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return a whole range of a file. Raise Damaged if the file is too short or cannot be read."""
    end = os.fstat(file.fileno()).st_size
    if offset + length > end:
        raise Damaged(f"the file ends at byte {end}, before byte {offset + length}")
    try:
        file.seek(offset)
        data = file.read(length)
    except OSError as error:
        raise Damaged(f"{error.strerror} at byte {offset}") from None
    if len(data) != length:
        raise Damaged(f"cannot be read at byte {offset}")
    return data


# --- packs and batches ------------------------------------------------------------------------------------------------


def directory_of_packs(container: str) -> str:
    """Return packed/ of version 2 or, where that is missing, packs/ of version 3."""
    packed, packs = (os.path.join(container, name) for name in ("packed", "packs"))
    return packs if os.path.isdir(packs) and not os.path.isdir(packed) else packed


def find_packs(container: str, problems: list[str]) -> list[Pack]:
    """Return every file of packed/ that begins like a pack, or is named like one, in the order of their ids."""
    directory = directory_of_packs(container)
    packs, headless = [], []
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if not os.path.isfile(path):
            continue
        try:
            with open(path, "rb") as file:
                head = file.read(64)
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        named = re.fullmatch(r"(\d{10})(-[0-9a-f]{16})?\.pack", name)
        if head[:8] == b"RSDOSPAK" and hashlib.sha256(head[:48]).digest()[:16] == head[48:]:
            _, version, container_id, pack_id, kind = PACK_HEADER.unpack(head[:48])
            if version == 2:
                packs.append(Pack(path, pack_id, container_id, kind))
            else:
                problems.append(f"{path}: a pack of version {version}, this program knows version 2")
        elif named:
            headless.append((path, int(named.group(1))))
    # The id of the container is in the header of every pack. If one is damaged, any other has it, or config.json.
    container_id = packs[0].container_id if packs else id_from_config(container)
    for path, pack_id in headless:
        if container_id is None:
            problems.append(f"{path}: the header is damaged, and so is all else that tells the id of the container")
        else:
            print(f"note: {path}: the header is damaged; going by the name", file=sys.stderr)
            packs.append(Pack(path, pack_id, container_id, TREES))
    return sorted(packs, key=lambda pack: pack.pack_id)


def id_from_config(container: str) -> bytes | None:
    """Return the container's id from config.json, if it can be read there."""
    try:
        with open(os.path.join(container, "config.json"), "rb") as file:
            found = re.search(rb'"container_id": "([0-9a-f]{32})"', file.read(1 << 20))
    except OSError:
        return None
    return bytes.fromhex(found.group(1).decode()) if found else None


def find_batches(file: BinaryIO, pack: Pack) -> tuple[list[Batch], list[tuple[int, int]]]:
    """Return the batches of a pack, by their footers, and the ranges (start, end) that no footer covers."""
    end = os.fstat(file.fileno()).st_size
    batches, uncovered = [], []
    at = end - end % ALIGNMENT
    while at > ALIGNMENT:
        batch = footer_before(file, at, pack)
        if batch is None:
            at -= ALIGNMENT
            continue
        if at < end:
            uncovered.append((at, end))
        batches.append(batch)
        at = end = batch.start
    if end > ALIGNMENT:
        uncovered.append((ALIGNMENT, end))
    return batches[::-1], uncovered[::-1]


def footer_before(file: BinaryIO, at: int, pack: Pack) -> Batch | None:
    """Return the batch that ends at ``at``, if there is a footer before it."""
    offset = at - 64
    try:
        data = read_at(file, offset, 64)
    except Damaged:
        return None
    place = pack.container_id + struct.pack("<QQ", pack.pack_id, offset)
    if data[:8] != b"RSDOSFTR" or hashlib.sha256(place + data[:48]).digest()[:16] != data[48:]:
        return None
    _, _, _, entries, start, segment, length, _ = FOOTER.unpack(data[:48])
    if start < ALIGNMENT or start % ALIGNMENT or not start <= segment <= segment + length <= offset:
        return None
    return Batch(start, segment, length, entries, True)


def find_segments(file: BinaryIO, start: int, end: int) -> Iterator[Batch]:
    """What is left of batches whose footer is lost: segments stand on multiples of 64, and check their own headers."""
    at, overlap = start, b""
    while at < end:
        data = overlap + read_at(file, at, min(1 << 24, end - at))
        base = at - len(overlap)
        found = data.find(b"RSDOSSEG")
        while found >= 0:
            if (base + found) % 64 == 0 and base + found + 64 <= end:
                table = read_header(read_at(file, base + found, 64))
                if table is not None and base + found + table.length <= end:
                    yield Batch(start, base + found, table.length, table.entries, False)
            found = data.find(b"RSDOSSEG", found + 1)
        at = base + len(data)
        overlap = data[-7:]


# --- segments ---------------------------------------------------------------------------------------------------------
#
# A segment of n entries (version 2): header (64 bytes); n times the first 8 key bytes, as a number; n times the rest of
# the entry (58 bytes); and a CRC-32 for each 65536 bytes of the two columns. Where such a block is damaged its entries
# are tried nevertheless: the SHA-256 of the object decides in the end. A large one in a file of the index (version 4)
# has its columns from byte 4096 on, a CRC-32 for each 16384 bytes, and more behind them, which is not needed here.
#
# A compact one (version 3): header (64 bytes); n keys; n CRCs; a zlib stream of the other columns, one after another,
# of each the first bytes of all entries, then the second bytes, and so on; and 56 bytes for each dictionary. In the
# place of the offset is the gap to the end of the entry before. One CRC-32 covers all of it.


class Table(NamedTuple):
    """What the header of a segment says."""

    version: int
    entries: int
    length: int
    stream: int  # of a compact one, the length of its zlib stream
    crc: int
    dictionaries: int  # that the batch brought into its pack
    first: int  # the number of the first of them


def read_header(head: bytes) -> Table | None:
    """The header of a segment, if it is one that was written."""
    if head[:8] != b"RSDOSSEG" or hashlib.sha256(head[:48]).digest()[:16] != head[48:64]:
        return None
    _, version, _, stream, entries, _, crc, dictionaries, first = SEGMENT_HEADER.unpack(head[:48])
    if version == 3:
        length = 64 + 36 * entries + stream + PLACE.size * dictionaries
        return Table(version, entries, length, stream, crc, dictionaries, first)
    return Table(version, entries, segment_length(entries, version), 0, crc, 0, 0) if version in FORMS else None


def segment_length(entries: int, version: int = 2) -> int:
    """Bytes in a segment that is not compact, up to the end of its CRCs."""
    start, block_size = FORMS[version]
    return start + 66 * entries + 4 * -(-66 * entries // block_size)


def read_table(file: BinaryIO, pack: Pack, batch: Batch) -> list[Record]:
    """All records of a batch, in the order in which the objects stand in the pack."""
    table = read_header(read_at(file, batch.segment, 64))
    if table.version == 2 if table else batch.length == segment_length(batch.entries):
        return read_segment(file, batch)
    try:
        return read_compact(file, batch)
    except Damaged as error:
        records = read_index(pack, batch)
        if not records:
            raise
        print(f"note: {pack.path}: {error}; going by the index, which has {len(records)} objects", file=sys.stderr)
        return records


def read_compact(file: BinaryIO, batch: Batch) -> list[Record]:
    """The records of a compact segment."""
    data = read_at(file, batch.segment, batch.length)
    table = read_header(data[:64])
    if table is None or table.length != len(data) or zlib.crc32(data[64:]) != table.crc:
        raise Damaged(f"the table of contents at byte {batch.segment} is damaged")
    n = table.entries
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(data[64 + 36 * n : 64 + 36 * n + table.stream], 30 * n + 1)
    except zlib.error as error:
        raise Damaged(f"the table of contents at byte {batch.segment}: {error}") from None
    if len(raw) != 30 * n:
        raise Damaged(f"the table of contents at byte {batch.segment} has other columns than it should")
    gaps, lengths, sizes = (numbers(raw, 8 * at * n, 8, n) for at in range(3))
    pack_ids, codecs, flags = numbers(raw, 24 * n, 4, n), raw[28 * n : 29 * n], raw[29 * n :]
    crcs = struct.unpack_from(f"<{n}I", data, 64 + 32 * n)
    records, end = [], 0
    for i in range(n):
        digest = data[64 + 32 * i : 96 + 32 * i]
        offset = (end + gaps[i]) % (1 << 64)
        end = offset + lengths[i]
        crc = crcs[i] ^ int.from_bytes(digest[:4], "big")
        records.append(Record(digest, offset, lengths[i], sizes[i], pack_ids[i], crc, codecs[i], flags[i], True))
    return records


def numbers(raw: bytes, at: int, width: int, n: int) -> tuple[int, ...]:
    """A column of a compact segment."""
    column = bytearray(width * n)
    for byte in range(width):
        column[byte::width] = raw[at + byte * n : at + (byte + 1) * n]
    return struct.unpack(f"<{n}{'Q' if width == 8 else 'I'}", column)


def read_index(pack: Pack, batch: Batch) -> list[Record]:
    """What the segment files of the index say of the objects of a batch; they may know of none, or of a part."""
    directory = os.path.join(os.path.dirname(os.path.dirname(pack.path)), "index")
    found = {}
    for name in sorted(os.listdir(directory) if os.path.isdir(directory) else ()):
        if re.fullmatch(r"\d{10}\.seg", name):
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    table = read_header(read_at(file, 0, 64))
                    place = Batch(0, 0, table.length, table.entries, False) if table else None
                    records = read_segment(file, place, table.version) if table and table.version in FORMS else []
            except (Damaged, OSError):
                continue
            for record in records:
                is_inside = record.pack_id == pack.pack_id and batch.start <= record.offset <= batch.segment
                if is_inside and not record.flags & TOMBSTONE:
                    found[record.digest, record.offset] = record
    return sorted(found.values(), key=lambda record: record.offset)


def read_segment(file: BinaryIO, batch: Batch, version: int = 2) -> list[Record]:
    """The records of a segment that is not compact."""
    n = batch.entries
    start, block_size = FORMS[version]
    data = read_at(file, batch.segment, segment_length(n, version))
    columns, table = data[start : start + 66 * n], data[start + 66 * n :]
    sound = []
    for block in range(len(table) // 4):
        crc = zlib.crc32(columns[block * block_size : (block + 1) * block_size])
        sound.append(table[4 * block : 4 * block + 4] == struct.pack("<I", crc))
    records = []
    for i in range(n):
        first, rest = 8 * i, 8 * n + 58 * i
        (prefix,) = struct.unpack_from("<Q", columns, first)
        tail, offset, length, size, pack_id, crc, codec, flags = RECORD.unpack_from(columns, rest)
        digest = prefix.to_bytes(8, "big") + tail
        # The CRC is that of the stored bytes, XORed with the first 4 key bytes.
        crc ^= prefix >> 32
        checked = sound[first // block_size] and sound[rest // block_size] and sound[(rest + 57) // block_size]
        records.append(Record(digest, offset, length, size, pack_id, crc, codec, flags, checked))
    return sorted(records, key=lambda record: record.offset)


def read_batch(file: BinaryIO, pack: Pack, batch: Batch) -> list[Record]:
    """The records of a batch that can be believed."""
    records = read_table(file, pack, batch)
    if batch.has_footer:
        return records
    # A segment without a footer may be a part of an object: of a pack of another container that was stored here, say.
    # So it deletes nothing, and names only what can be its own.
    place = range(batch.start, batch.segment)
    return [r for r in records if not r.flags & TOMBSTONE and r.pack_id == pack.pack_id and r.offset in place]


# --- dictionaries -----------------------------------------------------------------------------------------------------


class Dictionaries:
    """The dictionaries of all packs. One counts only if its bytes have the SHA-256 that names it."""

    def __init__(self, packs: list[Pack]) -> None:
        """Read what the tables of contents name. A table whose header is damaged names none."""
        self._found: dict[bytes, bytes] = {}  # by their SHA-256
        self._numbers: dict[tuple[int, int], bytes] = {}  # by pack id and number
        for pack in packs:
            try:
                with open(pack.path, "rb") as file:
                    batches, uncovered = find_batches(file, pack)
                    for start, end in uncovered:
                        batches += find_segments(file, start, end)
                    for batch in batches:
                        self._collect(file, pack, batch)
            except (Damaged, OSError):
                continue  # It is reported when its objects are read.

    def _collect(self, file: BinaryIO, pack: Pack, batch: Batch) -> None:
        table = read_header(read_at(file, batch.segment, 64))
        if table is None or not table.dictionaries or table.length != batch.length:
            return
        length = PLACE.size * table.dictionaries
        places = read_at(file, batch.segment + batch.length - length, length)
        for number, place in enumerate(PLACE.iter_unpack(places), table.first):
            self._add(file, (pack.pack_id, number), *place)

    def _add(self, file: BinaryIO, name: tuple[int, int], digest: bytes, length: int, *offsets: int) -> None:
        for offset in offsets:
            try:
                data = read_at(file, offset, min(length, FRAME_SIZE))
            except Damaged:
                continue
            if hashlib.sha256(data).digest() == digest:
                self._found[digest] = data
        self._numbers.setdefault(name, digest)

    def of(self, record: Record) -> list[bytes]:
        """Return the dictionaries to try for an object, first the one that it needs.

        The others are for an object whose pack no longer says which one that is. The SHA-256 of the object decides.
        """
        if not self._found:
            raise Damaged("the dictionary that it needs is lost")
        own = self._found.get(self._numbers.get((record.pack_id, record.codec - DICTIONARY), b""))
        others = [data for data in self._found.values() if data is not own]
        return others if own is None else [own, *others]


# --- from stored bytes to raw bytes -----------------------------------------------------------------------------------


def raw_parts(file: BinaryIO, record: Record) -> Iterator[bytes]:
    """Yield the raw bytes of an object, in parts of a few MiB at most, after a check of the stored bytes' CRC-32."""
    check_crc(file, record)
    if record.codec == ZSTD:
        if record.flags & FRAMED:
            yield from zstd_framed(file, record)
        else:
            yield from zstd([stored(file, record)], [record.size])
    elif record.codec == ZLIB:
        yield from inflate(file, record)
    elif record.codec == MIXED:
        yield from mixed(file, record)
    elif record.codec == RAW:
        # After the bytes of a framed object comes a table of checksums, which is not needed to read all of it.
        yield from ranges(file, record.offset, record.size)
    else:
        raise Damaged(f"codec {record.codec} is not known")


def ranges(file: BinaryIO, offset: int, length: int) -> Iterator[bytes]:
    """Yield a range of a file, in parts of at most one frame."""
    for at in range(offset, offset + length, FRAME_SIZE):
        yield read_at(file, at, min(FRAME_SIZE, offset + length - at))


def stored(file: BinaryIO, record: Record) -> bytes:
    """Return the stored bytes of an object of at most one frame. No codec makes it larger by more than an eighth."""
    if record.length > FRAME_SIZE + FRAME_SIZE // 8 or record.size > FRAME_SIZE:
        raise Damaged("larger than one frame, but not stored in frames")
    return read_at(file, record.offset, record.length)


def check_crc(file: BinaryIO, record: Record) -> None:
    crc = 0
    for part in ranges(file, record.offset, record.length):
        crc = zlib.crc32(part, crc)
    if record.crc not in (crc, -1):
        raise Damaged("the stored bytes have another CRC-32 than when they were written")


def inflate(file: BinaryIO, record: Record) -> Iterator[bytes]:
    """Yield the raw bytes of a zlib object. Its stored bytes begin with one zlib stream, framed or not."""
    inflater = zlib.decompressobj()
    try:
        for part in ranges(file, record.offset, record.length):
            rest = part
            while rest and not inflater.eof:
                yield inflater.decompress(rest, FRAME_SIZE)
                rest = inflater.unconsumed_tail
        yield inflater.flush()
    except zlib.error as error:
        raise Damaged(f"zlib: {error}") from None


def zstd_framed(file: BinaryIO, record: Record) -> Iterator[bytes]:
    """The stored bytes are zstd frames, one for each MiB, and a seek table: 12 bytes for each frame between 8 and 9."""
    table = frame_table(file, record, 8, 12, 9)
    pieces = [struct.unpack_from("<II", table, 8 + 12 * i) for i in range((len(table) - 17) // 12)]
    yield from frames(file, record.offset, [(length, size, True) for length, size in pieces])


def mixed(file: BinaryIO, record: Record) -> Iterator[bytes]:
    """The stored bytes are frames of a MiB, raw ones and shorter zstd ones, and a table: 8 bytes for each, and 16."""
    table = frame_table(file, record, 0, 8, 16)
    pieces = []
    for i in range((len(table) - 16) // 8):
        (length,) = struct.unpack_from("<I", table, 8 * i)
        size = min(FRAME_SIZE, record.size - i * FRAME_SIZE)
        pieces.append((length, size, length != size))
    yield from frames(file, record.offset, pieces)


def frame_table(file: BinaryIO, record: Record, before: int, each: int, behind: int) -> bytes:
    """The table at the end of the stored bytes, so many bytes for each frame, and before and behind all of them."""
    length = before + each * -(-record.size // FRAME_SIZE) + behind
    if not 0 < length < record.length:
        raise Damaged("there is no room for its table of frames")
    return read_at(file, record.offset + record.length - length, length)


def frames(file: BinaryIO, offset: int, pieces: list[tuple[int, int, bool]]) -> Iterator[bytes]:
    """The raw bytes of frames one after another: the length of each, its size, and whether it is zstd or raw."""
    waiting, sizes = [], []
    for i, (length, size, is_zstd) in enumerate(pieces):
        if size > FRAME_SIZE or length > FRAME_SIZE + FRAME_SIZE // 8:
            raise Damaged("its table of frames makes no sense")
        piece = read_at(file, offset, length)
        offset += length
        if is_zstd:
            waiting.append(piece)
            sizes.append(size)
        if waiting and (not is_zstd or len(waiting) == 8 or i == len(pieces) - 1):
            yield from zstd(waiting, sizes)
            waiting, sizes = [], []
        if not is_zstd:
            yield piece


# --- zstd, through whatever door is there -----------------------------------------------------------------------------


def zstd(frames: list[bytes], sizes: list[int], dictionary: bytes = b"") -> list[bytes]:
    """Return the raw bytes of some zstd frames, which may need a dictionary."""
    try:
        raws = zstd_door()(frames, dictionary)
    except Exception as error:  # noqa: BLE001 - each of the modules has exceptions of its own
        raise Damaged(f"zstd: {error}") from None
    raw = b"".join(raws)
    if len(raw) != sum(sizes):
        raise Damaged(f"zstd: {len(raw)} bytes came out where {sum(sizes)} should")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [raw[start : start + sizes[i]] for i, start in enumerate(starts)]


_door: list[Callable[[list[bytes], bytes], list[bytes]]] = []


def zstd_door() -> Callable[[list[bytes], bytes], list[bytes]]:
    """Return a function that decodes zstd frames, with a dictionary unless that is empty. It is looked for once."""
    if not _door:
        _door.append(find_zstd())
    return _door[0]


def find_zstd() -> Callable[[list[bytes], bytes], list[bytes]]:
    for name in ("compression.zstd", "backports.zstd", "pyzstd"):
        try:
            module = __import__(name, fromlist=["decompress"])
        except ImportError:
            continue
        return lambda frames, dictionary: through_module(module, frames, dictionary)
    try:
        import zstandard
    except ImportError:
        return zstd_program
    return lambda frames, dictionary: through_zstandard(zstandard, frames, dictionary)


def through_module(module: Any, frames: list[bytes], dictionary: bytes) -> list[bytes]:
    digested = module.ZstdDict(dictionary) if dictionary else None
    return [module.decompress(frame, digested) for frame in frames]


def through_zstandard(zstandard: Any, frames: list[bytes], dictionary: bytes) -> list[bytes]:
    decompressor = zstandard.ZstdDecompressor(zstandard.ZstdCompressionDict(dictionary) if dictionary else None)
    return [decompressor.decompress(frame, max_output_size=FRAME_SIZE) for frame in frames]


def zstd_program(frames: list[bytes], dictionary: bytes) -> list[bytes]:
    """All at once: the program decodes frames that stand one after another, and starting it costs milliseconds."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(dictionary)
        file.flush()
        command = ["zstd", "-dcq", *(["-D", file.name] if dictionary else [])]
        try:
            done = subprocess.run(command, input=b"".join(frames), stdout=-1, stderr=-1, check=False)
        except FileNotFoundError:
            raise OSError("install the `zstd` program, or the Python module zstandard, and try again") from None
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip())
    return [done.stdout]


# --- writing what came out --------------------------------------------------------------------------------------------


class Extraction:
    """Writes objects to DEST. A file gets its key as its name only after its hash was checked.

    Small zstd objects are collected and decoded together, for the sake of the `zstd` program.
    """

    def __init__(self, destination: str, wanted: Iterable[str], dictionaries: Dictionaries) -> None:
        self.destination = destination
        self.dictionaries = dictionaries
        self.wanted = set(wanted)
        self.failed: dict[str, str] = {}
        self.count = 0
        self._waiting: list[tuple[Record, bytes, str, list[bytes]]] = []  # the last: dictionaries to try
        self._waiting_size = 0

    def path(self, key: str) -> str:
        return os.path.join(self.destination, key[:2], key)

    def take(self, file: BinaryIO, record: Record, where: str) -> None:
        """Extract one copy of an object, unless another copy was good."""
        if (self.wanted and record.key not in self.wanted) or os.path.exists(self.path(record.key)):
            return
        try:
            if (record.codec == ZSTD or record.codec >= DICTIONARY) and not record.flags & FRAMED:
                check_crc(file, record)
                dictionaries = [b""] if record.codec == ZSTD else self.dictionaries.of(record)
                self._waiting.append((record, stored(file, record), where, dictionaries))
                self._waiting_size += record.size
                if self._waiting_size > 8 * FRAME_SIZE or len(self._waiting) == 4096:
                    self.flush()
            else:
                self.write(record, raw_parts(file, record))
        except Damaged as error:
            self.fail(record, where, str(error))

    def flush(self) -> None:
        """Decode and write the collected objects, those of one dictionary together."""
        waiting, self._waiting, self._waiting_size = self._waiting, [], 0
        raws: dict[int, bytes] = {}
        for first in {dictionaries[0] for _, _, _, dictionaries in waiting}:
            some = [i for i, (_, _, _, dictionaries) in enumerate(waiting) if dictionaries[0] == first]
            try:
                decoded = zstd([waiting[i][1] for i in some], [waiting[i][0].size for i in some], first)
            except Damaged:
                continue  # One of them spoils all: they are decoded one by one.
            for at, i in enumerate(some):
                raws[i] = decoded[at]
        for i, (record, data, where, dictionaries) in enumerate(waiting):
            for dictionary in dictionaries:
                try:
                    raw = raws.pop(i, None)
                    self.write(record, zstd([data], [record.size], dictionary) if raw is None else [raw])
                    break
                except Damaged as error:
                    self.fail(record, where, str(error))

    def write(self, record: Record, parts: Iterable[bytes]) -> None:
        """Write an object, and give it its name if its bytes have the hash of its key."""
        path = self.path(record.key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        hasher = hashlib.sha256()
        try:
            with open(path + ".part", "wb") as out:
                for part in parts:
                    hasher.update(part)
                    out.write(part)
                    if out.tell() > record.size:
                        raise Damaged(f"more than its {record.size} bytes come out")
            if hasher.digest() != record.digest:
                raise Damaged("the bytes have another SHA-256 than their key")
        except BaseException:
            os.unlink(path + ".part")
            raise
        os.replace(path + ".part", path)
        self.count += 1

    def fail(self, record: Record, where: str, reason: str) -> None:
        """Remember a bad copy. It is reported at the end, if no other copy was good."""
        if not record.sound:
            reason += " (or the index entry is damaged, and was never that of an object)"
        self.failed[record.key] = f"object {record.key} ({where}): {reason}"

    def problems(self) -> list[str]:
        """Return a line for each object that did not come out."""
        missing = sorted(key for key in self.wanted - self.failed.keys() if not os.path.exists(self.path(key)))
        bad = [text for key, text in self.failed.items() if not os.path.exists(self.path(key))]
        return bad + [f"object {key}: not found" for key in missing]


# --- the whole container ----------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """The records of one batch, and its open pack."""

    file: BinaryIO
    pack: Pack
    batch: Batch
    records: list[Record]


def walk(packs: list[Pack], problems: list[str]) -> Iterator[Found]:
    """Yield every batch of every pack."""
    for pack in packs:
        try:
            with open(pack.path, "rb") as file:
                batches, uncovered = find_batches(file, pack)
                for start, end in uncovered:
                    found = list(find_segments(file, start, end))
                    batches += found
                    if not found:
                        problems.append(
                            f"{pack.path}: bytes {start} to {end} have no table of contents: an insert that was never"
                            " finished (then nothing is lost), or a damaged batch"
                        )
                for batch in batches:
                    try:
                        records = read_batch(file, pack, batch)
                    except Damaged as error:
                        problems.append(f"{pack.path}: {error}")
                    else:
                        yield Found(file, pack, batch, records)
        except (Damaged, OSError) as error:
            problems.append(f"{pack.path}: {error}")


def find_tombstones(packs: list[Pack]) -> set[tuple[bytes, int, int]]:
    """Return the deleted extents. A tombstone kills one extent, in any pack, so all are collected first.

    A tombstone counts only if its block of the segment is undamaged: in doubt an object is kept.
    """
    dead = set()
    for found in walk(packs, []):
        for record in found.records:
            if record.flags & TOMBSTONE and record.sound:
                dead.add((record.digest, record.pack_id, record.offset))
    return dead


def is_live(record: Record, dead: set[tuple[bytes, int, int]]) -> bool:
    """Return whether the record is that of an object that was not deleted."""
    return not record.flags & TOMBSTONE and (record.digest, record.pack_id, record.offset) not in dead


def find_loose(container: str) -> Iterator[tuple[str, str, int]]:
    """Yield path, key and codec of each loose object: a file of loose/ whose path is a key."""
    top = os.path.join(container, "loose")
    for directory, _, names in os.walk(top):
        prefix = os.path.relpath(directory, top).replace(os.sep, "").replace(".", "")
        for name in names:
            stem, _, suffix = name.partition(".")
            codec = {"": RAW, "zz": ZLIB, "zst": ZSTD}.get(suffix)
            if codec is not None and KEY(prefix + stem):
                yield os.path.join(directory, name), prefix + stem, codec


def loose_record(file: BinaryIO, key: str, codec: int) -> Record:
    """Return a loose object as a record. A raw one is its file; the file of a compressed one ends with a trailer."""
    length = os.fstat(file.fileno()).st_size
    size, flags = length, 0
    if codec != RAW:
        length -= TRAILER.size
        magic, rest, size, flags, _ = TRAILER.unpack(read_at(file, max(length, 0), TRAILER.size))
        if (magic, rest) != (0x184D2A50, 16):
            raise Damaged("it does not end like a compressed loose object")
    return Record(bytes.fromhex(key), 0, length, size, 0, -1, codec, flags, True)


def list_all(container: str, problems: list[str]) -> None:
    """Print a line for each copy of each object."""
    packs = find_packs(container, problems)
    dead = find_tombstones(packs)
    for found in walk(packs, problems):
        for record in found.records:
            if is_live(record, dead):
                name = CODEC_NAMES.get(ZSTD if record.codec >= DICTIONARY else record.codec, str(record.codec))
                print(record.key, record.size, name, record.pack_id, record.offset)
    for path, key, codec in find_loose(container):
        try:
            with open(path, "rb") as file:
                record = loose_record(file, key, codec)
        except (Damaged, OSError) as error:
            problems.append(f"{path}: {error}")
        else:
            print(key, record.size, CODEC_NAMES[codec], "loose", 0)
    sys.stdout.flush()


def extract_all(container: str, destination: str, keys: list[str], problems: list[str]) -> None:
    """Write every object, or those with the keys given, to a directory."""
    packs = find_packs(container, problems)
    extraction = Extraction(destination, keys, Dictionaries(packs))
    extract_packed(packs, find_tombstones(packs), extraction, problems)
    extract_loose(container, extraction, problems)
    problems += extraction.problems()
    print(f"{extraction.count} objects written to {destination}", file=sys.stderr)


def extract_packed(
    packs: list[Pack], dead: set[tuple[bytes, int, int]], extraction: Extraction, problems: list[str]
) -> None:
    for found in walk(packs, problems):
        for record in found.records:
            if is_live(record, dead):
                extraction.take(found.file, record, f"pack {found.pack.pack_id}, byte {record.offset}")
        extraction.flush()


def extract_loose(container: str, extraction: Extraction, problems: list[str]) -> None:
    for path, key, codec in find_loose(container):
        try:
            with open(path, "rb") as file:
                extraction.take(file, loose_record(file, key, codec), path)
        except (Damaged, OSError) as error:
            problems.append(f"{path}: {error}")
    extraction.flush()


# --- snapshots --------------------------------------------------------------------------------------------------------
#
# A leaf page: header; for each directory, how many entries it has, and the length of its path; the paths; of each entry
# the kind, the length of the name; the names; of each entry the size; of each file the key of its content; of each link
# the length of its target; the targets; the times of change and the modes, if the tree has them. An inner page: header;
# of each child the lengths of the directory and of the name of its last entry; these directories and names; of each
# child its entries and the bytes of its files; and its key.


class Entry(NamedTuple):
    """A name of a snapshot."""

    path: bytes
    kind: int
    key: str  # of a file
    target: bytes  # of a link
    mtime: int | None
    mode: int | None


class Columns:
    """Reads one column of a page after another."""

    def __init__(self, page: bytes) -> None:
        self._page = page
        self._at = 0

    def take(self, length: int) -> bytes:
        self._at += length
        if self._at > len(self._page):
            raise Damaged("a page is shorter than its counts say")
        return self._page[self._at - length : self._at]

    def numbers(self, form: str, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}{form}", self.take(count * struct.calcsize("<" + form)))

    def each(self, lengths: Iterable[int]) -> list[bytes]:
        return [self.take(length) for length in lengths]


def read_page(page: bytes) -> tuple[list[str], list[Entry]]:
    """Return the keys of the pages below a page, or its entries."""
    columns = Columns(page)
    magic, version, level, attributes, _, n, d = struct.unpack("<4s4BII", columns.take(16))
    if magic != b"RSTR" or version != 1:
        raise Damaged("it is no page of version 1")
    if level:
        lengths = [*columns.numbers("H", n), *columns.numbers("B", n)]
        columns.each([*lengths, 16 * n])  # what is said of the children, but for their keys
        return [key.hex() for key in columns.each([32] * n)], []
    counts = columns.numbers("I", d)
    directories = columns.each(columns.numbers("H", d))
    kinds = columns.take(n)
    names = columns.each(columns.numbers("B", n))
    columns.take(8 * n)  # sizes
    keys = iter(columns.each([32] * (kinds.count(FILE) + kinds.count(EXECUTABLE))))
    targets = iter(columns.each(columns.numbers("H", kinds.count(LINK))))
    mtimes = columns.numbers("q", n) if attributes & TIMES else [None] * n
    modes = columns.numbers("H", n) if attributes & MODES else [None] * n
    if sum(counts) != n:
        raise Damaged("a page has other entries than its directories")
    entries = []
    of_entries = [directory for directory, count in zip(directories, counts) for _ in range(count)]  # noqa: B905
    for directory, name, kind, mtime, mode in zip(of_entries, names, kinds, mtimes, modes):  # noqa: B905
        path = directory + b"/" + name if directory else name
        if any(part in (b"", b".", b"..") for part in path.split(b"/")) or b"/" in name or b"\0" in path:
            raise Damaged(f"a page has the path {path!r}")
        key = next(keys).hex() if kind in (FILE, EXECUTABLE) else ""
        entries.append(Entry(path, kind, key, next(targets) if kind == LINK else b"", mtime, mode))
    return [], entries


class Snapshots:
    """The snapshots of a container. Their pages, and what is restored, are extracted to a directory first."""

    def __init__(self, container: str, directory: str, problems: list[str]) -> None:
        self._container = container
        self._problems = problems
        self._packs = find_packs(container, problems)
        self._dead = find_tombstones(self._packs)
        self._extraction = Extraction(directory, (), Dictionaries(self._packs))
        trees = [pack for pack in self._packs if pack.kind == TREES]
        extract_packed(trees, self._dead, self._extraction, problems)
        self.damaged = self._extraction.problems()
        """Lines about pages, snapshots and refs documents that did not come out."""

    def read(self, key: str) -> bytes:
        with open(self.path(key), "rb") as file:
            return file.read()

    def path(self, key: str) -> str:
        """Return the file with an object. Raise Damaged if there is none."""
        path = self._extraction.path(key)
        if not os.path.exists(path):
            raise Damaged(self._extraction.failed.get(key, f"object {key}: not found"))
        return path

    def extract(self, keys: Iterable[str]) -> None:
        """Get objects out of all packs and loose files. What does not come out is missed by `read`."""
        wanted = {key for key in keys if not os.path.exists(self._extraction.path(key))}
        if wanted:
            self._extraction.wanted = wanted
            extract_packed(self._packs, self._dead, self._extraction, self._problems)
            extract_loose(self._container, self._extraction, self._problems)

    def refs(self) -> list[tuple[str, str, str]]:
        """Return name, key and time of each version and each tag, by the newest refs document that is whole."""
        ids = {pack.container_id.hex() for pack in self._packs}
        newest: list[dict[str, Any]] = []
        for document in self._documents():
            if document.get("container_id") in ids:
                number = newest[0]["number"] if newest else -1
                if document["number"] >= number:
                    # Two of one number: one writer was outrun, and died. Both have names that somebody may want.
                    newest = [*(newest if document["number"] == number else []), document]
        found = set()
        for document in newest:
            found |= {(tag, snapshot, "") for tag, snapshot in document["tags"].items()}
            for name, branch in document["branches"].items():
                found |= {(f"{name}@{number}", snapshot, time) for number, snapshot, time in branch["versions"]}
        return sorted(found, key=lambda row: [part.zfill(20) if part.isdigit() else part for part in row[0].split("@")])

    def _documents(self) -> Iterator[dict[str, Any]]:
        for directory, _, names in os.walk(self._extraction.destination):
            for name in names:
                with open(os.path.join(directory, name), "rb") as file:
                    data = file.read(1 << 26) if file.read(1) == b"{" else b""
                if b'"type":"rsdos refs"' in data:
                    yield json.loads(b"{" + data)

    def find(self, ref: str) -> str:
        """Return the key of the snapshot that a name, a version, a tag or a key stands for. Raise Damaged."""
        if KEY(ref):
            return ref
        if self.damaged:
            print(f"note: {len(self.damaged)} pages or lists of names are damaged: names may be old", file=sys.stderr)
        found = [key for name, key, _ in self.refs() if name == ref or name.rpartition("@")[0] == ref]
        if not found:
            raise Damaged(f"{ref}: no snapshot has this name")
        return found[-1]

    def entries(self, snapshot: str) -> list[Entry]:
        """Return all entries of a snapshot, as far as its pages are whole."""
        self.extract([snapshot])
        entries: list[Entry] = []
        pages = [json.loads(self.read(snapshot))["tree"]]
        while pages:
            self.extract(pages)
            below = []
            for page in pages:
                try:
                    keys, some = read_page(self.read(page))
                except Damaged as error:
                    self._problems.append(f"a part of the tree is lost: {error}")
                else:
                    below += keys
                    entries += some
            pages = below
        return entries


def list_refs(container: str, problems: list[str]) -> None:
    """Print a line for each version and each tag."""
    with tempfile.TemporaryDirectory() as directory:
        snapshots = Snapshots(container, directory, problems)
        for name, key, time in snapshots.refs():
            print(name, key, time or "tag")
        problems += snapshots.damaged
    sys.stdout.flush()


def restore(container: str, ref: str, destination: str, problems: list[str]) -> None:
    """Write the files of a snapshot to a directory: directories and files first, links last."""
    if os.path.isdir(destination) and os.listdir(destination):
        problems.append(f"{destination}: it is not empty")
        return
    os.makedirs(destination, exist_ok=True)
    count = 0
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(destination))) as directory:
        snapshots = Snapshots(container, directory, problems)
        try:
            entries = snapshots.entries(snapshots.find(ref))
        except Damaged as error:
            problems.append(str(error))
            return
        links = {entry.path for entry in entries if entry.kind == LINK}
        snapshots.extract(entry.key for entry in entries if entry.key)
        for entry in sorted(entries, key=lambda entry: (entry.kind == LINK, entry.path)):
            try:
                if not links.isdisjoint(above(entry.path)):
                    raise Damaged("it is below a link")
                write_entry(snapshots, entry, os.path.join(os.fsencode(destination), entry.path))
                count += 1
            except (Damaged, OSError) as error:
                problems.append(f"{os.fsdecode(entry.path)}: {error}")
    # Behind all that is written into them.
    for entry in sorted(entries, key=lambda entry: entry.path, reverse=True):
        path = os.path.join(os.fsencode(destination), entry.path)
        if entry.kind == DIRECTORY and os.path.isdir(path):
            set_attributes(entry, path)
    print(f"{count} files, links and directories written to {destination}", file=sys.stderr)


def above(path: bytes) -> Iterator[bytes]:
    """Yield the directories that a path is in."""
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def write_entry(snapshots: Snapshots, entry: Entry, path: bytes) -> None:
    os.makedirs(path if entry.kind == DIRECTORY else os.path.dirname(path), exist_ok=True)
    if entry.kind == LINK:
        os.symlink(entry.target, path)
    elif entry.kind != DIRECTORY:
        with open(snapshots.path(entry.key), "rb") as source, open(path, "xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        if entry.kind == EXECUTABLE:
            os.chmod(path, os.stat(path).st_mode | 0o111)
        set_attributes(entry, path)


def set_attributes(entry: Entry, path: bytes) -> None:
    if entry.mode is not None:
        os.chmod(path, entry.mode & 0o777)
    if entry.mtime is not None:
        os.utime(path, ns=(entry.mtime, entry.mtime))


COMMANDS = {
    "list": (0, 0),
    "extract": (1, sys.maxsize),
    "refs": (0, 0),
    "restore": (2, 2),
}  # with the fewest and the most arguments


def main(arguments: list[str]) -> int:
    command, rest = arguments[1:2], arguments[2:]
    fewest, most = COMMANDS.get("".join(command), (1, 0))
    if not fewest <= len(rest) <= most or (command == ["extract"] and not all(map(KEY, rest[1:]))):
        print((__doc__ or "").split("\n\n")[1], file=sys.stderr)
        return 2
    return rescue(arguments[0], command[0], rest)


def rescue(container: str, command: str, rest: list[str]) -> int:
    """Do what the command says. Return the exit code."""
    if not os.path.isdir(directory_of_packs(container)):
        print(f"{container}: not a container: there is no directory packed/ or packs/ in it", file=sys.stderr)
        return 2
    problems: list[str] = []
    try:
        if command == "extract":
            extract_all(container, rest[0], rest[1:], problems)
        elif command == "restore":
            restore(container, rest[0], rest[1], problems)
        else:
            (list_all if command == "list" else list_refs)(container, problems)
    except BrokenPipeError:
        # The reader of the list has seen enough (`| head`). Python must not find the pipe closed again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for problem in problems:
        print(f"NOT RESCUED: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
