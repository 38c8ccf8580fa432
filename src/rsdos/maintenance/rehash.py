"""Reading every object of a container that nobody writes to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from rsdos.engine import Engine
from rsdos.errors import DamagedContainer
from rsdos.interfaces import Progress

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Rehashed:
    """``objects`` copies were read; ``damaged`` are the keys of those that have another hash, or cannot be read.

    ``reason`` says why not all could be found, where the index is damaged.
    """

    objects: int = 0
    damaged: tuple[str, ...] = ()
    reason: str = ""


def rehash(root: str, progress: Progress) -> Rehashed:
    """Read and hash every copy of every object in a container. Nothing is written. Raises OSError."""
    engine = Engine(root)
    objects = 0
    damaged: set[str] = set()
    reason = ""
    progress.start("Verifying", None, "objects")
    try:
        keys = iter(engine.loose)
        while some := list(islice(keys, _BATCH)):
            damaged.update(key for key in some if not engine.loose.has_hash(bytes.fromhex(key)))
            objects += len(some)
        for pack in engine.packed.sums().packs:
            for digests in engine.packed.digests_of(pack.id):
                for digest, good in zip(digests, engine.packed.rehash(digests), strict=True):
                    if not good:
                        damaged.add(digest.hex())
                objects += len(digests)
                progress.advance(len(digests))
    except DamagedContainer as error:
        reason = str(error)
    finally:
        progress.finish()
        engine.close()
    return Rehashed(objects, tuple(sorted(damaged)), reason)
