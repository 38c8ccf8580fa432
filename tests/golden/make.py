"""Makes the golden containers: `python tests/golden/make.py`. See README.md beside this file.

Each is written as NAME.zip and NAME.json. One that is there already is left as it is, always: a golden container is
a promise to whoever has such a container on disk.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import zstandard

from rsdos import Codec, CompressMode, Container, Place
from rsdos.codecs.dictionary import Dictionary, KnownDictionaries
from rsdos.config import Config
from rsdos.engine.create import make_container, make_container_on
from rsdos.engine.publish import publish, read_refs
from rsdos.engine.save_lock import hold_save_lock
from rsdos.hashing import SHA256
from rsdos.index import compact, fenced_parts, merge, pack_table, segment_layout, table_files
from rsdos.index.index import Index
from rsdos.model import FRAME_SIZE, Copy, Durability, PackKind
from rsdos.storage.base import Traits
from rsdos.storage.local import LocalStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.store import PackedStore
from rsdos.stores.remote.placed import placed_manifest
from rsdos.testing import FaultyStorage
from rsdos.trees.build import build_tree
from rsdos.trees.entry import Attributes, EntryKind, TreeEntry, listings_of, tree_order
from rsdos.trees.record import SnapshotRecord, encode_record

HERE = Path(__file__).parent

Expected = dict[str, object]
"""``open``: the error that opening raises. Else ``objects``: key -> size, of what is read whole; ``errors``: key ->
the error that reading it raises; ``list``: the error that listing raises, or None."""


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def text(seed: int, size: int) -> bytes:
    return (b"golden line %d\n" % seed * (size // 14 + 1))[:size]


def make(root: Path, number: int, **settings: object) -> Container:
    """A container with an id of its own, the same at each run."""
    make_container(str(root), Config(container_id=f"{number:032x}", **settings))  # type: ignore[arg-type]
    return Container(root)


def expect(objects: Iterable[bytes], **errors: str) -> Expected:
    """These objects are read; the keys of ``errors`` raise."""
    sizes = {SHA256.digest_of(data).hex(): len(data) for data in objects}
    return {"objects": {key: size for key, size in sizes.items() if key not in errors}, "errors": errors, "list": None}


def edit(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def flip(path: Path, offset: int) -> None:
    """Flip one bit; an offset below zero counts from the end."""

    def change(data: bytearray) -> None:
        data[offset] ^= 0x10

    edit(path, change)


def key(data: bytes) -> str:
    return SHA256.digest_of(data).hex()


def place(container: Container, data: bytes) -> tuple[Path, int]:
    """The pack and the offset of an object."""
    extent = container.meta(key(data)).extent
    if extent is None:
        raise SystemExit("a golden object that should be packed is not")
    return container.path / "packed" / f"{extent.pack_id:010d}.pack", extent.offset


@contextmanager
def large_from(entries: int) -> Iterator[None]:
    """Batches of so many entries count as large: they end with a compact table, and have a segment file."""
    before, compact.COMPACT_FROM = compact.COMPACT_FROM, entries
    try:
        yield
    finally:
        compact.COMPACT_FROM = before


@contextmanager
def folded_from(rows: int) -> Iterator[None]:
    """Manifests of more packs have pack tables, of eight rows at most."""
    with patch("rsdos.index.table_files.MOST_CHANGED", rows), patch("rsdos.index.pack_table.MOST_ROWS", 8):
        yield


def native_index(container: Container) -> Index:
    packed = container.engine.packed
    assert isinstance(packed, PackedStore)
    return packed.index


def segment_place(container: Container, at: int) -> tuple[Path, int]:
    """The pack and the offset of a live segment."""
    entry = native_index(container).commits.newest().segments[at]
    return container.path / "packed" / f"{entry.pack_id:010d}.pack", entry.offset


# --- good ones --------------------------------------------------------------------------------------------------------


def v2_empty(root: Path) -> Expected:
    make(root, 0x100)
    return expect([])


def v2_raw(root: Path) -> Expected:
    """Raw objects: packed, loose, one that is both, and a framed one."""
    packed = [b"", b"a", noise(1, 900), text(1, 5000), text(2, FRAME_SIZE + 1)]
    loose, both = [b"loose", noise(2, 100)], noise(3, 300)
    with make(root, 0x101, compression="none") as container:
        container.insert(both)
        container.pack_all_loose(clean=False)
        container.insert_many(packed)
        container.insert_many(loose, to=Place.LOOSE)
    return expect([*packed, *loose, both])


def v2_mixed(root: Path) -> Expected:
    """All codecs, framed and not, in several packs; loose objects compressed with zstd, beside raw ones."""
    zstd = [text(seed, size) for seed, size in ((1, 3000), (2, FRAME_SIZE), (3, FRAME_SIZE + 1), (4, 3 * FRAME_SIZE))]
    zlib = [text(seed, size) for seed, size in ((5, 3000), (6, FRAME_SIZE), (7, FRAME_SIZE + 1), (8, 3 * FRAME_SIZE))]
    raw = [noise(9, 3000), b""]
    loose = [text(10, 2000), text(11, 2 * FRAME_SIZE + 3), noise(12, 400), b"tiny"]
    with make(root, 0x102, loose_compression="zstd", pack_size_target=5000, loose_prefix_len=3) as container:
        for data in zstd:
            container.insert_many([data], compress=CompressMode.YES)
        append(container, zlib, Encoding(CompressMode.YES, Config(compression="zlib+1").codec))
        container.insert_many(raw, compress=CompressMode.NO)
        container.insert_many(loose, to=Place.LOOSE)
    return expect(zstd + zlib + raw + loose)


def append(container: Container, objects: list[bytes], encoding: Encoding) -> None:
    """Append to a pack in an encoding that is not the container's, whatever the container has already."""
    with container.engine.packed.writer(lambda digests, trust, /, raws=None: [Copy.MISSING] * len(digests)) as writer:
        for data in objects:
            if len(data) > FRAME_SIZE:
                frames = (data[at : at + FRAME_SIZE] for at in range(0, len(data), FRAME_SIZE))
                writer.add_frames(frames, encoding)
            else:
                writer.add_many([data], encoding)
        writer.commit()


def picture(size: int) -> bytes:
    """What begins like a picture, and stays raw for that; a zip file makes it small."""
    return b"\x89PNG\r\n\x1a\n" + text(20, size - 8)


def v2_mixed_frames(root: Path) -> Expected:
    """Large objects of raw and zstd frames; of one the last frame is zstd, of the other raw."""
    one = picture(FRAME_SIZE) + text(21, FRAME_SIZE) + text(22, 5000)
    other = picture(FRAME_SIZE) + text(23, FRAME_SIZE) + picture(5000)
    with make(root, 0x110) as container:
        keys = container.insert_many([one, b"between", other])
        if {container.meta(keys[0]).codec, container.meta(keys[2]).codec} != {Codec.MIXED}:
            raise SystemExit("a golden object that should be mixed is not")
    return expect([one, b"between", other])


def v2_zlib_loose(root: Path) -> Expected:
    """Loose objects compressed with zlib, in no prefix directories, one of them packed by copying its stored form."""
    loose = [text(1, 2000), text(2, 2 * FRAME_SIZE + 3), noise(3, 400)]
    with make(root, 0x103, compression="zlib+9", loose_compression="zlib+1", loose_prefix_len=0) as container:
        container.insert(text(4, 4000))
        container.pack_all_loose()
        container.insert_many(loose, to=Place.LOOSE)
    return expect([*loose, text(4, 4000)])


def v2_many_batches(root: Path) -> Expected:
    """20 commits: manifests were dropped, and a merged segment file was written."""
    objects = [noise(seed, 40) for seed in range(60)]
    with make(root, 0x104, compression="none") as container:
        for start in range(0, 60, 3):
            container.insert_many(objects[start : start + 3])
    if not list((root / "index").glob("*.seg")):
        raise SystemExit("no segment file was written: this golden container needs more commits")
    return expect(objects)


def v2_large_batch(root: Path) -> Expected:
    """A batch with a compact table, and its segment file; one of tombstones for a part of it; and a small batch."""
    objects, small = [noise(seed, seed % 40) + bytes([seed % 256, seed // 256]) for seed in range(2200)], [text(1, 900)]
    with make(root, 0x105) as container, large_from(1024):
        container.insert_many(objects)
        container.delete([key(data) for data in objects[1100:]])
        container.insert_many(small)
        segments = native_index(container).commits.newest().segments
        if [bool(segment.number) for segment in segments] != [True, True, False]:
            raise SystemExit("a large batch should have a segment file")
    return expect([*objects[:1100], *small])


@contextmanager
def fenced_from(entries: int) -> Iterator[None]:
    """Segment files of so many entries are fenced, and those that are merged from as many."""
    with patch.object(fenced_parts, "FENCED_FROM", entries), patch.object(merge, "FENCED_FROM", entries):
        yield


def v2_fenced(root: Path) -> Expected:
    """Two segment files with fences and filters: that of a large batch, and a merged one; and small batches."""
    objects = [noise(seed, 30) for seed in range(1030)]
    with make(root, 0x108, compression="none") as container, large_from(500), fenced_from(410):
        for start in range(0, 510, 30):
            container.insert_many(objects[start : start + 30])
        container.insert_many(objects[510:1010])
        container.insert_many(objects[1010:])
        filters = [len(data) for data in map(filter_of, (root / "index").glob("*.seg")) if data]
        if filters != [512, 512]:
            raise SystemExit("two segment files should have a filter")
    return expect(objects)


def filter_of(path: Path) -> bytes:
    """The filter of a segment file; b"" if it has none."""
    data = path.read_bytes()
    if segment_layout.version_of(memoryview(data)) != segment_layout.FENCED_VERSION:
        return b""
    return data[segment_layout.FencedLayout(int.from_bytes(data[16:24], "little")).filter :]


class Fixed:
    """A chooser that always chooses the same dictionary."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary

    def choose(self, payloads: Sequence[bytes], level: int, known: KnownDictionaries) -> Dictionary:
        return self._dictionary


def record(series: int, number: int) -> bytes:
    """A small document, much like the others of its series."""
    kind = ("calculation", "structure", "workflow")[number % 3]
    members = {"series": f"golden {series}", "kind": kind, "number": number, "of": noise(number, 6).hex()}
    return json.dumps(members).encode()


def dictionary_of(series: int) -> Dictionary:
    return Dictionary(zstandard.train_dictionary(1024, [record(series, number) for number in range(5000)]).as_bytes())


def insert_with(container: Container, dictionary: Dictionary, objects: list[bytes]) -> None:
    """Insert objects, compressed with a dictionary."""
    with patch.object(PackedContext, "new_chooser", staticmethod(lambda: Fixed(dictionary))):
        container.insert_many(objects)


def two_dictionaries(root: Path, number: int, first: int) -> tuple[Container, list[bytes], list[bytes]]:
    """Two batches in pack 1, each of a series, with a dictionary of its own; returns the objects of each."""
    container = make(root, number)
    series = [[record(first + at, number) for number in range(30)] for at in range(2)]
    for at, objects in enumerate(series):
        insert_with(container, dictionary_of(first + at), objects)
    packed = native_index(container).commits.newest().packs
    if [len(pack.dictionaries) for pack in packed] != [2]:
        raise SystemExit("there should be two dictionaries in one pack")
    return container, series[0], series[1]


def v2_dictionaries(root: Path) -> Expected:
    """Two dictionaries in pack 1; in pack 2 the second of them is the first; objects beside them that need none."""
    container, one, two = two_dictionaries(root, 0x106, 0)
    more, raw = [record(1, number) for number in range(100, 130)], [noise(1, 500), b""]
    index = native_index(container)
    index.commit(lambda newest: newest.with_pack(newest.packs[0]._replace(sealed=True)), container.engine.durability)
    insert_with(container, dictionary_of(1), more)
    container.insert_many(raw)
    return expect([*one, *two, *more, *raw])


# --- packs of several kinds, and snapshots ----------------------------------------------------------------------------

_TIME = "2026-11-26T18:00:00Z"


def save(
    container: Container, name: str, entries: list[TreeEntry], contents: list[bytes], times: Attributes
) -> list[str]:
    """Save a tree as the next version of a branch; return the keys of its pages, the snapshot and the refs document."""
    engine = container.engine
    engine.objects.insert_many(contents, kind=PackKind.HELD)
    pages: list[bytes] = []
    entries = sorted(entries, key=lambda entry: tree_order(entry.path))
    root = build_tree(listings_of(entries, times), times, lambda digest, page: pages.append(page))
    record = encode_record(
        SnapshotRecord(root.key.hex(), times, root.entries, root.files, root.size, _TIME, message=name)
    )
    with hold_save_lock(engine) as lock:
        branch = read_refs(engine)[0].branches.get(name)
        parent = branch.newest.snapshot if branch and branch.newest else None
        publish(
            engine,
            lock.epoch,
            lambda refs: refs.saved(name, key(record), _TIME, "golden", parent),
            lambda: None,
            [*pages, record],
        )
    return [*map(key, pages), key(record), native_index(container).refresh().manifest.refs]


def file(path: str, data: bytes, kind: EntryKind = EntryKind.FILE) -> TreeEntry:
    return TreeEntry(path.encode(), kind, len(data), bytes.fromhex(key(data)), mtime=10**18 + 5)


def both_lives(root: Path, number: int) -> tuple[Container, Expected]:
    """Objects by key, held ones, and some that are both; two snapshots of one branch, and one with times of another."""
    container = make(root, number)
    plain, both, held = (
        [noise(seed, 700) for seed in range(3)],
        [text(4, 900), b"", b"loose too"],
        [text(5, 3000), b"held"],
    )
    container.insert_many([*plain, *both[:2]])
    container.insert_many([both[2]], to=Place.LOOSE)
    folder = TreeEntry(b"folder", EntryKind.DIRECTORY, 0, mtime=10**18)
    link = TreeEntry(b"link", EntryKind.LINK, 4, target=b"held", mtime=10**18)
    many = [file(f"folder/{at:04d}", held[0]) for at in range(400)]
    files = [
        file("both", both[0]),
        file("empty", both[1]),
        file("loose", both[2]),
        file("held", held[1], EntryKind.EXECUTABLE),
    ]
    pages = save(container, "data", [folder, link, *many, *files], [*both, *held], Attributes.NONE)
    pages += save(container, "data", [folder, *many[10:], *files], [*both, *held], Attributes.NONE)
    pages += save(container, "other/times", [folder, link, *many], held, Attributes.TIMES)
    container.close()
    return container, {**expect([*plain, *both, *held]), "pages": sorted(set(pages))}


def v2_kinds(root: Path) -> Expected:
    """Packs of all three kinds; see `both_lives`."""
    container, expected = both_lives(root, 0x107)
    if [pack.kind for pack in native_index(container).refresh().manifest.packs] != [
        PackKind.PLAIN,
        PackKind.HELD,
        PackKind.TREES,
    ]:
        raise SystemExit("there should be a pack of each kind")
    container.close()
    return expected


def remote_medium(root: Path) -> LocalStorage:
    """A directory that can neither append nor lock, as object storage."""
    root.mkdir(exist_ok=True)
    storage = LocalStorage(str(root))
    storage.traits = Traits("object storage")
    return storage


def die_behind_a_pack(medium: LocalStorage) -> None:
    """Upload a pack and do not commit it: its ids stay reserved."""
    uploaded: list[str] = []

    def fault(call: StorageCall) -> Exception | None:
        if call.verb == "put_new" and uploaded:
            return PermissionError("dead")
        uploaded.extend([call.name] if call.name.startswith("packs/") and call.verb == "put_new" else [])
        return None

    with suppress(PermissionError):
        Container(FaultyStorage(medium, fault)).insert_many([b"of a dead writer"])


def v3(root: Path) -> Expected:
    """Version 3: packs of all kinds, a compact table with its segment, tombstones, a pack that was taken out of use.

    And ids that are left over, an emptied manifest, and what a dead writer has uploaded.
    """
    medium = remote_medium(root)
    make_container_on(medium, Config(container_id=f"{0x300:032x}", version=3))
    container = Container(medium)
    plain = [*(noise(seed, 700) for seed in range(3)), text(4, 2 * FRAME_SIZE), b""]
    gone, retired = [noise(seed, 300) for seed in range(10, 13)], [noise(20, 500)]
    container.insert_many([*plain, *gone])
    container.insert_many(retired)
    with large_from(4):
        container.insert_many([text(seed, 60 + seed) for seed in range(30, 60)], compress=CompressMode.YES)
    plain += [text(seed, 60 + seed) for seed in range(30, 60)]
    container.delete(map(key, gone))
    held = [text(5, 3000), b"held"]
    pages = save(container, "data", [file("a", held[0]), file("b", held[1])], held, Attributes.NONE)
    pages += save(container, "data", [file("a", held[1])], held, Attributes.NONE)
    commits = native_index(container).commits
    pack = commits.newest().packs[1]
    commits.commit(lambda newest: newest.without_pack(pack.id), Durability.FULL)
    medium.empty(placed_manifest(2))
    die_behind_a_pack(medium)
    if [pack.kind for pack in commits.newest().packs] != [*[PackKind.PLAIN] * 3, PackKind.HELD, *[PackKind.TREES] * 2]:
        raise SystemExit("there should be packs of each kind")
    container.close()
    return {**expect([*plain, *held]), "pages": sorted(set(pages))}


def v3_tables(root: Path) -> Expected:
    """Version 3 with most rows of packs in tables, some of which are dead, gone, or have changed since."""
    medium = remote_medium(root)
    make_container_on(medium, Config(container_id=f"{0x302:032x}", version=3))
    with patch.object(table_files, "MOST_CHANGED", 4), patch.object(pack_table, "MOST_ROWS", 8):
        container = Container(medium)
        objects = [noise(seed, 100 + seed) for seed in range(24)]
        for data in objects[:-1]:
            container.insert(data, to=Place.PACKED)
        container.delete(map(key, objects[:2]))
        container.insert(objects[-1], to=Place.PACKED)
        commits = native_index(container).commits
        commits.commit(lambda newest: newest.without_pack(newest.packs[2].id), Durability.FULL)
        packs = commits.newest().packs
        container.close()
    if not (packs.tables.count and packs.changed and packs.gone):
        raise SystemExit("there should be packs in tables, changed and gone ones")
    return expect(objects[3:])


def damaged_v3_manifest(root: Path) -> Expected:
    """The newest manifest of a container of version 3 has a flipped bit: the packs say all."""
    medium = remote_medium(root)
    make_container_on(medium, Config(container_id=f"{0x301:032x}", version=3))
    container = Container(medium)
    objects = [noise(seed, 700) for seed in range(6)]
    container.insert_many(objects[:3])
    container.insert_many(objects[3:])
    number = native_index(container).commits.newest_number()
    container.close()
    flip(root / placed_manifest(number), -1)
    return expect(objects)


# --- damaged ones -----------------------------------------------------------------------------------------------------


def three_batches(root: Path, number: int) -> tuple[Container, list[bytes]]:
    """Three batches in pack 1, of three objects each."""
    objects = [noise(seed, 1000) for seed in range(9)]
    container = make(root, number, compression="none")
    for start in range(0, 9, 3):
        container.insert_many(objects[start : start + 3])
    return container, objects


def damaged_manifest(root: Path) -> Expected:
    """One bit of the newest manifest."""
    _, objects = three_batches(root, 0x201)
    flip(max((root / "index").iterdir()), 200)
    return expect(objects)


def damaged_no_manifest(root: Path) -> Expected:
    """No manifest at all."""
    _, objects = three_batches(root, 0x202)
    for path in (root / "index").iterdir():
        path.unlink()
    return expect(objects)


def damaged_no_manifest_of_kinds(root: Path) -> Expected:
    """The same as v2-kinds without its manifests: only the headers of the packs know the kinds."""
    _, expected = both_lives(root, 0x20F)
    for manifest in (root / "index").glob("manifest-*"):
        manifest.unlink()
    return expected


def damaged_segment_file(root: Path) -> Expected:
    """One bit in the records of a merged segment file; the segments in the packs say the same."""
    expected = v2_many_batches(root)
    for path in (root / "index").glob("*.seg"):
        flip(path, -100)
    return expected


def damaged_filter(root: Path) -> Expected:
    """The filters of segment files are zeros: who believed them would miss every object."""
    expected = v2_fenced(root)
    for path in (root / "index").glob("*.seg"):
        length = len(filter_of(path))
        if length:
            edit(path, lambda data, length=length: data.__setitem__(slice(-length, None), bytes(length)))  # type: ignore[misc]
    return expected


def v2_pack_tables(root: Path) -> Expected:
    """Pack tables, rows beside them and in their place, and packs that are gone."""
    objects = [noise(seed, 60) for seed in range(3000, 3020)]
    with make(root, 0x120, pack_size_target=1) as container, folded_from(4):
        for data in objects:
            container.insert_many([data])
        container.delete([key(objects[3]), key(objects[9])])
        container.repack(min_dead=0)
        container.insert_many([b"beside the tables"])
        packs = native_index(container).commits.newest().packs
        if len(packs.tables.entries) < 2 or not packs.changed:
            raise SystemExit("there should be tables, and rows beside them")
    return expect([data for at, data in enumerate(objects) if at not in (3, 9)] + [b"beside the tables"])


def damaged_pack_table(root: Path) -> Expected:
    """One bit of a pack table that the newest manifest names, and so do those before it: the packs are read."""
    expected = v2_pack_tables(root)
    with Container(root) as container:
        entry = native_index(container).commits.newest().packs.tables.entries[0]
    flip(root / "index" / f"{entry.number:010d}.tab", 50)
    return expected


def damaged_no_segment_file(root: Path) -> Expected:
    """A merged segment file is missing."""
    expected = v2_many_batches(root)
    for path in (root / "index").glob("*.seg"):
        path.unlink()
    return expected


def damaged_pack_segment(root: Path) -> Expected:
    """One bit in a segment inside a pack: nobody else knows where the objects of that batch are."""
    container, objects = three_batches(root, 0x203)
    path, offset = segment_place(container, 1)
    flip(path, offset + 64 + 5)
    lost = {key(data): "DamagedContainer" for data in objects[3:6]}
    return expect(objects, **lost) | {"list": "DamagedContainer"}


def two_large_batches(root: Path, number: int) -> tuple[Container, list[bytes]]:
    """Two batches of five objects, each with a compact table and a segment file, as if five were many."""
    objects = [noise(seed, 300) for seed in range(10)]
    container = make(root, number, compression="none")
    with large_from(5):
        container.insert_many(objects[:5])
        container.insert_many(objects[5:])
    return container, objects


def damaged_compact_table(root: Path) -> Expected:
    """One bit of a compact table; the segment file says the same."""
    container, objects = two_large_batches(root, 0x20C)
    path, offset = segment_place(container, 0)
    flip(path, offset + 64 + 5 * 36 + 3)
    return expect(objects)


def damaged_no_file_of_a_batch(root: Path) -> Expected:
    """The segment file of a large batch is missing, and the newest manifest; the tables in the packs say the same."""
    _, objects = two_large_batches(root, 0x20D)
    (root / "index" / "0000000001.seg").unlink()
    flip(max((root / "index").glob("manifest-*")), 200)
    return expect(objects)


def damaged_tail(root: Path) -> Expected:
    """What a writer that died has left behind the committed length."""
    container, objects = three_batches(root, 0x204)
    path, _ = place(container, objects[0])
    edit(path, lambda data: data.extend(noise(1, 5000)))
    return expect(objects)


def damaged_footer(root: Path) -> Expected:
    """One bit of a footer. The manifest has the place of the segment: no reader needs the footer."""
    container, objects = three_batches(root, 0x205)
    path, _ = place(container, objects[0])
    flip(path, -64 + 20)
    return expect(objects)


def damaged_cut_pack(root: Path) -> Expected:
    """A pack that ends before its committed length: in the payloads of its third batch."""
    container, objects = three_batches(root, 0x206)
    path, offset = place(container, objects[6])
    edit(path, lambda data: data.__delitem__(slice(offset + 1500, None)))
    lost = {key(data): "DamagedContainer" for data in objects[6:]}
    return expect(objects, **lost) | {"list": "DamagedContainer"}


def damaged_payload(root: Path) -> Expected:
    """One bit of an object, of a framed object, and of a loose one; there is no other copy of them."""
    big, loose = text(1, FRAME_SIZE + 50), b"a loose object"
    container, objects = three_batches(root, 0x207)
    container.insert_many([big], compress=CompressMode.NO)
    container.insert(loose)
    container.close()
    for data, into in ((objects[4], 10), (big, FRAME_SIZE + 7)):
        path, offset = place(container, data)
        flip(path, offset + into)
    flip(root / "loose" / key(loose)[:2] / key(loose)[2:], 3)
    bad = {key(data): "DamagedObject" for data in (objects[4], big, loose)}
    return expect([*objects, big, loose], **bad)


def damaged_copy(root: Path) -> Expected:
    """Two packed copies of one object, and a packed and a loose one of another: one of each is damaged."""
    container, objects = three_batches(root, 0x208)
    twice, both = noise(50, 700), noise(51, 700)
    container.insert_many([twice])
    container.insert(both)
    container.pack_all_loose(clean=False)
    container.close()
    for data in (twice, both):
        path, offset = place(container, data)
        flip(path, offset + 3)
    append(container, [twice], Encoding(CompressMode.NO, container.config.codec))
    return expect([*objects, twice, both])


def damaged_dictionaries(root: Path) -> Expected:
    """One bit of the first copy of a dictionary, and of both copies of another: its objects are lost.

    No other golden container has these dictionaries: a process keeps those that it has read.
    """
    container, one, two = two_dictionaries(root, 0x20E, 2)
    path, _ = place(container, one[0])
    first, second = native_index(container).commits.newest().packs[0].dictionaries
    for offset in (first.offsets[0], *second.offsets):
        flip(path, offset + 500)
    return expect([*one, *two], **{key(data): "DamagedObject" for data in two})


def damaged_trailer(root: Path) -> Expected:
    """The size in the trailer of a compressed loose object."""
    good, bad = text(1, 3000), text(2, 3000)
    with make(root, 0x209, loose_compression="zstd") as container:
        container.insert_many([good, bad], to=Place.LOOSE)
    flip(root / "loose" / key(bad)[:2] / f"{key(bad)[2:]}.zst", -24 + 8 + 3)
    return expect([good, bad], **{key(bad): "DamagedObject"})


def damaged_config(root: Path) -> Expected:
    """One bit of the settings."""
    three_batches(root, 0x20A)
    flip(root / "config.json", 100)
    return {"open": "DamagedContainer"}


def damaged_mixed_frames(root: Path) -> Expected:
    """One bit of a raw frame, of a zstd frame, and of the table, each of another mixed object."""
    objects = [picture(FRAME_SIZE) + text(seed, FRAME_SIZE) for seed in (30, 31, 32)]
    with make(root, 0x220) as container:
        container.insert_many([*objects, b"good"])
    for data, into in zip(objects, (100, FRAME_SIZE + 100, -20), strict=True):
        path, offset = place(container, data)
        length = container.meta(key(data)).length
        flip(path, offset + (into if into > 0 else length + into))
    return expect([*objects, b"good"], **{key(data): "DamagedObject" for data in objects})


def foreign_files(root: Path) -> Expected:
    """What file systems and desktops leave in directories."""
    container, objects = three_batches(root, 0x20B)
    loose = b"loose"
    container.insert(loose)
    container.close()
    for directory in (root, *(path for path in root.rglob("*") if path.is_dir())):
        for name in (".DS_Store", ".nfs0001", "lost+found.txt", "0000000001.pack~", "manifest-0000000009.json.bak"):
            (directory / name).write_bytes(b"not of this store")
    return expect([*objects, loose])


GOLDEN = {
    function.__name__.replace("_", "-"): function
    for function in (
        v2_empty,
        v2_raw,
        v2_mixed,
        v2_mixed_frames,
        v2_zlib_loose,
        v2_many_batches,
        v2_large_batch,
        v2_dictionaries,
        v2_fenced,
        v2_kinds,
        v2_pack_tables,
        damaged_manifest,
        damaged_pack_table,
        damaged_no_manifest,
        damaged_no_manifest_of_kinds,
        damaged_segment_file,
        damaged_filter,
        damaged_no_segment_file,
        damaged_pack_segment,
        damaged_compact_table,
        damaged_no_file_of_a_batch,
        damaged_tail,
        damaged_footer,
        damaged_cut_pack,
        damaged_payload,
        damaged_copy,
        damaged_dictionaries,
        damaged_trailer,
        damaged_config,
        damaged_mixed_frames,
        foreign_files,
        v3,
        v3_tables,
        damaged_v3_manifest,
    )
}


def write_zip(root: Path, target: Path) -> None:
    """All of a directory, with its empty directories; the same bytes for the same files."""
    with zipfile.ZipFile(target, "x") as archive:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix() + ("/" if path.is_dir() else "")
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = (0o755 if path.is_dir() else 0o644) << 16
            info.compress_type = zipfile.ZIP_STORED if path.is_dir() else zipfile.ZIP_DEFLATED
            archive.writestr(info, b"" if path.is_dir() else path.read_bytes())


def main() -> None:
    for name, function in GOLDEN.items():
        target = HERE / f"{name}.zip"
        if target.exists():
            sys.stdout.write(f"{name}: is there, and stays as it is\n")
            continue
        directory = tempfile.mkdtemp()
        try:
            root = Path(directory) / name
            expected = function(root)
            (root / "locks" / "reserve").unlink(missing_ok=True)  # A mebibyte of noise, that nothing reads.
            (HERE / f"{name}.json").write_text(json.dumps(expected, indent=1) + os.linesep)
            write_zip(root, target)
        finally:
            shutil.rmtree(directory)
        sys.stdout.write(f"{name}: made, {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
