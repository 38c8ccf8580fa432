"""Compact tables: what is encoded is decoded, exactly, and nothing else is believed."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsdos.errors import DamagedContainer
from rsdos.index.compact import MOST_ENTRIES, CompactTable, compact_parts, open_table
from rsdos.index.dictionaries import UNKNOWN, PackDictionary, numbered
from rsdos.index.entries import Entries
from rsdos.index.segment import Segment
from rsdos.index.segment_layout import encode_segment
from rsdos.model import Record, RecordFlag
from rsdos.storage.local import LocalFile
from tests.helpers import open_descriptors

_NUMBERS = st.integers(0, 2**64 - 1)
_RECORDS = st.builds(
    Record,
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**32 - 1),
    _NUMBERS,
    _NUMBERS,
    _NUMBERS,
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3]),
)
DICTIONARIES = (PackDictionary(b"d" * 32, 100, (4096, 5000)), PackDictionary(b"e" * 32, 70, (4196, 5100)))


def neighbours(count: int, *, pack_id: int = 7) -> list[Record]:
    """Objects that follow one another in a pack."""
    lengths = [n % 300 for n in range(count)]
    starts = accumulate(lengths, initial=4096)
    return [
        Record(sha256(b"%d" % n).digest(), pack_id, start, length, length + 5, zlib.crc32(b"%d" % n), 2, 0)
        for n, (start, length) in enumerate(zip(starts, lengths, strict=False))
    ]


def table(
    path: Path, entries: Entries, dictionaries: Sequence[PackDictionary] = (), first: int = 0, offset: int = 0
) -> CompactTable:
    """A compact table in a file, ``offset`` bytes from its beginning."""
    data = b"".join(compact_parts(entries, dictionaries, first))
    file = path / "pack"
    file.write_bytes(bytes(offset) + data)
    opened = open_table(LocalFile(str(file)), offset, len(data))
    assert isinstance(opened, CompactTable)
    return opened


def resealed(data: bytes, **changes: int) -> bytes:
    """The same with other numbers in its header, and with checksums that are right."""
    names = ("stream", "count", "tombstones", "crc", "dictionaries", "first")
    magic, version, zero, *numbers = struct.unpack("<8sHHIQQIII4x", data[:48])
    values = dict(zip(names, numbers, strict=True)) | {"crc": zlib.crc32(data[64:])} | changes
    head = struct.pack("<8sHHIQQIII4x", magic, changes.get("version", version), zero, *(values[n] for n in names))
    return head + sha256(head).digest()[:16] + data[64:]


@given(records=st.lists(_RECORDS, max_size=40))
def test_any_entries_are_decoded_as_a_segment_has_them(records: list[Record]) -> None:
    with TemporaryDirectory() as directory:
        decoded = table(Path(directory), Entries.of_records(records)).verify()
    assert sorted(decoded) == sorted(records)
    order = [(record.digest, record.pack_id, record.offset) for record in decoded]
    assert order == sorted(order)


@pytest.mark.parametrize("count", [0, 1, 2, 1023, 5000])
def test_decoded_entries_are_byte_for_byte_those_of_a_segment(tmp_path: Path, count: int) -> None:
    entries = Entries.of_records(neighbours(count))
    compact = table(tmp_path, entries, offset=4096)
    assert encode_segment(compact.entries()) == encode_segment(entries.sort())
    assert (compact.count, len(compact), compact.tombstones, compact.dictionaries) == (count, count, 0, ())


def test_entries_of_many_packs_and_tombstones_are_decoded(tmp_path: Path) -> None:
    """A delete's table has extents of any pack, in the order of their keys."""
    records = [record for pack_id in (9, 1, 4) for record in neighbours(50, pack_id=pack_id)]
    entries = Entries.of_records(records).sort().as_tombstones()
    compact = table(tmp_path, entries)
    assert compact.tombstones == 150
    assert encode_segment(compact.verify()) == encode_segment(entries)


def test_an_entry_takes_38_bytes_where_objects_follow_one_another(tmp_path: Path) -> None:
    count = 20_000
    assert table(tmp_path, Entries.of_records(neighbours(count))).length <= 64 + 39 * count


def test_it_is_looked_up_as_a_segment_in_memory(tmp_path: Path) -> None:
    records = neighbours(2000)
    segment = table(tmp_path, Entries.of_records(records)).as_segment()
    assert segment.is_decoded
    assert [segment.first(record.digest) for record in records] == records
    assert segment.first(bytes(32)) is None
    assert not Segment.is_decoded


def test_dictionaries_are_with_the_table_that_brings_them(tmp_path: Path) -> None:
    compact = table(tmp_path, Entries.of_records(neighbours(3)), DICTIONARIES, first=2, offset=8192)
    assert (compact.dictionaries, compact.first_dictionary) == (DICTIONARIES, 2)
    assert len(compact.verify()) == 3


def test_a_segment_is_still_a_segment(tmp_path: Path) -> None:
    data = encode_segment(Entries.of_records(neighbours(10)).sort())
    (tmp_path / "segment").write_bytes(data)
    opened = open_table(LocalFile(str(tmp_path / "segment")), 0, len(data))
    assert isinstance(opened, Segment)
    assert (opened.dictionaries, opened.first_dictionary) == ((), 0)


def test_a_compact_table_is_no_segment(tmp_path: Path) -> None:
    table(tmp_path, Entries.of_records(neighbours(10)))
    with pytest.raises(DamagedContainer, match="compact"):
        Segment(LocalFile(str(tmp_path / "pack")))


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_every_flipped_bit_is_found(tmp_path: Path, bit: int) -> None:
    good = b"".join(compact_parts(Entries.of_records(neighbours(5)), DICTIONARIES))
    path = tmp_path / "pack"
    for at in range(len(good)):
        path.write_bytes(bytes(8192) + good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
        with pytest.raises(DamagedContainer):
            open_table(LocalFile(str(path)), 8192, len(good)).verify()


def test_every_cut_is_found(tmp_path: Path) -> None:
    good = b"".join(compact_parts(Entries.of_records(neighbours(5))))
    path = tmp_path / "pack"
    path.write_bytes(good)
    for length in range(len(good)):
        with pytest.raises(DamagedContainer):
            open_table(LocalFile(str(path)), 0, length).verify()


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 4},
        {"count": 6},
        {"count": 1 << 60},
        {"stream": 0},
        {"stream": 1 << 31},
        {"tombstones": 1},
        {"version": 4},
        {"dictionaries": 1},
        {"dictionaries": 241},
        {"first": 239},
    ],
)
def test_what_a_header_says_is_not_believed(tmp_path: Path, changes: dict[str, int]) -> None:
    """With checksums that are right: it was written so."""
    good = b"".join(compact_parts(Entries.of_records(neighbours(5)), DICTIONARIES))
    path = tmp_path / "pack"
    path.write_bytes(bytes(8192) + resealed(good, **changes))
    with pytest.raises(DamagedContainer):
        open_table(LocalFile(str(path)), 8192, len(good)).verify()


@pytest.mark.parametrize("bad", [(b"d" * 32, 0, (1, 1)), (b"d" * 32, 1 << 21, (1, 1)), (b"d" * 32, 9, (1, 8190))])
def test_a_dictionary_that_is_not_in_its_pack_is_damage(tmp_path: Path, bad: Any) -> None:
    entries, dictionary = Entries.of_records(neighbours(5)), PackDictionary(*bad)
    with pytest.raises(DamagedContainer):
        table(tmp_path, entries, [dictionary], offset=8192)


@pytest.mark.parametrize("raw", [30 * 5 - 1, 30 * 5 + 1, 30_000_000])
def test_a_stream_of_another_size_is_damage(tmp_path: Path, raw: int) -> None:
    good = b"".join(compact_parts(Entries.of_records(neighbours(5))))
    stream = zlib.compress(bytes(raw))
    data = resealed(good[: 64 + 36 * 5] + stream, stream=len(stream))
    (tmp_path / "pack").write_bytes(data)
    compact = open_table(LocalFile(str(tmp_path / "pack")), 0, len(data))
    with pytest.raises(DamagedContainer, match="does not decode"):
        compact.entries()


def test_a_table_that_is_a_hole_is_damage(tmp_path: Path) -> None:
    """Of keys that are all zeros the disk need have nothing."""
    records = [Record(bytes(32), 1, n, 0, 0, 0, 0, 0) for n in range(1025)]
    compact = table(tmp_path, Entries.of_records(records))
    with pytest.raises(DamagedContainer):
        compact.entries()


def test_a_table_of_too_many_entries_is_damage_before_it_takes_memory(tmp_path: Path) -> None:
    count = MOST_ENTRIES + 1
    stream = zlib.compress(bytes(30 * count))
    empty = b"".join(compact_parts(Entries.empty()))[:64]
    path = tmp_path / "pack"
    with open(path, "wb") as file:
        file.write(resealed(empty + bytes(36 * count) + stream, count=count, stream=len(stream)))
    with pytest.raises(DamagedContainer, match="entries"):
        open_table(LocalFile(str(path)), 0, path.stat().st_size)


def test_the_numbers_of_dictionaries_do_not_shift_where_a_table_is_lost() -> None:
    one, two = DICTIONARIES
    assert numbered([(0, [one]), (1, [two])], 10_000) == (one, two)
    assert numbered([(1, [two])], 10_000) == (UNKNOWN, two)
    assert numbered([(0, [one]), (1, [two])], two.end - 1) == (one,)
    assert numbered([], 10_000) == ()
    assert not any(record.flags & RecordFlag.TOMBSTONE for record in neighbours(3))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_table_far_away_keeps_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair holds the tables of all packs at the same time."""
    monkeypatch.setattr("rsdos.storage.local.is_local", lambda device, path: False)
    before = len(list(open_descriptors()))
    tables = [table(tmp_path, Entries.of_records(neighbours(20_000))) for _ in range(3)]
    assert all(len(one.entries()) == 20_000 for one in tables)
    assert len(list(open_descriptors())) == before
