"""How many requests reading makes of a remote. Budgets are exact: with fewer requests, change the figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from rsdos import CompressMode, Container, Unavailable
from rsdos.engine.engine import Engine
from rsdos.engine.keeping import Cache
from rsdos.maintenance.remotes import push
from rsdos.maintenance.remotes.connect import RemoteConnection
from rsdos.maintenance.remotes.copying import RemoteOptions
from rsdos.maintenance.remotes.table import Remote
from rsdos.model import Durability
from rsdos.storage.base import PutResult, Traits
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.opened import RandomAccess
from rsdos.storage.wrapper import StorageCall
from rsdos.stores.packed.ahead import MOST_SPAN
from rsdos.stores.packs import Packing
from rsdos.stores.remote.blocks import BLOCK
from rsdos.stores.remote.cached import PATIENCE
from rsdos.testing import FaultyStorage, RecordingStorage
from tests.data import noise
from tests.dictionaries import records, using
from tests.helpers import ABSENT, native

REMOTE = Traits("memory", is_remote=True)
LARGE = 1 << 17
"""Objects of an index that is larger than what is fetched whole: 8.8 MB. One commit has as many."""

MIDDLE = 20_000
"""Objects of one that is fetched whole for a cache, and by blocks without: 1.3 MB."""

_NO_REQUEST = frozenset(("open", "need", "will_need"))
"""An object in memory is opened, and its views have read all bytes when they are made."""


class Requests(RecordingStorage):
    """Counts an opening as a request where the length is not known."""

    def open(self, name: str, length: int | None = None) -> RandomAccess:
        if length is None:
            self.calls.append(StorageCall("stat", name))
        return super().open(name, length)

    def made(self) -> dict[str, int]:
        """The requests since the last question, by directory or file."""
        calls = [call for call in self.calls if call.verb not in _NO_REQUEST]
        self.forget()
        return dict(Counter(f"{call.verb} {call.name.partition('/')[0]}" for call in calls))


class Known(NamedTuple):
    medium: MemoryStorage
    keys: list[str]


def made_of(objects: list[bytes], **settings: int) -> Known:
    medium = MemoryStorage(traits=REMOTE)
    with Container.create(medium, container_version=3, **settings) as container:  # type: ignore[arg-type]
        keys = container.insert_many(objects, compress=CompressMode.NO)
        container.close()
    return Known(medium, keys)


class Pushed(NamedTuple):
    here: Container
    storage: Requests
    """Of the remote."""


@pytest.fixture(scope="module")
def small() -> Known:
    return made_of([b"%d" % number for number in range(10_000)])


@pytest.fixture(scope="module")
def middle() -> Known:
    return made_of([b"%d" % number for number in range(MIDDLE)])


@pytest.fixture(scope="module")
def large() -> Known:
    return made_of([b"%d" % number for number in range(LARGE)])


def opened(storage: RecordingStorage, cache: Path | None = None) -> Engine:
    return Engine(storage.root, storage=storage, keeping=Cache(str(cache)) if cache else None)


NEWEST = {"list manifests": 1, "read_with_version manifests": 2}
"""The newest manifest in a listing, itself, and that there is no newer one."""


def test_open_and_first_verified_read_with_nothing_cached(small: Known) -> None:
    storage = Requests(small.medium)
    assert opened(storage).objects.extract(small.keys[7]) == b"7"
    made = storage.made()
    assert made == {"read_with_version config.json": 1, **NEWEST, "read segments": 1, "read packs": 1}
    assert sum(made.values()) == 6


@pytest.mark.parametrize("count", [1, 3000])
def test_open_and_first_verified_read_where_the_table_is_in_the_pack(count: int) -> None:
    known = made_of([b"%d" % number for number in range(count)])
    storage = Requests(known.medium)
    assert opened(storage).objects.extract(known.keys[0]) == b"0"
    # Of the pack its table, and the object.
    assert storage.made() == {"read_with_version config.json": 1, **NEWEST, "read packs": 2}


def test_open_and_first_verified_read_with_a_large_index(large: Known) -> None:
    storage = Requests(large.medium)
    assert opened(storage).objects.extract(large.keys[7]) == b"7"
    made = storage.made()
    # Of the segment its header, its table of blocks, and the entries around the key.
    assert made == {"read_with_version config.json": 1, **NEWEST, "read segments": 3, "read packs": 1}
    assert sum(made.values()) == 8


def test_without_a_cache_an_index_of_a_few_mib_is_read_by_blocks_and_soon_whole(middle: Known, tmp_path: Path) -> None:
    storage = Requests(middle.medium)
    engine = opened(storage)
    assert engine.objects.extract(middle.keys[7]) == b"7"
    # Of the segment its header, its table of blocks, and the entries around the key.
    reads = [call.length for call in storage.calls if call.verb == "read" and call.name.startswith("segments")]
    assert len(reads) <= 3 and sum(reads) <= 4 * BLOCK
    for key in middle.keys[::100]:
        engine.objects.extract(key)
    made = storage.made()
    # Most keys are in blocks that are there by the time that all others come.
    assert made["read segments"] <= PATIENCE + 3
    for key in middle.keys[1::100]:
        engine.objects.extract(key)
    assert "read segments" not in storage.made()
    # All programs that use a cache read it whole once.
    cached = opened(storage, tmp_path)
    assert cached.objects.extract(middle.keys[7]) == b"7"
    cached.close()
    assert storage.made()["read segments"] == 1


def test_a_lookup_in_a_large_index_is_one_request_and_a_read_one_more(large: Known) -> None:
    storage = Requests(large.medium)
    engine = opened(storage)
    engine.objects.extract(large.keys[7])
    storage.forget()
    find = native(engine).index.find
    for at in range(1000, 1030):
        assert find(bytes.fromhex(large.keys[at])) is not None
    # Or none, where its block is there; and once the filter.
    assert storage.made()["read segments"] <= 30 + 1
    assert engine.objects.extract(large.keys[2000]) == b"2000"
    assert storage.made() == {"read segments": 1, "read packs": 1}


def test_a_segment_is_not_asked_for_its_length_nor_a_pack_for_its_header(small: Known) -> None:
    storage = Requests(small.medium)
    opened(storage).objects.extract(small.keys[7])
    assert [call for call in storage.calls if call.verb in ("stat", "exists", "version")] == []
    assert [call.length for call in storage.calls if call.verb == "read" and call.name.startswith("packs")] == [1]


def test_what_is_cached_is_no_request(small: Known, tmp_path: Path) -> None:
    storage = Requests(small.medium)
    for _ in range(2):
        storage.forget()
        engine = opened(storage, tmp_path)
        assert engine.objects.extract(small.keys[7]) == b"7"
        engine.close()
    assert storage.made() == {"read_with_version config.json": 1, **NEWEST}


def test_many_lookups_of_a_large_index_are_asked_for_together(large: Known) -> None:
    storage = Requests(large.medium)
    engine = opened(storage)
    engine.objects.extract(large.keys[7])
    storage.forget()
    wanted = large.keys[: LARGE // 100 : 100]
    assert engine.objects.has_many(wanted) == [True] * len(wanted)
    made = storage.made()
    # First key bytes and entries of 14 keys, neighbours together; and whether the manifest is still the newest.
    assert made.pop("read segments") <= 2 * len(wanted)
    assert made == {"stat manifests": 1}


def test_many_lookups_fetch_a_large_index_once_into_the_cache(large: Known, tmp_path: Path) -> None:
    storage = Requests(large.medium)
    engine = opened(storage, tmp_path)
    assert engine.objects.has_many(large.keys) == [True] * LARGE
    lengths = [call.length for call in storage.calls if call.verb == "read" and call.name.startswith("segments")]
    (segment,) = (name for name in large.medium._objects if name.startswith("segments"))
    size = len(large.medium._objects[segment].data)
    assert sum(lengths) <= size + (size >> 2)
    assert max(lengths) <= MOST_SPAN
    assert not engine.objects.has(ABSENT)
    engine.close()
    copy = tmp_path / engine.config.container_id / segment
    assert copy.read_bytes() == large.medium._objects[segment].data
    storage.forget()
    again = opened(storage, tmp_path)
    assert again.objects.has_many(large.keys[:100]) == [True] * 100
    assert "read segments" not in storage.made()
    again.close()


def test_bulk_reads_take_spans_with_gaps_and_many_are_under_way() -> None:
    objects = [noise(1000, seed) for seed in range(2000)]
    known = made_of(objects)
    storage = Requests(known.medium)
    engine = opened(storage)
    engine.objects.extract(known.keys[0])
    storage.forget()
    # Every tenth of 2 MB: with gaps of 256 KiB that is one span.
    assert dict(engine.objects.extract_many(known.keys[::10])) == dict(
        zip(known.keys[::10], objects[::10], strict=True)
    )
    assert storage.made()["read packs"] == 1


def test_a_large_object_is_read_in_spans() -> None:
    data = noise((20 << 20) + 9)
    known = made_of([data, noise(5 << 20, 1)])
    storage = Requests(known.medium)
    engine = opened(storage)
    assert engine.objects.has(known.keys[1])
    storage.forget()
    assert b"".join(engine.objects.parts(known.keys[1])) == noise(5 << 20, 1)
    assert storage.made()["read packs"] == 1
    assert b"".join(engine.objects.parts(known.keys[0])) == data
    # Its table, and 20 MiB in spans of 8.
    assert storage.made()["read packs"] == 1 + 3
    assert engine.objects.extract(known.keys[0]) == data
    assert storage.made()["read packs"] == 1 + 3
    with engine.objects.open(known.keys[0]) as stream:
        stream.seek(10 << 20)
        assert stream.read(1000) == data[10 << 20 : (10 << 20) + 1000]
    # Its table, and the frame.
    assert storage.made()["read packs"] == 2


def test_a_remote_that_cannot_be_reached_is_not_asked_for_each_object() -> None:
    known = made_of([noise(1000, seed) for seed in range(2000)])
    is_down = False

    def fault(call: StorageCall) -> Exception | None:
        return Unavailable("bucket", "no route") if is_down and call.verb == "read" else None

    storage = Requests(FaultyStorage(known.medium, fault))
    engine = opened(storage)
    engine.objects.extract(known.keys[0])
    storage.forget()
    is_down = True
    with pytest.raises(Unavailable):
        list(engine.objects.extract_many(known.keys))
    assert storage.made()["read packs"] == 1


def test_a_push_is_nine_requests_beside_one_for_each_pack(tmp_path: Path) -> None:
    here = Container.create(tmp_path / "here")
    here.insert_many([noise(1000, seed) for seed in range(1000)], compress=CompressMode.NO)
    storage = Requests(made_of([]).medium)
    there = Engine(storage.root, Durability.FULL, storage=storage)
    there.packed.packing = Packing(300_000)
    connection = RemoteConnection(Remote("origin", "memory://there"), there, there.packed.head(), None)
    plan = push.plan(here.engine, connection, RemoteOptions())
    assert push.execute(here.engine, connection, plan).objects == 1000
    made = {what: count for what, count in storage.made().items() if not what.startswith("sync")}
    packs = made.pop("put_new packs")
    assert packs == 4
    # What is newest is asked for when the remote is opened. Ids are reserved by a commit, and used by another; before
    # each it is asked whether the manifest that it follows is still there.
    assert made == {
        "read_with_version config.json": 1,
        "list manifests": 1,
        "read_with_version manifests": 2,
        "stat manifests": 2,
        "put_new manifests": 2,
        "put_new segments": 1,
    }
    assert sum(made.values()) == 9


@pytest.fixture
def pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pushed:
    storage = Requests(MemoryStorage(traits=REMOTE))
    monkeypatch.setattr("rsdos.maintenance.remotes.connect.open_storage", lambda *_: storage)
    Container.create(storage.inner, container_version=3)
    here = Container.create(tmp_path / "here")
    here.insert_many([b"%d" % number for number in range(10_000)], compress=CompressMode.NO)
    with here.snapshots.edit("flowers") as draft:
        draft["rose"] = b"a rose"
    here.remotes.add("origin", "memory://there")
    here.remotes.push()
    storage.forget()
    return Pushed(here, storage)


STATUS = {"read_with_version config.json": 1, "read_with_version manifests": 2, "read packs": 4}
"""That this is the container, that the state that was seen is there, and no newer one. The tables of three
small packs, and the names: these are in packs, and no copies are kept. The index of 10,000 objects has a copy here."""


def test_a_status_of_a_remote_asks_once_for_what_is_newest_and_lists_nothing(pushed: Pushed) -> None:
    for _ in range(2):
        report = pushed.here.remotes.compare()
        assert report.is_same and report.there == 10_000
        assert pushed.storage.made() == STATUS
        assert report.requests.total == sum(STATUS.values())


@pytest.mark.parametrize(("inserts", "reads"), [(1, 4), (3, 5), (30, 6)])
def test_a_status_of_a_remote_finds_what_others_have_just_committed(pushed: Pushed, inserts: int, reads: int) -> None:
    with Container(pushed.storage.inner) as other:
        for number in range(inserts):
            other.insert_many([b"of another machine, %d" % number])
        newest = other.engine.packed.head().number
    report = pushed.here.remotes.compare()
    assert (report.only_there.objects, report.number) == (inserts, newest)
    made = pushed.storage.made()
    # Two of them are commits (the first insert reserves ids). After these a listing has the newest; and that the state
    # which was seen is of the same chain is asked for, if it is not among the last 16.
    assert (made["read_with_version manifests"], made["list manifests"]) == (reads, 1)
    # The newest is noted: the next one begins there.
    pushed.here.remotes.compare()
    made = pushed.storage.made()
    assert made["read_with_version manifests"] == 2 and "list manifests" not in made


def test_a_status_finds_the_newest_although_what_was_seen_was_emptied(pushed: Pushed) -> None:
    seen = pushed.here.remotes.compare().number
    with Container(pushed.storage.inner) as other:
        for number in range(3):
            other.insert_many([b"of another machine, %d" % number])
        newest = other.engine.packed.head().number
    pushed.storage.inner.empty(f"manifests/{10**16 - 1 - seen}.json.zst")
    report = pushed.here.remotes.compare()
    assert (report.only_there.objects, report.number) == (3, newest)


def test_a_status_of_a_shared_directory_counts_each_file_of_its_index_once(tmp_path: Path) -> None:
    there = Container.create(f"file://{tmp_path}/there")
    there.insert_many([b"%d" % number for number in range(10_000)], compress=CompressMode.NO)
    (index,) = (tmp_path / "there" / "segments").iterdir()
    here = Container.create(tmp_path / "here")
    here.remotes.add("origin", f"file://{tmp_path}/there")
    here.remotes.fetch()
    requests = here.remotes.compare().requests
    # The configuration, two manifests, the index opened and mapped.
    assert (requests.get, requests.list) == (5, 0)
    assert index.stat().st_size < requests.received < index.stat().st_size + 5000


def test_an_insert_is_five_requests_once_ids_are_reserved() -> None:
    storage = Requests(made_of([]).medium)
    with Container(storage) as container:
        container.insert_many([b"one"])
        storage.made()
        container.insert_many([b"two"])
        made = {what: count for what, count in storage.made().items() if not what.startswith("sync")}
        # The last one is the table in the pack, for the next lookup.
        assert made == {
            "read_with_version manifests": 1,
            "put_new packs": 1,
            "stat manifests": 1,
            "put_new manifests": 1,
            "read packs": 1,
        }


class Outrun(Requests):
    """Lets another machine commit before each of the first puts of a manifest."""

    races = 0

    def __init__(self, medium: MemoryStorage) -> None:
        super().__init__(medium)
        self._other = Container(medium)

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        if name.startswith("manifests/") and self.races:
            self.races -= 1
            self._other.insert_many([b"of another machine, %d" % self.races])
        return super().put_new(name, data, still)


def test_a_commit_that_others_outrun_opens_each_of_their_tables_once() -> None:
    storage = Outrun(made_of([b"one"]).medium)
    with Container(storage) as container:
        container.insert_many([b"two"])  # Has ids reserved, and the index open.
        storage.made()
        storage.races = 8
        container.insert_many([b"three"])
        made = storage.made()
        assert not storage.races
        # 9 attempts. Of each other commit the manifest and its table are read, and the table of its own.
        assert made["read packs"] == 9 and made["put_new manifests"] == 9
        assert len(container) == 11


# Repack.


def test_a_repack_by_itself_reads_no_object_alone() -> None:
    """To look whether a new dictionary would pay takes hundreds of objects: behind a network a request each."""
    medium = MemoryStorage(traits=REMOTE)
    with Container.create(medium, container_version=3) as container, using(None):
        keys = container.insert_many(records(1000), compress=CompressMode.YES)
    storage = Requests(medium)
    with Container(storage) as container:
        container.delete(keys[:10])
        storage.forget()
        assert container.repack(min_dead=0).objects == len(keys) - 10
    assert storage.made()["read packs"] <= 10
