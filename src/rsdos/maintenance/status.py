"""Status: what a container holds, counted without reading an object."""

from __future__ import annotations

import os
from dataclasses import dataclass

from rsdos.engine import Engine


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The figures of a container. Sizes are raw bytes, lengths stored bytes or bytes of files.

    ``packed_objects`` and ``packed_size`` count each key once, ``dead_length`` are stored bytes in packs that no key
    leads to. ``packs_length`` and ``index_length`` are the bytes of the files on disk, the unfinished tail of a writer
    included. ``is_recovered`` says that the index was read from the packs, because a file of it is damaged.
    """

    container_id: str
    compression: str
    durability: str
    loose_objects: int
    loose_length: int
    packed_objects: int
    packed_size: int
    packed_length: int
    dead_objects: int
    dead_length: int
    packs: int
    packs_length: int
    index_length: int
    is_recovered: bool


def status(engine: Engine) -> StatusReport:
    """Count. The loose side costs a listing of all its files, the packed side one small file.

    Never writes and never waits. Raises OSError.
    """
    loose = [length for path in engine.loose.paths() if (length := _length(path)) is not None]
    index = engine.packed.index
    manifest = index.refresh().manifest
    layout = engine.layout
    packs = [_length(layout.pack(pack.id)) or 0 for pack in manifest.packs]
    return StatusReport(
        container_id=engine.config.container_id,
        compression=engine.config.compression,
        durability=engine.durability.value,
        loose_objects=len(loose),
        loose_length=sum(loose),
        packed_objects=manifest.objects,
        packed_size=manifest.size,
        packed_length=manifest.stored,
        dead_objects=sum(pack.dead_objects for pack in manifest.packs),
        dead_length=manifest.dead_stored,
        packs=len(packs),
        packs_length=sum(packs),
        index_length=sum(_length(os.path.join(layout.index, name)) or 0 for name in os.listdir(layout.index)),
        is_recovered=index.is_recovered,
    )


def _length(path: str) -> int | None:
    """Bytes in a file, None when it is gone."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return None
