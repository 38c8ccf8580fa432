"""A whole container of version 2 on storages that are no directory."""

from __future__ import annotations

import errno
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Busy, CompressMode, Container, InvalidOption, Place, ReadOnlyContainer, names
from rsdos.engine.engine import Engine
from rsdos.errors import ContainerExists, DamagedObject, NotAContainer, ObjectNotFound
from rsdos.index import pruning
from rsdos.index.commits import CommitLog
from rsdos.index.manifest import Manifest
from rsdos.layout import Layout
from rsdos.maintenance import merge, optimize
from rsdos.maintenance.repair import index, objects
from rsdos.model import FRAME_SIZE, Durability, PackKind
from rsdos.storage.base import Put, Storage
from rsdos.storage.local import LocalStorage
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import CHANGING, StorageCall
from rsdos.testing import FaultyStorage, RecordingStorage
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, objects_of_all_sizes


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def is_whole(container: Container) -> bool:
    report = container.validate()
    return report.is_finished and not (report.damaged or report.damaged_files or report.leftovers)


def test_a_whole_life_in_memory(storage: MemoryStorage) -> None:
    objects = objects_of_all_sizes()
    with Container.create(storage, compression="zstd", pack_size_target=1 << 20) as container:
        assert container.insert_many(objects.values(), compress=CompressMode.AUTO) == list(objects)
        assert dict(container.extract_many(objects)) == objects
        for key, data in objects.items():
            assert container.extract(key) == data
            with container.open(key) as stream:
                assert stream.read() == data
        assert is_whole(container)
        # Delete half, and repack.
        gone = sorted(objects)[::2]
        assert set(container.delete(gone)) == set(gone)
        left = {key: data for key, data in objects.items() if key not in gone}
        assert not any(container.has_many(gone))
        before = container.status().packs_length
        report = container.repack(min_dead=0.0)
        assert report.pack_ids and not report.kept
        assert container.status().packs_length < before
        assert dict(container.extract_many(left)) == left
        assert is_whole(container)
        # Other codecs, and one table.
        container.repack(min_dead=0.0, compression="zlib:1")
        optimize.execute(container.engine, optimize.plan(container.engine, optimize.OptimizeOptions()))
        merge.execute(container.engine, merge.plan(container.engine))
        assert dict(container.extract_many(left)) == left
        assert is_whole(container)
    with Container(storage) as again:
        assert sorted(again) == sorted(left)
        assert len(again) == len(left)
        assert again.status().packed_objects == len(left)
        with pytest.raises(ObjectNotFound):
            again.extract(ABSENT)
    # No file came of it.
    assert not Path(storage.root).exists()


def test_many_commits_are_merged_and_old_manifests_go(storage: MemoryStorage) -> None:
    container = Container.create(storage)
    keys = [container.insert(b"%d" % number, to=Place.PACKED) for number in range(60)]
    assert dict(container.extract_many(keys)) == {key: b"%d" % number for number, key in enumerate(keys)}
    manifests = [name for name in storage.list("index") if name.startswith("manifest")]
    assert len(manifests) <= pruning.KEPT + 1
    assert any(name.endswith(".seg") for name in storage.list("index"))
    container.delete(keys[:30])
    assert sorted(Container(storage)) == sorted(keys[30:])
    assert is_whole(container)


def test_to_loose_is_refused_by_its_name(storage: MemoryStorage) -> None:
    container = Container.create(storage)
    for insert in (
        lambda: container.insert(b"bytes"),
        lambda: container.insert(b"bytes", to=Place.LOOSE),
        lambda: container.insert_many([b"bytes"], to=Place.LOOSE),
    ):
        with pytest.raises(InvalidOption, match="to=loose: memory has no 'files'"):
            insert()
    assert len(container) == 0
    assert container.insert(b"bytes", to=Place.PACKED) == key_of(b"bytes")


def test_what_works_on_files_is_refused_by_its_name(storage: MemoryStorage, tmp_path: Path) -> None:
    container = Container.create(storage)
    with pytest.raises(InvalidOption, match="backup: memory has no 'files'"):
        container.backup(tmp_path / "backup")
    with pytest.raises(InvalidOption, match="repair index: memory has no 'files'"):
        index.plan(container.engine)
    with pytest.raises(InvalidOption, match="repair objects: memory has no 'files'"):
        objects.plan(container.engine, objects.RepairObjectsOptions())
    with pytest.raises(InvalidOption, match="container version 1"):
        Container.create(MemoryStorage(), container_version=1)
    with pytest.raises(TypeError, match="sent to another process"):
        pickle.dumps(container)
    assert list(tmp_path.iterdir()) == []


def test_files_and_other_containers_come_in_and_go_out(storage: MemoryStorage, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for number in range(20):
        (tmp_path / "tree" / f"{number}").write_bytes(b"%d" % number)
    container = Container.create(storage)
    container.add_tree(tmp_path / "tree")
    assert len(container) == 20
    with pytest.raises(InvalidOption, match="several processes: memory has no 'files'"):
        container.engine.opener()
    with Container.create(tmp_path / "other") as other:
        loose, packed = other.insert(b"loose"), other.insert(b"packed", to=Place.PACKED)
        container.transfer_from(other)
        assert container.extract(loose) == b"loose" and container.extract(packed) == b"packed"
    with Container.create(tmp_path / "back") as back:
        back.transfer_from(container)
        assert sorted(back) == sorted(container)
    container.retain([loose, packed])
    assert sorted(container) == sorted([loose, packed])
    container.pack()
    container.clean()
    assert container.inspect_object(packed).copies
    assert is_whole(container)


@pytest.mark.parametrize("lacking", ["appends", "locks"])
def test_a_medium_that_lacks_something_is_refused_when_it_is_opened(lacking: str) -> None:
    storage = MemoryStorage()
    Container.create(storage).insert(b"bytes", to=Place.PACKED)
    storage.traits = storage.traits._replace(medium="a poor memory", **{lacking: False})
    for attempt in (
        lambda: Container(storage).engine,
        lambda: Container.create(MemoryStorage(traits=storage.traits), container_version=2),
    ):
        with pytest.raises(ReadOnlyContainer, match=f"a poor memory has no '{lacking}'"):
            attempt()


def test_there_is_one_container_in_a_storage(storage: MemoryStorage) -> None:
    with pytest.raises(NotAContainer):
        _ = Container(storage).engine
    Container.create(storage)
    with pytest.raises(ContainerExists):
        Container.create(storage)


def test_two_memories_of_one_name_are_two_containers() -> None:
    one, other = MemoryStorage("same"), MemoryStorage("same")
    for storage, data in ((one, b"one"), (other, b"other")):
        with Container.create(storage) as container:
            container.insert(data, to=Place.PACKED)
    for storage, data in ((one, b"one"), (other, b"other"), (one, b"one")):
        with Container(storage) as container:
            assert list(container) == [key_of(data)]
            assert container.extract(key_of(data)) == data


def test_threads_insert_at_once(storage: MemoryStorage) -> None:
    Container.create(storage)
    stored: list[str] = []

    def insert(seed: int) -> None:
        container = Container(storage)
        for number in range(10):
            stored.extend(container.insert_many([b"%d %d" % (seed, number), noise(1000, 100 * seed + number)]))

    threads = [threading.Thread(target=insert, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored) == 120
    container = Container(storage)
    assert sorted(container) == sorted(stored)
    assert is_whole(container)


def test_one_maintenance_run_at_a_time(storage: MemoryStorage) -> None:
    container = Container.create(storage)
    with Container(storage).engine.maintenance("a long one"), pytest.raises(Busy, match="a long one"):
        container.delete([ABSENT])


def test_damage_is_told(storage: MemoryStorage) -> None:
    container = Container.create(storage)
    key = container.insert(noise(5000), to=Place.PACKED)
    extent = container.meta(key).extent
    assert extent is not None
    file = storage.append(names.pack(extent.pack_id), new=False)
    file.write(extent.offset + 100, [b"\0\0\0\0"])
    file.end()
    with pytest.raises(DamagedObject):
        container.extract(key)
    assert [finding.key for finding in container.validate().damaged] == [key]


# Answers that are lost, and commits beside one another.


def opened(storage: Storage) -> CommitLog:
    engine = Engine("", storage=storage)
    return CommitLog(Layout(storage.root, 2, storage), engine.config.container_id)


@pytest.mark.parametrize("stored", [True, False])
def test_a_commit_whose_answer_is_lost_is_made_once(storage: MemoryStorage, stored: bool) -> None:
    container = Container.create(storage)
    container.insert(b"before", to=Place.PACKED)
    storage.lose_answer(stored=stored)
    key = container.insert(b"bytes", to=Place.PACKED)
    assert Container(storage).extract(key) == b"bytes"
    assert opened(storage).newest_number() == 3


def test_a_container_whose_making_lost_an_answer_is_there(storage: MemoryStorage) -> None:
    for _ in range(2):
        storage.lose_answer(stored=True)
    container = Container.create(storage)
    assert container.insert(b"bytes", to=Place.PACKED) == key_of(b"bytes")


def test_the_loser_of_a_put_makes_its_change_anew() -> None:
    """Where there are no locks: each of two commits is in the newest manifest."""
    storage = MemoryStorage()
    Container.create(storage)
    storage.traits = storage.traits._replace(locks=False)
    one, other = (CommitLog(Layout(storage.root, 2, storage), _id_of(storage)) for _ in range(2))
    tries = []

    def change(newest: Manifest) -> Manifest:
        tries.append(newest.number)
        if len(tries) < 3:
            other.commit(lambda now: now.with_note(f"other {len(tries)}", 1), Durability.FULL)
        return newest.with_note("mine", 1)

    published = one.commit(change, Durability.FULL)
    assert tries == [1, 2, 3]
    assert dict(published.manifest.notes) == {"other 1": 1, "other 2": 1, "mine": 1}
    assert one.newest() == published.manifest


def test_a_commit_that_loses_for_ever_ends() -> None:
    storage = MemoryStorage()
    Container.create(storage)
    log = CommitLog(Layout(storage.root, 2, FaultyStorage(storage, _always_taken)), _id_of(storage))
    storage.traits = storage.traits._replace(locks=False)
    log._storage.traits = storage.traits
    with pytest.raises(Busy):
        log.commit(lambda newest: newest, Durability.FULL)


def _always_taken(call: StorageCall) -> Put | None:
    return Put.TAKEN if call.verb == "put_new" else None


def _id_of(storage: Storage) -> str:
    from rsdos.config import read_config_from

    return read_config_from(storage)[0].container_id


# Every call that changes something fails once.


def _insert(container: Container) -> None:
    container.insert_many([b"more", text(FRAME_SIZE + 5)])


def _delete(container: Container) -> None:
    container.delete([key_of(b"a")])


def _repack(container: Container) -> None:
    container.repack(min_dead=0.0)


@pytest.mark.parametrize("do", [_insert, _delete, _repack])
def test_a_call_that_fails_loses_nothing(do: Callable[[Container], None]) -> None:
    """Each call of an operation that changes something fails once, or is the last one of its process."""
    for number in range(1000):
        inner = MemoryStorage()
        container = Container.create(inner)
        kept = container.insert_many([b"a", b"b", noise(3000)])
        container.delete([kept[1]])
        fails = _FailsOnce(number)
        acknowledged = True
        try:
            do(Container(FaultyStorage(inner, fails)))
        except OSError:
            acknowledged = False
        after = Container(inner)
        assert after.extract(kept[2]) == noise(3000)
        assert not after.has(kept[1])
        if do is not _delete:
            assert after.extract(kept[0]) == b"a"
        if acknowledged and do is _insert:
            assert after.extract(key_of(b"more")) == b"more"
        assert not after.validate().damaged_files
        # And it goes on.
        do(after)
        assert after.extract(kept[2]) == noise(3000)
        if fails.left >= 0:
            assert number > 3
            return
    raise AssertionError("it never ended")


class _FailsOnce:
    """Lets so many calls that change something pass, and the next one fail."""

    def __init__(self, passing: int) -> None:
        self.left = passing

    def __call__(self, call: StorageCall) -> OSError | None:
        if call.verb not in CHANGING:
            return None
        self.left -= 1
        return OSError(errno.EIO, "it fails") if self.left == -1 else None


# What a directory is asked for.


def test_a_container_in_a_directory_goes_through_its_storage(tmp_path: Path) -> None:
    """Every call that changes a packed container goes through the seam."""
    Container.create(tmp_path / "c")
    recording = RecordingStorage(LocalStorage(str(tmp_path / "c")))
    container = Container(recording)
    key = container.insert(b"bytes", to=Place.PACKED)
    assert container.extract(key) == b"bytes"
    changes = [call for call in recording.calls if call.verb in CHANGING]
    assert changes == [
        StorageCall("append", names.pack(1)),
        StorageCall("write", names.pack(1)),
        StorageCall("write", names.pack(1)),
        StorageCall("write", names.pack(1)),
        StorageCall("sync", names.pack(1)),
        StorageCall("sync_names", "packed"),
        StorageCall("put_new", names.manifest(2)),
        StorageCall("sync_names", "index"),
    ]
    assert Container(tmp_path / "c").extract(key) == b"bytes"


def test_packs_of_all_kinds_in_memory(storage: MemoryStorage) -> None:
    both, held, page = b"both", b"held", b"page"
    with Container.create(storage) as container:
        insert = container.engine.objects.insert_many
        insert([both, held], kind=PackKind.HELD)
        insert([both, page], kind=PackKind.TREES)
        container.insert_many([both])
        container.repack("none")
        assert set(container) == {key_of(both), key_of(held)}
        for data in (both, held, page):
            assert container.extract(key_of(data)) == data
        container.delete([key_of(both)])
        assert container.extract(key_of(both)) == both
        assert is_whole(container)
