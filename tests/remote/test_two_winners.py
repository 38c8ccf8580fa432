"""No container is made in a storage that gives a name twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rsdos import Container, ReadOnlyContainer
from rsdos.storage.base import FileInfo, PutResult, Storage
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageWrapper
from rsdos.testing import RecordingStorage

REMOTE = MemoryStorage().traits._replace(appends=False, locks=False, is_remote=True)


class Replacing(StorageWrapper):
    """Ignores the condition of a put."""

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        self.inner.remove(name)
        return self.inner.put_new(name, data)


class Versioned(StorageWrapper):
    """A bucket whose versioning is switched on later. Like Ceph 16 it ignores conditions then, unless it ``holds``."""

    def __init__(self, inner: Storage, holds: bool = False) -> None:
        super().__init__(inner)
        self.holds = holds
        self.is_on = False
        self.versioned: set[str] = set()

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        if self.is_on:
            self.versioned.add(name)
            if not self.holds:
                self.inner.remove(name)
        return self.inner.put_new(name, data)

    def stat(self, name: str) -> FileInfo | None:
        info = self.inner.stat(name)
        return info and info._replace(is_versioned=name in self.versioned)


def names(storage: Storage) -> list[str]:
    return [name for directory in ("probe", "manifests") for name in storage.list(directory)]


def test_a_storage_that_gives_a_name_twice_is_refused() -> None:
    inner = MemoryStorage(traits=REMOTE)
    with pytest.raises(ReadOnlyContainer, match="two writers would lose objects"):
        Container.create(Replacing(inner))
    assert names(inner) == []
    assert not inner.exists("config.json")


def test_lost_answers_are_no_second_winner() -> None:
    storage = MemoryStorage(traits=REMOTE)
    for is_stored in (False, True, True):
        storage.lose_answer(stored=is_stored)
    with Container.create(storage) as container:
        assert container.insert_many([b"one"])
    assert list(storage.list("probe")) == []


def test_a_writer_without_the_right_to_remove_makes_a_container() -> None:
    storage = MemoryStorage(traits=REMOTE)
    storage.refuse("remove")
    with Container.create(storage) as container:
        assert container.insert_many([b"one"])


def test_the_question_costs_three_requests() -> None:
    storage = RecordingStorage(MemoryStorage(traits=REMOTE))
    Container.create(storage).close()
    assert [call.verb for call in storage.calls if call.name.startswith("probe/")] == ["put_new", "put_new", "remove"]


def test_versioning_that_is_switched_on_later_is_noticed_before_a_new_process_commits_an_object() -> None:
    storage = Versioned(MemoryStorage(traits=REMOTE))
    with Container.create(storage) as container:
        container.insert_many([b"before"])
    storage.is_on = True
    # Two programs at the same time would each be told that their commit is stored.
    for _ in range(2):
        with Container(storage) as container, pytest.raises(ReadOnlyContainer, match="two writers would lose objects"):
            container.insert_many([b"after"])
    with Container(storage) as container:
        assert len(container) == 1
    assert list(storage.inner.list("probe")) == []


def test_versioning_that_is_switched_on_while_a_process_has_ids_is_noticed_by_its_second_commit_at_the_latest() -> None:
    storage = Versioned(MemoryStorage(traits=REMOTE))
    with Container.create(storage) as container:
        container.insert_many([b"before"])
        storage.is_on = True
        container.insert_many([b"first"])
        with pytest.raises(ReadOnlyContainer):
            container.insert_many([b"second"])
        with pytest.raises(ReadOnlyContainer):
            container.delete([next(iter(container.keys()))])


def test_a_bucket_that_keeps_versions_and_conditions_is_written_and_asked_once() -> None:
    storage = Versioned(MemoryStorage(traits=REMOTE), holds=True)
    with Container.create(storage) as container:
        storage.is_on = True
        recorded = RecordingStorage(storage)
    with Container(recorded) as container:
        for number in range(4):
            container.insert_many([b"%d" % number])
        assert len(container) == 4
    assert [call.verb for call in recorded.calls if call.name.startswith("probe/")] == ["put_new", "put_new", "remove"]
