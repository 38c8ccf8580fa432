import os
import random
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rsdos import names
from rsdos.index import merge
from rsdos.index.entries import Entries
from rsdos.index.manifest import SegmentEntry
from rsdos.index.merge import MOST_SEGMENTS, due_for_merge, merged, write_merged
from rsdos.index.opening import open_segment_file
from rsdos.index.segment import Segment
from rsdos.index.segment_layout import encode_segment
from rsdos.model import RecordFlag
from rsdos.storage.local import LocalFile, LocalStorage
from tests.unit.index.fenced_data import digests


def table(count: int, pack_id: int, seed: int, *, flags: int = 0) -> Entries:
    digests = (
        [random.Random(seed).randbytes(32 * count)[at : at + 32] for at in range(0, 32 * count, 32)] if count else []
    )
    return Entries.of(
        digests, pack_id=pack_id, offset=list(range(count)), length=1, size=2, crc=3, codec=0, flags=flags
    ).sort()


def segment(path: Path, entries: Entries) -> Segment:
    path.write_bytes(encode_segment(entries))
    return Segment(LocalFile(str(path)))


def write(directory: Path, segments: list[Segment], packs: Sequence[int]) -> list[Segment]:
    """The segments that a merge writes."""
    storage = LocalStorage(str(directory))
    (directory / "index").mkdir(exist_ok=True)
    merged = []
    for entry in write_merged(storage, 1, segments, packs):
        merged.append(open_segment_file(storage.open(names.segment(entry.number))))
        assert (merged[-1].count, merged[-1].tombstones) == (entry.count, entry.tombstones)
    return merged


def test_the_dead_go_and_a_tombstone_stays_until_what_it_kills_is_met(tmp_path: Path) -> None:
    one, two, gone = table(1000, 1, 1), table(1000, 2, 2), table(100, 3, 3)
    tombstones = [entries.take(slice(0, None, 2)).as_tombstones() for entries in (one, two, gone)]
    # Of pack 1 both are here, of pack 2 the tombstones only (twice, as after a repack of the pack they stand in).
    parts = [one, Entries.joined(tombstones).sort(), tombstones[1], gone]
    segments = [segment(tmp_path / f"{number}.seg", entries) for number, entries in enumerate(parts)]
    alive, killing = write(tmp_path, segments, packs=(1, 2))
    assert list(alive.entries()) == list(one.take(slice(1, None, 2)))
    assert list(killing.entries()) == list(tombstones[1])
    # When all that is met is dead, nothing is written.
    (tmp_path / "again").mkdir()
    assert write(tmp_path / "again", segments, packs=()) == []
    assert os.listdir(tmp_path / "again" / "index") == []


def test_many_small_segments_become_one(tmp_path: Path) -> None:
    tables = [table(count, pack_id, pack_id) for pack_id, count in enumerate([0, 1, 7, 300, 5000, 1, 2, 90] * 3, 1)]
    # The same keys once more, in another pack, and an entry that kills: nothing of it is lost.
    tables += [table(300, 50, 4), table(3, 51, 99, flags=RecordFlag.TOMBSTONE)]
    segments = [segment(tmp_path / f"{number}.seg", entries) for number, entries in enumerate(tables)]
    whole, killing = write(tmp_path, segments, packs=range(1, 52))
    assert (whole.tombstones, killing.tombstones, killing.count) == (0, 3, 3)
    assert list(killing.entries()) == list(tables.pop())
    wanted = sorted(record for entries in tables for record in entries)
    assert list(whole.entries()) == wanted
    for record in random.Random(1).sample(wanted, 200):
        assert record in whole.find(record.digest)
    assert [record.pack_id for record in whole.find(next(iter(tables[3])).digest)] == [4, 50]


def test_a_range_of_keys(tmp_path: Path) -> None:
    entries = table(3000, 1, 1)
    parts = [segment(tmp_path / f"{at}, read.seg", entries.take(slice(at, 3000, 3))) for at in range(3)]
    for start, end in ((0, 1 << 64), (0, 0), (1 << 62, 1 << 63), ((1 << 64) - 1, 1 << 64)):
        found = [record for piece in merged(parts, start, end) for record in piece]
        assert found == [r for r in entries if start <= int.from_bytes(r.digest[:8], "big") < end]


def test_merging_takes_bounded_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    segments = []
    for pack_id in range(1, 5):
        count = 200_000
        digests = rng.bytes(32 * count)
        entries = Entries.of(
            [digests[at : at + 32] for at in range(0, len(digests), 32)],
            pack_id=pack_id, offset=7, length=1, size=2, crc=3, codec=0, flags=0,
        )  # fmt: skip
        segments.append(segment(tmp_path / f"{pack_id}.seg", entries.sort()))
        del digests, entries
    tracemalloc.start()
    (whole,) = write(tmp_path, segments, packs=range(5))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert whole.count == 800_000
    # 53 MB of entries; the tables of one range of keys, a few times over.
    assert peak < 24 << 20


def mapped() -> int:
    """Return the bytes of mapped files that are resident in this process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(status[name].split()[0]) << 10 for name in ("RssFile", "RssShmem"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_tables_that_were_read_through_are_not_resident_any_more(tmp_path: Path) -> None:
    digests = np.random.default_rng(1).bytes(32 * 600_000)
    entries = Entries.of(
        [digests[at : at + 32] for at in range(0, len(digests), 32)],
        pack_id=1, offset=7, length=1, size=2, crc=3, codec=0, flags=0,
    ).sort()  # fmt: skip
    # Of two, since the entries of one are handed on without being looked at.
    every_second = np.arange(len(entries)) % 2 == 0
    read = [segment(tmp_path / f"{at}, read.seg", entries.take(every_second == at)) for at in (True, False)]
    list(merged([segment(tmp_path / "0.seg", table(1000, 2, 2))]))  # What Python itself maps for it.
    before = mapped()
    for _ in merged(read):
        pass
    # Of 40 MB.
    assert mapped() - before < 4 << 20
    # And the same bytes are there.
    assert not Entries.joined(one.verify() for one in read).sort().differing(entries).any()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="elsewhere a fault maps as much as was read together")
def test_a_scan_of_many_tables_leaves_nothing_behind_that_it_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each step it reads a few pages of each table, and the system maps those before them again."""
    monkeypatch.setattr(merge, "_RANGE", 1 << 11)
    monkeypatch.setattr(merge, "_KEPT_RANGES", 1)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        read = []
        for number in range(8):
            entries = Entries.of(
                digests(50_000, number), pack_id=1, offset=7, length=1, size=2, crc=3, codec=0, flags=0
            )
            read.append(segment(Path(memory) / f"{number}.seg", entries.sort()))
        before = mapped()
        most = max(mapped() - before for _ in merged(read))
    # Of 26 MB. A step reads 16 parts of 64 KiB, in which two pages may begin another one.
    assert most < 4 << 20


def test_nothing_is_left_of_a_merge_that_fails(tmp_path: Path) -> None:
    good = segment(tmp_path / "good.seg", table(100, 1, 1))
    path = tmp_path / "bad.seg"
    data = bytearray(encode_segment(table(100, 2, 2)))
    data[100] ^= 1
    path.write_bytes(data)
    bad = Segment(LocalFile(str(path)))
    with pytest.raises(OSError, match="damaged"):
        write(tmp_path, [good, bad], packs=(1, 2))
    assert os.listdir(tmp_path / "index") == []


def test_each_entry_is_merged_a_few_times_only() -> None:
    live: tuple[SegmentEntry, ...] = ()
    copied = 0
    for number in range(1, 5001):
        live = (*live, SegmentEntry(100, 0, number=number))
        due = due_for_merge(live, MOST_SEGMENTS)
        if due:
            total = sum(entry.count for entry in due)
            copied += total
            live = (*(entry for entry in live if entry not in due), SegmentEntry(total, 0, number=10_000 + number))
        assert len(live) <= MOST_SEGMENTS
    assert sum(entry.count for entry in live) == 500_000
    assert copied / 500_000 < 8
