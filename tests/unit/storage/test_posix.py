import errno
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from rsdos.model import BytesLike
from rsdos.storage import posix
from tests.helpers import descriptors


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "file")


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_short_writes_and_reads_are_made_whole(path: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite, pwritev, pread = os.pwrite, os.pwritev, os.pread

    def shortv(fd: int, buffers: Any, offset: int) -> int:
        return pwritev(fd, [b"".join(buffers)[:most]], offset)

    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:most], offset))
    monkeypatch.setattr(os, "pwritev", shortv)
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: pread(fd, min(length, most), offset))
    buffers: list[bytes | memoryview] = [b"", b"ab", bytes(range(200)), memoryview(b"xyz"), b""] * 3
    whole = b"".join(buffers)
    file = posix.create(path)
    fd = file.fd
    assert posix.write_many_at(fd, 5, buffers) == len(whole)
    assert posix.write_at(fd, 0, b"12345") == 5
    assert posix.read_at(fd, 0, 5 + len(whole)) == b"12345" + whole
    assert posix.read_at(fd, len(whole), 100) == whole[-5:]
    assert posix.read_at(fd, 10_000, 5) == b""
    file.close()


def test_more_buffers_than_the_system_takes_at_once(path: str) -> None:
    file = posix.create(path)
    fd = file.fd
    buffers = [b"%d," % number for number in range(5000)]
    assert posix.write_many_at(fd, 0, buffers) == len(b"".join(buffers))
    file.close()
    assert posix.read_file(path, 1 << 20) == b"".join(buffers)


def test_no_call_writes_across_a_multiple_of_the_most(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite, pwritev = os.pwrite, os.pwritev
    calls: list[tuple[int, int]] = []

    def note(offset: int, done: int) -> int:
        calls.append((offset, offset + done))
        return done

    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: note(at, pwrite(fd, data, at)))
    monkeypatch.setattr(os, "pwritev", lambda fd, data, at: note(at, pwritev(fd, data, at)))
    sizes = [5, 0, 100_000, 300_000, posix.WRITE_LENGTH, 0, 1, 3 * posix.WRITE_LENGTH + 7, 90_000, 90_000]
    buffers = [bytes([number]) * size for number, size in enumerate(sizes, 1)]
    whole = b"".join(buffers)
    file = posix.create(path)
    fd = file.fd
    seen: list[BytesLike] = []
    assert posix.write_many_at(fd, 999, [*buffers, b"", b""], [*sizes, 0, 0], seen.extend) == len(whole)
    assert seen == [*buffers, b"", b""]
    assert posix.write_at(fd, 999 + len(whole), whole) == len(whole)
    file.close()
    assert posix.read_file(path, 1 << 23) == bytes(999) + 2 * whole
    edges = range(0, 999 + 2 * len(whole), posix.WRITE_LENGTH)
    assert all(start // posix.WRITE_LENGTH == (end - 1) // posix.WRITE_LENGTH for start, end in calls)
    assert set(edges[1:]) <= {end for _, end in calls}


def test_only_regular_files_are_read(path: str, tmp_path: Path) -> None:
    os.mkfifo(path)
    link = tmp_path / "link"
    (tmp_path / "real").write_bytes(b"x")
    link.symlink_to(tmp_path / "real")
    gc.collect()  # What other tests have left is not to go in between.
    before = len(descriptors())
    for wrong in (path, str(link), str(tmp_path), "/dev/null"):
        with pytest.raises(OSError):
            posix.open_for_reading(wrong)
    after = len(descriptors())
    assert after <= before


def test_create_takes_no_file_that_is_there(path: str, tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(FileExistsError):
        posix.create(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_larger_than_expected_is_not_read(path: str) -> None:
    posix.write_file(path, b"x" * 100)
    assert posix.read_file(path, 100) == b"x" * 100
    with pytest.raises(OSError) as caught:
        posix.read_file(path, 99)
    assert caught.value.errno == errno.EFBIG


def test_a_file_that_cannot_be_synced_is_not_left_there(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(posix, "sync_file", broken)
    with pytest.raises(OSError, match="Input/output"):
        posix.write_file(path, b"x")
    assert not os.path.exists(path)


def test_remove(path: str) -> None:
    posix.write_file(path, b"")
    assert posix.remove(path)
    assert not posix.remove(path)
