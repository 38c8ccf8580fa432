"""`docs/rescue.py` alone, as somebody without rsdos runs it: isolated, without site-packages, on what rsdos wrote."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Place, names
from rsdos.engine.publish import publish, read_refs
from rsdos.engine.save_lock import hold_save_lock
from rsdos.index import compact
from rsdos.index.entries import Entries
from rsdos.index.pack_entry import PackEntry
from rsdos.index.segment_layout import encode_segment
from rsdos.model import FRAME_SIZE, Codec, PackKind, Record, RecordFlag
from rsdos.pack.reader import PackFile
from rsdos.pack.scanning import scan
from rsdos.pack.writer import PackWriter
from rsdos.storage.local import LocalFile
from rsdos.trees.build import build_tree
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry, listings_of, tree_order
from rsdos.trees.record import SnapshotRecord, encode_record
from tests.data import key_of, noise, text
from tests.dictionaries import records, trained, using
from tests.helpers import ABSENT, ROOT, flip, manifest_of, native

RESCUE = ROOT / "docs" / "rescue.py"

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="there is no zstd program here")


@pytest.fixture
def _large_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 200 entries were many: batches of so many end with a compact table."""
    monkeypatch.setattr(compact, "COMPACT_FROM", 200)


def rescue(*arguments: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run it without site-packages; ``path`` is where it may find programs."""
    environment = None if path is None else {"PATH": path}
    command = [sys.executable, "-I", "-S", str(RESCUE), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def rescued(destination: Path) -> dict[str, bytes]:
    """What it wrote; every file has the name of a key."""
    return {path.name: path.read_bytes() for path in destination.glob("*/*")}


def expected(*payloads: bytes) -> dict[str, bytes]:
    return {key_of(data): data for data in payloads}


def pack_path(container: Container, pack_id: int = 1) -> Path:
    return container.path / "packed" / f"{pack_id:010d}.pack"


def batches(container: Container, pack_id: int = 1) -> list[tuple[int, int, int]]:
    """Start, segment and footer offset of each batch of a pack."""
    file = PackFile(LocalFile(str(pack_path(container, pack_id))), pack_id, bytes.fromhex(container.container_id))
    return [(batch.start, batch.segment_offset, batch.footer_offset) for batch in scan(file).batches]


CODECS = [
    pytest.param("none"),
    pytest.param("zlib+1"),
    pytest.param("zlib+9"),
    pytest.param("zstd:-7", marks=needs_zstd),
    pytest.param("zstd", marks=needs_zstd),
    pytest.param("zstd+19", marks=needs_zstd),
]


@pytest.mark.usefixtures("_large_batches")
@pytest.mark.parametrize("compression", CODECS)
def test_every_object_comes_out(tmp_path: Path, compression: str) -> None:
    mode = CompressMode.NO if compression == "none" else CompressMode.YES
    sizes = [1, 850, 70_000, FRAME_SIZE, FRAME_SIZE + 1, 3 * FRAME_SIZE, 6 * FRAME_SIZE + 17]
    payloads = [b"", *(text(size, size) for size in sizes), noise(2 * FRAME_SIZE + 5, 1), noise(3000, 2)]
    small = [text(20 + i, i) for i in range(600)]
    with Container.create(tmp_path / "c", compression=compression, pack_size_target=4 * FRAME_SIZE) as container:
        container.insert_many(payloads, compress=mode)
        container.insert_many(small, compress=mode)
        packs = len(list((container.path / "packed").iterdir()))
    shutil.rmtree(tmp_path / "c" / "index")
    (tmp_path / "c" / "config.json").unlink()
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, f"610 objects written to {tmp_path}/out\n")
    assert rescued(tmp_path / "out") == expected(*payloads, *small)
    assert packs > 1 or compression != "none"


@needs_zstd
def test_codecs_mixed_in_one_pack_and_loose_objects_beside_it(tmp_path: Path) -> None:
    packed = [text(50_000 * i + 900, i) for i in range(40)]
    loose = [b"", noise(100, 3), noise(2 * FRAME_SIZE, 4)]
    with Container.create(tmp_path / "c") as container:
        container.insert_many(packed[::2], compress=CompressMode.YES)
        container.insert_many(packed[1::2], compress=CompressMode.NO)
        container.insert_many(loose, to=Place.LOOSE)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert rescued(tmp_path / "out") == expected(*packed, *loose)


@needs_zstd
def test_mixed_frames(tmp_path: Path) -> None:
    payloads = [noise(2 * FRAME_SIZE, 1) + text(10 * FRAME_SIZE, 2) + noise(FRAME_SIZE, 3) + text(70_000, 4)]
    with Container.create(tmp_path / "c") as container:
        (key,) = container.insert_many(payloads)
        assert container.meta(key).codec is Codec.MIXED
    assert f"{key} {len(payloads[0])} mixed 1 " in rescue(tmp_path / "c", "list").stdout
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert rescued(tmp_path / "out") == expected(*payloads)


@pytest.mark.parametrize("prefix_length", [0, 2, 5])
@pytest.mark.parametrize("compression", ["zlib", pytest.param("zstd", marks=needs_zstd)])
def test_compressed_loose_objects(tmp_path: Path, compression: str, prefix_length: int) -> None:
    payloads = [text(5000, 1), text(3 * FRAME_SIZE + 1, 2), noise(500, 3)]
    with Container.create(tmp_path / "c", loose_compression=compression, loose_prefix_len=prefix_length) as container:
        container.insert_many(payloads, to=Place.LOOSE)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert rescued(tmp_path / "out") == expected(*payloads)


def test_a_damaged_loose_object_is_reported(tmp_path: Path) -> None:
    with Container.create(tmp_path / "c") as container:
        good, bad = container.insert(b"good"), container.insert(b"bad")
    flip(tmp_path / "c" / "loose" / bad[:2] / bad[2:], 1)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 1
    assert f"NOT RESCUED: object {bad}" in done.stderr
    assert rescued(tmp_path / "out") == {good: b"good"}


def test_list_names_every_copy(tmp_path: Path) -> None:
    with Container.create(tmp_path / "c", compression="zlib") as container:
        raw, packed, loose = noise(3000, 1), text(5000, 2), b"loose"
        keys = container.insert_many([raw, packed, loose], to=Place.PACKED)
        container.insert_many([loose], to=Place.LOOSE)
        lines = set()
        for key in keys:
            meta = container.meta(key)
            assert meta.extent is not None
            lines.add(f"{key} {meta.size} {meta.codec.name.lower()} {meta.extent.pack_id} {meta.extent.offset}")
    done = rescue(tmp_path / "c", "list")
    assert done.returncode == 0
    assert set(done.stdout.splitlines()) == lines


@pytest.mark.parametrize("place", [Place.PACKED, Place.LOOSE])
def test_a_reader_of_the_list_that_goes_away_is_no_error(tmp_path: Path, place: Place) -> None:
    """`list | head -n 1`, of more lines than a pipe holds."""
    with Container.create(tmp_path / "c", compression="none") as container:
        container.insert_many([b"%d" % number for number in range(1500)], to=place)
    command = [sys.executable, "-I", "-S", str(RESCUE), str(tmp_path / "c"), "list"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.readline().count(b" ") == 4
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.wait() == 0


def test_only_the_keys_that_were_asked_for(tmp_path: Path) -> None:
    with Container.create(tmp_path / "c", compression="none") as container:
        keys = container.insert_many([b"one", b"two", b"three"])
    done = rescue(tmp_path / "c", "extract", tmp_path / "out", keys[1])
    assert done.returncode == 0
    assert rescued(tmp_path / "out") == {keys[1]: b"two"}
    done = rescue(tmp_path / "c", "extract", tmp_path / "out", ABSENT, keys[0])
    assert done.returncode == 1
    assert f"NOT RESCUED: object {ABSENT}: not found" in done.stderr
    assert rescued(tmp_path / "out") == {keys[0]: b"one", keys[1]: b"two"}


@pytest.mark.parametrize("arguments", [[], ["c"], ["c", "list", "x"], ["c", "extract"], ["c", "extract", "d", "KEY"]])
def test_a_wrong_command_line_prints_how_to_call_it(arguments: list[str]) -> None:
    done = rescue(*arguments)
    assert done.returncode == 2
    assert "rescue.py CONTAINER extract DEST [KEY ...]" in done.stderr


def test_a_directory_that_is_no_container_is_refused(tmp_path: Path) -> None:
    done = rescue(tmp_path, "list")
    assert done.returncode == 2
    assert "not a container" in done.stderr


def test_a_damaged_payload_is_reported_and_the_others_come_out(tmp_path: Path) -> None:
    payloads = [noise(4000 + i, i) for i in range(20)]
    big = noise(3 * FRAME_SIZE, 99)
    with Container.create(tmp_path / "c") as container:
        keys = container.insert_many([*payloads, big], compress=CompressMode.NO)
        for key, into in ((keys[7], 100), (keys[20], FRAME_SIZE + 5)):
            extent = container.meta(key).extent
            assert extent is not None
            flip(pack_path(container), extent.offset + into)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("NOT RESCUED") == 2
    assert done.stderr.count("another CRC-32 than when they were written") == 2
    assert f"NOT RESCUED: object {keys[7]} (pack 1, byte " in done.stderr
    assert f"NOT RESCUED: object {keys[20]} (pack 1, byte " in done.stderr
    assert rescued(tmp_path / "out") == {key: data for key, data in expected(*payloads).items() if key != keys[7]}


def test_another_copy_makes_up_for_a_damaged_one(tmp_path: Path) -> None:
    with Container.create(tmp_path / "c") as container:
        key = container.insert(b"twice here")
        container.pack_all_loose(clean=False)
        extent = container.meta(key).extent
        assert extent is not None
        flip(pack_path(container), extent.offset)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert (done.returncode, rescued(tmp_path / "out")) == (0, {key: b"twice here"})


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_damaged_footer_costs_nothing_but_itself(tmp_path: Path, which: int) -> None:
    payloads = [noise(6000, i) for i in range(30)]
    with Container.create(tmp_path / "c", compression="none") as container:
        for start in range(0, 30, 10):
            container.insert_many(payloads[start : start + 10])
        flip(pack_path(container), batches(container)[which][2] + 20)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert rescued(tmp_path / "out") == expected(*payloads)


def test_a_damaged_table_of_contents_costs_only_the_objects_whose_entries_are_hit(tmp_path: Path) -> None:
    payloads = [noise(200, i) for i in range(1000)]  # 1,000 entries are 66,000 bytes: two blocks
    with Container.create(tmp_path / "c", compression="none") as container:
        container.insert_many(payloads)
        segment = batches(container)[0][1]
    flip(pack_path(container), segment + 10)  # the header
    flip(pack_path(container), segment + 64 + 8 * 1000 + 58 * 5 + 27)  # the offset in entry 5
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    hit = sorted(expected(*payloads))[5]
    assert done.returncode == 1
    assert [line[:82] for line in done.stderr.splitlines() if "NOT" in line] == [f"NOT RESCUED: object {hit} (pac"[:82]]
    assert rescued(tmp_path / "out") == {key: data for key, data in expected(*payloads).items() if key != hit}


def test_a_batch_without_footer_and_table_is_reported(tmp_path: Path) -> None:
    payloads = [noise(6000, i) for i in range(20)]
    with Container.create(tmp_path / "c", compression="none") as container:
        container.insert_many(payloads[:10])
        container.insert_many(payloads[10:])
        start, segment, footer = batches(container)[0]
    flip(pack_path(container), footer + 8)
    flip(pack_path(container), segment + 8)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 1
    assert f"bytes {start} to {footer + 64} have no table of contents" in done.stderr
    assert rescued(tmp_path / "out") == expected(*payloads[10:])


def test_a_pack_cut_short(tmp_path: Path) -> None:
    payloads = [noise(6000, i) for i in range(20)]
    with Container.create(tmp_path / "c", compression="none") as container:
        container.insert_many(payloads[:10])
        container.insert_many(payloads[10:])
        end = batches(container)[1][2]
        with open(pack_path(container), "r+b") as file:
            file.truncate(end - 30_000)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 1
    assert "have no table of contents" in done.stderr
    assert rescued(tmp_path / "out") == expected(*payloads[:10])


@pytest.mark.parametrize("offset", [3, 20, 35, 50])
def test_a_damaged_header_of_the_only_pack(tmp_path: Path, offset: int) -> None:
    with Container.create(tmp_path / "c", compression="none") as container:
        container.insert_many([b"one", b"two"])
    flip(pack_path(container), offset)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert rescued(tmp_path / "out") == expected(b"one", b"two")


def test_packs_are_known_by_their_headers_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    with Container.create(tmp_path / "c", compression="none") as container:
        container.insert_many([b"one", b"two"])
    pack_path(container).rename(tmp_path / "c" / "packed" / "#12345")
    for directory in ("packed", "loose", "loose/ab"):
        (tmp_path / "c" / directory).mkdir(exist_ok=True)
        for name in (".DS_Store", ".nfs0001", "0000000001.pack.bak"):
            (tmp_path / "c" / directory / name).write_bytes(b"not ours")
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert (done.returncode, rescued(tmp_path / "out")) == (0, expected(b"one", b"two"))


def test_a_pack_stored_as_an_object_is_no_structure(tmp_path: Path) -> None:
    with Container.create(tmp_path / "inner", compression="none") as inner:
        inner.insert_many([b"of the inner container", *(noise(5000, i) for i in range(5))])
    stored = pack_path(inner).read_bytes()
    with Container.create(tmp_path / "c", compression="none") as container:
        container.insert_many([stored, b"beside it"])
        own = pack_path(container).read_bytes()
        container.insert_many([own])
        footer = batches(container)[1][2]
    assert rescue(tmp_path / "c", "extract", tmp_path / "out").returncode == 0
    assert rescued(tmp_path / "out") == expected(stored, b"beside it", own)
    # Where the chain of footers breaks, the search for tables of contents meets those inside the objects.
    flip(pack_path(container), footer + 8)
    done = rescue(tmp_path / "c", "extract", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert rescued(tmp_path / "again") == expected(stored, b"beside it", own)


def test_deleted_objects_stay_deleted(tmp_path: Path) -> None:
    with Container.create(tmp_path / "c", compression="none") as container:
        keep, kill = container.insert_many([b"kept", b"deleted"])
        killed = native(container.engine).index.find(bytes.fromhex(kill))
        assert killed is not None
        append_batch(container, [replace_flags(killed, RecordFlag.TOMBSTONE)])
    assert rescue(tmp_path / "c", "list").stdout.split()[0] == keep
    assert rescue(tmp_path / "c", "extract", tmp_path / "out").returncode == 0
    assert rescued(tmp_path / "out") == {keep: b"kept"}
    # A tombstone kills an extent and not a key: an insert after the deletion counts.
    with container:
        append_batch(container, [killed], b"deleted")
    assert rescue(tmp_path / "c", "extract", tmp_path / "out").returncode == 0
    assert rescued(tmp_path / "out") == {keep: b"kept", kill: b"deleted"}


def replace_flags(record: Record, flags: RecordFlag) -> Record:
    return record._replace(length=0, size=0, crc=0, codec=Codec.RAW, flags=flags)


def append_batch(container: Container, records: list[Record], payload: bytes = b"") -> None:
    """There is no delete yet: append a batch of records to pack 1, past the store."""
    path = pack_path(container)
    writer = PackWriter(
        container.engine.layout.storage, names.pack(1), 1, bytes.fromhex(container.container_id), path.stat().st_size
    )
    if payload:
        offset = writer.write([payload])
        records = [record._replace(offset=offset) for record in records]
    writer.finish_batch([encode_segment(Entries.of_records(records).sort())], len(records))
    writer.end()


def test_without_any_zstd_the_rest_comes_out_and_the_message_says_what_to_install(tmp_path: Path) -> None:
    with Container.create(tmp_path / "c", compression="zstd") as container:
        raw = container.insert_many([noise(2000, 1)], compress=CompressMode.NO)
        squeezed = container.insert_many([text(2000, 1), text(2 * FRAME_SIZE, 2)], compress=CompressMode.YES)
    done = rescue(tmp_path / "c", "extract", tmp_path / "out", path=str(tmp_path))
    assert done.returncode == 1
    assert rescued(tmp_path / "out").keys() == set(raw)
    assert all(f"NOT RESCUED: object {key}" in done.stderr for key in squeezed)
    assert "install the `zstd` program" in done.stderr
    if shutil.which("zstd"):  # and when it is installed, the rest follows
        assert rescue(tmp_path / "c", "extract", tmp_path / "out").returncode == 0
        assert rescued(tmp_path / "out").keys() == {*raw, *squeezed}


def test_zstd_through_a_module(tmp_path: Path) -> None:
    payloads = [text(2000, 1), text(2 * FRAME_SIZE, 2)]
    with Container.create(tmp_path / "c", compression="zstd") as container:
        container.insert_many(payloads, compress=CompressMode.YES)
    command = [sys.executable, "-I", str(RESCUE), str(tmp_path / "c"), "extract", str(tmp_path / "out")]
    subprocess.run(command, check=True, env={"PATH": ""}, capture_output=True)
    assert rescued(tmp_path / "out") == expected(*payloads)


@needs_zstd
def test_one_object_that_does_not_decode_does_not_spoil_its_neighbours(tmp_path: Path) -> None:
    payloads = [text(3000, i) for i in range(20)]
    with Container.create(tmp_path / "c", compression="zstd") as container:
        keys = container.insert_many(payloads, compress=CompressMode.YES)
        own = bytes.fromhex(container.container_id)
        pack = pack_path(container).read_bytes()
        records = [native(container.engine).index.find(bytes.fromhex(key)) for key in keys]
    # The pack is written anew: one object's stored bytes are no zstd, and its CRC says that they are as written.
    pack_path(container).unlink()
    writer = PackWriter(container.engine.layout.storage, names.pack(1), 1, own, 0)
    written = []
    for record in records:
        assert record is not None
        stored = pack[record.offset :][: record.length] if record.key != keys[4] else b"this is no zstd"
        offset = writer.write([stored])
        written.append(record._replace(offset=offset, length=len(stored), crc=zlib.crc32(stored)))
    writer.finish_batch([encode_segment(Entries.of_records(written).keyed().sort())], len(written))
    writer.end()
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("NOT RESCUED") == 1
    assert f"NOT RESCUED: object {keys[4]}" in done.stderr
    assert len(rescued(tmp_path / "out")) == 19


@pytest.mark.usefixtures("_large_batches")
@pytest.mark.parametrize("place", [20, 70, -5], ids=["header", "keys", "stream"])
@pytest.mark.parametrize("index", [True, False], ids=["with its index", "without"])
def test_a_damaged_compact_table_is_made_up_for_by_the_index(tmp_path: Path, place: int, index: bool) -> None:
    first, second = ([noise(60, 5000 * seed + n) for n in range(200)] for seed in (1, 2))
    with Container.create(tmp_path / "c", compression="none") as container:
        container.insert_many(first)
        container.insert_many(second)
        segment = native(container.engine).index.commits.newest().segments[0]
        flip(pack_path(container), segment.offset + (place if place > 0 else segment.length + place))
    if not index:
        shutil.rmtree(tmp_path / "c" / "index")
    done = rescue(tmp_path / "c", "extract", tmp_path / "out")
    assert done.returncode == (0 if index else 1)
    assert ("going by the index" if index else "NOT RESCUED") in done.stderr
    assert rescued(tmp_path / "out") == expected(*(first if index else ()), *second)


@pytest.mark.usefixtures("_large_batches")
def test_a_compact_table_without_its_footer_is_found(tmp_path: Path) -> None:
    objects = [noise(60, n) for n in range(200)]
    with Container.create(tmp_path / "c", compression="none") as container:
        container.insert_many(objects)
        flip(pack_path(container), batches(container)[0][2] + 5)
    shutil.rmtree(tmp_path / "c" / "index")
    assert rescue(tmp_path / "c", "extract", tmp_path / "out").returncode == 0
    assert rescued(tmp_path / "out") == expected(*objects)


@pytest.fixture
def with_dictionaries(tmp_path: Path) -> tuple[Container, dict[str, bytes]]:
    """Two dictionaries in one pack, and objects beside them that need none."""
    objects = [*records(60), *records(60, 1), noise(500), text(5000)]
    with Container.create(tmp_path / "c") as container:
        with using(trained()):
            container.insert_many(objects[:60])
        with using(trained(1)):
            container.insert_many(objects[60:120])
        container.insert_many(objects[120:])
    return container, expected(*objects)


@pytest.mark.parametrize("through", ["zstandard", pytest.param("the program", marks=needs_zstd)])
@pytest.mark.parametrize("damage", ["none", "first copies", "second copies", "an object"])
def test_objects_that_need_a_dictionary_come_out(
    with_dictionaries: tuple[Container, dict[str, bytes]], tmp_path: Path, through: str, damage: str
) -> None:
    container, objects = with_dictionaries
    lost = records(60, 1)[7]
    extent = container.meta(key_of(lost)).extent
    assert extent is not None
    if damage == "an object":
        flip(pack_path(container), extent.offset + 8)
    if damage.endswith("copies"):
        for place in manifest_of(container.path).packs[0].dictionaries:
            flip(pack_path(container), place.offsets[damage == "second copies"] + 50)
    container.close()
    shutil.rmtree(container.path / "index")
    if through == "zstandard":
        command = [sys.executable, "-I", str(RESCUE), str(container.path), "extract", str(tmp_path / "out")]
        done = subprocess.run(command, check=False, env={"PATH": ""}, capture_output=True, text=True)
    else:
        done = rescue(container.path, "extract", tmp_path / "out")
    wanted = {key: data for key, data in objects.items() if damage != "an object" or data != lost}
    assert rescued(tmp_path / "out") == wanted
    assert (done.returncode, key_of(lost) in done.stderr) == ((1, True) if wanted != objects else (0, False)), (
        done.stderr
    )


def test_the_list_calls_them_zstd(with_dictionaries: tuple[Container, dict[str, bytes]]) -> None:
    container, objects = with_dictionaries
    lines = [line.split() for line in rescue(container.path, "list").stdout.splitlines()]
    assert {key: codec for key, _, codec, *_ in lines} == {
        key: container.meta(key).codec.name.lower() for key in objects
    }


@needs_zstd
def test_an_object_whose_pack_no_longer_says_which_dictionary_it_needs_comes_out(
    with_dictionaries: tuple[Container, dict[str, bytes]], tmp_path: Path
) -> None:
    """The table that brought its dictionary in is damaged; the index has its entry, and another pack the dictionary."""
    container, objects = with_dictionaries
    segment_offset = batches(container)[0][1]
    index = native(container.engine).index
    sealed = manifest_of(container.path).packs[0]._replace(sealed=True)
    index.commit(lambda newest: newest.with_pack(sealed), container.engine.durability)
    more = records(5, 9)
    with using(trained()):
        container.insert_many(more)
    flip(pack_path(container), segment_offset + 20)
    done = rescue(container.path, "extract", tmp_path / "out")
    assert rescued(tmp_path / "out") == objects | expected(*more), done.stderr


# Snapshots.


def tree_of(path: Path) -> dict[str, object]:
    """Everything below a directory: bytes and executable bits of files, targets of links, and directories."""
    found: dict[str, object] = {}
    for one in path.rglob("*"):
        name = str(one.relative_to(path))
        if one.is_symlink():
            found[name] = str(one.readlink())
        elif one.is_dir():
            found[name] = None
        else:
            found[name] = (one.read_bytes(), bool(one.stat().st_mode & 0o100))
    return found


def save_tree(container: Container, name: str, directory: Path, attributes: Attributes = Attributes.NONE) -> str:
    """Save a directory as the next version of a branch; return the key of the snapshot."""
    engine = container.engine
    entries, contents = [], []
    for one in directory.rglob("*"):
        path, status = os.fsencode(one.relative_to(directory)), one.lstat()
        mtime, mode = status.st_mtime_ns, status.st_mode & 0o777
        if one.is_symlink():
            target = os.fsencode(one.readlink())
            entries.append(TreeEntry(path, EntryKind.LINK, len(target), target=target, mtime=mtime, mode=mode))
        elif one.is_dir():
            entries.append(TreeEntry(path, EntryKind.DIRECTORY, 0, mtime=mtime, mode=mode))
        else:
            data = one.read_bytes()
            contents.append(data)
            kind = EntryKind.EXECUTABLE if status.st_mode & 0o100 else EntryKind.FILE
            entries.append(TreeEntry(path, kind, len(data), bytes.fromhex(key_of(data)), mtime=mtime, mode=mode))
    entries.sort(key=lambda entry: tree_order(entry.path))
    engine.objects.insert_many(contents, kind=PackKind.HELD)
    pages: list[bytes] = []
    root = build_tree(listings_of(entries, attributes), attributes, lambda digest, page: pages.append(page))
    time = "2026-11-26T18:00:00Z"
    record = encode_record(SnapshotRecord(root.key.hex(), attributes, root.entries, root.files, root.size, time))
    with hold_save_lock(engine) as lock:
        refs, _ = read_refs(engine)
        newest = refs.branches[name].newest if name in refs.branches else None
        publish(
            engine,
            lock.epoch,
            lambda refs: refs.saved(name, key_of(record), time, "somebody", newest.snapshot if newest else None),
            lambda: None,
            [*pages, record],
        )
    return key_of(record)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with all kinds of entries, of more than one page."""
    made = tmp_path / "directory"
    for number in range(1000):
        file = made / f"part {number % 2}" / f"{number:05d}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"file %d" % (number % 333))
    (made / "empty").mkdir()
    (made / "run").write_bytes(text(2 * FRAME_SIZE + 5))
    (made / "run").chmod(0o755)
    (made / "link").symlink_to("part 1/00001.txt")
    (made / os.fsdecode(b"not utf-8 \xff")).write_bytes(noise(5000))
    return made


@needs_zstd
def test_a_snapshot_is_restored_by_its_names(tmp_path: Path, directory: Path) -> None:
    container = Container.create(tmp_path / "c")
    before = tree_of(directory)
    first = save_tree(container, "data", directory)
    (directory / "run").write_bytes(b"changed")
    (directory / "link").unlink()
    second = save_tree(container, "data", directory)
    other = save_tree(container, "a/branch", directory)
    year = save_tree(container, "2024", directory)
    container.close()
    done = rescue(container.path, "refs")
    assert done.stdout.splitlines() == [
        f"2024@1 {year} 2026-11-26T18:00:00Z",
        f"a/branch@1 {other} 2026-11-26T18:00:00Z",
        f"data@1 {first} 2026-11-26T18:00:00Z",
        f"data@2 {second} 2026-11-26T18:00:00Z",
    ]
    assert (done.returncode, done.stderr) == (0, "")
    for ref, wanted in (
        ("data@1", before),
        (first, before),
        ("data", tree_of(directory)),
        ("2024", tree_of(directory)),
    ):
        out = tmp_path / f"out {ref}"
        done = rescue(container.path, "restore", ref, out)
        assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
        assert tree_of(out) == wanted
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")) == []


@needs_zstd
def test_without_the_newest_names_those_before_are_listed_and_that_is_said(tmp_path: Path, directory: Path) -> None:
    container = Container.create(tmp_path / "c")
    snapshot = save_tree(container, "data", directory)
    save_tree(container, "other", directory)
    manifest = manifest_of(container.path)
    (record,) = native(container.engine).index.refresh().find_all(bytes.fromhex(manifest.refs))
    flip(pack_path(container, record.pack_id), record.offset + 20)
    done = rescue(container.path, "refs")
    assert done.stdout.splitlines() == [f"data@1 {snapshot} 2026-11-26T18:00:00Z"]
    assert done.returncode == 1 and manifest.refs in done.stderr
    done = rescue(container.path, "restore", "data", tmp_path / "out")
    assert done.returncode == 0 and "names may be old" in done.stderr
    assert tree_of(tmp_path / "out") == tree_of(directory)


@needs_zstd
def test_times_and_modes_are_restored_where_the_snapshot_has_them(tmp_path: Path) -> None:
    made = tmp_path / "directory"
    (made / "sub").mkdir(parents=True)
    (made / "sub" / "file").write_bytes(b"data")
    (made / "sub" / "file").chmod(0o640)
    (made / "sub").chmod(0o750)
    os.utime(made / "sub" / "file", ns=(10**18 + 5, 10**18 + 5))
    os.utime(made / "sub", ns=(10**18 + 7, 10**18 + 7))
    container = Container.create(tmp_path / "c")
    save_tree(container, "data", made, Attributes.TIMES | Attributes.MODES)
    assert rescue(container.path, "restore", "data", tmp_path / "out").returncode == 0
    for name in ("sub", "sub/file"):
        one, two = (made / name).stat(), (tmp_path / "out" / name).stat()
        assert (one.st_mtime_ns, one.st_mode) == (two.st_mtime_ns, two.st_mode)


@needs_zstd
def test_a_damaged_file_and_a_damaged_page_are_named_and_the_rest_is_restored(tmp_path: Path, directory: Path) -> None:
    container = Container.create(tmp_path / "c")
    snapshot = save_tree(container, "data", directory)
    view = native(container.engine).index.refresh()
    (record,) = view.find_all(bytes.fromhex(key_of(b"file 7")))
    flip(pack_path(container, record.pack_id), record.offset)
    done = rescue(container.path, "restore", "data", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.count("NOT RESCUED") == 3, done.stderr
    wanted = {name: is_there for name, is_there in tree_of(directory).items() if is_there != (b"file 7", False)}
    assert tree_of(tmp_path / "out") == wanted
    # Of the pages the first leaf goes.
    pages = list(view.of_kinds((PackKind.TREES,)).in_storage_order(trees_pack(container)))
    leaf = next(record for record in pages[0] if container.extract(record.key)[:6] == b"RSTR\1\0")
    flip(pack_path(container, leaf.pack_id), leaf.offset)
    done = rescue(container.path, "restore", snapshot, tmp_path / "less")
    assert done.returncode == 1
    assert "a part of the tree is lost" in done.stderr
    left = tree_of(tmp_path / "less")
    assert 0 < len(left) < len(wanted)
    assert left.items() <= wanted.items()


def trees_pack(container: Container) -> PackEntry:
    return next(pack for pack in manifest_of(container.path).packs if pack.kind is PackKind.TREES)


def test_a_page_of_a_stranger_writes_nothing_elsewhere(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "c", compression="none")
    out = tmp_path / "out"
    kinds, targets = bytes([EntryKind.LINK, EntryKind.LINK]), [str(tmp_path).encode(), b"x"]
    head = struct.pack("<4s4BII", b"RSTR", 1, 0, 0, 0, 2, 2) + struct.pack("<2I2H", 1, 1, 0, 1)
    below = (
        head
        + b"d"
        + kinds
        + b"\1\1"
        + b"d"
        + b"e"
        + bytes(16)
        + struct.pack("<2H", *map(len, targets))
        + b"".join(targets)
    )
    head = struct.pack("<4s4BII", b"RSTR", 1, 0, 0, 0, 1, 1) + struct.pack("<IH", 1, 2)
    upwards = head + b".." + bytes([EntryKind.DIRECTORY]) + b"\1" + b"e" + bytes(8)
    for page in (below, upwards):
        record = SnapshotRecord(key_of(page), Attributes.NONE, 1, 0, 0, "2026-11-26T18:00:00Z")
        data = encode_record(record)
        container.engine.objects.insert_many([page, data], kind=PackKind.TREES)
        done = rescue(container.path, "restore", key_of(data), out)
        assert done.returncode == 1
        assert "below a link" in done.stderr or "has the path" in done.stderr
        assert not (tmp_path / "e").is_symlink() and not (tmp_path / "e").exists()
        shutil.rmtree(out)


def test_what_there_is_no_snapshot_of_is_said(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "c")
    container.insert(b"x")
    assert rescue(container.path, "refs").stdout == ""
    done = rescue(container.path, "restore", "data", tmp_path / "out")
    assert done.returncode == 1
    assert "no snapshot has this name" in done.stderr
    (tmp_path / "out" / "mine").write_bytes(b"")
    done = rescue(container.path, "restore", "data", tmp_path / "out")
    assert "not empty" in done.stderr
    assert (tmp_path / "out" / "mine").exists()
