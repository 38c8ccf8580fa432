"""What lookups in a large index leave mapped, and that they find the same whether or not pages are given back."""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos.index import mapped_pages, merge
from rsdos.index import view as index_view
from rsdos.index.digests import Digests
from rsdos.index.fenced import FencedSegment
from rsdos.index.manifest import Manifest, SegmentEntry
from rsdos.index.pack_entry import PackEntry
from rsdos.index.packs import Packs
from rsdos.index.view import IndexView
from rsdos.storage.local import LocalFile
from tests.unit.index.fenced_data import digests, fenced_data

COUNT = 500_000
"""Entries of 66 bytes: 33 MB. A lookup maps at least 64 KiB around each page that it meets."""


@pytest.fixture(scope="module")
def keys() -> list[bytes]:
    return digests(COUNT, 18)


@pytest.fixture(scope="module")
def path(keys: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("segment") / "0000000001.seg"
    path.write_bytes(fenced_data(keys))
    return path


@pytest.fixture
def view_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], IndexView]:
    """Opens the index. It is large if it has at least so many bytes."""

    def view(large: int) -> IndexView:
        monkeypatch.setattr(index_view, "LARGE", large)
        monkeypatch.setattr(mapped_pages, "_MOST", 4 << 20)
        monkeypatch.setattr(mapped_pages, "_LOOKUPS", 1)
        monkeypatch.setattr(mapped_pages, "_SPAN", 1 << 20)
        monkeypatch.setattr(mapped_pages, "_KEYS", 1)
        packs = Packs.of([PackEntry(1, 1 << 20, 1 << 20, objects=COUNT)])
        manifest = Manifest(1, "0" * 32, 2, 2, packs, (SegmentEntry(COUNT, 0, 1),))
        return IndexView(manifest, [FencedSegment(LocalFile(str(path)))])

    return view


def resident(path: Path) -> int:
    """Return the bytes of a file that are mapped in this process and count as its memory."""
    total, is_it = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):
            is_it = line.endswith(path.name)
        elif is_it and first == "Rss:":
            total += int(rest.split()[0]) << 10
    return total


LARGE, SMALL = 0, 1 << 60


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_new_view_after_each_commit_does_not_let_pages_pile_up(
    path: Path, keys: list[bytes], view_of: Callable[[int], IndexView]
) -> None:
    large = view_of(LARGE)
    for key in keys[:2000]:
        view = IndexView(large.manifest, large.segments)
        assert view.find(key) and view.find(key)
    assert resident(path) < path.stat().st_size / 2


def look(view: IndexView, keys: list[bytes], way: str) -> None:
    """Look all keys up."""
    if way == "one by one":
        assert all(view.find(key) for key in keys)
    elif way == "together":
        assert not len(view.find_many(keys).missing)
    else:
        assert all(not len(view.find_many(keys[at : at + 10]).missing) for at in range(0, len(keys), 10))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", ["one by one", "together", "in tens"])
def test_lookups_leave_a_bounded_part_of_a_large_index_mapped(
    way: str, path: Path, keys: list[bytes], view_of: Callable[[int], IndexView]
) -> None:
    some = random.Random(3).sample(keys, 3000)
    large = view_of(LARGE)
    look(large, some, way)
    assert resident(path) < path.stat().st_size / 2
    small = view_of(SMALL)
    look(small, some, way)
    assert resident(path) > path.stat().st_size / 2
    assert large.segments and small.segments  # Both are open until here.


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="elsewhere a fault maps as much as was read together")
def test_a_scan_leaves_a_small_part_of_the_index_mapped(
    path: Path, view_of: Callable[[int], IndexView], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks for the end of each range near its beginning, not in the whole column, which has 4 MB."""
    monkeypatch.setattr(merge, "_RANGE", 1 << 10)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        copy = Path(shutil.copy(path, memory))
        segment = FencedSegment(LocalFile(str(copy)))
        left = [resident(copy) for _ in IndexView(view_of(SMALL).manifest, [segment]).live_tables()]
    assert len(left) > 400
    assert max(left[100:]) < 1 << 20


def test_many_keys_are_found_in_parts_as_they_are_together(
    keys: list[bytes], view_of: Callable[[int], IndexView]
) -> None:
    chance = random.Random(4)
    wanted = [*chance.sample(keys, 400), *digests(200, 5)]
    wanted += wanted[:300]  # Some twice.
    chance.shuffle(wanted)
    small, large = view_of(SMALL).find_many(wanted), view_of(LARGE).find_many(wanted)
    assert large.missing.tolist() == small.missing.tolist()
    of_small = dict(zip(small.positions.tolist(), small.entries.records["offset"].tolist(), strict=True))
    of_large = dict(zip(large.positions.tolist(), large.entries.records["offset"].tolist(), strict=True))
    assert of_large == of_small
    assert len(of_large) + len(large.missing) == len(wanted)


def test_a_key_that_is_wanted_twice_has_its_copies_once(keys: list[bytes], view_of: Callable[[int], IndexView]) -> None:
    wanted = [*keys[:5], *keys[:500]]
    copies = view_of(LARGE).live_copies(wanted)
    assert sorted(copies.records["offset"].tolist()) == list(range(500))
    assert view_of(LARGE).find_many([]).missing.tolist() == []


def parts_of(view: IndexView, keys: list[bytes]) -> list[int]:
    """Return how many keys are looked up together in the segment of a view, time after time."""
    pages, (segment,) = view._pages, view.segments
    assert pages is not None
    return [len(part) for part in pages.parts(segment, Digests.of(keys))]


def test_neighbours_are_looked_up_together(keys: list[bytes], view_of: Callable[[int], IndexView]) -> None:
    """A delete by a listing of the container looks up a small range of keys at a time, in few pages."""
    ordered = sorted(keys)
    assert parts_of(view_of(LARGE), ordered[1000:3000]) == [2000]
    assert len(parts_of(view_of(LARGE), ordered[::250])) > 10
    assert parts_of(view_of(LARGE), []) == [0]


def test_keys_that_the_filter_excludes_are_in_no_part(keys: list[bytes], view_of: Callable[[int], IndexView]) -> None:
    """An insert looks up a few thousand absent keys at a time, of which the filter lets one in a hundred pass."""
    view = view_of(LARGE)
    view.find_many(digests(5000, 6))  # Now the filter was read.
    assert sum(parts_of(view, digests(5000, 7))) < 150
    mixed = parts_of(view, [*digests(5000, 8), *keys[:500]])
    assert 500 <= sum(mixed) < 650
