"""What is read of a URL is kept on this machine, where the caller or the command line says."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, InvalidOption
from tests.data import noise
from tests.remote.little_s3 import BUCKET, LittleS3
from tests.warm import warm

URL = f"s3://{BUCKET}/data"
SIZE = 1000


@pytest.fixture
def objects(little: LittleS3) -> dict[str, bytes]:
    """A container on the server, and its objects."""
    data = [noise(SIZE, seed) for seed in range(50)]
    with Container.create(URL, endpoint=little.url) as container:
        return dict(zip(container.insert_many(data, compress=CompressMode.NO), data, strict=True))


def asked(little: LittleS3) -> Counter[str]:
    """The requests since the last question: the method, and the directory or file."""
    made = Counter(f"{one.method} {one.name.removeprefix('data/').partition('/')[0]}" for one in little.asked)
    little.asked.clear()
    return made


def test_what_was_read_once_is_not_asked_for_again(little: LittleS3, objects: dict[str, bytes], tmp_path: Path) -> None:
    container = Container(URL, endpoint=little.url, cache=tmp_path / "cache")
    assert dict(container.extract_many(objects)) == objects
    container.close()
    asked(little)
    with Container(URL, endpoint=little.url, cache=tmp_path / "cache") as again:
        assert dict(again.extract_many(objects)) == objects
        again.close()
    made = asked(little)
    # The table of the index is in the pack; of the objects nothing is asked.
    assert made["GET packs"] == 1
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.name == container.container_id
    with Container(kept / "objects") as inside:
        assert sorted(inside) == sorted(objects)


def test_without_a_cache_nothing_is_kept(little: LittleS3, objects: dict[str, bytes], tmp_path: Path) -> None:
    for _ in range(2):
        asked(little)
        with Container(URL, endpoint=little.url) as container:
            assert dict(container.extract_many(objects)) == objects
            container.close()
        assert asked(little)["GET packs"] == 2


def test_a_container_in_a_directory_has_no_cache(tmp_path: Path) -> None:
    Container.create(tmp_path / "container").close()
    with pytest.raises(InvalidOption, match="cache"):
        Container(tmp_path / "container", cache=tmp_path / "cache")


def test_a_container_that_is_sent_to_another_process_has_the_same_cache(
    little: LittleS3, objects: dict[str, bytes], tmp_path: Path
) -> None:
    sent = pickle.dumps(Container(URL, endpoint=little.url, cache=tmp_path / "cache"))
    with pickle.loads(sent) as container:
        container.extract(next(iter(objects)))
        container.close()
    assert (tmp_path / "cache" / container.container_id / "objects" / "config.json").exists()


@pytest.fixture
def rsdos(little: LittleS3, tmp_path: Path) -> Callable[..., bytes]:
    """Runs the command line on the container, with the user's caches in a directory of its own."""

    def run(*arguments: str, **variables: str) -> bytes:
        environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "caches"), "HOME": str(tmp_path)} | variables
        command = [*warm(), "-p", URL, "--endpoint", little.url, *arguments]
        return subprocess.run(command, capture_output=True, check=True, env=environment).stdout

    return run


def test_the_command_line_keeps_it_where_the_users_caches_are(
    objects: dict[str, bytes], rsdos: Callable[..., bytes], tmp_path: Path
) -> None:
    key = next(iter(objects))
    assert rsdos("cat-file", key) == objects[key]
    (kept,) = (tmp_path / "caches" / "rsdos").iterdir()
    assert list(Container(kept / "objects")) == [key]
    assert not (tmp_path / ".cache").exists()
    # A variable that is no absolute path counts as not set.
    assert rsdos("cat-file", key, XDG_CACHE_HOME="relative") == objects[key]
    assert (tmp_path / ".cache" / "rsdos").is_dir()


def test_the_command_line_keeps_it_elsewhere_or_nowhere(
    objects: dict[str, bytes], rsdos: Callable[..., bytes], tmp_path: Path
) -> None:
    key = next(iter(objects))
    assert rsdos("--cache", "none", "cat-file", key) == objects[key]
    assert rsdos("--cache", str(tmp_path / "elsewhere"), "cat-file", key) == objects[key]
    assert not (tmp_path / "caches").exists()
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
