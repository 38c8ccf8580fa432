"""Every parser of what is on disk, fed what nobody wrote: an answer, or the one kind of error that it promises."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsdos import Container, RsdosError
from rsdos.config import read_config
from rsdos.errors import DamagedContainer, DamagedTree, DecodeError
from rsdos.index.manifest import VERSION, decode_manifest
from rsdos.index.segment import Segment
from rsdos.model import FRAME_SIZE, Codec, RecordFlag, Stored
from rsdos.pack.format import decode_footer, header_fault
from rsdos.pack.reader import PackFile
from rsdos.pack.scanning import scan
from rsdos.storage.checked_json import encode_document
from rsdos.storage.local import LocalFile
from rsdos.streams.frames import frames
from rsdos.trees.page import Leaf, decode_page, page_keys
from rsdos.trees.record import decode_record
from rsdos.trees.refs_document import decode_refs
from tests.data import noise, text
from tests.helpers import ROOT, native

EXAMPLES = int(os.environ.get("EXAMPLES", "150"))

fuzzed = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))

ID = "0" * 31 + "1"


@cache
def originals() -> dict[str, bytes]:
    """The files of a small container, by what they are."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "container"
        with Container.create(path, compression="zlib+1") as container:
            keys = container.insert_many([noise(300, 1), text(3000, 2), text(FRAME_SIZE + 1000, 3)])
            container.delete(keys[:1])
            extent = container.meta(keys[2]).extent
            assert extent
            native(container.engine).maintenance.merge_index()
            pack = (path / "packed" / "0000000001.pack").read_bytes()
            found = {
                "config": (path / "config.json").read_bytes(),
                "manifest": max((path / "index").glob("manifest-*")).read_bytes(),
                "segment": max((path / "index").glob("*.seg")).read_bytes(),
                "pack": pack,
                "framed": pack[extent.offset : extent.offset + extent.length],
                "id": container.container_id.encode(),
            }
    return found


@st.composite
def changed(draw: st.DrawFn, original: bytes) -> bytes:
    """Bytes that are changed, cut off, put in, or moved; or just bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        # Towards the ends, where the structure is.
        at = draw(
            st.one_of(st.integers(0, 200), st.integers(0, len(data)), st.integers(max(len(data) - 300, 0), len(data)))
        )
        match draw(st.sampled_from(["change", "cut", "insert", "zero", "number"])):
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=20))
            case "zero":
                data[at : at + 8] = bytes(8)
            case "number":
                data[at : at + 8] = draw(st.integers(0, 2**64 - 1)).to_bytes(8, "little")
    return bytes(data)


def damaged(name: str) -> st.SearchStrategy[bytes]:
    """One of the files of a container, changed."""
    return st.just(name).flatmap(lambda name: changed(originals()[name]))


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


def in_a_file(data: bytes, use: Callable[[Path], object]) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        use(Path(file.name))


@fuzzed
@given(data=damaged("config"))
def test_config(data: bytes) -> None:
    with suppress(RsdosError):
        in_a_file(data, lambda path: read_config(str(path)))


@fuzzed
@given(
    name=st.sampled_from(
        [
            "compression",
            "durability",
            "pack_size_target",
            "loose_prefix_len",
            "container_id",
            "hash_type",
            "loose_compression",
            "container_version",
            "more",
        ]
    ),
    value=values,
)
def test_settings_of_any_kind(name: str, value: object) -> None:
    """With a checksum that is right: whoever wrote it meant it."""
    fields = {"container_version": 2, "container_id": ID, "compression": "zstd", "loose_compression": "none"}
    fields |= {"durability": "full", "pack_size_target": 1000, "loose_prefix_len": 2, "hash_type": "sha256"}
    with suppress(RsdosError):
        in_a_file(encode_document({**fields, name: value}), lambda path: read_config(str(path)))


@fuzzed
@given(data=damaged("manifest"))
def test_manifest(data: bytes) -> None:
    with suppress(ValueError):
        decode_manifest(data)


@fuzzed
@given(
    fields=st.dictionaries(
        st.sampled_from(["number", "container_id", "next_pack_id", "next_segment", "packs", "segments", "notes"]),
        values,
    )
)
def test_manifests_with_anything_in_them(fields: dict[str, Any]) -> None:
    with suppress(ValueError):
        decode_manifest(encode_document({"manifest_version": VERSION, **fields}))


@fuzzed
@given(data=damaged("segment"), digests=st.lists(st.binary(min_size=32, max_size=32), max_size=3))
def test_segment(data: bytes, digests: list[bytes]) -> None:
    def read(path: Path) -> None:
        segment = Segment(LocalFile(str(path)))
        for digest in digests:
            segment.find(digest)
        segment.entries()

    with suppress(DamagedContainer):
        in_a_file(data, read)


@fuzzed
@given(data=damaged("pack"))
def test_pack(data: bytes) -> None:
    container_id = bytes.fromhex(originals()["id"].decode())
    header_fault(data[:4096], container_id, 1)
    decode_footer(data[-64:], container_id, 1, max(len(data) - 64, 0))

    def read(path: Path) -> None:
        scan(PackFile(LocalFile(str(path)), 1, container_id))

    with suppress(DamagedContainer):
        in_a_file(data, read)


@fuzzed
@given(
    data=damaged("framed"),
    codec=st.sampled_from(Codec),
    size=st.integers(FRAME_SIZE + 1, FRAME_SIZE + 2000),
    flags=st.sampled_from([RecordFlag.FRAMED]),
)
def test_frame_table(data: bytes, codec: Codec, size: int, flags: RecordFlag) -> None:
    def fetch(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    produced = 0
    with suppress(DecodeError):
        for part in frames(fetch, Stored(codec, flags, len(data), size)):
            produced += len(part)
    assert produced <= size


@cache
def golden_trees() -> dict[str, bytes]:
    """Pages of all kinds, snapshots and refs documents, of the golden trees."""
    found: dict[str, bytes] = {}
    for path in sorted((ROOT / "tests" / "golden" / "trees").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            found |= {name: archive.read(name) for name in archive.namelist()[:12]}
    texts = json.loads((ROOT / "tests" / "golden" / "trees" / "documents.json").read_text())
    return found | {key: text.encode() for key, text in texts.items()}


@fuzzed
@given(data=st.sampled_from(sorted(golden_trees().values())).flatmap(changed))
def test_pages_and_documents(data: bytes) -> None:
    with suppress(DecodeError):
        page = decode_page(data)
        for run in page.runs if isinstance(page, Leaf) else ():
            assert len(list(run.entries())) == len(run.names)
            assert not {b"", b".", b".."} & set(run.names) and b"/" not in b"".join(run.names)
    with suppress(DecodeError):
        page_keys(data)
    with suppress(DamagedTree):
        decode_record(data)
    with suppress(DamagedTree):
        refs = decode_refs(data)
        for name in refs.names():
            refs.resolve(name)


@fuzzed
@given(
    fields=st.dictionaries(
        st.sampled_from(
            ["tree", "attributes", "entries", "time", "metadata", "tags", "branches", "operation", "number"]
        ),
        values,
    )
)
def test_documents_with_anything_in_them(fields: dict[str, Any]) -> None:
    for original in golden_trees().values():
        if original.startswith(b"{"):
            data = json.dumps(json.loads(original) | fields).encode() + b"\n"
            with suppress(DamagedTree):
                decode_record(data)
            with suppress(DamagedTree):
                decode_refs(data)


numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=9), st.binary(max_size=9)
)


@fuzzed
@given(rows=st.lists(st.tuples(st.sampled_from(["mine", "text", "path"]), *[numbers] * 5), min_size=1, max_size=3))
def test_rows_of_version_1(template: Path, rows: list[tuple[Any, ...]]) -> None:
    keys = {"mine": "a" * 64, "text": "nothing", "path": "../../etc/passwd"}
    with closing(sqlite3.connect(template / "packs.idx")) as database:
        database.execute("DELETE FROM db_object")
        columns = 'hashkey, compressed, size, "offset", length, pack_id'
        query = f"INSERT OR IGNORE INTO db_object ({columns}) VALUES (?, ?, ?, ?, ?, ?)"
        database.executemany(query, [(keys[key], *rest) for key, *rest in rows])
        database.commit()
    with Container(template) as container:
        for use in every_use(container, keys["mine"]):
            with suppress(RsdosError):
                use()


def every_use(container: Container, key: str) -> Iterator[Callable[[], object]]:
    yield partial(container.extract, key)
    yield partial(container.meta, key)
    yield partial(container.has, key)
    yield lambda: container.open(key).read()
    yield lambda: list(container.extract_many([key], missing="skip"))
    yield lambda: list(container)
    yield container.status
    yield container.validate


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "container"
    with Container.create(path, container_version=1) as container:
        container.insert_many([b"something", text(2000)])
    return path
