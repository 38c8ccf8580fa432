"""Making and clearing containers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container, ContainerExists, Durability
from tests.data import key_of
from tests.helpers import child_environment, tree
from tests.patience import HANG


def test_the_files_of_a_new_container(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "container"
    with Container.create(path) as container:
        assert container.is_initialised
        assert container.config.durability is Durability.FULL
        assert sorted(child.name for child in path.iterdir()) == [
            "config.json", "index", "locks", "loose", "packed", "sandbox",
        ]  # fmt: skip
        assert [name for name in tree(path) if not name.startswith("locks/")] == [
            "config.json",
            "index/manifest-0000000001.json",
        ]


def test_an_empty_directory_becomes_one(tmp_path: Path) -> None:
    with Container.create(tmp_path) as container:
        assert container.extract(container.insert(b"x")) == b"x"


def test_of_many_that_make_it_at_the_same_time_one_does(tmp_path: Path) -> None:
    """And what it made is whole: no manifest of one with the configuration of another."""
    code = """
import sys
from rsdos import Container, ContainerExists
sys.stdin.read()
for number in range(20):
    container = Container(f"{sys.argv[1]}/{number}")
    try:
        container.init_container()
        print(number)
    except ContainerExists:
        pass
    container.insert_many([sys.argv[2].encode()])
"""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path, str(number)],
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.close()  # Now.
        child.stdin = None
    made = sorted(int(line) for child in children for line in child.communicate(timeout=HANG)[0].split())
    assert [child.returncode for child in children] == [0, 0, 0]
    assert made == list(range(20))
    for number in range(20):
        assert set(Container(tmp_path / str(number))) == {key_of(b"0"), key_of(b"1"), key_of(b"2")}


@pytest.mark.parametrize("leave", [0, 3, 5])
def test_an_interrupted_init_can_be_repeated(tmp_path: Path, leave: int) -> None:
    for name in ("loose", "packed", "index", "sandbox", "locks")[:leave]:
        (tmp_path / name).mkdir()
    if leave > 2:
        (tmp_path / "index" / "manifest-0000000001.json").write_bytes(b"half of i")
    (tmp_path / "config.json.new").write_bytes(b"half of i")
    with Container.create(tmp_path) as container:
        assert container.insert_many([b"x"]) == [key_of(b"x")]
    assert not (tmp_path / "config.json.new").exists()


def test_the_remains_of_a_container_are_not_taken_for_an_empty_directory(tmp_path: Path) -> None:
    with Container.create(tmp_path) as container:
        key = container.insert_many([b"precious"])[0]
    config = (tmp_path / "config.json").read_bytes()
    (tmp_path / "config.json").unlink()
    with pytest.raises(ContainerExists):
        Container.create(tmp_path)
    (tmp_path / "config.json").write_bytes(config)
    assert Container(tmp_path).extract(key) == b"precious"


def test_clear_and_make_again(tmp_path: Path) -> None:
    container = Container.create(tmp_path, pack_size_target=1000)
    keys = [container.insert(b"loose"), *container.insert_many([b"packed", b"x" * 5000])]
    first = container.container_id
    container.init_container(clear=True, loose_prefix_len=3)
    assert container.container_id != first
    assert container.config.loose_prefix_len == 3
    assert container.has_many(keys) == [False] * 3
    assert container.insert_many([b"packed"])[0] in container
    # Where there is nothing yet, there is nothing to clear.
    Container(tmp_path / ".." / "fresh").init_container(clear=True)
