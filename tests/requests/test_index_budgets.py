"""How many requests a lookup makes of an index that is larger than memory, and of how many bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rsdos import CompressMode, Container, Place
from rsdos.index import opening
from rsdos.index.digests import Digests
from rsdos.storage import memory_limit
from rsdos.storage.local import LocalStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import RecordingStorage
from tests.helpers import native

TABLES = 8
EACH = 8192
"""Objects of a table: the fewest for which a batch has a file of its own in the index."""

_READS = frozenset(("read", "need", "will_need"))
"""Requests for bytes of an open file. (What a hint asks for has to be read, if the index is larger than memory.)"""


class Known(NamedTuple):
    path: Path
    keys: list[str]


def keys_of(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    return [chance.randbytes(32).hex() for _ in range(count)]


@pytest.fixture(scope="module", params=[1, TABLES], ids=["merged", "8 tables"])
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Known:
    path = tmp_path_factory.mktemp("index") / "container"
    keys = []
    with Container.create(path) as container:
        for table in range(TABLES):
            objects = (b"%d" % number for number in range(table * EACH, (table + 1) * EACH))
            keys += container.insert_many(objects, to=Place.PACKED, compress=CompressMode.NO)
        if request.param == 1:
            container.merge()
        assert len(native(container.engine).index.view.segments) == request.param
        container.close()
    random.Random(1).shuffle(keys)
    return Known(path, keys)


class Asked(NamedTuple):
    container: Container
    storage: RecordingStorage

    def reads(self, do: Callable[[], object]) -> list[StorageCall]:
        """Do something, and return the reads that it made."""
        self.storage.forget()
        do()
        return [call for call in self.storage.calls if call.verb in _READS]


@pytest.fixture
def asked(known: Known, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """The container, in a memory that is smaller than its index, with its filters read and its packs open."""
    monkeypatch.setattr(opening, "_LARGE", 0)
    monkeypatch.setattr(memory_limit, "memory_limit", lambda: 1 << 20)
    storage = RecordingStorage(LocalStorage(str(known.path)))
    with Container(storage) as container:
        native(container.engine).index.clock = lambda: 0.0
        container.has_many(keys_of(2, 100))
        container.extract(known.keys[0])
        yield Asked(container, storage)
        container.close()


def test_a_read_is_two_requests_of_a_merged_index_and_three_of_eight_tables(known: Known, asked: Asked) -> None:
    tables = len(native(asked.container.engine).index.view.segments)
    asked.container.extract(known.keys[0])
    made = [asked.reads(lambda key=key: asked.container.extract(key)) for key in known.keys[1:400]]  # type: ignore[misc]
    counts = list(map(len, made))
    # The entries, and the object. Once in a hundred the filter of another table lets a key pass.
    assert (set(counts) == {2}) if tables == 1 else (max(counts) <= 4 and sum(counts) / len(counts) <= 2.1)
    assert max(sum(call.length for call in calls) for calls in made if len(calls) == 2) <= 64 << 10


def test_an_absent_key_is_no_request_once_the_filters_are_in_memory(asked: Asked) -> None:
    tables = len(native(asked.container.engine).index.view.segments)
    asked.container.has("0" * 64)
    absent = list(map(bytes.fromhex, keys_of(3, 5000)))
    find = native(asked.container.engine).index.find
    made = asked.reads(lambda: list(map(find, absent)))
    assert len(made) / len(absent) <= 0.0125 * tables


def test_an_absent_key_is_one_request_of_each_table_before(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = RecordingStorage(LocalStorage(str(known.path)))
    with Container(storage) as container:
        view = native(container.engine).index.refresh()
        for segment in view.segments:
            storage.forget()
            assert segment.first(bytes.fromhex(keys_of(3, 1)[0])) is None
            (call,) = [call for call in storage.calls if call.verb in _READS]
            assert call.length <= 32 << 10
        container.close()


def test_many_keys_are_asked_for_at_once(known: Known, asked: Asked) -> None:
    """No lookup waits for another: all that is needed is asked for before the first of it is used."""
    view = native(asked.container.engine).index.refresh()
    wanted = Digests.of(list(map(bytes.fromhex, known.keys[:200])))
    for segment in view.segments:
        segment.check_all()
        made = asked.reads(lambda segment=segment: segment.find_many(wanted))  # type: ignore[misc]
        found = int((segment.find_many(wanted) >= 0).sum())
        assert {call.verb for call in made} == {"will_need"}
        # The first key bytes of the entries around each, and its entry; and of some that pass the filter.
        assert len(made) <= 2 * found + 10
        assert sum(call.length for call in made) <= (found + 10) * (2048 + 58)


def test_an_index_that_fits_into_memory_stays_there(known: Known) -> None:
    storage = RecordingStorage(LocalStorage(str(known.path)))
    with Container(storage) as container:
        asked = Asked(container, storage)
        container.has_many(known.keys)
        for segment in native(container.engine).index.view.segments:
            segment.check_all()
        made = asked.reads(lambda: [container.has(key) for key in known.keys[:300]])
        assert not made
        container.close()
