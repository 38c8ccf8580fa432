"""Migrate: turn a container of one version into one of the other. Options → plan → execute → report.

A migration to a new directory is a transfer of all objects. A migration in place is described in `to_v2` (version 1 to
2) and `to_v1` (2 to 1): until its last step, one rename, the container keeps its version and can be used. A run that is
killed at any moment is continued by the next run.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from rsdos.codecs.spec import parse_compression
from rsdos.config import VERSION, VERSION_1, Config, read_config
from rsdos.engine.create import make_container
from rsdos.engine.engine import Engine
from rsdos.errors import ContainerExists, InvalidOption, NotAContainer
from rsdos.layout import Layout, V1Layout
from rsdos.maintenance import repack, transfer
from rsdos.maintenance.copier import CopyStats
from rsdos.maintenance.migrate.cleanup import clean_up
from rsdos.maintenance.migrate.to_v1 import ToVersion1, refuse_snapshots
from rsdos.maintenance.migrate.to_v2 import ToVersion2
from rsdos.maintenance.repair.quarantine import copy_damaged
from rsdos.maintenance.transfer import SnapshotPolicy
from rsdos.model import Codec, CompressMode, Durability
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch
from rsdos.protocols import Progress
from rsdos.stores.quarantine import Quarantine


@dataclass(frozen=True, slots=True)
class MigrateOptions:
    """The options of a migration: to the container version ``to``, in place or to a new directory ``destination``.

    ``compression`` is a specification to compress all objects with; with ``compress`` AUTO only those that become
    clearly smaller. None copies stored bytes unchanged where the other version supports them. ``snapshots`` that are
    left behind are gone in place.
    """

    to: int = VERSION
    destination: str | None = None
    compression: str | None = None
    compress: CompressMode = CompressMode.YES
    snapshots: SnapshotPolicy = SnapshotPolicy.BRING


@dataclass(frozen=True, slots=True)
class MigratePlan:
    """The number of ``objects`` to move out of ``version``, and the ``length`` of their packs in bytes."""

    options: MigrateOptions = field(repr=False)
    config: Config = field(repr=False)
    version: int
    objects: int
    length: int


@dataclass(frozen=True, slots=True)
class MigrateReport(ShownAsTable):
    """The result of a migration, which took ``seconds``.

    This run moved ``objects`` of ``size`` raw bytes, ``copied`` of them byte for byte; an earlier run moved ``known``
    ones. ``rescued`` are the keys of objects whose first copy was damaged, and that were read from another one.
    ``damaged`` has the keys of objects without a good copy, each with the reason; their bytes are in ``quarantine``.
    ``missing`` has the keys of objects that were listed, and were gone when they were to be moved. ``before`` and
    ``after`` are the bytes of the container's files.
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
    """Check that the container can be migrated to the version.

    Args:
        engine: the open container.
        options: a `MigrateOptions`.

    Returns:
        The new configuration, and the objects and bytes to move.

    Raises:
        InvalidOption: the version is not known, cannot store the compression, the keys or the snapshots, or a directory
            of the container is a symbolic link.
    """
    engine.need_files("migrate")
    config = _target_config(engine.config, options)
    if options.destination is None:
        _refuse_links(engine.layout.root)
    sums = engine.packed.maintenance.stats()
    if options.to == VERSION_1:
        refuse_snapshots(options.snapshots, sums.refs)
    length = sum(pack.length for pack in sums.packs)
    return MigratePlan(options, config, engine.config.version, len(engine.objects), length)


def _refuse_links(root: str) -> None:
    """Raise `InvalidOption` for a directory that is a link.

    In place, a pack has a name in the directories of both versions, by hard links on one file system, and the
    directories of the old version are removed.
    """
    for directory in sorted({*Layout(root).directories, *V1Layout(root).directories}):
        if os.path.islink(directory):
            name = os.path.basename(directory)
            raise InvalidOption(f"{directory}: {name} is a symbolic link: migrate to a new directory instead")


def _target_config(config: Config, options: MigrateOptions) -> Config:
    if options.to not in (VERSION_1, VERSION):
        raise InvalidOption(f"container version {options.to!r:.40}; this rsdos knows versions 1 and 2")
    compression = options.compression or config.compression
    if options.compression is not None and options.to == VERSION_1 and not _is_zlib(compression):
        raise InvalidOption("disk-objectstore can read only zlib in container version 1")
    if options.to == VERSION_1:
        # disk-objectstore knows only this spelling.
        compression = f"zlib+{parse_compression(compression).level or 1}" if _is_zlib(compression) else "zlib+1"
    if options.to == VERSION and config.hash_type != "sha256":
        raise InvalidOption(f"container version 2 has no {config.hash_type} keys: `rsdos transfer` makes new ones")
    container_id = config.container_id.replace("-", "")
    changed = config.changed(version=options.to, compression=compression, container_id=container_id)
    return changed.changed(loose_compression="none", durability=Durability.FULL) if options.to == VERSION_1 else changed


def _is_zlib(compression: str) -> bool:
    return parse_compression(compression).codec is Codec.ZLIB


def execute(engine: Engine, plan: MigratePlan, progress: Progress = SILENCE) -> MigrateReport:
    """Migrate the container. Every object is decoded and hashed; the bytes of damaged ones are copied to quarantine.

    In place, at most one pack of extra disk space is needed. Programs that use the container must close it before the
    last step: rsdos refuses to commit to the old index after that, disk-objectstore does not.

    Args:
        engine: the open container. It is closed after a migration in place.
        plan: what `plan` returned.
        progress: receives the number of objects.

    Returns:
        The counts and keys of the objects.

    Raises:
        InvalidOption: a snapshot was saved since the plan, and version 1 cannot store it.
        Busy: another maintenance operation is running, or other processes write again and again.
        ContainerExists: the destination is another container, or a copy of this one in another version.
        ReadOnlyContainer: a container cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    before = _length_of_tree(engine.layout.root)
    stats = CopyStats()
    options = plan.options
    if options.destination is not None:
        root = os.path.abspath(options.destination)
        _to_directory(engine, plan, root, stats, progress)
    else:
        root = engine.layout.root
        with engine.maintenance("migrate"):
            clean_up(engine)
            if engine.config.version < options.to:
                ToVersion2(engine, plan.config, stats, progress).run()
            elif engine.config.version > options.to:
                ToVersion1(engine, plan.config, options.snapshots, stats, progress).run()
        engine.close()
    target = Engine(root)
    with target.maintenance("migrate"):
        if options.destination is not None:
            # Under the lock: another migration to the same directory copies the same objects to the same names.
            for key, reason in stats.damaged.items():
                copy_damaged(engine, key, reason, Quarantine(target.layout))
        clean_up(target)
    if options.destination is None and options.compression is not None:
        _recompress(target, repack.RepackOptions(options.compression, compress=options.compress), progress)
    target.close()
    quarantine = Layout(root).quarantine if stats.damaged else None
    return MigrateReport(
        root,
        options.to,
        stats.objects,
        stats.size,
        stats.copied,
        stats.known,
        tuple(stats.rescued),
        tuple(stats.damaged.items()),
        tuple(stats.missing),
        quarantine,
        before,
        _length_of_tree(root),
        watch.seconds,
    )


def _to_directory(engine: Engine, plan: MigratePlan, root: str, stats: CopyStats, progress: Progress) -> None:
    """Transfer all objects to a new container with the same id, or continue with an existing one of this id."""
    try:
        there = read_config(Layout(root).config)
    except NotAContainer:
        make_container(root, plan.config)
    else:
        if there.container_id != plan.config.container_id:
            raise ContainerExists(root, "is another container")
        if there.version != plan.config.version:
            wanted = plan.config.version
            raise ContainerExists(root, f"is a copy of this container in version {there.version}, not {wanted}")
    target = Engine(root)
    try:
        given = plan.options
        options = transfer.TransferOptions(None, given.compression, given.compress, snapshots=given.snapshots)
        report = transfer.execute(target, transfer.plan(target, engine, options), progress)
        stats.objects, stats.size, stats.copied, stats.known = (
            report.objects,
            report.size,
            report.copied,
            report.known,
        )
        stats.rescued.extend(report.rescued)
        stats.damaged.update(report.damaged)
        stats.missing.extend(report.missing)
    finally:
        target.close()


def _recompress(target: Engine, options: repack.RepackOptions, progress: Progress) -> None:
    """Recompress all objects, after the last step: until then programs of the old version must be able to read them."""
    repack.execute(target, repack.plan(target, options), progress)


def _length_of_tree(root: str) -> int:
    """Return the bytes of all files, each counted once, without SQLite's temporary files."""
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
