"""Inspect: show how a container is stored. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedTree, InvalidOption, UnsupportedContainer
from rsdos.index.pack_entry import PackEntry
from rsdos.model import ObjectMeta, PackKind
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

    ``dictionaries`` has the key of the dictionary that each copy needs; None for a copy that needs none. ``kinds`` has
    the kind of the pack of each copy; None for a loose copy. ``stored_for`` is "key", "snapshots" or both: a snapshot
    may need an object that was inserted by key and has no held copy.
    """

    key: str
    copies: tuple[ObjectMeta, ...]
    dictionaries: tuple[str | None, ...]
    kinds: tuple[PackKind | None, ...]
    stored_for: tuple[str, ...]


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
    entry = engine.packed.maintenance.packs().find(pack_id)
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
    of_packs = engine.packed.inspection.kinds()
    kinds = tuple(copy.extent and of_packs.get(copy.extent.pack_id, PackKind.PLAIN) for copy in distinct)
    lives = {"snapshots" if kind else "key" for kind in kinds}
    if "snapshots" not in lives and _is_reached(engine, digest):
        lives.add("snapshots")
    return ObjectView(
        key, distinct, tuple(place.key if place else None for place in needed), kinds, tuple(sorted(lives))
    )


def _is_reached(engine: Engine, digest: bytes) -> bool:
    """Return whether a live snapshot reaches an object, as far as that can be told. Every page is read once."""
    try:
        if not engine.packed.live().refs:
            return False
        from rsdos.engine.publish import newest_refs
        from rsdos.maintenance.marks import Marks, ReachedKeys

        reached = ReachedKeys(engine)
        Marks(engine, reached.mark).add(newest_refs(engine))
        return bool(reached.among([digest]))
    except (DamagedTree, DamagedContainer, UnsupportedContainer):
        return False
