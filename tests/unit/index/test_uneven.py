"""Tables with keys of a part of the key space: what was deleted in the order of a listing, or by its prefix."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import DamagedContainer
from rsdos.index import merge
from rsdos.index import segment as index_segment
from rsdos.index.entries import Entries
from rsdos.index.fenced import FencedSegment
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.merge import merged
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.index.view import IndexView
from rsdos.storage.local import LocalFile
from rsdos.stores.packed.store import PackedStore
from tests.unit.index.fenced_data import digests, fenced_data

COUNT = 20_000


@pytest.fixture(autouse=True)
def small_tables_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the limits of tables of a million entries for these."""
    monkeypatch.setattr(index_segment, "EVEN_FROM", 1 << 10)
    monkeypatch.setattr(merge, "_RANGE", 1 << 8)
    monkeypatch.setattr(merge, "_MOST_IN_RANGE", 2 << 8)
    monkeypatch.setattr(merge, "_MOST_OF_KEY", 16 << 8)


def opened(path: Path, keys: list[bytes]) -> FencedSegment:
    path.write_bytes(fenced_data(keys))
    return FencedSegment(LocalFile(str(path)))


def view_of(*segments: FencedSegment) -> IndexView:
    packs = Packs.of([PackEntry(1, 1 << 20, 1 << 20, objects=COUNT)])
    entries = [SegmentEntry(segment.count, 0, number) for number, segment in enumerate(segments, 1)]
    return IndexView(Manifest(1, "0" * 32, 2, len(entries) + 1, packs, tuple(entries)), segments)


@pytest.fixture
def near(tmp_path: Path) -> list[bytes]:
    """Keys that begin with the same byte."""
    return [b"\x30" + key[1:] for key in digests(COUNT, 1)]


def test_all_keys_are_found(near: list[bytes], tmp_path: Path) -> None:
    view = view_of(opened(tmp_path / "1", near), opened(tmp_path / "2", digests(COUNT, 2)))
    absent = [b"\x30" + key[1:] for key in digests(500, 3)]
    assert view.find_many([*near, *absent]).missing.tolist() == list(range(COUNT, COUNT + 500))
    some = random.Random(4).sample(near, 300)
    assert all(view.find(key) for key in some)
    assert not any(view.find(key) for key in absent)
    assert len(view.live_copies(near)) == COUNT


def test_they_are_merged_in_small_tables(near: list[bytes], tmp_path: Path) -> None:
    even = digests(COUNT, 2)
    segments = [opened(tmp_path / "1", near), opened(tmp_path / "2", even)]
    tables = list(merged(segments))
    assert max(map(len, tables)) <= 2 << 8
    assert Entries.joined(tables).digests() == sorted([*near, *even])
    part = list(merged(segments, 0x30 << 56, 0x31 << 56))
    assert Entries.joined(part).digests() == sorted([*near, *(key for key in even if key[0] == 0x30)])


def test_a_table_of_one_key_is_refused(tmp_path: Path) -> None:
    segment = opened(tmp_path / "1", [bytes(8) + key[8:] for key in digests(COUNT, 1)])
    with pytest.raises(DamagedContainer):
        view_of(segment).find_many(digests(10, 2))
    with pytest.raises(DamagedContainer):
        list(merged([segment]))


@pytest.mark.parametrize("end", ["4", "8"])
def test_what_is_deleted_by_a_list_leaves_a_sound_index(end: str, tmp_path: Path) -> None:
    container = Container.create(tmp_path / "store")
    keys = sorted(container.insert_many(b"%d" % number for number in range(12_000)))
    kept = [key for key in keys if key >= end]
    container.retain(kept)
    again = Container(tmp_path / "store")
    assert again.has_many(keys) == [key >= end for key in keys]
    assert list(again.keys()) == kept
    packed = again.engine.packed
    assert isinstance(packed, PackedStore)
    assert not packed.index.state.is_recovered
    assert again.validate("full").is_good
    again.optimize()
    assert list(Container(tmp_path / "store").keys()) == kept
