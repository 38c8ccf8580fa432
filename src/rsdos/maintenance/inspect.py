"""Inspect: the inside of a container, for whoever wants to see how it is stored. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.model import ObjectMeta
from rsdos.pack.format import Batch
from rsdos.storage import posix
from rsdos.stores.stats import PackedStats, PackStats


@dataclass(frozen=True, slots=True)
class PackView:
    """One pack file: its sums (None: the index does not know it), its length on disk, and its batches.

    ``uncovered`` are the ranges (start, end) that no batch covers: a dead writer's tail, or damage.
    """

    path: str
    pack_id: int
    length: int
    entry: PackStats | None
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


def inspect_packed(engine: Engine) -> PackedStats:
    """The packs of the newest state."""
    return engine.packed.stats()


def inspect_pack(engine: Engine, pack_id: int) -> PackView:
    """One pack, from its own bytes. Raises `InvalidOption` when there is none of that id, `DamagedContainer`."""
    path = engine.layout.pack(pack_id)
    if not os.path.exists(path):
        raise InvalidOption(f"there is no pack {pack_id}")
    result = engine.packed.scan(pack_id)
    entry = next((pack for pack in engine.packed.stats().packs if pack.id == pack_id), None)
    return PackView(path, pack_id, posix.length_of(path), entry, result.batches, result.uncovered)


def inspect_object(engine: Engine, key: str) -> ObjectView:
    """Every copy of one object. Raises `ObjectNotFound`, `InvalidKey`."""
    first = engine.objects.meta(key)
    digest = bytes.fromhex(key)
    copies = [first, *engine.packed.copies_of(digest)]
    loose = engine.loose.describe(digest)
    if loose is not None:
        copies.append(loose)
    return ObjectView(key, tuple(dict.fromkeys(copies)))
