"""Streams of the drop-in, and of our own containers, where the object is a raw file of its own: real files."""

from __future__ import annotations

import io
import mmap
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy
import pytest

from rsdos import Container as OurContainer
from rsdos.compat.disk_objectstore import Container
from rsdos.errors import DamagedObject
from tests.data import key_of, noise

SIZES = (800, 1 << 20, 3_000_000)


@pytest.fixture(params=SIZES, ids=str)
def data(request: pytest.FixtureRequest) -> bytes:
    return noise(request.param, 1)


@pytest.fixture(params=["drop-in", "ours"])
def opened(request: pytest.FixtureRequest, tmp_path: Path, data: bytes) -> Callable[[], BinaryIO]:
    """Opens the one object, a loose one."""
    path = tmp_path / "container"
    with OurContainer.create(path, container_version=1 if request.param == "drop-in" else 2) as container:
        key = container.insert(data)
    return lambda: Container(path).open_object(key) if request.param == "drop-in" else OurContainer(path).open(key)


def test_numpy_reads_from_it(opened: Callable[[], BinaryIO], data: bytes) -> None:
    with opened() as stream:
        assert stream.read(16) == data[:16]
        assert numpy.fromfile(stream, dtype="u1", count=100).tobytes() == data[16:116]
        assert stream.tell() == 116 and stream.read(4) == data[116:120]


def test_it_is_mapped(opened: Callable[[], BinaryIO], data: bytes) -> None:
    with opened() as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[:] == data


def test_a_program_has_it_for_its_standard_input_from_where_it_is(opened: Callable[[], BinaryIO], data: bytes) -> None:
    with opened() as stream:
        stream.read(5)
        code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
        done = subprocess.run([sys.executable, "-c", code], stdin=stream, capture_output=True, check=True)
    assert done.stdout == data[5:]


def test_it_has_the_name_of_its_file(opened: Callable[[], BinaryIO], data: bytes) -> None:
    with opened() as stream:
        assert Path(stream.name).read_bytes() == data
        assert os.fstat(stream.fileno()).st_size == len(data)


def test_its_descriptor_goes_with_it(opened: Callable[[], BinaryIO]) -> None:
    stream = opened()
    fd = stream.fileno()
    stream.close()
    with pytest.raises(OSError):
        os.fstat(fd)
    with pytest.raises(ValueError):
        stream.fileno()


def test_a_damaged_one_gives_no_descriptor(opened: Callable[[], BinaryIO], data: bytes) -> None:
    with opened() as stream:
        path = Path(stream.name)
    path.chmod(0o600)
    path.write_bytes(b"!" + data[1:])
    with pytest.raises(DamagedObject):
        with opened() as stream:
            stream.fileno()


def test_a_packed_one_has_none(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.init_container()
    (key,) = container.add_objects_to_pack([b"packed"])
    with container.open_object(key) as stream:
        assert stream.mode == "rb" and stream.read() == b"packed" and key == key_of(b"packed")
        with pytest.raises(io.UnsupportedOperation):
            stream.fileno()
