"""A large index file of a remote is fetched block by block, many at once, and whole once much of it is needed."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rsdos.storage.memory import MemoryStorage
from rsdos.storage.opened import RandomAccess
from rsdos.stores.remote.blocks import BLOCK, BlockView, spans_of
from rsdos.testing import RecordingStorage
from tests.data import noise

BLOCKS = 100
DATA = noise(BLOCKS * BLOCK - 17)
"""The last block is short."""


class Asked:
    """A view of the data, and what was asked of its medium."""

    def __init__(self) -> None:
        medium = MemoryStorage()
        medium.put_new("segments/large", DATA)
        self.storage = RecordingStorage(medium)
        self.copies = 0
        self.copy: RandomAccess | None = None
        self.view = self.viewed()

    def viewed(self, patience: int | None = None) -> BlockView:
        return BlockView(self.storage.open("segments/large"), 0, len(DATA), self._copied, patience)

    def _copied(self) -> RandomAccess | None:
        self.copies += 1
        return self.copy

    def reads(self) -> list[tuple[int, int]]:
        made = sorted((call.offset, call.length) for call in self.storage.calls if call.verb == "read")
        self.storage.forget()
        return made


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_spans_have_the_needed_blocks_with_small_gaps_and_are_bounded() -> None:
    assert list(spans_of([])) == []
    assert list(spans_of([3])) == [range(3, 4)]
    assert list(spans_of([3, 4, 7, 11, 20], gap=2)) == [range(3, 8), range(11, 12), range(20, 21)]
    needed = [*range(0, 50, 2), *range(60, 90)]
    spans = list(spans_of(needed, most=16))
    assert all(any(block in span for span in spans) for block in needed)
    assert max(map(len, spans)) <= 16
    assert all(before.stop <= after.start for before, after in pairwise(spans))


def test_what_is_needed_is_one_request_and_is_asked_for_once(asked: Asked) -> None:
    asked.view.need(BLOCK + 5, 3 * BLOCK)
    assert asked.view.data[BLOCK : 3 * BLOCK] == DATA[BLOCK : 3 * BLOCK]
    assert asked.reads() == [(BLOCK, 2 * BLOCK)]
    asked.view.need(2 * BLOCK, 2 * BLOCK + 1)
    assert asked.reads() == []
    # The last block is short.
    asked.view.need(len(DATA) - 1, len(DATA))
    assert asked.reads() == [((BLOCKS - 1) * BLOCK, BLOCK - 17)]
    assert asked.view.data[-BLOCK + 17 :] == DATA[-BLOCK + 17 :]


def test_hints_are_fetched_together_by_the_next_need(asked: Asked) -> None:
    for block in (10, 30, 12, 50):
        asked.view.will_need(block * BLOCK, block * BLOCK + 1)
    assert asked.reads() == []
    asked.view.need(10 * BLOCK, 10 * BLOCK + 1)
    assert asked.reads() == [(10 * BLOCK, 3 * BLOCK), (30 * BLOCK, BLOCK), (50 * BLOCK, BLOCK)]
    asked.view.need(50 * BLOCK, 50 * BLOCK + 1)
    assert asked.reads() == []
    assert asked.view.data[50 * BLOCK : 51 * BLOCK] == DATA[50 * BLOCK : 51 * BLOCK]


def test_once_a_quarter_is_needed_the_whole_is_fetched_once(asked: Asked) -> None:
    for block in range(0, 96, 4):
        asked.view.need(block * BLOCK, block * BLOCK + 1)
    assert (asked.copies, len(asked.reads())) == (0, 24)
    here = MemoryStorage()
    here.put_new("copy", DATA)
    asked.copy = here.open("copy")
    for block in range(BLOCKS):
        asked.view.need(block * BLOCK, block * BLOCK + 1)
    assert asked.copies == 1
    assert asked.reads() == []
    assert asked.view.data == DATA


def test_many_hints_fetch_the_whole_at_once(asked: Asked) -> None:
    here = MemoryStorage()
    here.put_new("copy", DATA)
    asked.copy = here.open("copy")
    asked.view.will_need(0, 30 * BLOCK)
    asked.view.need(0, 1)
    assert asked.copies == 1
    assert asked.reads() == []


def test_without_a_copy_blocks_are_fetched_as_before(asked: Asked) -> None:
    asked.view.need(0, len(DATA))
    asked.view.need(0, len(DATA))
    assert asked.copies == 1
    assert asked.view.data == DATA
    assert sum(length for _, length in asked.reads()) == len(DATA)


def test_after_some_fetches_all_that_is_missing_is_fetched_at_once(asked: Asked) -> None:
    view = asked.viewed(3)
    for block in (5, 20, 40):
        view.need(block * BLOCK, block * BLOCK + 1)
        view.need(block * BLOCK, block * BLOCK + 1)
    assert [length for _, length in asked.reads()] == [BLOCK] * 3
    view.need(60 * BLOCK, 60 * BLOCK + 1)
    # One request, which a block here and there that is there already does not divide.
    assert asked.reads() == [(0, len(DATA))]
    for block in range(BLOCKS):
        view.need(block * BLOCK, block * BLOCK + 1)
    assert asked.reads() == []
    assert view.data == DATA


def test_an_error_of_the_medium_is_raised_and_the_next_need_asks_again(asked: Asked) -> None:
    medium = asked.storage.inner
    assert isinstance(medium, MemoryStorage)
    file = asked.view._file
    file.close()
    with pytest.raises(OSError, match="descriptor"):
        asked.view.need(0, 10 * BLOCK)
    asked.view._file = medium.open("segments/large")
    asked.view.need(0, 10 * BLOCK)
    assert asked.view.data[: 10 * BLOCK] == DATA[: 10 * BLOCK]
