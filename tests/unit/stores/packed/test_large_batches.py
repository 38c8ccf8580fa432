"""Batches with a compact table in their pack, and a segment file of the same entries in the index."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer, Place
from rsdos.index import compact, settling
from rsdos.index.compact import CompactTable, open_table
from rsdos.index.entries import Entries
from rsdos.index.manifest import SegmentEntry
from rsdos.index.merge import MOST_SEGMENTS
from rsdos.index.pruning import KEPT
from rsdos.index.segment_layout import encode_segment
from rsdos.storage.local import LocalFile, LocalStorage
from rsdos.stores.packed import active_pack
from tests.data import key_of, noise
from tests.helpers import ABSENT, assert_holds, flip, manifest_of, native

LARGE = 4


@pytest.fixture(autouse=True)
def _four_entries_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "COMPACT_FROM", LARGE)


def objects(count: int, seed: int = 0) -> dict[str, bytes]:
    made = [noise(40 + n, 1000 * seed + n) for n in range(count)]
    return {key_of(data): data for data in made}


def segment_path(container: Container, entry: SegmentEntry) -> Path:
    return container.path / "index" / f"{entry.number:010d}.seg"


def pack_path(container: Container) -> Path:
    return container.path / "packed" / "0000000001.pack"


def segments_of(container: Container, number: int) -> tuple[SegmentEntry, ...]:
    return native(container.engine).index.commits.read(number).segments


def every_entry(container: Container) -> bytes:
    """The whole index, as one segment."""
    view = native(container.engine).index.refresh()
    return encode_segment(Entries.joined(segment.entries() for segment in view.segments).sort())


def is_whole(container: Container) -> bool:
    return container.validate("full").is_good


def test_a_large_batch_is_in_a_file_and_a_small_one_in_its_pack(container: Container) -> None:
    large, small = objects(LARGE), objects(LARGE - 1, 1)
    container.insert_many(large.values())
    container.insert_many(small.values())
    of_large, of_small = manifest_of(container.path).segments
    assert (of_large.number, of_large.pack_id, of_large.count) == (1, 1, LARGE)
    assert (of_small.number, of_small.pack_id, of_small.count) == (0, 1, LARGE - 1)
    table = open_table(LocalFile(str(pack_path(container))), of_large.offset, of_large.length)
    assert isinstance(table, CompactTable)
    assert encode_segment(table.entries()) == segment_path(container, of_large).read_bytes()
    assert_holds(Container(container.path), large | small)
    assert is_whole(container)


def test_a_rebuild_from_the_packs_gives_the_same_index(container: Container) -> None:
    kept, dead = objects(7), objects(LARGE + 1, 1)
    container.insert_many(kept.values())
    container.insert_many(dead.values())
    container.delete([*dead])
    container.optimize()
    container.insert_many(objects(5, 2).values())
    before = every_entry(container)
    for path in (container.path / "index").iterdir():
        path.unlink()
    (container.path / "locks" / "commit").unlink()
    with Container(container.path) as again:
        assert_holds(again, kept | objects(5, 2))
        again.repair_index()
        assert every_entry(again) == before
        assert is_whole(again)


@pytest.mark.parametrize("mends", ["validate", "insert", "repair"])
@pytest.mark.parametrize("how", ["missing", "empty", "another", "header", "entries"])
def test_without_its_segment_file_a_batch_is_read_from_its_pack(container: Container, how: str, mends: str) -> None:
    """The file is never synced. Where it is damaged, or lost, the next commit that meets it writes it anew."""
    large = objects(9)
    container.insert_many(large.values())
    container.insert_many(objects(LARGE, 1).values())
    one, two = manifest_of(container.path).segments
    path = segment_path(container, one)
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "header":
        flip(path, 20)
    elif how == "entries":
        flip(path, 100)
    else:
        path.write_bytes(segment_path(container, two).read_bytes())
    with Container(container.path) as again:
        assert_holds(again, large | objects(LARGE, 1))
        assert not again.has(ABSENT)
        assert not again.status().is_recovered
        if mends == "validate":  # It notes its outcome: a commit.
            report = again.validate("full")
            assert report.is_good
            assert [finding.path for finding in report.leftovers] == [f"index/{one.number:010d}.seg"]
        elif mends == "insert":
            again.insert(b"more", to=Place.PACKED)
        else:
            assert again.repair_index().is_changed
            assert not again.repair_index().is_changed
        report = again.validate("full")
        assert (report.is_good, report.leftovers) == (True, ())
        assert_holds(Container(container.path), dict(again.extract_many([*again])))
        assert set(large | objects(LARGE, 1)) <= set(again)


def test_a_damaged_file_of_a_batch_stops_no_repack_and_no_merge(container: Container) -> None:
    kept, gone = objects(9), objects(LARGE, 1)
    container.insert_many(kept.values())
    container.insert_many(gone.values())
    for entry in manifest_of(container.path).segments:
        flip(segment_path(container, entry), 100)
    with Container(container.path) as again:
        again.delete([*gone])
        again.optimize()
        assert_holds(again, kept)
        assert [entry.count for entry in manifest_of(container.path).segments] == [9]
        assert is_whole(again)


def test_a_file_of_a_batch_and_its_table_both_damaged_are_damage(container: Container) -> None:
    container.insert_many(objects(5).values())
    (entry,) = manifest_of(container.path).segments
    flip(segment_path(container, entry), 20)
    flip(pack_path(container), entry.offset + 70)
    with Container(container.path) as again:
        with pytest.raises(DamagedContainer):
            again.has(ABSENT)
        assert not is_whole(again)


def test_a_disk_that_has_no_room_for_the_file_fails_nothing_and_a_later_commit_writes_it(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = objects(6)

    def full(self: LocalStorage, name: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "create", full)
        container.insert_many(large.values())
    (entry,) = manifest_of(container.path).segments
    assert (entry.number, entry.pack_id) == (0, 1)
    with Container(container.path) as again:
        assert_holds(again, large)
        again.insert(b"more", to=Place.PACKED)
        assert sorted(entry.number for entry in manifest_of(container.path).segments) == [0, 1]
        assert_holds(again, large | {key_of(b"more"): b"more"})
        assert is_whole(again)


def test_a_commit_that_fails_leaves_no_segment_file(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    container.insert_many(objects(2).values())

    def fails(*_: object) -> None:
        assert list((container.path / "index").glob("*.seg"))
        raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(settling, "settled", fails)
        container.insert_many(objects(LARGE, 1).values())
    assert not list((container.path / "index").glob("*.seg"))
    with Container(container.path) as again:
        assert_holds(again, objects(2))
        again.insert_many(objects(LARGE, 1).values())
        assert_holds(again, objects(2) | objects(LARGE, 1))


def test_many_large_batches_are_merged_and_their_files_go(container: Container) -> None:
    everything: dict[str, bytes] = {}
    for seed in range(40):
        everything |= objects(LARGE + seed % 3, seed)
        container.insert_many(objects(LARGE + seed % 3, seed).values())
    segments = manifest_of(container.path).segments
    assert len(segments) <= MOST_SEGMENTS
    assert any(entry.number and not entry.pack_id for entry in segments)
    container.engine.packed.maintenance.merge_index()
    (entry,) = manifest_of(container.path).segments
    assert (entry.count, entry.pack_id) == (len(everything), 0)
    named = [entry for number in container.engine.layout.manifest_numbers() for entry in segments_of(container, number)]
    assert {entry.number for entry in named if entry.is_of_batch}
    there = set(container.engine.layout.segment_numbers())
    assert there.isdisjoint(entry.number for entry in named if entry.is_of_batch)
    while manifest_of(container.path).number % KEPT or manifest_of(container.path).number < 64:
        container.engine.packed.maintenance.note("commit", "")
    assert list((container.path / "index").glob("*.seg")) == [segment_path(container, entry)]
    assert_holds(Container(container.path), everything)
    assert is_whole(container)


def test_a_reader_of_an_older_state_does_without_the_files_that_a_merge_has_replaced(container: Container) -> None:
    everything = objects(9) | objects(LARGE, 1)
    container.insert_many(objects(9).values())
    container.insert_many(objects(LARGE, 1).values())
    older = container.engine.layout.manifest_numbers()[-1]
    index = native(container.engine).index
    with Container(container.path) as other:
        other.engine.packed.maintenance.merge_index()
    index.close()
    view = index.open(index.commits.read(older))  # As one that has read its manifest just before.
    assert all(segment.is_decoded for segment in view.segments)
    assert all(view.find(bytes.fromhex(key)) for key in everything)


def test_a_large_delete_is_a_large_batch(container: Container) -> None:
    kept, gone = objects(6), objects(LARGE + 2, 1)
    container.insert_many([*kept.values(), *gone.values()])
    assert sorted(container.delete([*gone])) == sorted(gone)
    last = manifest_of(container.path).segments[-1]
    assert last.number and last.tombstones == LARGE + 2
    with Container(container.path) as again:
        assert_holds(again, kept)
        assert again.has_many([*gone]) == [False] * len(gone)
        again.optimize()
        assert again.has_many([*gone]) == [False] * len(gone)
        assert is_whole(again)


@pytest.mark.parametrize("room", [1, 1000])
def test_a_repack_of_large_batches_keeps_all_of_them(
    container: Container, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """With room for the entries of one table only, the others are read from the pack again."""
    monkeypatch.setattr(active_pack, "MOST_ENTRIES", room)
    monkeypatch.setattr("rsdos.stores.packed.rewrite.MOST_ENTRIES", 6)
    kept: dict[str, bytes] = {}
    for seed in range(4):
        kept |= objects(6, seed)
        container.insert_many(objects(6, seed).values())
    gone = [*objects(6, 2)]
    container.delete(gone)
    container.repack(min_dead=0)
    segments = manifest_of(container.path).segments
    assert {entry.pack_id for entry in segments} == {2}
    assert all(entry.number for entry in segments)
    assert_holds(Container(container.path), {key: data for key, data in kept.items() if key not in gone})
    assert is_whole(container)


def test_where_index_and_table_differ_a_check_says_so(container: Container) -> None:
    """The table is that of other bytes, and whole: it was written so, or is an older one of the same place."""
    container.insert_many(objects(5).values())
    (entry,) = manifest_of(container.path).segments
    path = pack_path(container)
    table = open_table(LocalFile(str(path)), entry.offset, entry.length)
    entries = table.entries()
    entries.records["crc"][2] ^= 1
    data = bytearray(path.read_bytes())
    data[entry.offset : entry.offset + entry.length] = b"".join(compact.compact_parts(entries))
    path.write_bytes(data)
    told = ["the index says something else of it than the table of its batch"]
    assert [finding.reason for finding in container.validate("quick").damaged] == told
    # Also where the time is up after each batch: what the pack has is compared only behind the last one.
    report = container.validate("quick", budget=0)
    for _ in range(9):
        if not report.is_finished:
            report = container.validate("quick", resume=True, budget=0)
    assert report.is_finished
    assert (report.objects, [finding.reason for finding in report.damaged]) == (5, told)
