import errno
import os
from pathlib import Path

import pytest

from rsdos.errors import DamagedContainer, WriterPoisoned
from rsdos.pack.format import ALIGNMENT
from rsdos.pack.reader import PackFile
from rsdos.pack.scanning import scan
from rsdos.pack.writer import PackWriter
from rsdos.storage.local import LocalFile, LocalStorage

CONTAINER = bytes(range(16))


def writer(path: Path, committed: int = 0, pack_id: int = 1) -> PackWriter:
    return PackWriter(LocalStorage(str(path.parent)), path.name, pack_id, CONTAINER, committed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "0000000001.pack"


def test_batches_stand_where_the_format_says(path: Path) -> None:
    pack = writer(path)
    assert pack.write([b"abc", b"", b"defg"]) == ALIGNMENT
    first = pack.finish_batch([b"segment"], 3)
    assert pack.write([b"x" * 10_000]) == first.end
    second = pack.finish_batch([], 0)
    pack.end()
    assert (first.start, first.segment_offset % 64, first.end % ALIGNMENT) == (ALIGNMENT, 0, 0)
    assert second.previous_footer == first.footer_offset
    assert path.stat().st_size == second.end
    file = PackFile(LocalFile(str(path)), 1, CONTAINER)
    assert file.read(ALIGNMENT, 7) == b"abcdefg"
    assert file.read(first.segment_offset, first.segment_length) == b"segment"
    assert scan(file).batches == (first, second)


def test_a_tail_is_cut_and_what_is_committed_is_not(path: Path) -> None:
    pack = writer(path)
    pack.write([b"committed"])
    batch = pack.finish_batch([], 0)
    pack.write([b"a dead writer's" * 1000])
    pack.end()
    pack = writer(path, batch.end)
    assert path.stat().st_size == batch.end
    assert pack.write([b"next"]) == batch.end
    pack.end()


def test_an_object_taken_back_leaves_no_bytes(path: Path) -> None:
    pack = writer(path)
    start = pack.write([b"keep"])
    large = pack.write([os.urandom(100_000)])
    pack.rewind(large)
    assert pack.write([b"more"]) == start + 4
    batch = pack.finish_batch([b"segment"], 1)
    pack.end()
    assert path.stat().st_size == batch.end == 2 * ALIGNMENT
    data = path.read_bytes()
    assert data[ALIGNMENT : ALIGNMENT + 8] == b"keepmore"
    assert not data[ALIGNMENT + 8 : batch.segment_offset].strip(b"\0")
    assert not data[batch.segment_offset + 7 : batch.footer_offset].strip(b"\0")


def test_a_pack_that_is_not_the_one_is_not_touched(path: Path, tmp_path: Path) -> None:
    pack = writer(path)
    pack.write([b"x"])
    end = pack.finish_batch([], 0).end
    pack.end()
    before = path.read_bytes()
    with pytest.raises(DamagedContainer, match="false name"):
        writer(path, end, pack_id=2)
    with pytest.raises(DamagedContainer, match="another container"):
        PackWriter(LocalStorage(str(path.parent)), path.name, 1, bytes(16), end)
    with pytest.raises(DamagedContainer, match="shorter"):
        writer(path, end + ALIGNMENT)
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        writer(tmp_path / "absent", end)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_writer_that_failed_accepts_nothing_more(path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    pack = writer(path)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="Input/output"):
        patched.setattr(os, call, broken)
        pack.write([b"x"])
        pack.sync()
    # Not even what would work again: a failed sync is never repeated and believed.
    for verb in (lambda: pack.write([b"y"]), pack.sync, lambda: pack.finish_batch([], 0)):
        with pytest.raises(WriterPoisoned):
            verb()
    pack.end()
    pack.end()


def test_no_file_is_left_where_even_the_header_has_no_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        writer(path)
    assert not path.exists()


def test_reading_beyond_the_end(path: Path) -> None:
    pack = writer(path)
    pack.write([b"x" * 100])
    end = pack.finish_batch([], 0).end
    file = PackFile(LocalFile(str(path)), 1, CONTAINER)
    assert len(file.read(0, end)) == end
    for offset, length in ((0, end + 1), (end, 1), (1 << 62, 10), (0, 1 << 62)):
        with pytest.raises(DamagedContainer, match="cut short"):
            file.read(offset, length)
    # What was appended since it was opened is there.
    pack.write([b"later"])
    assert file.read(end, 5) == b"later"
    pack.end()
