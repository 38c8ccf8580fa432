"""A whole container of version 3: on a medium that can neither append nor lock, and that many machines write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, InvalidOption, Place
from rsdos.errors import ContainerExists, NotAContainer, ObjectNotFound
from rsdos.index.remote_commits import RemoteCommits
from rsdos.model import FRAME_SIZE
from rsdos.storage.base import Storage, Traits
from rsdos.storage.local import LocalStorage
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage, RecordingStorage
from tests.data import key_of, noise
from tests.helpers import ABSENT, objects_of_all_sizes

POOR = Traits("object storage")
"""Neither appends nor locks nor files."""


def bucket() -> MemoryStorage:
    return MemoryStorage("bucket", POOR)


def directory(path: Path) -> LocalStorage:
    storage = LocalStorage(str(path))
    storage.traits = POOR
    return storage


@pytest.fixture(params=["memory", "directory"])
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "memory":
        return bucket()
    (tmp_path / "root").mkdir()
    return directory(tmp_path / "root")


def commits_of(container: Container) -> RemoteCommits:
    commits = container.engine.packed.index.commits  # type: ignore[attr-defined]
    assert isinstance(commits, RemoteCommits)
    return commits


def is_whole(container: Container) -> bool:
    report = container.validate("full")
    return report.is_finished and not (report.damaged or report.damaged_files)


def test_a_medium_without_appends_gets_version_3(medium: Storage) -> None:
    container = Container.create(medium)
    assert container.config.version == 3
    assert container.config.pack_size_target == 32 << 20
    assert Container(medium).container_id == container.container_id


def test_a_whole_life(medium: Storage) -> None:
    objects = objects_of_all_sizes()
    with Container.create(medium, compression="zstd", pack_size_target=1 << 20) as container:
        assert container.insert_many(objects.values(), compress=CompressMode.AUTO) == list(objects)
        assert dict(container.extract_many(objects)) == objects
        for key, data in objects.items():
            assert container.extract(key) == data
            with container.open(key) as stream:
                assert stream.read() == data
        assert is_whole(container)
        gone = sorted(objects)[::2]
        assert set(container.delete(gone)) == set(gone)
        left = {key: data for key, data in objects.items() if key not in gone}
        assert not any(container.has_many(gone))
        assert is_whole(container)
    with Container(medium) as again:
        assert sorted(again) == sorted(left)
        assert len(again) == again.status().packed_objects == len(left)
        assert dict(again.extract_many(left)) == left
        with pytest.raises(ObjectNotFound):
            again.extract(ABSENT)


def test_another_object_sees_what_one_stores_and_deletes(medium: Storage) -> None:
    one, other = Container.create(medium), Container(medium)
    assert not other.has(key_of(b"bytes"))
    (key,) = one.insert_many([b"bytes"])
    assert other.extract(key) == b"bytes"
    assert other.delete([key]) == [key]
    assert not one.has(key)
    assert one.insert_many([b"bytes"]) == [key]
    assert other.extract(key) == b"bytes"


def test_every_object_on_the_medium_is_written_once_and_named_by_the_layout(medium: Storage) -> None:
    recording = RecordingStorage(medium)
    container = Container.create(recording)
    container.insert_many([b"%d" % number for number in range(10_000)])
    container.delete([key_of(b"1")])
    put = [call.name for call in recording.calls if call.verb in {"put_new", "put_stream"}]
    assert len(put) == len(set(put))
    assert {name.split("/")[0] for name in put} == {"config.json", "manifests", "packs", "segments"}
    assert not any(call.verb in {"append", "create", "remove", "empty", "lock"} for call in recording.calls)
    assert "manifests/9999999999999998.json.zst" in put


def test_to_loose_is_refused(medium: Storage) -> None:
    container = Container.create(medium)
    for insert in (
        lambda: container.insert(b"bytes"),
        lambda: container.insert_many([b"bytes"], to=Place.LOOSE),
    ):
        with pytest.raises(InvalidOption, match="to=loose"):
            insert()
    assert container.insert(b"bytes", to=Place.PACKED) == key_of(b"bytes")


def test_durability_is_always_full(medium: Storage) -> None:
    with pytest.raises(InvalidOption, match="durability is always full"):
        Container.create(medium, durability="relaxed")
    Container.create(medium)
    container = Container(medium, durability="relaxed")
    key = container.insert(b"bytes", to=Place.PACKED)
    assert Container(medium).extract(key) == b"bytes"


def test_there_is_one_container_in_a_storage(medium: Storage) -> None:
    with pytest.raises(NotAContainer):
        _ = Container(medium).engine
    Container.create(medium)
    with pytest.raises(ContainerExists):
        Container.create(medium)


def test_of_many_that_make_a_container_one_does(medium: Storage) -> None:
    made: list[str] = []
    refused: list[Exception] = []

    def make() -> None:
        try:
            made.append(Container.create(medium).container_id)
        except ContainerExists as error:
            refused.append(error)

    in_threads(*[make] * 8)
    assert len(made) == 1 and len(refused) == 7
    assert Container(medium).container_id == made[0]


def test_an_init_that_was_killed_is_gone_on_with(medium: Storage) -> None:
    def dies(call: StorageCall) -> Exception | None:
        return KeyError("killed") if call.verb == "put_new" and call.name == "config.json" else None

    with pytest.raises(KeyError, match="killed"):
        Container.create(FaultyStorage(medium, dies))
    with pytest.raises(NotAContainer):
        _ = Container(medium).engine
    container = Container.create(medium)
    assert commits_of(container).newest().container_id == container.container_id
    assert container.insert_many([b"bytes"]) == [key_of(b"bytes")]


def test_foreign_objects_are_in_the_way_of_a_new_container(medium: Storage) -> None:
    medium.make_directory("packs")
    medium.put_new("packs/mine", b"bytes")
    with pytest.raises(ContainerExists, match="packs/mine"):
        Container.create(medium)


def test_writers_at_once_all_succeed(medium: Storage) -> None:
    Container.create(medium)
    stored: list[str] = []

    def insert(seed: int) -> Callable[[], None]:
        def run() -> None:
            container = Container(medium)
            for number in range(10):
                stored.extend(container.insert_many([b"%d %d" % (seed, number), noise(1000, 100 * seed + number)]))

        return run

    in_threads(*map(insert, range(6)))
    assert len(stored) == 120
    container = Container(medium)
    assert sorted(container) == sorted(stored)
    assert is_whole(container)
    assert ids_are_unique(container)


def test_an_insert_takes_two_commits_and_the_next_one(medium: Storage) -> None:
    container = Container.create(medium)
    container.insert_many([b"one"])
    assert commits_of(container).newest().number == 3
    container.insert_many([b"two"])
    assert commits_of(container).newest().number == 4


def test_a_large_object_gets_a_pack_by_parts(medium: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    from rsdos.stores.remote import placed

    monkeypatch.setattr(placed, "AT_ONCE", FRAME_SIZE)
    recording = RecordingStorage(medium)
    container = Container.create(recording, compression="none")
    data = noise(3 * FRAME_SIZE)
    (key,) = container.insert_many([data])
    assert [call.name.split("/")[0] for call in recording.calls if call.verb == "put_stream"] == ["packs"]
    assert Container(medium).extract(key) == data


def ids_are_unique(container: Container) -> bool:
    manifest = commits_of(container).newest()
    ids = [*manifest.pack_ids, *(segment.number for segment in manifest.segments if segment.number)]
    return len(ids) == len(set(ids)) and max(ids) < manifest.next_pack_id == manifest.next_segment


def in_threads(*runs: Callable[[], None]) -> None:
    errors: list[Exception] = []

    def caught(run: Callable[[], None]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001  the test fails with it
            errors.append(error)

    threads = [threading.Thread(target=caught, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
