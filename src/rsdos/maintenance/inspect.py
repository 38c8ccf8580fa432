"""Inspect: the inside of a container, for whoever wants to see how it is stored. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from rsdos.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.index import PackEntry
from rsdos.model import Codec, ObjectMeta, Place, Record
from rsdos.pack import Batch, PackFile, scan


@dataclass(frozen=True, slots=True)
class PackedView:
    """The packed side: its manifest's number, its packs, and how many live segments the index has."""

    manifest: int
    segments: int
    packs: tuple[PackEntry, ...]


@dataclass(frozen=True, slots=True)
class PackView:
    """One pack file: its entry in the manifest (None: no manifest has it), its length on disk, and its batches.

    ``uncovered`` are the ranges (start, end) that no batch covers: a dead writer's tail, or damage.
    """

    path: str
    pack_id: int
    length: int
    entry: PackEntry | None
    batches: tuple[Batch, ...]
    uncovered: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ObjectView:
    """Every copy of one object, wherever it stands: the first is the one that reads go to."""

    key: str
    copies: tuple[ObjectMeta, ...]


def inspect_loose(engine: Engine) -> Iterator[ObjectMeta]:
    """The loose objects, in no particular order."""
    for key in engine.loose:
        meta = engine.loose.describe(bytes.fromhex(key))
        if meta is not None:
            yield meta


def inspect_packed(engine: Engine) -> PackedView:
    """The packs of the newest manifest."""
    manifest = engine.packed.index.refresh().manifest
    return PackedView(manifest.number, len(manifest.segments), manifest.packs)


def inspect_pack(engine: Engine, pack_id: int) -> PackView:
    """One pack, from its own bytes. Raises `InvalidOption` when there is none of that id, `DamagedContainer`."""
    path = engine.layout.pack(pack_id)
    if not os.path.exists(path):
        raise InvalidOption(f"there is no pack {pack_id}")
    pack = PackFile(path, pack_id, bytes.fromhex(engine.config.container_id))
    result = scan(pack)
    entry = engine.packed.index.refresh().manifest.pack(pack_id)
    return PackView(path, pack_id, pack.size(), entry, result.batches, result.uncovered)


def inspect_object(engine: Engine, key: str) -> ObjectView:
    """Every copy of one object. Raises `ObjectNotFound`, `InvalidKey`."""
    first = engine.objects.meta(key)
    digest = bytes.fromhex(key)
    copies = [first, *map(_packed_meta, engine.packed.index.find_all(digest))]
    loose = engine.loose.describe(digest)
    if loose is not None:
        copies.append(loose)
    return ObjectView(key, tuple(dict.fromkeys(copies)))


def _packed_meta(record: Record) -> ObjectMeta:
    return ObjectMeta(record.key, Place.PACKED, record.size, record.length, Codec(record.codec), record.extent)
