"""The manifests on disk, through a container that makes many."""

from __future__ import annotations

import threading

import pytest

from rsdos import Container, Place
from rsdos.errors import DamagedContainer
from rsdos.index.history import KEPT
from rsdos.index.merge import MOST_SEGMENTS
from tests.data import key_of, noise
from tests.helpers import assert_holds, native


def test_the_last_sixteen_are_kept_and_segments_merged(container: Container) -> None:
    contents = {}
    for number in range(60):
        data = noise(30 + number, number)
        contents[container.insert(data, to=Place.PACKED)] = data
    index = container.path / "index"
    assert len(list(index.glob("manifest-*.json"))) == KEPT
    manifest = native(container.engine).index.snapshot.manifest
    assert manifest.number == 61
    assert len(manifest.segments) <= MOST_SEGMENTS
    assert sum(segment.count for segment in manifest.segments) == 60
    needed = {segment.number for segment in manifest.segments if segment.number}
    assert needed <= {int(path.stem) for path in index.glob("*.seg")}
    assert_holds(Container(container.path), contents)


def test_a_reader_that_is_many_commits_behind(container: Container) -> None:
    first = container.insert(b"first", to=Place.PACKED)
    reader = Container(container.path)
    assert reader.extract(first) == b"first"
    keys = [container.insert(b"%d" % number, to=Place.PACKED) for number in range(40)]
    assert reader.extract(keys[-1]) == b"39"
    assert reader.extract(first) == b"first"


def test_commits_of_many_threads_follow_one_another(container: Container) -> None:
    def write(thread: int) -> None:
        for number in range(10):
            Container(container.path).insert(b"%d %d" % (thread, number), to=Place.PACKED)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    contents = {key_of(data): data for data in (b"%d %d" % (t, n) for t in range(4) for n in range(10))}
    assert native(container.engine).index.refresh().manifest.number == 41
    assert_holds(container, contents)


def test_a_manifest_of_another_container_is_not_believed(container: Container) -> None:
    other = Container.create(container.path.parent / "other")
    other.insert(b"other", to=Place.PACKED)
    newest = container.path / "index" / "manifest-0000000002.json"
    newest.write_bytes((other.path / "index" / newest.name).read_bytes())
    with pytest.raises(DamagedContainer):
        container.insert(b"more", to=Place.PACKED)
