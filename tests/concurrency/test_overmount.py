"""Another file system is mounted over a container that is open: a clear error, or the right answer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rsdos import Container, NotAContainer, Place
from rsdos.errors import ContainerReplaced
from tests.concurrency.test_replaced import NAMES, assert_whole, calls, check_answer
from tests.data import key_of


def mount(*arguments: str | Path) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


@pytest.fixture(autouse=True, scope="module")
def may_mount(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("mounted")
    if sys.platform != "linux" or os.geteuid() or not mount("-t", "tmpfs", "none", place):
        pytest.skip("only root can mount")
    subprocess.run(["umount", place], check=True)


OBJECTS = {key_of(data): data for data in (b"packed", b"more", b"loose")}


def opened(path: Path, version: int) -> Container:
    """Return a new container of a few objects that something was read from."""
    container = Container.create(path, container_version=version)
    container.insert_many([b"packed", b"more"])
    container.insert(b"loose")
    assert container.extract(key_of(b"packed")) == b"packed"
    return container


@contextmanager
def mounted_over(path: Path) -> Iterator[None]:
    """Mount an empty file system over a directory, for one block."""
    assert mount("-t", "tmpfs", "none", path)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [1, 2])
def test_nothing_is_written_below_an_empty_mount(tmp_path: Path, version: int, name: str) -> None:
    path = tmp_path / "container"
    key = key_of(b"packed")
    with opened(path, version) as late:
        with mounted_over(path):
            answer = None
            try:
                answer = calls(late, key)[name]()
            except NotAContainer as error:
                assert "was removed after it was opened" in str(error)
            except KeyError:
                assert name == "extract absent"
            written = os.listdir(path)
        assert not written
        assert not (name.startswith("insert") and answer), "acknowledged, and not there"
        check_answer(name, answer, key, OBJECTS)
        late.close()
    with Container(path) as container:
        assert set(container) == set(OBJECTS)
        assert_whole(container)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", [1, 2])
def test_a_container_below_another_one_is_replaced_or_answers_right(tmp_path: Path, version: int, name: str) -> None:
    path = tmp_path / "container"
    key = key_of(b"packed")
    with opened(path, version) as late:
        with mounted_over(path):
            with Container.create(path, container_version=version) as other:
                theirs = other.insert(b"other", to=Place.PACKED)
            answer = None
            try:
                answer = calls(late, key)[name]()
            except ContainerReplaced as error:
                assert "replaced by another container" in str(error)
            except KeyError:
                assert name == "extract absent"
            with Container(path) as other:
                assert other.extract(theirs) == b"other"
                kept = {theirs}
                if name.startswith("insert"):
                    kept |= {answer} if isinstance(answer, str) else set(answer or ())
                assert set(other) >= kept, "acknowledged, and not there"
                assert_whole(other)
        late.close()
    with Container(path) as container:
        assert set(container) == set(OBJECTS)
        assert_whole(container)
