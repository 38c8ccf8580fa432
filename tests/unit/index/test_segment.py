"""Segments against a dict, and what damage does to them."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsdos import Container
from rsdos.config import Config
from rsdos.engine.create import make_container
from rsdos.errors import DamagedContainer
from rsdos.index.digests import Digests
from rsdos.index.entries import Entries
from rsdos.index.fenced_parts import fenced_segment_parts
from rsdos.index.opening import open_segment_file
from rsdos.index.segment import Segment
from rsdos.index.segment_layout import FencedLayout, SegmentLayout, encode_segment
from rsdos.model import Record
from rsdos.storage.local import LocalFile
from tests.helpers import native


def record(digest: bytes, number: int = 0) -> Record:
    return Record(digest, 1 + number % 3, 4096 + 7 * number, number, 2 * number, number & 0xFFFFFFFF, number % 3, 0)


def encode_fenced(entries: Entries) -> bytes:
    return b"".join(fenced_segment_parts(entries))


Encode = Callable[[Entries], bytes]


def segment_of(path: Path, records: list[Record], encode: Encode = encode_segment) -> Segment:
    path.write_bytes(encode(Entries.of_records(records).sort()))
    return opened(path)


def opened(path: Path) -> Segment:
    """The segment in a file, which is closed again."""
    file = LocalFile(str(path))
    try:
        return open_segment_file(file)
    finally:
        file.close()


def first_of(segment: Segment, digest: bytes) -> list[Record]:
    first = segment.first(digest)
    return [] if first is None else [first]


def first_beside_others(segment: Segment, digest: bytes) -> list[Record]:
    first = segment.first_of_several(digest)
    return [] if first is None else [first]


def first_waiting(segment: Segment, digest: bytes) -> list[Record]:
    segment.wait()
    return first_of(segment, digest)


def first_of_all_checked(segment: Segment, digest: bytes) -> list[Record]:
    segment.check_all()
    return first_of(segment, digest)


forms = pytest.mark.parametrize("encode", [encode_segment, encode_fenced])
_LOOKS = [Segment.find, first_of, first_beside_others, first_waiting, first_of_all_checked]


def looks(test: Callable[..., None]) -> Any:
    """All ways to one key, in both forms: to all its entries, and the shorter ones to the first. The same for most."""
    return forms(pytest.mark.parametrize("look", _LOOKS)(test))


Look = Callable[[Segment, bytes], list[Record]]


def digests(count: int, seed: int = 0) -> list[bytes]:
    source = random.Random(seed)
    return [source.randbytes(32) for _ in range(count)]


@looks
@pytest.mark.parametrize("count", [0, 1, 2, 991, 8191, 8192, 8193, 30_000, 70_000])
def test_finds_what_is_there_and_nothing_else(tmp_path: Path, count: int, look: Look, encode: Encode) -> None:
    records = {digest: record(digest, number) for number, digest in enumerate(digests(count))}
    segment = segment_of(tmp_path / "segment", list(records.values()), encode)
    absent = digests(200, seed=1)
    for digest, wanted in list(records.items())[:300]:
        assert look(segment, digest) == [wanted]
    assert not any(look(segment, digest) for digest in absent)
    asked = [*records, *absent]
    at = segment.find_many(Digests.of(asked))
    assert (at[count:] == -1).all()
    assert list(segment.entries().take(at[:count])) == list(records.values())


def crowded(count: int) -> list[bytes]:
    """Keys as no hash makes them: most stand close together, and none where its first bytes say."""
    source = random.Random(count)
    heads = (b"\0", b"\1\0\0", b"\x7f\xff\xff\xff", b"\xff\xff")
    return [(source.choice(heads) + source.randbytes(32))[:32] for _ in range(count)]


@looks
@pytest.mark.parametrize("count", [2, 40, 1000, 20_000])
def test_keys_that_are_not_where_a_hash_would_have_them(tmp_path: Path, count: int, look: Look, encode: Encode) -> None:
    records = {digest: record(digest, number) for number, digest in enumerate(crowded(count))}
    segment = segment_of(tmp_path / "segment", list(records.values()), encode)
    for digest, wanted in list(records.items())[-400:]:
        assert look(segment, digest) == [wanted]
    absent = [*digests(200, seed=1), *crowded(count + 1)[:200], bytes(32), b"\xff" * 32]
    assert [look(segment, digest) for digest in absent if digest not in records] == [[]] * len(absent)


@looks
@pytest.mark.parametrize("make", [crowded, digests])
def test_no_lookup_uses_unchecked_bytes(
    tmp_path: Path, make: Callable[[int], list[bytes]], look: Look, encode: Encode
) -> None:
    """Whichever block of 64 KiB is damaged, and however far a look has to go: the entry, or the damage is told."""
    records = sorted(record(digest, number) for number, digest in enumerate(make(30_000)))
    path = tmp_path / "segment"
    segment_of(path, records, encode)
    good = path.read_bytes()
    columns = FencedLayout.start if encode is encode_fenced else SegmentLayout.start
    for block in range(30_000 * 8 // 65536 + 1):
        start = columns + block * 65536
        # Still in order, each a little off: a look that trusts them ends beside its key, and finds nothing.
        bad = bytearray(good)
        bad[start : start + 4096 : 8] = bytes(byte ^ 0xFF for byte in good[start : start + 4096 : 8])
        path.write_bytes(bad)
        first = block * 8192
        for own in records[max(first - 100, 0) : first + 600 : 3]:
            try:
                found = look(opened(path), own.digest)
            except DamagedContainer:
                continue
            assert found == [own]


def _digest(head: bytes, tail: int) -> bytes:
    """One of the keys that share the first 8 bytes of ``head``."""
    return head[:8] + bytes([tail]) + head[9:]


@forms
@given(st.lists(st.tuples(st.sampled_from(range(6)), st.sampled_from(range(4)), st.integers(0, 9)), unique=True))
def test_keys_that_share_their_first_bytes(
    tmp_path_factory: pytest.TempPathFactory, encode: Encode, picks: list[tuple[int, int, int]]
) -> None:
    """Copies of one key, and other keys with the same first 8 bytes."""
    heads = digests(6)
    records = [record(_digest(heads[head], tail), number) for head, tail, number in picks]
    segment = segment_of(tmp_path_factory.mktemp("segment") / "file", records, encode)
    every = {_digest(head, tail) for head in heads for tail in range(4)}
    for digest in every:
        wanted = sorted(own for own in records if own.digest == digest)
        assert sorted(segment.find(digest)) == wanted
        for look in _LOOKS[1:]:
            assert look(segment, digest) == segment.find(digest)[:1]
    asked = sorted(every)
    at = segment.find_many(Digests.of(asked)).tolist()
    assert [position >= 0 for position in at] == [any(own.digest == digest for own in records) for digest in asked]
    assert int(segment.entries().distinct().sum()) == len({own.digest for own in records})


@looks
def test_every_flipped_byte_is_found_or_does_no_harm(tmp_path: Path, look: Look, encode: Encode) -> None:
    records = [record(digest, number) for number, digest in enumerate(digests(40))]
    path = tmp_path / "segment"
    segment_of(path, records, encode)
    good = path.read_bytes()
    # Before the columns of a fenced segment there are zeros, of which nothing depends.
    columns = FencedLayout.start if encode is encode_fenced else SegmentLayout.start
    told = 0
    for offset in (*range(64), *range(columns, len(good))):
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 0x10]) + good[offset + 1 :])
        try:
            segment = opened(path)
            assert [look(segment, own.digest) for own in records] == [[own] for own in records]
        except DamagedContainer:
            told += 1
    assert told == len(good) - columns + 64


@pytest.mark.parametrize("length", [0, 10, 63, 64, 100, 2000])
def test_a_segment_that_is_cut_short(tmp_path: Path, length: int) -> None:
    path = tmp_path / "segment"
    segment_of(path, [record(digest) for digest in digests(40)])
    os.truncate(path, length)
    with pytest.raises(DamagedContainer):
        opened(path)


def test_a_segment_file_in_the_place_of_another_is_found(tmp_path: Path) -> None:
    """Of the same number of entries, whole, and of this very container: its objects must not read as missing."""
    kept = {}
    for name, first in (("one", 0), ("other", 1000)):
        path = tmp_path / name
        make_container(str(path), Config(container_id="0" * 31 + "1"))
        with Container(path) as container:
            kept[name] = container.insert_many(b"%d" % number for number in range(first, first + 40))
            native(container.engine).maintenance.merge_index()
    (mine,) = (tmp_path / "one" / "index").glob("*.seg")
    (theirs,) = (tmp_path / "other" / "index").glob("*.seg")
    mine.write_bytes(theirs.read_bytes())
    with Container(tmp_path / "one") as container:
        assert all(container.has_many(kept["one"]))
        assert dict(container.extract_many(kept["one"])).keys() == set(kept["one"])
        assert container.status().is_recovered


# Of another machine: read, not mapped.


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsdos.storage.local.is_local", lambda device, path: False)


def _maps() -> str:
    return Path("/proc/self/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_only_what_is_near_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record(digest) for digest in digests(20_000)]
    near = segment_of(tmp_path / "near", records)
    assert f"{tmp_path}/near" in _maps() and not near.keeps_open
    monkeypatch.setattr("rsdos.storage.local.is_local", lambda device, path: False)
    distant = segment_of(tmp_path / "far", records)
    assert distant.find(records[7].digest) == [records[7]]
    assert f"{tmp_path}/far" not in _maps()
    # Small ones are not mapped anywhere, and need no descriptor.
    assert not segment_of(tmp_path / "small", records[:10]).keeps_open


@looks
@pytest.mark.parametrize("count", [3992, 8191, 8192, 8193, 30_000])
def test_finds_the_same_far_away(tmp_path: Path, count: int, far: None, look: Look, encode: Encode) -> None:
    test_finds_what_is_there_and_nothing_else(tmp_path, count, look, encode)
    whole = segment_of(tmp_path / "whole", [record(digest) for digest in digests(count)], encode)
    whole.verify()


@looks
def test_one_lookup_reads_only_a_few_blocks(
    tmp_path: Path, far: None, monkeypatch: pytest.MonkeyPatch, look: Look, encode: Encode
) -> None:
    if look is first_of_all_checked:
        pytest.skip("reads all of them")
    records = [record(digest) for digest in digests(60_000)]
    pread, got = os.pread, []

    def counted(fd: int, length: int, offset: int) -> bytes:
        data = pread(fd, length, offset)
        got.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    segment = segment_of(tmp_path / "segment", records, encode)
    for _ in range(2):  # The second time the first key bytes are read too, so that it is quick from then on.
        assert look(segment, records[5].digest) == [records[5]]
    assert sum(got) < 5 << 16 < segment.length // 10
    got.clear()
    assert look(segment, records[5].digest) == [records[5]]
    assert not got


@looks
def test_a_file_that_is_cut_or_cannot_be_read_far_away_is_damage(
    tmp_path: Path, far: None, monkeypatch: pytest.MonkeyPatch, look: Look, encode: Encode
) -> None:
    """Where it is mapped it would be a SIGBUS."""
    records = [record(digest) for digest in digests(30_000)]
    segment = segment_of(tmp_path / "segment", records, encode)
    os.truncate(tmp_path / "segment", 5000)
    with pytest.raises(DamagedContainer):
        segment.verify()
    again = segment_of(tmp_path / "segment", records, encode)

    def stale(fd: int, length: int, offset: int) -> bytes:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "pread", stale)
    with pytest.raises(DamagedContainer, match="Stale"):
        look(again, records[0].digest)


def test_a_container_far_away(tmp_path: Path, far: None) -> None:
    with Container.create(tmp_path / "store") as container:
        keys = container.insert_many(b"%d" % number for number in range(10_000))
        container.insert_many([b"more"])
    for _ in range(3):
        with Container(tmp_path / "store") as container:
            assert container.extract(keys[77]) == b"77"
            assert not container.has("0" * 64)
            assert len(dict(container.extract_many(keys))) == 10_000
        names = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
        assert not [name for name in names if str(tmp_path) in _link(name)], "closed, it keeps descriptors"


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""
