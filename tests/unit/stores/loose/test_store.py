"""Loose files: the short ways in and out, and the directories that they are in."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container, Place
from rsdos.codecs.workers import Threads
from rsdos.model import FRAME_SIZE, BytesLike, Copy, Durability, Trust
from rsdos.storage import posix
from rsdos.stores.loose.file import LooseFile
from tests.data import key_of, noise, text
from tests.helpers import flip
from tests.patience import HANG


def file_of(container: Container, key: str) -> Path:
    return container.path / "loose" / key[:2] / key[2:]


@pytest.mark.parametrize("data", [b"", b"x", noise(1 << 14), noise((1 << 14) + 1), text(FRAME_SIZE)])
def test_one_small_object(data: bytes, container: Container) -> None:
    key = container.insert(data)
    assert key == key_of(data)
    assert file_of(container, key).read_bytes() == data
    assert container.extract(key) == data


def test_a_good_copy_stays_and_is_not_written_again(container: Container) -> None:
    for place in Place:
        (key,) = container.insert_many([b"%d" % len(place.value)], to=place)
        before = file_of(container, key).stat() if place is Place.LOOSE else None
        assert container.insert(b"%d" % len(place.value)) == key
        assert file_of(container, key).exists() == (place is Place.LOOSE)
        if before:
            assert file_of(container, key).stat().st_ino == before.st_ino


@pytest.mark.parametrize("place", Place)
def test_the_files_of_many_duplicates_are_synced_together(
    container: Container, monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    """Each sync waits for the disk. One file is read at a time."""
    objects = [noise(100, seed) for seed in range(8)]
    keys = container.insert_many(objects, to=Place.LOOSE)
    together = threading.Barrier(len(objects))
    sync = posix.sync_file

    def sync_together(fd: int) -> None:
        together.wait(HANG)
        sync(fd)

    monkeypatch.setattr(posix, "sync_file", sync_together)
    with monkeypatch.context() as here:
        reading = threading.Lock()
        frames = LooseFile.frames

        def frames_alone(file: LooseFile) -> Iterator[BytesLike]:
            assert reading.acquire(blocking=False)
            yield from frames(file)
            reading.release()

        here.setattr(LooseFile, "frames", frames_alone)
        assert container.engine.loose.check_copies(
            [bytes.fromhex(key) for key in keys], Trust.VERIFY, Durability.FULL
        ) == [Copy.GOOD] * len(keys)
    assert container.insert_many(objects, to=place) == keys


def test_a_file_that_is_no_copy_is_replaced(container: Container) -> None:
    data = noise(2000)
    path = file_of(container, container.insert(data))
    for spoil in (lambda: flip(path, 7), lambda: path.write_bytes(b""), lambda: path.write_bytes(data + b"\0")):
        spoil()
        assert container.insert(data) == key_of(data)
        assert container.extract(key_of(data)) == data
    for target in ("nowhere", "/dev/null"):
        path.unlink()
        path.symlink_to(target)
        assert container.insert(data) == key_of(data)
        assert not path.is_symlink()
        assert path.read_bytes() == data


def test_a_damaged_packed_copy_is_no_reason_not_to_insert(container: Container) -> None:
    data = noise(3000)
    (key,) = container.insert_many([data])
    (pack,) = (container.path / "packed").glob("*.pack")
    flip(pack, pack.read_bytes().index(data) + 5)
    assert container.insert(data) == key
    assert file_of(container, key).read_bytes() == data


@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_a_prefix_directory_that_goes_is_made_again(durability: str, container: Container) -> None:
    with Container(container.path, durability=durability) as own:
        path = file_of(own, own.insert(b"object"))
        path.unlink()
        path.parent.rmdir()
        own.insert(b"object")
        assert path.read_bytes() == b"object"
        for left in (container.path / "sandbox").iterdir():
            assert list(left.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_no_more_directories_than_there_are_prefixes(cut: int, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container", loose_prefix_len=cut) as container:
        keys = [container.insert(noise(20, seed)) for seed in range(60)]
        directories = [path.name for path in (container.path / "loose").iterdir() if path.is_dir()]
        assert {key[:cut] for key in keys if cut} <= set(directories)
        assert len(directories) <= (min(16**cut, 256) if cut else 0)
        assert sorted(container) == sorted(keys)
        for seed, key in enumerate(keys):
            assert container.extract(key) == noise(20, seed)


def test_a_small_container_has_few_directories(container: Container) -> None:
    for number in range(6):
        container.insert(b"%d" % number)
    assert len(list((container.path / "loose").iterdir())) <= 6 + 5 + 4 + 3 + 2 + 1


def test_packing_more_than_one_thread_removes(container: Container) -> None:
    objects = {key_of(data): data for data in (b"object %d" % number for number in range(700))}
    container.insert_many(objects.values(), to=Place.LOOSE)
    damaged = sorted(objects)[100]
    flip(file_of(container, damaged), 3)
    report = container.pack_all_loose()
    assert (report.objects, report.cleaned, report.damaged) == (699, 699, (damaged,))
    assert [path.name for path in (container.path / "loose").glob("*/*")] == [damaged[2:]]
    objects.pop(damaged)
    assert dict(container.extract_many(objects)) == objects


def test_threads_do_all_and_tell_what_failed() -> None:
    done: list[int] = []
    with Threads(8) as threads:
        threads.each(done.append, range(100))
        assert sorted(done) == list(range(100))
        finished = threading.Event()

        def do(number: int) -> None:
            if number == 0:
                raise OSError(5, "no")
            if number == 1:
                os.sched_yield()
                finished.set()

        with pytest.raises(OSError, match="no"):
            threads.each(do, range(2))
        assert finished.is_set()
    with Threads(1) as one, pytest.raises(ZeroDivisionError):
        one.each(lambda number: done.append(1 // number), [1, 0])


@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_a_later_object_goes_in_when_the_writer_s_directory_has_gone(durability: str, container: Container) -> None:
    with Container(container.path, durability=durability) as writer:
        writer.insert(b"first")
        writer.insert(b"second")
        (directory,) = (container.path / "sandbox").iterdir()
        directory.rmdir()
        assert writer.extract(writer.insert(b"third")) == b"third"
        writer.insert(b"fourth")
        assert len(list((container.path / "sandbox").iterdir())) == 1
    assert list((container.path / "sandbox").iterdir()) == []


def test_an_object_that_cannot_be_renamed_is_reported_with_its_path_and_leaves_nothing(container: Container) -> None:
    with Container(container.path) as writer:
        writer.insert(b"first")
        writer.insert(b"second")
        (container.path / "loose" / key_of(b"third")[:2]).write_bytes(b"in the way")
        with pytest.raises(OSError) as told:
            writer.insert(b"third")
        assert str(told.value.filename).startswith(str(container.path / "sandbox"))
        assert [names for _, _, names in os.walk(container.path / "sandbox") if names] == []
        assert writer.extract(writer.insert(b"fourth")) == b"fourth"
