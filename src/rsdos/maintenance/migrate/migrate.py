"""Migrate: turn a container of one version into one of the other. Options → plan → execute → report.

Into a new directory it is a transfer of everything, that goes on where it was killed. In place see `migrate_forward`
(version 1 to 2) and `migrate_back` (2 to 1): until the last step, one rename, the container is what it was, whole and
in use; killed at any moment the next run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from types import MappingProxyType

from rsdos.codecs.spec import parse_compression
from rsdos.config import LEGACY, VERSION, Config, read_config
from rsdos.engine.create import make_container
from rsdos.engine.engine import Engine
from rsdos.errors import ContainerExists, InvalidOption, NotAContainer
from rsdos.layout import Layout, V1Layout
from rsdos.maintenance import repack, transfer
from rsdos.maintenance.copier import CopyStats
from rsdos.maintenance.migrate.cleanup import clean_up
from rsdos.maintenance.migrate.to_v1 import ToVersion1
from rsdos.maintenance.migrate.to_v2 import ToVersion2
from rsdos.maintenance.repair.quarantine import move_to_quarantine
from rsdos.model import Codec, Durability
from rsdos.progress import SILENCE
from rsdos.protocols import Progress


@dataclass(frozen=True, slots=True)
class MigrateOptions:
    """What is wanted: container version ``to``; in place, or in a new directory ``destination``.

    ``compression``: compress all anew by this specification; None takes stored bytes over as they are, where the
    other version can store them so.
    """

    to: int = VERSION
    destination: str | None = None
    compression: str | None = None


@dataclass(frozen=True, slots=True)
class MigratePlan:
    """What there is to move: so many objects, in packs of ``length`` bytes; ``config`` is what comes of it."""

    options: MigrateOptions
    config: Config
    version: int
    objects: int
    length: int


@dataclass(frozen=True, slots=True)
class MigrateReport:
    """What a migration did, in ``seconds``.

    ``objects`` of ``size`` raw bytes were moved in this run, ``copied`` of them byte for byte; ``known`` were moved by
    a run before it. ``rescued`` are the keys of those that came from another than their first copy, that being damaged.
    ``damaged``: the keys of those that no copy is good of, and why; what there is of them is in ``quarantine``.
    ``missing``: the keys of those that were there at the start, and were not any more when their turn came.
    ``before`` and ``after`` are the bytes of the container's files.
    """

    path: str
    version: int
    objects: int = 0
    size: int = 0
    copied: int = 0
    known: int = 0
    rescued: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    quarantine: str | None = None
    before: int = 0
    after: int = 0
    seconds: float = 0.0


def plan(engine: Engine, options: MigrateOptions) -> MigratePlan:
    """Check that the container can become one of that version. Raises `InvalidOption`."""
    config = _target_config(engine.config, options)
    if options.destination is None:
        _refuse_links(engine.layout.root)
    sums = engine.packed.stats()
    length = sum(pack.length for pack in sums.packs)
    return MigratePlan(options, config, engine.config.version, len(engine.objects), length)


def _refuse_links(root: str) -> None:
    """In place a pack has names of both versions, of one file system; and the old version's directories go."""
    for directory in sorted({*Layout(root).directories, *V1Layout(root).directories}):
        if os.path.islink(directory):
            name = os.path.basename(directory)
            raise InvalidOption(
                f"{directory}: {name} is a symbolic link: it cannot be migrated in place, but to a new directory"
            )


def _target_config(config: Config, options: MigrateOptions) -> Config:
    if options.to not in (LEGACY, VERSION):
        raise InvalidOption(f"container version {options.to!r:.40}; this rsdos knows versions 1 and 2")
    compression = options.compression or config.compression
    if options.compression is not None and options.to == LEGACY and not _is_zlib(compression):
        raise InvalidOption("in container version 1 disk-objectstore reads nothing but zlib")
    if options.to == LEGACY:
        # In disk-objectstore's spelling, the only one that it knows.
        compression = f"zlib+{parse_compression(compression).level or 1}" if _is_zlib(compression) else "zlib+1"
    if options.to == VERSION and config.hash_type != "sha256":
        raise InvalidOption(f"container version 2 has no {config.hash_type} keys; `transfer` gives objects new ones")
    container_id = config.container_id.replace("-", "")
    changed = config.changed(version=options.to, compression=compression, container_id=container_id)
    return changed.changed(loose_compression="none", durability=Durability.FULL) if options.to == LEGACY else changed


def _is_zlib(compression: str) -> bool:
    return parse_compression(compression).codec is Codec.ZLIB


_IN_PLACE: Mapping[tuple[int, int], Callable[[Engine, Config, CopyStats, Progress], ToVersion2 | ToVersion1]]
_IN_PLACE = MappingProxyType({(LEGACY, VERSION): ToVersion2, (VERSION, LEGACY): ToVersion1})


def execute(engine: Engine, plan: MigratePlan, progress: Progress = SILENCE) -> MigrateReport:
    """Migrate. Every object is decoded and hashed on the way; of a damaged one what there is is copied aside.

    In place at most one pack of extra disk is needed, and other programs should not keep the container open across
    the last step: ours are refused to commit to an index that goes, others are not. Raises `Busy`, `ContainerExists`,
    `ReadOnlyContainer`, OSError.
    """
    begun = monotonic()
    before = _length_of_tree(engine.layout.root)
    carried = CopyStats()
    options = plan.options
    if options.destination is not None:
        root = os.path.abspath(options.destination)
        _to_directory(engine, plan, root, carried, progress)
    else:
        root = engine.layout.root
        with engine.maintenance("migrate"):
            clean_up(engine)
            if engine.config.version != options.to:
                _IN_PLACE[engine.config.version, options.to](engine, plan.config, carried, progress).run()
        engine.close()
    target = Engine(root)
    with target.maintenance("migrate"):
        clean_up(target)
    if options.destination is None and options.compression is not None:
        _recompress(target, options.compression, progress)
    target.close()
    quarantine = Layout(root).quarantine if carried.damaged else None
    return MigrateReport(
        root,
        options.to,
        carried.objects,
        carried.size,
        carried.copied,
        carried.known,
        tuple(carried.rescued),
        tuple(carried.damaged.items()),
        tuple(carried.missing),
        quarantine,
        before,
        _length_of_tree(root),
        monotonic() - begun,
    )


def _to_directory(engine: Engine, plan: MigratePlan, root: str, carried: CopyStats, progress: Progress) -> None:
    """Into a new container of the same id; one that is there already with this id is gone on with."""
    try:
        there = read_config(Layout(root).config)
    except NotAContainer:
        make_container(root, plan.config)
    else:
        if (there.container_id, there.version) != (plan.config.container_id, plan.config.version):
            raise ContainerExists(root, "is another container already")
    target = Engine(root)
    try:
        options = transfer.TransferOptions(compression=plan.options.compression)
        report = transfer.execute(target, transfer.plan(target, engine, options), progress)
        carried.objects, carried.size, carried.copied, carried.known = (
            report.objects,
            report.size,
            report.copied,
            report.known,
        )
        carried.rescued.extend(report.rescued)
        carried.damaged.update(report.damaged)
        carried.missing.extend(report.missing)
        for key, reason in report.damaged:
            move_to_quarantine(engine, key, reason, target.layout.quarantine)
    finally:
        target.close()


def _recompress(target: Engine, compression: str, progress: Progress) -> None:
    """Behind the last step: until then the old version's programs must read what is stored."""
    repack.execute(target, repack.plan(target, repack.RepackOptions(compression)), progress)


def _length_of_tree(root: str) -> int:
    """Bytes of all files, those of two names counted once, without what SQLite has beside an index while it is open."""
    lengths: dict[int, int] = {}
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path) and not name.endswith(("-wal", "-shm")):
                try:
                    status = os.stat(path)
                except FileNotFoundError:
                    continue
                lengths[status.st_ino] = status.st_size
    return sum(lengths.values())
