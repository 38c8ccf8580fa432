"""Reads every object of a container that is not in use."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedObject
from rsdos.progress import step
from rsdos.protocols import Progress

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Verified:
    """The number of ``objects`` (copies) that were read, and the keys of ``damaged`` ones.

    ``reason`` says why not all objects could be found, when the index is damaged; otherwise it is "".
    """

    objects: int = 0
    damaged: tuple[str, ...] = ()
    reason: str = ""


def verify_all(root: str, progress: Progress) -> Verified:
    """Read and hash every copy of every object in a container. Write nothing. Raise OSError."""
    engine = Engine(root)
    objects = 0
    damaged: set[str] = set()
    reason = ""
    try:
        with step(progress, "Verifying", None, "objects"):
            keys = iter(engine.loose)
            while some := list(islice(keys, _BATCH)):
                damaged.update(key for key in some if not engine.loose.has_hash(bytes.fromhex(key)))
                objects += len(some)
            for pack in engine.packed.inspection.listed():
                for digests in pack.digests:
                    for digest, good in zip(digests, engine.packed.verify_many(digests), strict=True):
                        if not good:
                            damaged.add(digest.hex())
                    objects += len(digests)
                    progress.advance(len(digests))
    except DamagedContainer as error:
        reason = str(error)
    finally:
        engine.close()
    return Verified(objects, tuple(sorted(damaged)), reason)


def bad_files(root: str, found: Verified) -> list[str]:
    """Return the files with damaged objects, relative to ``root``, and all segments when the index is damaged."""
    engine = Engine(root)
    files = set()
    try:
        for key in found.damaged:
            digest = bytes.fromhex(key)
            if not engine.loose.has_hash(digest):
                files.update(engine.loose.names.files(digest))
            with suppress(DamagedContainer, DamagedObject):
                extents = [meta.extent for meta in engine.packed.inspection.copies_of(digest)]
                files.update(engine.layout.pack(extent.pack_id) for extent in extents if extent is not None)
        if found.reason:
            files.update(engine.layout.segment(number) for number in engine.layout.segment_numbers())
            files.update(engine.layout.pack_table(number) for number in engine.layout.table_numbers())
    finally:
        engine.close()
    return sorted(engine.layout.relative(file) for file in files)
