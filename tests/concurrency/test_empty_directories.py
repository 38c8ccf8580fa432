"""Directories that nothing is in go, and an insert beside that is served all the same."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, Durability, Place
from rsdos.storage import posix
from rsdos.stores.loose.directories import LooseDirectories
from rsdos.stores.sandbox import LoneFile
from tests.data import key_of, noise
from tests.helpers import assert_holds

SOME = [noise(100, number) for number in range(20)]


@pytest.fixture
def store(tmp_path: Path) -> Container:
    return Container.create(tmp_path / "store", loose_prefix_len=4)


def names(store: Container) -> list[str]:
    return os.listdir(store.path / "loose")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("prefix", [2, 4, 8])
def test_empty_ones_go_where_there_may_be_many_and_nobody_needs_them(tmp_path: Path, version: int, prefix: int) -> None:
    store = Container.create(tmp_path / "store", container_version=version, loose_prefix_len=prefix)
    store.insert_many(SOME, to=Place.LOOSE)
    store.pack_all_loose()
    assert (names(store) == []) is (version == 2 and prefix > 2)
    left = noise(50, 99)
    for data in (*SOME, left):
        store.insert(data)
    store.delete([key_of(data) for data in SOME])
    (store.path / "loose" / "lost+found").mkdir()
    store.clean_storage()
    if version == 2 and prefix > 2:
        assert sorted(names(store)) == sorted([key_of(left)[:prefix], "lost+found"])
    assert_holds(Container(store.path), {key_of(left): left})


@pytest.mark.parametrize("times", [1, 3])
def test_a_directory_removed_before_a_rename_into_it_is_made_again(
    store: Container, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LoneFile.move
    moves: list[str] = []

    def move(file: LoneFile, target: str) -> None:
        moves.append(target)
        if len(moves) <= times:
            Container(store.path).clean_storage()
            assert names(store) == []
        real(file, target)

    monkeypatch.setattr(LoneFile, "move", move)
    assert store.insert(SOME[0]) == key_of(SOME[0])
    assert len(moves) == times + 1
    assert_holds(Container(store.path), {key_of(SOME[0]): SOME[0]})


@pytest.mark.parametrize("many", [False, True])
def test_a_directory_removed_with_its_file_before_the_sync_is_made_again(
    store: Container, many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "sync" if many else "sync_one"
    real = getattr(LooseDirectories, name)
    gone: list[bool] = []

    def sync(self: LooseDirectories, *rest: Any) -> None:
        if not gone:
            gone.append(True)
            Container(store.path).delete([key_of(SOME[0])])
            Container(store.path).clean_storage()
            assert names(store) == []
        real(self, *rest)

    monkeypatch.setattr(LooseDirectories, name, sync)
    if many:
        store.insert_many(SOME[:1], to=Place.LOOSE)
    else:
        store.insert(SOME[0])
    assert gone
    assert_holds(Container(store.path), {key_of(SOME[0]): SOME[0]})


def test_the_name_of_a_directory_made_again_by_another_process_is_synced(
    store: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.insert(SOME[0])
    store.delete([key_of(SOME[0])])
    Container(store.path).clean_storage()
    Container(store.path, durability=Durability.RELAXED).insert(SOME[0])
    synced: list[str] = []
    real = posix.sync_directory

    def sync_directory(path: str) -> bool:
        synced.append(path)
        return real(path)

    monkeypatch.setattr(posix, "sync_directory", sync_directory)
    store.insert(SOME[0])
    assert f"{store.path}/loose" in synced


def test_a_container_that_is_dropped_leaves_nothing_in_the_sandbox(tmp_path: Path) -> None:
    """Before, an empty directory for each, until the next clean. The first file of a writer has none: ADR 13."""
    path = Container.create(tmp_path / "store").path
    for number in range(3):
        container = Container(path)
        container.insert(SOME[2 * number])
        container.insert(SOME[2 * number + 1])
        assert len(os.listdir(path / "sandbox")) == 1
        del container
        gc.collect()
        assert os.listdir(path / "sandbox") == []
