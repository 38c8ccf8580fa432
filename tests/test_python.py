"""What a Python program meets on the first day: names, strings for settings, buffers, and a file to write to."""

from __future__ import annotations

import array
import ctypes
import io
import mmap
import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest

import rsdos
from rsdos import Container, InvalidOption, InvalidSource, Place
from rsdos.model import FRAME_SIZE
from tests.data import key_of, noise


def test_the_package_lists_its_names() -> None:
    assert set(rsdos.__all__) <= set(dir(rsdos))
    assert {"Container", "WhenBusy", "Sharing", "Progress", "Place"} <= set(dir(rsdos))
    for name in rsdos.__all__:
        assert getattr(rsdos, name) is not None


def test_a_container_is_true_also_when_it_is_empty(container: Container) -> None:
    assert container and len(container) == 0


def test_settings_may_be_strings(container: Container) -> None:
    key = container.insert(b"one", to="packed")
    assert container.meta(key).place is Place.PACKED
    (loose,) = container.insert_many([bytes(3000)], to="loose")
    assert container.meta(loose).place is Place.LOOSE
    (key,) = container.insert_many([bytes(4000)], compress="no", trust="index")
    assert container.meta(key).length == 4000
    container.pack_all_loose("yes")
    assert container.meta(loose).place is Place.PACKED and container.meta(loose).length < 3000
    container.add_objects_to_pack([b"three"], "keep")
    for wrong in ({"to": "somewhere"}, {"compress": "perhaps"}, {"trust": "nobody"}):
        with pytest.raises(InvalidOption, match=" or "):
            container.insert_many([b""], **wrong)
    with pytest.raises(InvalidOption):
        container.insert(b"", to="somewhere")


def test_a_bulk_read_yields_bytes_if_no_object_can_be_missing(container: Container) -> None:
    keys = container.insert_many([b"one", b"two"])
    assert_type(container.extract_many(keys), Iterator[tuple[str, bytes]])
    assert_type(container.extract_many(keys, missing="skip"), Iterator[tuple[str, bytes]])
    assert_type(container.extract_many(keys, missing="none"), Iterator[tuple[str, bytes | None]])
    assert dict(container.extract_many(keys)) == {keys[0]: b"one", keys[1]: b"two"}


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int32), ("y", ctypes.c_double)]


LONG = FRAME_SIZE // 4 + 7

BUFFERS: dict[str, Any] = {
    "an array": array.array("d", [1.5, 2.5]),
    "a long array": array.array("d", range(LONG)),
    "a structure": Point(1, 2.5),
    "a memoryview of numbers": memoryview(array.array("i", range(LONG))),
    "numbers of numpy": np.arange(LONG, dtype=np.float64),
    "big-endian ones": np.arange(LONG, dtype=">i4"),
    "a matrix": np.arange(12, dtype=np.int16).reshape(3, 4),
    "a long matrix": np.arange(LONG * 2, dtype=np.int16).reshape(2, LONG),
    "records": np.zeros(LONG, dtype=[("a", "<i4"), ("b", "S5")]),
    "one number": np.float32(2.5),
    "an array of no dimension": np.array(7),
    "no numbers": np.empty((0, 3)),
    "booleans": np.array([True, False]),
    "records with fields of such names": np.zeros(3, dtype=[("O", "<i4"), ("POP&", "<f8")]),
}


@pytest.mark.parametrize("name", BUFFERS)
@pytest.mark.parametrize("place", ["loose", "packed"])
def test_whatever_has_a_buffer_is_bytes(container: Container, name: str, place: str) -> None:
    buffer = BUFFERS[name]
    expected = memoryview(buffer).tobytes()
    key = container.insert(buffer, to=place)
    assert key == key_of(expected)
    assert container.extract(key) == expected


def test_a_buffer_in_pieces_is_refused(container: Container) -> None:
    in_pieces: list[Any] = [np.arange(10)[::2], np.arange(12).reshape(3, 4).T, np.arange(LONG * 2)[::2]]
    for pieces in in_pieces:
        with pytest.raises(InvalidSource, match="C-contiguous"):
            container.insert(pieces)
    for wrong in (7, None, object(), [b"x"], np.array(["2020-01-01"], dtype="datetime64[D]")):
        with pytest.raises(InvalidSource):
            container.insert(wrong)  # type: ignore[arg-type]
    assert len(container) == 0


@pytest.mark.parametrize("place", ["loose", "packed"])
def test_a_buffer_of_addresses_is_refused(container: Container, place: str) -> None:
    """Before, 8 bytes for each object were stored, which mean nothing to anybody."""
    objects = np.array([{}, "text"], dtype=object)
    records = np.zeros(3, dtype=[("number", "<i4"), ("object", object)])
    pointers = (ctypes.c_void_p * 3)()
    many = np.empty(LONG, dtype=object)
    all_addresses: list[Any] = [objects, records, pointers, many, (ctypes.POINTER(ctypes.c_int) * 2)()]
    for addresses in all_addresses:
        with pytest.raises(InvalidSource, match="addresses"):
            container.insert(addresses, to=place)
        with pytest.raises(InvalidSource, match="addresses"), container.writer(to=place) as file:
            file.write(addresses)
    with container.writer(to=place) as file:
        np.save(file, objects, allow_pickle=True)
    assert list(container) == [file.key]


def test_a_map_is_read_from_where_it_stands(container: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with open(tmp_path / "file", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as map_:
        map_.seek(5)
        assert container.extract(container.insert(map_)) == b"56789"


# A file to write to.


@pytest.mark.parametrize("size", [0, 1, 5000, 9 << 20])
@pytest.mark.parametrize("place", ["loose", "packed"])
def test_written_bytes_become_an_object(container: Container, size: int, place: str) -> None:
    data = noise(size)
    with container.writer(to=place) as file:
        with pytest.raises(ValueError, match="not stored"):
            _ = file.key
        for at in range(0, size, 1 << 20):
            assert file.write(data[at : at + (1 << 20)]) == len(data[at : at + (1 << 20)])
        assert file.tell() == size
        assert len(container) == 0
    assert file.closed and file.key == key_of(data)
    assert container.extract(file.key) == data
    assert container.meta(file.key).place.value == place
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.write(b"more")


def test_it_is_a_file_as_programs_expect_one(container: Container) -> None:
    file = container.writer()
    assert isinstance(file, io.BufferedIOBase)
    assert (file.readable(), file.writable(), file.seekable(), file.closed) == (False, True, True, False)
    file.write(b"0123456789")
    assert file.write(array.array("H", [1, 2])) == 4
    assert file.seek(2) == 2 and file.write(b"xx") == 2 and file.tell() == 4
    assert file.seek(0, os.SEEK_END) == 14
    assert file.truncate(10) == 10
    file.flush()
    file.writelines([b"a", b"b"])
    with pytest.raises(io.UnsupportedOperation):
        file.read()
    file.close()
    assert container.extract(file.key) == b"01xx456789\0\0\0\0ab"


def test_programs_that_write_files_write_objects(container: Container) -> None:
    with container.writer(to="packed") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("name", b"content")
    with container.open(file.key) as stream, zipfile.ZipFile(stream) as archive:
        assert archive.read("name") == b"content"
    with container.writer() as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    with container.open(file.key) as stream, tarfile.open(fileobj=stream) as tar:
        assert tar.getnames() == ["empty"]
    with container.writer() as file:
        pickle.dump({"answer": 42}, file)
    with container.writer() as numbers:
        np.save(numbers, np.arange(5))
    with container.open(numbers.key) as stream:
        assert np.load(stream).tolist() == [0, 1, 2, 3, 4]
    with container.open(file.key) as stream:
        assert pickle.load(stream) == {"answer": 42}
    file_of_text: Any = container.writer()
    with io.TextIOWrapper(file_of_text, encoding="utf-8") as text:
        text.write("text")
    assert key_of(b"text") in container


@pytest.mark.parametrize("size", [10, 9 << 20])
def test_nothing_is_stored_of_what_was_given_up(container: Container, size: int) -> None:
    before = sorted(container.path.rglob("*"))
    with pytest.raises(RuntimeError, match="mine"), container.writer() as file:
        file.write(bytes(size))
        raise RuntimeError("mine")
    assert file.closed
    with container.writer() as file:
        file.write(bytes(size))
        file.abort()
    dropped = container.writer()
    dropped.write(bytes(size))
    del dropped
    if hasattr(os, "fork"):
        forked = container.writer()
        forked.write(bytes(size))
        child = os.fork()
        if not child:
            forked.close()
            os._exit(0)
        os.waitpid(child, 0)
        forked.abort()
    assert len(container) == 0
    assert sorted(container.path.rglob("*")) == before


def test_close_raises_when_the_object_cannot_be_stored(container: Container, tmp_path: Path) -> None:
    file = container.writer()
    file.write(b"data")
    container.path.rename(tmp_path / "elsewhere")
    with pytest.raises(rsdos.RsdosError):
        file.close()
    assert file.closed
    (tmp_path / "elsewhere").rename(container.path)
    assert len(container) == 0
