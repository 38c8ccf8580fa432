"""Status: count the objects and files of a container, without reading an object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedTree
from rsdos.maintenance.backup.last_backup import VALIDATION, LastBackup, read_note
from rsdos.model import PackKind
from rsdos.stores.stats import MIN_DEAD, MIN_OVERHEAD, PackedStats, worth_a_repack

if TYPE_CHECKING:
    from rsdos.index.pack_entry import PackEntry

PACK_DUE = 100
"""Loose objects from which on packing is due. `add-files` writes this many files or more directly to a pack."""

MERGE_DUE = 12
"""Tables of the index from which on a merge is due. A commit that leaves more than 16 merges some by itself."""


class ShortPack(NamedTuple):
    """A pack that is too short: it has ``length`` of its ``committed`` bytes (None: the file is missing)."""

    path: str
    length: int | None
    committed: int


class SnapshotCounts(NamedTuple):
    """The snapshots of a container: the numbers of ``branches``, of their ``versions``, and of ``tags``.

    ``held_objects`` of ``held_size`` raw and ``held_length`` stored bytes are stored for snapshots, and not for their
    keys. How many of them gc would delete is not known. ``pages`` counts the objects that trees, snapshots and refs
    consist of, ``pages_length`` their stored bytes. ``damage`` says why the newest refs cannot be read, "" for none.
    """

    branches: int = 0
    versions: int = 0
    tags: int = 0
    held_objects: int = 0
    held_size: int = 0
    held_length: int = 0
    pages: int = 0
    pages_length: int = 0
    damage: str = ""


class StatusReport(NamedTuple):
    """The figures of a container. Sizes are raw bytes; lengths are stored bytes or bytes of files.

    ``packed_objects`` and ``packed_size`` count each key once. ``dead_length`` are the stored bytes in packs to which
    no key leads, ``overhead_length`` the bytes in packs that belong to no object: alignment, tables of contents.
    ``packs_length`` and ``index_length`` are the bytes of the files on disk, including the tail of an unfinished batch.
    ``is_recovered`` is True if a part of the index is damaged and the index was read from the packs instead; ``damage``
    describes damage in the packs that was found then, "" for none. ``short`` lists packs that are cut or missing; the
    figures still count their objects. ``snapshots`` is None in a container that never had any.

    Three fields say what is due, that is, worth a run of ``optimize``: ``pack`` is the number of loose objects (0 below
    `PACK_DUE`), ``merge`` the number of tables of the index (0 below `MERGE_DUE`), and ``repack`` the packs to rewrite.
    A run does more than that: it packs every loose object, and merges two tables or more.

    ``validation`` is the note of the last finished validation: when it ``finished``, its ``depth``, and the number of
    ``damaged`` objects and files. It is read from disk unchecked, and may hold any JSON value.
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
    overhead_length: int
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
    snapshots: SnapshotCounts | None = None

    def _repr_html_(self) -> str:
        from rsdos.notebook import as_html  # Late: a status imports only what counts.

        return as_html(self)


def status(engine: Engine) -> StatusReport:
    """Count the objects and files of a container.

    All loose files are listed. Of the packed store only the manifest is read. Nothing is written, and no lock is waited
    for.

    Returns:
        The figures.

    Raises:
        OSError: a system call failed.
    """
    loose = [length for path in engine.loose_names.paths() if (length := _file_length(path)) is not None]
    packed, notes = engine.read_stats()
    live, dead = packed.live, packed.dead
    layout = engine.layout
    # `Layout.relative` would take half of the time of a status of many packs.
    above = len(layout.root) + 1
    found = {pack: layout.storage.stat(layout.pack(pack.id)[above:]) for pack in packed.packs}
    lengths = {pack: info and info.length for pack, info in found.items()}
    validation = notes.get(VALIDATION)
    return StatusReport(
        container_version=engine.config.version,
        container_id=engine.config.container_id,
        compression=engine.config.compression,
        durability=engine.durability.value,
        loose_objects=len(loose),
        loose_length=sum(loose),
        packed_objects=live.objects,
        packed_size=live.size,
        packed_length=live.length,
        dead_objects=dead.objects,
        dead_length=dead.length,
        overhead_length=packed.overhead,
        packs=len(packed.packs),
        packs_length=sum(length or 0 for length in lengths.values()),
        index_length=packed.index_length,
        is_recovered=packed.is_recovered,
        pack=len(loose) if len(loose) >= PACK_DUE else 0,
        merge=packed.segments if packed.segments >= MERGE_DUE else 0,
        repack=worth_a_repack(packed.packs, MIN_DEAD, MIN_OVERHEAD),
        last_backup=read_note(layout),
        validation=validation if isinstance(validation, dict) else None,
        damage=packed.damage,
        short=_short(engine, lengths),
        snapshots=_count_snapshots(engine, packed) if packed.refs else None,
    )


def _count_snapshots(engine: Engine, packed: PackedStats) -> SnapshotCounts:
    # Imported only here: a container without snapshots is counted without the store.
    from rsdos.engine.publish import read_refs

    held, pages = packed.counts(PackKind.HELD), packed.counts(PackKind.TREES)
    counts = SnapshotCounts(0, 0, 0, *held, pages.objects, pages.length)
    try:
        refs, _ = read_refs(engine)
    except (DamagedTree, DamagedContainer) as error:
        return counts._replace(damage=str(error))
    branches = [branch for branch in refs.branches.values() if branch.versions]
    versions = sum(len(branch.versions) for branch in branches)
    return counts._replace(branches=len(branches), versions=versions, tags=len(refs.tags))


def _short(engine: Engine, lengths: Mapping[PackEntry, int | None]) -> tuple[ShortPack, ...]:
    found = {pack.id: (length, pack.length) for pack, length in lengths.items() if (length or 0) < pack.length}
    # A pack that a repack has removed since the first reading is not in the second one.
    still = engine.read_stats()[0].packs.live if found else ()
    return tuple(
        ShortPack(engine.layout.relative(engine.layout.pack(pack_id)), *sizes)
        for pack_id, sizes in found.items()
        if pack_id in still
    )


def _file_length(path: str) -> int | None:
    """Return the bytes of a file; None when it is gone."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return None
