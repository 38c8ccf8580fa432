"""What a small container claims does not decide how much memory and time a command takes."""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.index.manifest import Manifest, SegmentEntry, decode_manifest, encode_manifest
from rsdos.index.packs import Packs
from rsdos.index.segment_layout import BLOCK_SIZE, SegmentLayout, check_of
from rsdos.layout import Layout, V1Layout
from rsdos.model import PackKind
from rsdos.pack.format import Batch, batch_end, encode_footer
from rsdos.stores.v1.notes import write_notes
from rsdos.trees.entry import Attributes, Listing, order_key
from rsdos.trees.page import Child, encode_inner, encode_leaf
from rsdos.trees.record import SnapshotRecord, encode_record
from tests.data import key_of
from tests.hostile.limits import rsdos

OBJECT = b"an object"
MILLIONS = 4 << 20

COMMANDS = (
    ("status",),
    ("list",),
    ("validate",),
    ("validate", "--full"),
    ("cat-file", key_of(OBJECT)),
    ("optimize",),
    ("repair", "index", "--dry-run"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "container"
    with Container.create(path) as container:
        container.insert_many([OBJECT])
    return path


def _change_manifest(path: Path, change: dict[str, object]) -> None:
    layout = Layout(str(path))
    newest = layout.manifest(layout.manifest_numbers()[-1])
    manifest = decode_manifest(Path(newest).read_bytes())._replace(**change)  # type: ignore[arg-type]
    Path(newest).write_bytes(encode_manifest(manifest))


def _manifest(path: Path) -> Manifest:
    layout = Layout(str(path))
    return decode_manifest(Path(layout.manifest(layout.manifest_numbers()[-1])).read_bytes())


def _segment_of_a_hole(path: Path, count: int) -> SegmentEntry:
    """Make a segment of so many keys, all zero, of which the disk has the header and the table of checksums."""
    layout = SegmentLayout(count)
    length = layout.table - 64
    block, rest = zlib.crc32(bytes(BLOCK_SIZE)), zlib.crc32(bytes(length % BLOCK_SIZE))
    crcs = [block] * (length // BLOCK_SIZE) + ([rest] if length % BLOCK_SIZE else [])
    table = struct.pack(f"<{len(crcs)}I", *crcs)
    head = struct.pack("<8sHHIQQI12x", b"RSDOSSEG", 2, 0, BLOCK_SIZE, count, 0, zlib.crc32(table))
    head += sha256(head).digest()[:16]
    with open(path, "wb") as file:
        file.write(head)
        file.seek(layout.table)
        file.write(table)
    return SegmentEntry(count, 0, number=1, check=check_of(head))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("count", [MILLIONS, 1 << 28])
def test_a_segment_that_is_a_hole_takes_no_memory(path: Path, count: int, command: tuple[str, ...]) -> None:
    entry = _segment_of_a_hole(path / "index" / "0000000001.seg", count)
    _change_manifest(path, {"segments": (*_manifest(path).segments, entry), "next_segment": 2})
    assert (path / "index" / "0000000001.seg").stat().st_blocks * 512 < 128 << 20
    assert rsdos("-p", path, *command).is_clear


def _batch_of_a_hole(path: Path, container_id: bytes, count: int) -> None:
    """Append a batch with a compact table of so many keys, all zero, of which the disk has a few blocks."""
    start = path.stat().st_size
    stream = zlib.compress(bytes(30 * count), 9)
    crc = zlib.crc32(bytes(36 * count))
    crc = zlib.crc32(stream, crc)
    head = struct.pack("<8sHHIQQIII4x", b"RSDOSSEG", 3, 0, len(stream), count, 0, crc, 0, 0)
    length = 64 + 36 * count + len(stream)
    end = batch_end(start, length)
    batch = Batch(start, start, length, count, end - 64, start - 64)
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(head + sha256(head).digest()[:16])
        file.seek(start + 64 + 36 * count)
        file.write(stream)
        file.seek(end - 64)
        file.write(encode_footer(batch, container_id, 1))


@pytest.mark.parametrize("command", [("list",), ("repair", "index", "--dry-run")], ids=" ".join)
def test_compact_tables_that_are_holes_take_no_memory(path: Path, command: tuple[str, ...]) -> None:
    """Without a manifest the tables of all packs are decoded."""
    container_id = bytes.fromhex(_manifest(path).container_id)
    pack = path / "packed" / "0000000001.pack"
    for _ in range(20):
        _batch_of_a_hole(pack, container_id, 100_000)
    assert pack.stat().st_blocks * 512 < 16 << 20
    for name in os.listdir(path / "index"):
        (path / "index" / name).unlink()
    (path / "locks" / "commit").unlink()
    assert rsdos("-p", path, *command).is_clear


@pytest.mark.parametrize("command", COMMANDS[:3], ids=" ".join)
@pytest.mark.parametrize("what", ["notes", "packs", "spaces"])
def test_a_manifest_that_is_large_takes_no_memory(path: Path, what: str, command: tuple[str, ...]) -> None:
    layout = Layout(str(path))
    newest = Path(layout.manifest(layout.manifest_numbers()[-1]))
    size = 64 << 20
    body = newest.read_bytes()
    if what == "notes":
        body = body.replace(b'"notes": {}', b'"notes": {"a": [' + b"[]," * (size // 3) + b"[]]}")
    elif what == "packs":
        body = body.replace(b'"packs": [', b'"packs": [' + b"{}," * (size // 3))
    else:
        body = b"{" + b" " * size + body[1:]
    body = body.rpartition(b',\n "checksum"')[0]
    newest.write_bytes(body + b',\n "checksum": "' + sha256(body).hexdigest().encode() + b'"\n}\n')
    assert rsdos("-p", path, *command).is_clear


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_counts_that_a_manifest_claims_decide_nothing(path: Path, command: tuple[str, ...]) -> None:
    packs = (pack._replace(objects=1 << 60, size=1 << 60, stored=1 << 60) for pack in _manifest(path).packs)
    _change_manifest(path, {"packs": Packs.of(packs)})
    assert rsdos("-p", path, *command).is_clear


@pytest.mark.parametrize("command", COMMANDS[:3], ids=" ".join)
def test_notes_and_rows_of_version_1_that_are_large_take_no_memory(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "container"
    with Container.create(path, container_version=1) as container:
        container.insert_many([OBJECT])
    write_notes(V1Layout(str(path)), {"a": 1})
    (path / "notes.json").write_text('{"a": [' + "[]," * (16 << 20) + "[]]}")
    with closing(sqlite3.connect(path / "packs.idx")) as connection:
        query = 'INSERT INTO db_object (hashkey, compressed, size, "offset", length, pack_id) VALUES (?, ?, 1, 1, 1, 1)'
        for number in range(3):
            connection.execute(query, ("a" * (60 << 20) + str(number), 0))
        connection.commit()
    assert rsdos("-p", path, *command).is_clear


def test_a_commit_makes_no_manifest_that_would_not_be_read(path: Path) -> None:
    with Container(path) as container:
        with pytest.raises(OSError, match="manifest"):
            container.engine.packed.maintenance.note("long", "x" * (17 << 20))
        assert container.extract(container.insert_many([b"another"])[0]) == b"another"
    assert os.listdir(path / "index")


def test_large_pages_are_not_held_together(tmp_path: Path) -> None:
    """A gigabyte of pages in a few megabytes: 32 MiB is the most that a page of files has."""
    with Container.create(tmp_path / "container") as container:
        content = bytes.fromhex(container.insert_many([b"x"])[0])
        above = b"/".join([b"d" * 255] * 127)
        children = []
        for first in range(0, 32 * 1024, 1024):
            directories = [above + b"/%06d" % number for number in range(first, first + 1024)]
            runs = [Listing(directory, [b"x"], b"\0", [1], [content], [b""]) for directory in directories]
            key = _stored(container, encode_leaf(runs, Attributes.NONE))
            last = order_key(directories[-1], b"x")
            children.append(Child(0, directories[-1], b"x", last, b"", 1024, 1024, bytes.fromhex(key)))
        tree = _stored(container, encode_inner(1, children, Attributes.NONE))
        count = 32 * 1024
        record = SnapshotRecord(tree, Attributes.NONE, count, count, count, "2026-11-26T17:30:00Z")
        snapshot = _stored(container, encode_record(record))
    # The directories have no entries: a walk ends with that, once it has read pages.
    for command, code in ((("tag", "large", snapshot), 0), (("ls", "-r", "large"), 1), (("gc",), 0)):
        outcome = rsdos("-p", tmp_path / "container", *command)
        assert outcome.is_clear and outcome.code == code, (command, outcome)


def _stored(container: Container, data: bytes) -> str:
    (key,) = container.engine.objects.insert_many([data], kind=PackKind.TREES)
    return key
