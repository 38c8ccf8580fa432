"""Bad input gets a clear error, and nothing is lost."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rsdos import (
    Container,
    ContainerExists,
    DamagedContainer,
    DamagedObject,
    InvalidKey,
    InvalidOption,
    InvalidSource,
    NotAContainer,
    Place,
    ReadOnlyContainer,
    UnreadableSource,
    UnsupportedContainer,
)
from rsdos.model import FRAME_SIZE
from tests.data import key_of, noise, text
from tests.helpers import (
    BAD_KEYS,
    NOBODY,
    assert_holds,
    assert_no_leftovers,
    flip,
    let_others_pass,
    run_python,
    tree,
    writable_as_nobody,
)

CONTENTS = {key_of(data): data for data in (text(3000, seed) + noise(100, seed) for seed in range(50))}


@pytest.fixture
def filled(tmp_path: Path) -> Container:
    """A container with packed objects in two batches, and loose ones."""
    container = Container.create(tmp_path / "container")
    values = list(CONTENTS.values())
    container.insert_many(values[:20])
    container.insert_many(values[20:40])
    for data in values[40:]:
        container.insert(data)
    return container


class FailingStream(io.RawIOBase):
    """A stream that raises after so many bytes."""

    def __init__(self, good: int) -> None:
        self._left = good

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if not self._left:
            raise RuntimeError("half-way")
        size = min(len(buffer), self._left, 10_000)
        buffer[:size] = bytes(size)
        self._left -= size
        return size


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_string_that_is_no_key_is_refused(filled: Container, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: filled.extract(key),
        lambda: filled.open(key),
        lambda: filled.meta(key),
        lambda: filled.has(key),
        lambda: filled.has_many([key]),
        lambda: list(filled.extract_many([key])),
        lambda: filled.extract_to(key, "nowhere"),
    ]
    for call in calls:
        with pytest.raises(InvalidKey):
            call()
    assert key not in filled


@pytest.mark.parametrize("to", Place)
@pytest.mark.parametrize("good", [0, 5000, 3 * FRAME_SIZE])
def test_a_stream_that_raises_leaves_nothing(filled: Container, to: Place, good: int) -> None:
    before = tree(filled.path)
    with pytest.raises(RuntimeError, match="half-way"):
        # To loose, what an earlier group of the call has published would stay, whole and acknowledged to nobody.
        filled.insert_many([FailingStream(good)] if to is Place.LOOSE else [b"fine", FailingStream(good)], to=to)
    after = {name: length for name, length in tree(filled.path).items() if not name.startswith("locks/")}
    assert after == {name: length for name, length in before.items() if not name.startswith("locks/")}
    assert_holds(filled, CONTENTS)


def test_sources_that_are_none(filled: Container, tmp_path: Path) -> None:
    for source in (io.StringIO("text"), 7, None, ["list"], object()):
        with pytest.raises(InvalidSource):
            filled.insert(source)  # type: ignore[arg-type]
    os.mkfifo(tmp_path / "fifo")
    for path, kind in ((tmp_path / "missing", 2), (tmp_path, 21), (tmp_path / "fifo", 22)):
        with pytest.raises(UnreadableSource) as caught:
            filled.insert(path)
        assert caught.value.errno == kind
        assert isinstance(caught.value, OSError)
    assert_holds(filled, CONTENTS)


def test_text_that_is_taken_for_a_path_is_explained(filled: Container) -> None:
    for words in ('{"json": 1}', '{"json": "' + "x" * 5000 + '"}'):
        for insert in (filled.insert, lambda source: filled.insert_many([source])):
            with pytest.raises(UnreadableSource, match="a str is a path; to store text, encode it"):
                insert(words)
    with pytest.raises(UnreadableSource) as caught:
        filled.insert(Path("missing"))
    assert "str" not in str(caught.value)
    assert_holds(filled, CONTENTS)


@pytest.mark.parametrize("one", ["text", b"bytes"])
def test_one_object_in_the_place_of_many_is_refused(filled: Container, one: str | bytes) -> None:
    with pytest.raises(InvalidSource, match="use insert, or a list"):
        filled.insert_many(one)  # type: ignore[arg-type]
    assert_holds(filled, CONTENTS)


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    for options in (
        {"pack_size_target": 0},
        {"pack_size_target": -1},
        {"loose_prefix_len": -3},
        {"compression": "lzma"},
        {"compression": None},
        {"loose_compression": "zstd:99"},
        {"durability": "none"},
    ):
        with pytest.raises(InvalidOption):
            Container.create(tmp_path / "container", **options)
    with pytest.raises(InvalidOption):
        Container(tmp_path / "container").init_container(hash_type="md5")
    assert not (tmp_path / "container").exists()


def test_directories_that_are_no_containers(filled: Container, tmp_path: Path) -> None:
    with pytest.raises(NotAContainer):
        len(Container(tmp_path / "nothing"))
    with pytest.raises(ContainerExists):
        Container.create(filled.path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for clear in (False, True):
        with pytest.raises(ContainerExists):
            Container(tmp_path / "full").init_container(clear=clear)
    assert (tmp_path / "full" / "mine").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ContainerExists):
        Container.create(tmp_path / "file")


def test_clear_deletes_a_container_and_nothing_else(filled: Container) -> None:
    (filled.path / "thesis").write_text("mine")
    with pytest.raises(ContainerExists):
        filled.init_container(clear=True)
    assert_holds(Container(filled.path), CONTENTS)
    (filled.path / "thesis").unlink()
    filled.init_container(clear=True)
    assert_holds(filled, {})


def test_configurations_that_cannot_be_believed(filled: Container) -> None:
    config = filled.path / "config.json"
    good = config.read_bytes()
    for data in (b"", b"{}", good[:-20], good.replace(b'"loose_prefix_len": 2', b'"loose_prefix_len": 3')):
        config.write_bytes(data)
        with pytest.raises(DamagedContainer):
            len(Container(filled.path))
    config.write_text('{"container_version": 4}')
    with pytest.raises(UnsupportedContainer):
        len(Container(filled.path))
    config.write_bytes(good)
    assert_holds(Container(filled.path), CONTENTS)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_manifest(filled: Container, damage: str) -> None:
    """Reading goes on from the packs, in memory; writing to packs waits for a repair; reading writes nothing."""
    filled.close()
    newest = max((filled.path / "index").glob("manifest-*.json"))
    if damage == "flip":
        flip(newest, 100)
    elif damage == "cut":
        newest.write_bytes(newest.read_bytes()[:100])
    else:
        for manifest in (filled.path / "index").glob("manifest-*.json"):
            manifest.unlink()
    before = tree(filled.path)
    container = Container(filled.path)
    assert_holds(container, CONTENTS)
    assert container.status().is_recovered
    assert tree(filled.path) == before
    with pytest.raises(DamagedContainer):
        container.insert_many([b"new"])
    container.insert(b"new, loose")
    assert_holds(container, CONTENTS | {key_of(b"new, loose"): b"new, loose"})


def test_a_damaged_or_missing_segment_file(tmp_path: Path) -> None:
    """With so many commits that segments were merged: their file is replaced, in memory, by what the packs have."""
    container = Container.create(tmp_path / "container")
    contents = {}
    for number in range(20):
        data = noise(50, number)
        contents[container.insert(data, to=Place.PACKED)] = data
    (segment,) = (container.path / "index").glob("*.seg")
    good = segment.read_bytes()
    for offset in (0, 20, 70, len(good) - 1):
        segment.write_bytes(good)
        flip(segment, offset)
        assert_holds(Container(container.path), contents)
    segment.unlink()
    reopened = Container(container.path)
    assert_holds(reopened, contents)
    contents[reopened.insert(b"more", to=Place.PACKED)] = b"more"
    assert_holds(Container(container.path), contents)


def test_a_pack_that_is_cut_short(filled: Container) -> None:
    """What is left of it is read; what is not raises, and never reads as missing; a loose insert heals."""
    filled.close()
    (pack,) = (filled.path / "packed").glob("*.pack")
    os.truncate(pack, 6000)
    container = Container(filled.path)
    right = wrong = 0
    for key, data in CONTENTS.items():
        try:
            assert container.extract(key) == data
            right += 1
        except (DamagedObject, DamagedContainer):
            wrong += 1
    assert right >= 10
    assert wrong > 0
    for key, data in CONTENTS.items():
        assert container.insert(data) == key
    for key, data in CONTENTS.items():
        assert container.extract(key) == data


def test_flipped_payload_bytes(filled: Container) -> None:
    """Wrong bytes are never returned; a second copy answers; packing again makes a good packed copy."""
    victim = next(iter(CONTENTS))
    filled.insert(CONTENTS[victim], to=Place.LOOSE)  # A duplicate: nothing is written.
    extent = filled.meta(victim).extent
    assert extent is not None
    filled.close()
    flip(filled.path / "packed" / "0000000001.pack", extent.offset + 5)
    container = Container(filled.path)
    with pytest.raises(DamagedObject) as caught:
        container.extract(victim)
    assert caught.value.key == victim
    container.insert(CONTENTS[victim])
    assert_holds(container, CONTENTS)
    assert container.pack_all_loose().damaged == ()
    assert_holds(container, CONTENTS)
    assert container.meta(victim).place is Place.PACKED


def test_a_link_in_place_of_a_loose_object_is_not_followed(filled: Container, tmp_path: Path) -> None:
    key = list(CONTENTS)[-1]
    file = filled.path / "loose" / key[:2] / key[2:]
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENTS[key])
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(DamagedObject):
        filled.extract(key)


def test_foreign_files_are_passed_over(filled: Container) -> None:
    for directory in (filled.path, *(path for path in filled.path.rglob("*") if path.is_dir())):
        for name in (".DS_Store", ".nfs0001", "README", "0" * 62 + ".bak"):
            (directory / name).write_text("not ours")
    assert_holds(Container(filled.path), CONTENTS)
    filled.pack_all_loose()
    assert_holds(Container(filled.path), CONTENTS)


@pytest.mark.skipif(not writable_as_nobody(), reason="needs root, to be somebody without rights")
def test_a_user_without_write_permission_reads(filled: Container, tmp_path: Path) -> None:
    filled.close()
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.getuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    code = """
import sys
from rsdos import Container, ReadOnlyContainer
container = Container(sys.argv[1])
keys = list(container)
assert len(keys) == len(container) == 50
assert len(dict(container.extract_many(keys))) == 50
for key in keys:
    with container.open(key) as stream: assert stream.read() == container.extract(key)
container.status()
for write in (lambda: container.insert(b"new"), lambda: container.insert_many([b"new"]), container.pack_all_loose):
    try:
        write()
    except ReadOnlyContainer:
        continue
    raise AssertionError("it wrote")
print("read all")
"""
    assert run_python(code, filled.path, user=NOBODY) == "read all\n"


@pytest.mark.skipif(not writable_as_nobody(), reason="needs root, to be somebody without rights")
def test_a_gc_without_write_permission_says_so(filled: Container, tmp_path: Path) -> None:
    with filled.snapshots.edit("flowers") as draft:
        draft["labels.csv"] = b"rose,1\n"
    filled.close()
    let_others_pass(tmp_path)
    code = """
import sys
from rsdos import Container, ReadOnlyContainer
try:
    Container(sys.argv[1]).snapshots.gc()
except ReadOnlyContainer as error:
    print("cannot be written" in str(error))
"""
    assert run_python(code, filled.path, user=NOBODY) == "True\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=12M", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("to", Place)
def test_a_disk_that_fills_up(small_disk: Path, to: Place) -> None:
    container = Container.create(small_disk / "container")
    contents = {container.insert(data, to=to): data for data in (noise(100_000, seed) for seed in range(5))}
    before = shutil.disk_usage(small_disk).used
    for sources in (
        [noise(1 << 20, 9)] * 3 + [noise(1 << 20, seed) for seed in range(20)],
        [io.BytesIO(noise(15 << 20))],
    ):
        with pytest.raises(OSError, match="No space left") as caught:
            container.insert_many(sources, to=to)
        assert caught.value.errno == 28
        loose = sum(len(container.extract(key)) for key in set(container) - set(contents))
        assert shutil.disk_usage(small_disk).used - before <= loose + (64 << 10)
        for key in set(container) - set(contents):  # Whole groups that were acknowledged to nobody may stay, loose.
            assert to is Place.LOOSE
            (small_disk / "container" / "loose" / key[:2] / key[2:]).unlink()
    contents[container.insert(b"small", to=to)] = b"small"
    assert_holds(container, contents)
    container.close()
    assert_no_leftovers(container.path)


def test_a_read_only_container_is_reported_with_its_path() -> None:
    error = ReadOnlyContainer("/somewhere", "Read-only file system")
    assert isinstance(error, PermissionError)
    assert "/somewhere" in str(error)
