"""Reading every object of a container that nobody writes to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from rsdos.engine import Engine
from rsdos.errors import DamagedObject
from rsdos.interfaces import Progress

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Rehashed:
    """``objects`` copies were read; ``damaged`` are the keys of those that have another hash, or cannot be read."""

    objects: int
    damaged: tuple[str, ...]


def rehash(root: str, progress: Progress) -> Rehashed:
    """Read and hash every copy of every object in a container. Raises `DamagedContainer` when its index is."""
    engine = Engine(root)
    objects = 0
    damaged: set[str] = set()
    progress.start("Verifying", engine.packed.sums().objects, "objects")
    try:
        keys = iter(engine.loose)
        while some := list(islice(keys, _BATCH)):
            damaged.update(key for key in some if not _is_good(engine, key))
            objects += len(some)
        for pack in engine.packed.sums().packs:
            for digests in engine.packed.digests_of(pack.id):
                for digest, good in zip(digests, engine.packed.rehash(digests), strict=True):
                    if not good:
                        damaged.add(digest.hex())
                objects += len(digests)
                progress.advance(len(digests))
    finally:
        progress.finish()
        engine.close()
    return Rehashed(objects, tuple(sorted(damaged)))


def _is_good(engine: Engine, key: str) -> bool:
    (digest,) = engine.config.hash.parse_keys([key])
    hasher = engine.config.hash.new()
    try:
        for part in engine.loose.frames(digest) or ():
            hasher.update(part)
    except DamagedObject:
        return False
    return hasher.digest() == digest
