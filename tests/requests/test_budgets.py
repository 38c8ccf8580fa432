"""How many requests the reading verbs make of a medium. Budgets are exact: with fewer requests, change the figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from rsdos import CompressMode, Container, ObjectNotFound, Place
from rsdos.storage.local import LocalStorage
from rsdos.testing import RecordingStorage
from tests.data import noise
from tests.helpers import ABSENT, native
from tests.requests.asking import file_calls, requests

COMMITS = 20
WANTED = 2000
"""Objects of 1 KB, each behind one of 17 KB: no two of them are worth one read."""

NEWER = {"exists": 1, "version": 1}
"""The question whether there is a newer manifest: for the next one, and whether this one is there still. `CommitLog`
says what needs the second."""

LOST = {"read_note": 1}
"""The question whether one was committed and lost. Once a second."""


class Known(NamedTuple):
    """The container of these tests, and keys of its objects in the order of the packs."""

    path: Path
    scattered: list[str]
    between: list[str]
    large: str


class Asked(NamedTuple):
    """An open container, and what its storage is asked."""

    container: Container
    storage: RecordingStorage


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    path = tmp_path_factory.mktemp("requests") / "container"
    scattered, between = [], []
    with Container.create(path, pack_size_target=2 << 20) as container:
        for commit in range(COMMITS):
            seeds = range(commit * WANTED // COMMITS, (commit + 1) * WANTED // COMMITS)
            objects = [data for seed in seeds for data in (noise(1000, seed), noise(17_000, WANTED + seed))]
            keys = container.insert_many(objects, to=Place.PACKED, compress=CompressMode.NO)
            scattered += keys[::2]
            between += keys[1::2]
        large = container.insert(noise(20 << 20, -1), to=Place.PACKED)
    return Known(path, scattered, between, large)


@pytest.fixture
def asked(known: Known) -> Iterator[Asked]:
    """The container, after a first read in its first pack."""
    storage = RecordingStorage(LocalStorage(str(known.path)))
    with Container(storage) as container:
        container.extract(known.scattered[0])
        native(container.engine).index.refresh()
        yield Asked(container, storage)
        container.close()


def test_opening_and_the_first_read(known: Known) -> None:
    storage = RecordingStorage(LocalStorage(str(known.path)))
    container = Container(storage)
    seen = requests(storage, lambda: container.extract(known.scattered[0]))
    # One table of seven, the largest; and a pack, its header, and the object.
    assert seen == {"read_note": 1, "list": 1, "read_with_version": 2, "open": 2, "view": 1, "read": 2}
    # All tables: two with files of their own; five in packs, which are opened for each of them, and have a header.
    seen = requests(storage, lambda: container.has(ABSENT))
    newest = {"list": 1, "read_note": 2, "read_with_version": 1, "exists": 1, "version": 3}
    assert seen == newest | {"open": 6, "view": 6, "read": 5}
    container.close()


def test_what_is_in_no_table_opens_all_of_them_once(known: Known) -> None:
    storage = RecordingStorage(LocalStorage(str(known.path)))
    container = Container(storage)
    with pytest.raises(ObjectNotFound):
        container.extract(ABSENT)
    opened = Counter((call.name, call.offset) for call in storage.calls if call.verb == "view")
    assert list(opened.values()) == [1] * 7
    container.close()


def test_a_second_opening_asks_for_nothing_that_the_first_has_opened(known: Known) -> None:
    storage = RecordingStorage(LocalStorage(str(known.path)))
    with Container(storage) as container:
        container.extract(known.scattered[0])
    again = Container(storage)
    seen = requests(storage, lambda: again.extract(known.scattered[1]))
    # A pack, its header, and the object; whether the manifest is the newest, and the table still the same.
    assert seen == {"exists": 1, "version": 2, "open": 1, "read": 2, "read_with_version": 1}
    again.close()


def test_a_read_of_a_packed_object_is_one_request(known: Known, asked: Asked) -> None:
    container, storage = asked
    assert requests(storage, lambda: container.extract(known.scattered[1])) == {"read": 1}
    assert requests(storage, lambda: container.extract(known.between[1])) == {"read": 1}


def test_the_first_read_in_a_pack_opens_it_and_reads_its_header(known: Known, asked: Asked) -> None:
    container, storage = asked
    assert requests(storage, lambda: container.extract(known.scattered[-1])) == {"open": 1, "read": 2}


def test_a_read_of_a_large_object(known: Known, asked: Asked, tmp_path: Path) -> None:
    container, storage = asked
    container.extract(known.large)
    # Its table, its frames, and what follows them.
    assert requests(storage, lambda: container.extract(known.large)) == {"read": 3}
    # Its table, each of its frames, and what follows them.
    assert requests(storage, lambda: container.extract_to(known.large, tmp_path / "large")) == {"read": 22}
    assert storage.most_at_once == 1


def test_a_range_of_a_large_object_reads_its_frame_once_the_table_is_known(known: Known, asked: Asked) -> None:
    container, storage = asked
    container.extract(known.large)
    with container.open(known.large) as stream:
        for offset in (5 << 20, 15 << 20):
            stream.seek(offset)
            assert requests(storage, lambda: stream.read(100)) == {"read": 1}


def test_what_is_there_is_told_without_a_request_once_a_second(known: Known, asked: Asked) -> None:
    container, storage = asked
    now = [0.0]
    container.engine.objects.clock = native(container.engine).index.clock = lambda: now[0]
    assert requests(storage, lambda: container.has(known.scattered[0])) == NEWER | LOST
    container.extract(known.scattered[1])
    assert requests(storage, lambda: container.has(known.scattered[1])) == {}
    assert requests(storage, lambda: container.meta(known.scattered[1])) == {}
    now[0] = 2.0
    assert requests(storage, lambda: container.has(known.scattered[0])) == NEWER | LOST
    assert requests(storage, lambda: container.has(known.scattered[0])) == {}


def test_what_is_absent_asks_for_a_newer_manifest_and_for_one_loose_file(known: Known, asked: Asked) -> None:
    container, storage = asked
    native(container.engine).index.clock = lambda: 0.0
    container.has(ABSENT)
    with file_calls(str(known.path)) as calls:
        assert requests(storage, lambda: container.has(ABSENT)) == NEWER
    assert [call for call in calls if call[1].startswith("loose")] == [("lstat", f"loose/{ABSENT[:2]}/{ABSENT[2:]}")]
    assert len(calls) == 3


def test_many_that_are_absent_ask_once_for_a_newer_manifest(known: Known, asked: Asked) -> None:
    container, storage = asked
    native(container.engine).index.clock = lambda: 0.0
    absent = [f"{number:064x}" for number in range(5000)]
    container.has_many(absent)
    with file_calls(str(known.path)) as calls:
        assert requests(storage, lambda: container.has_many(absent)) == NEWER
    assert [call for call in calls if call[1].startswith("loose")] == [("listdir", "loose")]
    # A few are asked for one by one: to list a directory takes longer.
    with file_calls(str(known.path)) as calls:
        assert requests(storage, lambda: container.has_many(absent[:100])) == NEWER
    assert Counter(call for call, path in calls if path.startswith("loose/")) == {"lstat": 100}


def test_many_scattered_objects(known: Known, asked: Asked) -> None:
    container, storage = asked
    list(container.extract_many(known.scattered))
    seen = requests(storage, lambda: list(container.extract_many(known.scattered[::-1])))
    assert seen == {"lock": 1, "read": WANTED}
    assert storage.most_at_once == 1


def test_neighbours_are_read_together(known: Known, asked: Asked) -> None:
    container, storage = asked
    list(container.extract_many(known.scattered))
    seen = requests(storage, lambda: list(container.extract_many(known.scattered + known.between)))
    # 34 MiB in windows of 1 MiB.
    assert seen["read"] <= 36


def test_where_names_are_seen_late_the_note_of_the_last_commit_is_read_each_time(known: Known) -> None:
    class Late(RecordingStorage):
        def is_prompt(self) -> bool:
            return False

    storage = Late(LocalStorage(str(known.path)))
    with Container(storage) as container:
        native(container.engine).index.clock = lambda: 0.0
        container.has(ABSENT)
        assert requests(storage, lambda: container.has(ABSENT)) == NEWER | LOST
        container.close()
