"""Status: what a container holds, counted without reading an object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from rsdos.engine.engine import Engine
from rsdos.maintenance.backup.last_backup import VALIDATION, LastBackup, read_note

if TYPE_CHECKING:
    from rsdos.stores.stats import PackStats

PACK_DUE = 100
"""Loose objects that are worth a pack: so many at a time `add-files` takes straight to one."""

MERGE_DUE = 12
"""Tables of the index that are worth a merge. With more than 16 a commit merges them by itself."""


class ShortPack(NamedTuple):
    """A pack of which some is gone: ``length`` bytes of the ``committed`` ones are there, None: the file is missing."""

    path: str
    length: int | None
    committed: int


class StatusReport(NamedTuple):
    """The figures of a container. Sizes are raw bytes, lengths stored bytes or bytes of files.

    ``packed_objects`` and ``packed_size`` count each key once, ``dead_length`` are stored bytes in packs that no key
    leads to. ``packs_length`` and ``index_length`` are the bytes of the files on disk, the unfinished tail of a writer
    included. ``is_recovered`` says that the index was read from the packs, because a part of it is damaged; ``damage``
    is what was found wrong with these meanwhile, "" if nothing was. ``short`` are packs that are cut or missing; the
    figures count what was in them.

    What is due, which is what is worth a run of ``optimize``: ``pack`` so many loose objects (0: not due, fewer than
    `PACK_DUE` are there), ``merge`` so many tables of the index (0: not due, fewer than `MERGE_DUE`), and ``repack``
    these packs. A run does more than that: it packs every loose object, and merges from two tables on.

    ``validation`` is what was noted of the last one that came to its end: when it ``finished``, its ``depth``, and how
    many objects and files were ``damaged`` then. It comes from disk, and may be anything that JSON has.
    """

    container_version: int
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
    pack: int
    merge: int
    repack: tuple[int, ...]
    last_backup: LastBackup | None
    validation: Mapping[str, object] | None
    damage: str = ""
    short: tuple[ShortPack, ...] = ()


def status(engine: Engine) -> StatusReport:
    """Count. The loose side costs a listing of all its files, the packed side one small file.

    Never writes and never waits. Raises OSError.
    """
    loose = [length for path in engine.loose_names.paths() if (length := _file_length(path)) is not None]
    packed, notes = engine.read_stats()
    layout = engine.layout
    lengths = {pack: _file_length(layout.pack(pack.id)) for pack in packed.packs}
    validation = notes.get(VALIDATION)
    return StatusReport(
        container_version=engine.config.version,
        container_id=engine.config.container_id,
        compression=engine.config.compression,
        durability=engine.durability.value,
        loose_objects=len(loose),
        loose_length=sum(loose),
        packed_objects=packed.objects,
        packed_size=packed.size,
        packed_length=packed.stored,
        dead_objects=packed.dead_objects,
        dead_length=packed.dead_stored,
        packs=len(packed.packs),
        packs_length=sum(length or 0 for length in lengths.values()),
        index_length=packed.index_length,
        is_recovered=packed.is_recovered,
        pack=len(loose) if len(loose) >= PACK_DUE else 0,
        merge=packed.segments if packed.segments >= MERGE_DUE else 0,
        repack=tuple(pack.id for pack in packed.packs if pack.is_worth_a_repack()),
        last_backup=read_note(layout),
        validation=validation if isinstance(validation, dict) else None,
        damage=packed.damage,
        short=_short(engine, lengths),
    )


def _short(engine: Engine, lengths: Mapping[PackStats, int | None]) -> tuple[ShortPack, ...]:
    found = {pack.id: (length, pack.length) for pack, length in lengths.items() if (length or 0) < pack.length}
    # One that is gone because it was repacked meanwhile is not among the packs any more.
    still = {pack.id for pack in engine.read_stats()[0].packs} if found else ()
    root = engine.layout.root
    return tuple(
        ShortPack(os.path.relpath(engine.layout.pack(pack_id), root), *sizes)
        for pack_id, sizes in found.items()
        if pack_id in still
    )


def _file_length(path: str) -> int | None:
    """Bytes in a file, None when it is gone."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return None
