import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from rsdos.index import Entries, Segment, SegmentEntry, encode_segment
from rsdos.index.merge import MOST_SEGMENTS, due_for_merge, merged, write_merged
from rsdos.model import RecordFlag


def table(count: int, pack_id: int, seed: int, *, flags: int = 0) -> Entries:
    digests = (
        [random.Random(seed).randbytes(32 * count)[at : at + 32] for at in range(0, 32 * count, 32)] if count else []
    )
    return Entries.of(
        digests, pack_id=pack_id, offset=list(range(count)), length=1, size=2, crc=3, codec=0, flags=flags
    ).sort()


def segment(path: Path, entries: Entries) -> Segment:
    path.write_bytes(encode_segment(entries))
    with path.open("rb") as file:
        return Segment(file.fileno(), str(path))


def test_many_small_segments_become_one(tmp_path: Path) -> None:
    tables = [table(count, pack_id, pack_id) for pack_id, count in enumerate([0, 1, 7, 300, 5000, 1, 2, 90] * 3, 1)]
    # The same keys once more, in another pack, and an entry that kills: nothing of it is lost.
    tables += [table(300, 50, 4), table(3, 51, 99, flags=RecordFlag.TOMBSTONE)]
    segments = [segment(tmp_path / f"{number}.seg", entries) for number, entries in enumerate(tables)]
    path = tmp_path / "merged.seg"
    count, tombstones = write_merged(str(path), segments)
    assert (count, tombstones) == (sum(map(len, tables)), 3)
    with path.open("rb") as file:
        whole = Segment(file.fileno(), str(path))
    wanted = sorted(record for entries in tables for record in entries)
    assert list(whole.entries()) == wanted
    for record in random.Random(1).sample(wanted, 200):
        assert record in whole.find(record.digest)
    assert [record.pack_id for record in whole.find(next(iter(tables[3])).digest)] == [4, 50]


def test_a_range_of_keys(tmp_path: Path) -> None:
    entries = table(3000, 1, 1)
    parts = [segment(tmp_path / f"{at}.seg", entries.take(slice(at, 3000, 3))) for at in range(3)]
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
    count, _ = write_merged(str(tmp_path / "merged.seg"), segments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 800_000
    # 53 MB of entries; the tables of one range of keys, a few times over.
    assert peak < 24 << 20


def test_nothing_is_left_of_a_merge_that_fails(tmp_path: Path) -> None:
    good = segment(tmp_path / "good.seg", table(100, 1, 1))
    path = tmp_path / "bad.seg"
    data = bytearray(encode_segment(table(100, 2, 2)))
    data[100] ^= 1
    path.write_bytes(data)
    with path.open("rb") as file:
        bad = Segment(file.fileno(), str(path))
    with pytest.raises(OSError, match="damaged"):
        write_merged(str(tmp_path / "merged.seg"), [good, bad])
    assert not (tmp_path / "merged.seg").exists()


def test_each_entry_is_merged_a_few_times_only() -> None:
    live: tuple[SegmentEntry, ...] = ()
    copied = 0
    for number in range(1, 5001):
        live = (*live, SegmentEntry(100, 0, number=number))
        due = due_for_merge(live)
        if due:
            total = sum(entry.count for entry in due)
            copied += total
            live = (*(entry for entry in live if entry not in due), SegmentEntry(total, 0, number=10_000 + number))
        assert len(live) <= MOST_SEGMENTS
    assert sum(entry.count for entry in live) == 500_000
    assert copied / 500_000 < 8
