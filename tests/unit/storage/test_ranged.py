"""What storages behind a network have in common, on one that counts its requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from rsdos.errors import DamagedContainer
from rsdos.model import BytesLike
from rsdos.storage.base import FileInfo, PutResult, Span, Traits
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.ranged import BLOCK, IN_FLIGHT, RangedStorage
from tests.patience import HANG


class Counting(RangedStorage):
    """Counts the ranges that are asked for; the objects are in memory."""

    traits = Traits("a memory far away", is_remote=True)
    root = "far:"

    def __init__(self) -> None:
        self.inner = MemoryStorage()
        self.ranges: list[Span] = []
        self.gate: Callable[[Span], object] = lambda span: None

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        span = Span(name, offset, length)
        self.ranges.append(span)
        self.gate(span)
        return self.inner.open(name).read(offset, length)

    def stat(self, name: str) -> FileInfo | None:
        return self.inner.stat(name)

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        return self.inner.list(directory, after, most)

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        return self.inner.put_new(name, data, still)

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        self.inner.put_stream(name, parts, length)

    def empty(self, name: str) -> None:
        self.inner.empty(name)

    def remove(self, name: str) -> bool:
        return self.inner.remove(name)


@pytest.fixture
def storage() -> Iterator[Counting]:
    made = Counting()
    yield made
    made.close()


DATA = bytes(range(256)) * (BLOCK // 64)  # four blocks


def test_a_view_fetches_neighbours_by_one_request_and_nothing_twice(storage: Counting) -> None:
    storage.put_new("table", b"head" + DATA)
    view = storage.open("table", 4 + len(DATA)).view(4, len(DATA))
    assert storage.ranges == []
    view.need(BLOCK + 1, BLOCK + 2)
    view.need(BLOCK, 2 * BLOCK)
    assert storage.ranges == [Span("table", 4 + BLOCK, BLOCK)]
    view.need(0, len(DATA))
    assert storage.ranges[1:] == [Span("table", 4, BLOCK), Span("table", 4 + 2 * BLOCK, 2 * BLOCK)]
    assert view.data == DATA
    view.need(0, len(DATA))
    view.let_go(0, len(DATA))
    view.will_need(0, len(DATA))
    assert len(storage.ranges) == 3 and view.data == DATA


def test_a_view_beyond_the_end_is_damage(storage: Counting) -> None:
    storage.put_new("table", b"abc")
    with pytest.raises(DamagedContainer):
        storage.open("table", 3).view(1, 3)
    assert bytes(storage.open("table", 3).view(3, 0).data) == b""


def test_opening_an_object_of_known_length_asks_nothing(storage: Counting) -> None:
    storage.put_new("table", b"abc")
    file = storage.open("table", 3)
    storage.remove("table")
    with pytest.raises(FileNotFoundError):
        file.read(0, 3)


def test_spans_are_asked_for_at_once_and_come_back_in_order(storage: Counting) -> None:
    storage.put_new("pack", DATA)
    spans = [Span("pack", at, 1) for at in range(200, 0, -1)]
    barrier = threading.Barrier(IN_FLIGHT)
    storage.gate = lambda span: barrier.wait(HANG) if span.offset > 200 - IN_FLIGHT else None
    assert list(storage.read_spans(spans)) == [DATA[at : at + 1] for at in range(200, 0, -1)]


def test_no_more_spans_are_held_than_fit_in_memory(storage: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsdos.storage.ranged.MOST_HELD", 1000)
    storage.put_new("pack", DATA)
    given: list[Span] = []

    def spans() -> Iterator[Span]:
        for at in range(10):
            given.append(Span("pack", at, 600))
            yield given[-1]

    answers = storage.read_spans(spans())
    assert next(answers) == DATA[:600]
    assert len(given) == 2
    assert len(list(answers)) == 9


def test_a_span_that_fails_ends_the_rest(storage: Counting) -> None:
    storage.put_new("pack", DATA)
    answers = storage.read_spans([Span("pack", 0, 2), Span("gone", 0, 1), Span("pack", 0, 1)])
    assert next(answers) == DATA[:2]
    with pytest.raises(FileNotFoundError):
        next(answers)
