"""Damage of every kind is told, costs nothing but what is damaged, and heals where there is another copy."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from rsdos import CompressMode, Container, DamagedContainer, DamagedObject, ObjectNotFound, Place, UnsupportedContainer
from rsdos.index.segment_layout import FencedLayout
from rsdos.model import FRAME_SIZE, Codec
from rsdos.stores.encoding import Forms
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, assert_holds, flip, manifest_of, tree

SMALL = {key_of(data): data for data in (b"", b"one", text(5000), noise(5000, 1))}
LARGE = {key_of(data): data for data in (text(FRAME_SIZE + 1), noise(2 * FRAME_SIZE, 2))}
ALL = SMALL | LARGE


def test_every_flipped_byte_of_the_configuration_is_found(container: Container) -> None:
    config = container.path / "config.json"
    for offset in range(config.stat().st_size):
        flip(config, offset)
        with pytest.raises((DamagedContainer, UnsupportedContainer)):
            len(Container(container.path))
        flip(config, offset)
    assert len(Container(container.path)) == 0


def test_foreign_files_are_passed_over(container: Container) -> None:
    loose = container.insert_many([b"loose", text(FRAME_SIZE + 1, 8)], to=Place.LOOSE)
    packed = container.insert_many(ALL.values())
    names = [
        ".DS_Store",
        "README",
        ".nfs0001",
        "0000000009.pack~",
        "x.pack",
        "manifest-1.json",
        "1.seg",
        "0000000007.seg.tmp",
    ]
    directories = [container.path / name for name in ("loose", "packed", "index", "sandbox", "locks", ".")]
    prefix = container.path / "loose" / loose[0][:2]
    for directory in (*directories, prefix):
        for name in names:
            (directory / name).write_bytes(b"foreign")
        (directory / "Upper").mkdir()
    rest = loose[0][2:]
    for name in (f"{rest}.bak", f".{rest}.x1y2", f"{rest}~", rest.upper(), rest[:-1]):
        (prefix / name).write_bytes(b"foreign")
    (container.path / "loose" / "zz").mkdir()
    (container.path / "loose" / "zz" / rest).write_bytes(b"foreign")
    objects = ALL | {loose[0]: b"loose", loose[1]: text(FRAME_SIZE + 1, 8)}
    with Container(container.path) as fresh:
        assert_holds(fresh, objects)
        assert fresh.insert_many([b"more"])[0] in fresh
        report = fresh.pack_all_loose()
        assert (report.objects, report.cleaned, report.damaged) == (2, 2, ())
        assert_holds(fresh, objects | {key_of(b"more"): b"more"})
    for directory in (*directories, prefix):
        assert all((directory / name).read_bytes() == b"foreign" for name in names), directory
    assert sorted(packed) == sorted(ALL)


@pytest.mark.parametrize("large", [False, True])
def test_a_link_in_the_place_of_a_loose_object_is_not_followed(
    container: Container, tmp_path: Path, large: bool
) -> None:
    data = noise(FRAME_SIZE + 1) if large else b"data"
    key = container.insert(data)
    file = container.path / "loose" / key[:2] / key[2:]
    outside = tmp_path / "outside"
    # Even with the right bytes behind it.
    shutil.move(file, outside)
    file.symlink_to(outside)
    for verb in (container.extract, container.open, lambda key: dict(container.extract_many([key]))):
        with pytest.raises((DamagedObject, ObjectNotFound)):
            verb(key)
    with pytest.raises((DamagedObject, ObjectNotFound)):
        container.extract_to(key, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Inserting it again puts that right, and leaves the file outside alone.
    assert container.insert(data) == key
    assert container.extract(key) == data
    assert not file.is_symlink() and outside.read_bytes() == data


def test_a_directory_or_a_fifo_in_the_place_of_a_loose_object(container: Container) -> None:
    for make in (os.mkdir, os.mkfifo):
        data = make.__name__.encode()
        key = container.insert(data)
        file = container.path / "loose" / key[:2] / key[2:]
        file.unlink()
        make(file)
        with pytest.raises(DamagedObject):
            container.extract(key)
        assert container.insert(data, to=Place.PACKED) == key
        assert container.extract(key) == data


@pytest.fixture
def damaged(tmp_path: Path) -> Container:
    """A container of several batches in one pack, all of it packed; damage is done by the test."""
    with Container.create(tmp_path / "container") as container:
        for data in ALL.values():
            container.insert_many([data])
    return Container(container.path)


def _newest(container: Container) -> Path:
    return max((container.path / "index").glob("manifest-*.json"))


def _pack(container: Container) -> Path:
    return container.path / "packed" / "0000000001.pack"


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "another number"])
def test_a_damaged_manifest_stops_writers_and_no_reader(damaged: Container, how: str) -> None:
    manifest = _newest(damaged)
    match how:
        case "flipped":
            flip(manifest, 100)
        case "cut":
            os.truncate(manifest, manifest.stat().st_size // 2)
        case "empty":
            os.truncate(manifest, 0)
        case _:
            shutil.copy(manifest.with_name("manifest-0000000002.json"), manifest)
    before = tree(damaged.path)
    assert_holds(damaged, ALL)
    assert not damaged.has(ABSENT)
    with pytest.raises(DamagedContainer, match="manifest"):
        damaged.insert_many([b"new"])
    with pytest.raises(DamagedContainer):
        damaged.pack_all_loose()
    assert {name: length for name, length in tree(damaged.path).items() if "locks" not in name} == {
        name: length for name, length in before.items() if "locks" not in name
    }
    # A loose object needs no manifest.
    key = damaged.insert(b"new")
    assert damaged.extract(key) == b"new"


def test_all_manifests_are_gone(damaged: Container) -> None:
    for manifest in (damaged.path / "index").glob("manifest-*.json"):
        manifest.unlink()
    assert_holds(damaged, ALL)
    with pytest.raises(DamagedContainer):
        damaged.insert_many([b"new"])


@pytest.mark.parametrize("how", ["flipped", "cut", "missing"])
def test_a_merged_segment_that_is_damaged(tmp_path: Path, how: str) -> None:
    path = tmp_path / "container"
    objects = {}
    with Container.create(path) as container:
        for number in range(20):
            data = b"%d" % number
            objects[container.insert_many([data])[0]] = data
    (segment,) = (path / "index").glob("*.seg")
    match how:
        case "flipped":
            flip(segment, 64 + 8 * 10)
        case "cut":
            os.truncate(segment, 100)
        case _:
            segment.unlink()
    with Container(path) as container:
        assert_holds(container, objects)
        assert not container.has(ABSENT)
        # Writers go on, also where the next merge would need it.
        for number in range(100, 140):
            data = b"%d" % number
            objects[container.insert_many([data])[0]] = data
        assert_holds(container, objects)
    with Container(path) as container:
        assert_holds(container, objects)


def test_a_pack_that_is_cut_short(damaged: Container, caplog: pytest.LogCaptureFixture) -> None:
    pack = _pack(damaged)
    keys = list(ALL)
    # In the last batch: the large objects before it are whole.
    extent = damaged.meta(keys[-1]).extent
    assert extent is not None
    os.truncate(pack, extent.offset + FRAME_SIZE + 5)
    before = pack.stat().st_size
    damaged.close()
    for key in keys[:-1]:
        assert damaged.extract(key) == ALL[key]
    for verb in (damaged.extract, lambda key: damaged.open(key).read(), lambda key: dict(damaged.extract_many([key]))):
        with pytest.raises((DamagedObject, DamagedContainer)):
            verb(keys[-1])
    # What is not found may have been there: that is never "no such object".
    with pytest.raises((DamagedObject, DamagedContainer)):
        damaged.extract(ABSENT)
    # Writers leave what is left of it alone.
    try:
        assert damaged.extract(damaged.insert_many([b"new"])[0]) == b"new"
    except DamagedContainer as error:
        assert str(pack) in str(error)
    assert pack.stat().st_size == before
    # Inserting the object again, as a loose one, makes it whole.
    assert damaged.insert(ALL[keys[-1]]) == keys[-1]
    assert damaged.extract(keys[-1]) == ALL[keys[-1]]
    assert dict(damaged.extract_many(keys)) == ALL
    assert damaged.has_many(keys) == [True] * len(keys)


def test_a_pack_that_is_cut_short_under_an_open_container(damaged: Container) -> None:
    keys = list(ALL)
    assert_holds(damaged, ALL)
    stream = damaged.open(keys[-1])
    extent = damaged.meta(keys[-1]).extent
    assert extent is not None
    os.truncate(_pack(damaged), extent.offset + 5)
    with stream, pytest.raises(DamagedObject):
        stream.read()
    for verb in (damaged.extract, damaged.open, lambda key: dict(damaged.extract_many([key]))):
        with pytest.raises(DamagedObject):
            verb(keys[-1])
    with pytest.raises(DamagedObject):
        damaged.extract_to(keys[-1], damaged.path.parent / "out")
    assert not (damaged.path.parent / "out").exists()
    assert damaged.extract(keys[0]) == ALL[keys[0]]


def test_a_pack_that_is_gone(damaged: Container) -> None:
    _pack(damaged).unlink()
    with pytest.raises((DamagedObject, DamagedContainer)):
        damaged.extract(next(iter(ALL)))
    try:
        assert damaged.extract(damaged.insert_many([b"new"])[0]) == b"new"
    except DamagedContainer as error:
        assert str(_pack(damaged)) in str(error)
    # That it is gone is not covered up.
    assert not _pack(damaged).exists()
    key = damaged.insert(b"loose")
    assert damaged.extract(key) == b"loose" and damaged.has(key)
    assert dict(damaged.extract_many([key])) == {key: b"loose"}


def test_exchanged_packs_are_found(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container", pack_size_target=1) as container:
        keys = container.insert_many([noise(900, 1), noise(900, 2)])
    one, two = sorted((tmp_path / "container" / "packed").iterdir())
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    for key in keys:
        with pytest.raises((DamagedObject, DamagedContainer)):
            Container(container.path).extract(key)


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("compress", [CompressMode.NO, CompressMode.YES, CompressMode.AUTO])
@pytest.mark.parametrize("size", [500, 30_000, FRAME_SIZE + 5000])
def test_a_flipped_bit_anywhere_in_an_object_is_found(
    tmp_path: Path, place: Place, compress: CompressMode, size: int
) -> None:
    data = text(size)
    if compress is CompressMode.AUTO and size > FRAME_SIZE:  # Mixed, in a pack.
        data = noise(FRAME_SIZE) + text(size - FRAME_SIZE)
    spec = "none" if compress is CompressMode.NO else "zstd"
    with Container.create(tmp_path / "container", loose_compression=spec) as container:
        key = container.insert_many([data], to=place, compress=compress)[0]
        meta = container.meta(key)
    if meta.extent:
        file, start = _pack(container), meta.extent.offset
    else:
        file, start = next(path for path in (container.path / "loose").rglob("*") if path.is_file()), 0
    whole = file.stat().st_size if place is Place.LOOSE else meta.length
    offsets = sorted({*range(0, whole, max(1, whole // 40)), *range(max(0, whole - 30), whole)})
    told = 0
    for offset in offsets:
        flip(file, start + offset, 0x10)
        with Container(container.path) as fresh:
            for read in _READS:
                try:
                    assert read(fresh, key, tmp_path / "out") == data  # In a part that this way has no need of.
                except DamagedObject as error:
                    assert key in str(error)
                    assert not (tmp_path / "out").exists()
                    told += 1
                (tmp_path / "out").unlink(missing_ok=True)
        flip(file, start + offset, 0x10)
    with Container(container.path) as fresh:
        assert all(read(fresh, key, tmp_path / "out") == data for read in _READS)
    # A loose trailer's fields, and a CRC of all that a stream cannot check, are a few bytes in which it does no harm.
    assert told >= len(_READS) * (len(offsets) - 30)
    if place is Place.PACKED:
        assert told >= len(_READS) * len(offsets) - (len(offsets) if size > FRAME_SIZE else 0)


def _through_stream(container: Container, key: str, _: Path) -> bytes:
    with container.open(key) as stream:
        return stream.read()


def _through_file(container: Container, key: str, path: Path) -> bytes:
    assert container.extract_to(key, path) == path.stat().st_size
    return path.read_bytes()


_READS: list[Callable[[Container, str, Path], bytes | None]] = [
    lambda container, key, _: container.extract(key),
    lambda container, key, _: dict(container.extract_many([key]))[key],
    _through_stream,
    _through_file,
]


@pytest.mark.parametrize("size", [500, FRAME_SIZE + 500])
def test_a_damaged_copy_is_passed_over_and_replaced(
    container: Container, tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = text(size)
    key = container.insert(data)
    container.pack_all_loose(clean=False)
    extent = container.meta(key).extent
    assert extent is not None
    flip(_pack(container), extent.offset + 100)
    with caplog.at_level(logging.WARNING, "rsdos"), Container(container.path) as fresh:
        # The loose copy answers, every way.
        assert fresh.extract(key) == data
        assert key in caplog.text
        if size <= FRAME_SIZE:  # A stream of a larger one is not verified before it is read.
            assert fresh.open(key).read() == data
        assert dict(fresh.extract_many([key])) == {key: data}
        assert fresh.extract_to(key, tmp_path / "out") == size
        assert (tmp_path / "out").read_bytes() == data
        # Packing does not trust the damaged copy, writes another, and only then removes the loose one.
        report = fresh.pack_all_loose()
        assert (report.objects, report.cleaned) == (1, 1)
        assert not fresh.engine.loose.has(key)
        assert fresh.extract(key) == data
        assert fresh.extract_to(key, tmp_path / "out") == size
        assert len(fresh) == 1
        assert manifest_of(container.path).packs[0].dead_objects == 1
        # The second copy is good: nothing is written a third time.
        before = _pack(container).stat().st_size
        fresh.insert_many([data])
        fresh.insert(data)
        fresh.pack_all_loose()
        assert _pack(container).stat().st_size == before and not fresh.engine.loose.has(key)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [3000, FRAME_SIZE + 5])
def test_clean_keeps_the_loose_copy_of_what_is_damaged_in_its_pack(tmp_path: Path, version: int, size: int) -> None:
    data, whole = noise(size, 1), noise(size, 2)
    with Container.create(tmp_path / "container", container_version=version) as container:
        key, other = container.insert_many([data, whole], to=Place.LOOSE)
        container.pack_all_loose(clean=False)
        extent = container.meta(key).extent
        assert extent is not None
        flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset + size - 1)
    with Container(tmp_path / "container") as container:
        # Inserted again, and acknowledged: also that must not go.
        container.insert(data)
        container.clean_storage()
        assert container.engine.loose.has(key) and not container.engine.loose.has(other)
        assert container.extract(key) == data
        assert container.extract(other) == whole


def test_a_damaged_loose_object_stops_nobody(container: Container) -> None:
    keys = container.insert_many(ALL.values(), to=Place.LOOSE)
    bad = [keys[1], keys[-1]]
    for key in bad:
        flip(container.path / "loose" / key[:2] / key[2:], 0)
    report = container.pack_all_loose()
    assert sorted(report.damaged) == sorted(bad)
    assert report.cleaned == len(ALL) - 2
    for key in ALL:
        if key in bad:
            with pytest.raises(DamagedObject):
                container.extract(key)
        else:
            assert container.extract(key) == ALL[key]
    # It is still there, and inserting it again mends it.
    assert container.insert_many([ALL[key] for key in bad], to=Place.LOOSE) == bad
    assert dict(container.extract_many(ALL)) == ALL


def test_an_unreadable_loose_file_stops_nobody(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = container.insert_many(ALL.values(), to=Place.LOOSE)
    bad = {str(container.path / "loose" / key[:2] / key[2:]) for key in (keys[1], keys[-1])}

    def broken(real: Callable[..., bytes], fd: int, *more: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}") in bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, *more)

    with monkeypatch.context() as patched:
        for call in ("read", "pread"):
            patched.setattr(os, call, partial(broken, getattr(os, call)))
        report = container.pack_all_loose()
    assert sorted(report.damaged) == sorted((keys[1], keys[-1]))
    assert_holds(container, ALL)


def test_an_error_of_the_pack_is_not_blamed_on_a_loose_object(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.insert_many(ALL.values(), to=Place.LOOSE)
    real = os.pwritev

    def broken(fd: int, buffers: list[bytes], offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}").endswith(".pack"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(fd, buffers, offset)

    with monkeypatch.context() as patched, pytest.raises(OSError, match=os.strerror(errno.EIO)):
        patched.setattr(os, "pwritev", broken)
        container.pack_all_loose()
    assert_holds(container, ALL)
    assert container.pack_all_loose().cleaned == len(ALL)


@pytest.mark.parametrize("to", [Place.LOOSE, Place.PACKED])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "read_all", [lambda stream: stream.read(), lambda stream: b"".join(iter(partial(stream.read, 70_000), b""))]
)
def test_a_large_damaged_object_raises_each_time_a_stream_of_it_is_read(
    tmp_path: Path, version: int, to: Place, read_all: Callable[[IO[bytes]], bytes]
) -> None:
    data = noise(5 * FRAME_SIZE + 7, 3)
    container = Container.create(tmp_path / "container", container_version=version)
    (key,) = container.insert_many([data], to=to, compress=CompressMode.NO)
    with container.open(key) as stream:
        assert [read_all(stream), stream.seek(0), read_all(stream)] == [data, 0, data]
        assert (stream.seek(FRAME_SIZE - 3), stream.read()) == (FRAME_SIZE - 3, data[FRAME_SIZE - 3 :])
    assert container.extract(key) == data
    path = container.engine.layout.loose_file(key) if to is Place.LOOSE else container.engine.layout.pack(version - 1)
    flip(Path(path), 2 * FRAME_SIZE)
    container.close()
    with container.open(key) as stream:
        for _ in range(2):
            stream.seek(0)
            with pytest.raises(DamagedObject):
                read_all(stream)
    with pytest.raises(DamagedObject):
        container.extract(key)


@pytest.mark.parametrize("version", [1, 2])
def test_in_a_bulk_read_the_damaged_object_is_reported_and_the_rest_is_right(tmp_path: Path, version: int) -> None:
    container = Container.create(tmp_path / "container", container_version=version)
    objects = {key_of(data): data for data in (noise(300 + number, number) for number in range(5, 50))}
    keys = container.insert_many(objects.values(), compress=CompressMode.NO)
    meta = container.meta(keys[20])
    assert meta.extent is not None
    flip(Path(container.engine.layout.pack(meta.extent.pack_id)), meta.extent.offset + 5)
    container.close()
    whole = [key for key in keys if key != keys[20]]
    assert dict(container.extract_many(whole)) == {key: objects[key] for key in whole}
    with pytest.raises(DamagedObject):
        dict(container.extract_many(keys))


@pytest.mark.parametrize("version", [1, 2])
def test_damage_is_reported_again_when_an_object_is_read_again(tmp_path: Path, version: int) -> None:
    with Container.create(tmp_path / "container", container_version=version) as container:
        key = container.insert(noise(3 << 20, 1), to=Place.LOOSE)
        flip(Path(container.engine.layout.loose_file(key)), 2 << 20)
        with container.open(key) as stream:
            stream.read(10)
            for _ in range(3):
                with pytest.raises(DamagedObject):
                    stream.read()


def test_mixed_frames_in_an_object_of_one_frame_are_damage(container: Container) -> None:
    """No writer makes such an entry; a stranger may."""
    data = text(3000)
    key = key_of(data)
    with container.engine.packed.writer() as writer:
        writer.append([bytes.fromhex(key)], Forms([data], [Codec.MIXED]), [len(data)])
        writer.commit()
    with Container(container.path) as fresh:
        for read in _READS:
            with pytest.raises(DamagedObject, match=key):
                read(fresh, key, container.path.parent / "out")
        for depth in ("quick", "full"):
            assert [finding.key for finding in fresh.validate(depth).damaged] == [key]


@pytest.mark.parametrize("merged", [False, True])
def test_a_damaged_filter_of_the_index_hides_nothing_and_is_found(tmp_path: Path, merged: bool) -> None:
    """Zeros say of each key that it is absent. Objects of a batch with a file of its own, or of a merged index."""
    path = tmp_path / "container"
    with Container.create(path) as container:
        keys = container.insert_many([b"%d" % number for number in range(9000)], to=Place.PACKED)
        keys += container.insert_many([b"more"], to=Place.PACKED)
        if merged:
            container.merge()
    (segment,) = (path / "index").glob("*.seg")
    count = 9001 if merged else 9000
    layout = FencedLayout(count)
    data = bytearray(segment.read_bytes())
    assert len(data) == layout.length and any(data[layout.filter :])
    data[layout.filter :] = bytes(layout.length - layout.filter)
    segment.write_bytes(data)
    with Container(path) as container:
        assert all(map(container.has, keys[:500]))
        assert all(container.has_many(keys))
        assert len(dict(container.extract_many(keys))) == 9001
        assert not container.has(ABSENT)
        assert not container.status().is_recovered
        # Nor is anything written twice.
        assert container.insert_many([b"%d" % number for number in range(100)], to=Place.PACKED) == keys[:100]
        assert len(container) == 9001
        report = container.validate()
        assert ["filter" in finding.reason for finding in report.files] == [True], report
        container.repair_index()
    with Container(path) as container:
        assert container.validate().is_good
        assert all(map(container.has, keys[:500]))
