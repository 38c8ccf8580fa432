"""Inspect: shows how a container is stored. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption
from rsdos.index.manifest import PackEntry
from rsdos.model import ObjectMeta
from rsdos.pack.format import Batch
from rsdos.storage import posix
from rsdos.stores.stats import PackedStats


@dataclass(frozen=True, slots=True)
class PackView:
    """One pack file: its length on disk in bytes, its entry in the index (None: not in the index), and its batches.

    ``uncovered`` are the byte ranges (start, end) that no batch covers: a dead writer's tail, or damage.
    """

    path: str
    pack_id: int
    length: int
    entry: PackEntry | None
    batches: tuple[Batch, ...]
    uncovered: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ObjectView:
    """Every copy of one object, loose and packed. Reads use the first.

    ``dictionaries`` has the key of the dictionary that each copy needs; None for one that needs none.
    """

    key: str
    copies: tuple[ObjectMeta, ...]
    dictionaries: tuple[str | None, ...]


def inspect_loose(engine: Engine) -> Iterator[ObjectMeta]:
    """Yield the metadata of the loose objects, in no particular order."""
    for key in engine.loose:
        meta = engine.loose.describe(bytes.fromhex(key))
        if meta is not None:
            yield meta


def inspect_packed(engine: Engine) -> PackedStats:
    """Return the statistics of the packs, from the newest state of the index."""
    return engine.packed.maintenance.stats()


def inspect_pack(engine: Engine, pack_id: int) -> PackView:
    """Scan one pack file.

    Raises:
        InvalidOption: there is no pack of this id.
        DamagedContainer: its header is damaged.
        OSError: a system call failed.
    """
    path = engine.layout.pack(pack_id)
    if not os.path.exists(path):
        raise InvalidOption(f"there is no pack {pack_id}")
    result = engine.packed.inspection.scan(pack_id)
    entry = next((pack for pack in engine.packed.maintenance.stats().packs if pack.id == pack_id), None)
    return PackView(path, pack_id, posix.length_of(path), entry, result.batches, result.uncovered)


def inspect_object(engine: Engine, key: str) -> ObjectView:
    """Find every copy of one object.

    Raises:
        ObjectNotFound: the container has no object of this key.
        InvalidKey: the string is not a key.
    """
    first = engine.objects.meta(key)
    digest = bytes.fromhex(key)
    copies = [first, *engine.packed.inspection.copies_of(digest)]
    loose = engine.loose.describe(digest)
    if loose is not None:
        copies.append(loose)
    distinct = tuple(dict.fromkeys(copies))
    places = engine.packed.inspection.dictionaries_of(digest)
    needed = (places.get(copy.extent) if copy.extent else None for copy in distinct)
    return ObjectView(key, distinct, tuple(place.key if place else None for place in needed))
