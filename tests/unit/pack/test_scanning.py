"""Pack files: structure is found, whatever is around it, and only where it was written."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Place
from rsdos.errors import DamagedContainer
from rsdos.pack.format import ALIGNMENT, FOOTER_SIZE, decode_footer, encode_footer
from rsdos.pack.reader import PackFile
from rsdos.pack.scanning import PIECE, scan
from rsdos.pack.writer import PackWriter
from rsdos.storage.local import LocalFile, LocalStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage, RecordingStorage

ID = bytes(range(16))


def write(path: Path, batches: int, pack_id: int = 1) -> list[int]:
    """A pack with some batches; returns where each ends."""
    writer = PackWriter(LocalStorage(str(path.parent)), path.name, pack_id, ID, 0)
    ends = []
    for number in range(batches):
        writer.write([b"payload %d " % number * 500])
        ends.append(writer.finish_batch([b"segment" * 20], 1).end)
    writer.end()
    return ends


def test_batches_are_found_backwards(tmp_path: Path) -> None:
    ends = write(tmp_path / "pack", 5)
    found = scan(PackFile(LocalFile(str(tmp_path / "pack")), 1, ID))
    assert [batch.end for batch in found.batches] == ends
    assert [batch.start for batch in found.batches] == [ALIGNMENT, *ends[:-1]]
    assert found.uncovered == ()


@pytest.mark.parametrize("broken", range(5))
def test_a_broken_chain_costs_one_batch(tmp_path: Path, broken: int) -> None:
    ends = write(tmp_path / "pack", 5)
    with (tmp_path / "pack").open("r+b") as file:
        file.seek(ends[broken] - 1)
        file.write(b"\xff")
    found = scan(PackFile(LocalFile(str(tmp_path / "pack")), 1, ID))
    assert [batch.end for batch in found.batches] == [end for end in ends if end != ends[broken]]
    assert found.uncovered == (([ALIGNMENT, *ends][broken], ends[broken]),)


def test_a_tail_belongs_to_no_batch(tmp_path: Path) -> None:
    ends = write(tmp_path / "pack", 2)
    with (tmp_path / "pack").open("ab") as file:
        file.write(b"x" * 10_000)
    assert scan(PackFile(LocalFile(str(tmp_path / "pack")), 1, ID)).uncovered == ((ends[-1], ends[-1] + 10_000),)
    writer = PackWriter(LocalStorage(str(tmp_path)), "pack", 1, ID, ends[-1])
    writer.end()
    assert (tmp_path / "pack").stat().st_size == ends[-1]


def with_a_gap(path: Path) -> list[int]:
    """A pack of three batches, of which the second has more than two pieces, and no footer."""
    writer = PackWriter(LocalStorage(str(path)), "pack", 1, ID, 0)
    ends = []
    for length in (5000, 2 * PIECE, 3000):
        writer.write([bytes(length)])
        ends.append(writer.finish_batch([b"segment" * 20], 1).end)
    writer.end()
    with (path / "pack").open("r+b") as file:
        file.seek(ends[1] - 1)
        file.write(b"\xff")
    return ends


def test_a_footer_is_looked_for_in_pieces_of_one_size(tmp_path: Path) -> None:
    ends = with_a_gap(tmp_path)
    storage = RecordingStorage(LocalStorage(str(tmp_path)))
    file = PackFile(storage.open("pack"), 1, ID)
    storage.forget()
    assert [batch.end for batch in scan(file).batches] == [ends[0], ends[2]]
    # The last footer, the place of the second, and the pieces to the first.
    assert [call.length for call in storage.calls] == [
        FOOTER_SIZE,
        FOOTER_SIZE,
        PIECE,
        PIECE,
        ends[1] - 2 * PIECE - ALIGNMENT,
    ]


def test_a_bad_sector_below_a_footer_hides_no_footer(tmp_path: Path) -> None:
    ends = with_a_gap(tmp_path)
    bad = ALIGNMENT + 100

    def fault(call: StorageCall) -> OSError | None:
        return OSError(errno.EIO, "bad sector") if call.offset <= bad < call.offset + call.length else None

    file = PackFile(FaultyStorage(LocalStorage(str(tmp_path)), fault).open("pack"), 1, ID)
    assert [batch.end for batch in scan(file).batches] == [ends[0], ends[2]]


def test_a_footer_counts_only_where_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "pack", 1)
    (batch,) = scan(PackFile(LocalFile(str(tmp_path / "pack")), 1, ID)).batches
    footer = encode_footer(batch, ID, 1)
    at = batch.footer_offset
    assert decode_footer(footer, ID, 1, at) == batch
    assert decode_footer(footer, ID, 2, at) is None
    assert decode_footer(footer, ID, 1, at + ALIGNMENT) is None
    assert decode_footer(footer, bytes(16), 1, at) is None
    for offset in range(FOOTER_SIZE):
        flipped = footer[:offset] + bytes([footer[offset] ^ 1]) + footer[offset + 1 :]
        assert decode_footer(flipped, ID, 1, at) is None


def test_a_pack_under_a_false_name(tmp_path: Path) -> None:
    write(tmp_path / "pack", 1)
    for pack_id, container_id in ((2, ID), (1, bytes(16))):
        with pytest.raises(DamagedContainer):
            PackFile(LocalFile(str(tmp_path / "pack")), pack_id, container_id)


def test_a_pack_inside_a_pack_is_no_structure(container: Container) -> None:
    inner = [container.insert(b"inner", to=Place.PACKED)]
    pack = container.path / "packed" / "0000000001.pack"
    copy = pack.read_bytes()
    inner += container.insert_many([copy], compress=CompressMode.NO)
    engine = container.engine
    found = scan(PackFile(LocalFile(str(pack)), 1, bytes.fromhex(engine.config.container_id)))
    assert [batch.entries for batch in found.batches] == [1, 1]
    for manifest in (container.path / "index").glob("manifest-*"):
        manifest.unlink()
    reopened = Container(container.path)
    assert set(reopened) == set(inner)
    assert reopened.extract(inner[1]) == copy
