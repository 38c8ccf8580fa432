"""Repack: rewrite packs without their dead bytes, or in another compression. Options → plan → execute → report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from rsdos.codecs.spec import parse_compression
from rsdos.engine.engine import Engine
from rsdos.errors import Busy, DamagedContainer, InvalidOption
from rsdos.model import CompressMode, WhenBusy
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores.encoding import Encoding
from rsdos.stores.stats import MIN_DEAD, worth_a_repack

KEEP = "keep"


@dataclass(frozen=True, slots=True)
class RepackOptions:
    """The options of a repack.

    ``compression`` "keep" copies stored bytes unchanged. Any other specification ("none", "zstd:3") decodes and encodes
    every object of every pack: all are compressed, also those that inserts left raw; with ``compress`` AUTO only those
    that become clearly smaller, as by an insert. ``min_dead``, from 0 to 1, is the share of dead bytes from which on a
    pack is rewritten; ``min_overhead``, from 0 to 1, the share of bytes that are of no object, and that a large batch
    would not have (1: none is rewritten for these). ``pack_id`` rewrites only this pack, whatever its shares.
    """

    compression: str = KEEP
    min_dead: float = MIN_DEAD
    pack_id: int | None = None
    compress: CompressMode = CompressMode.YES
    min_overhead: float = 1.0


@dataclass(frozen=True, slots=True)
class RepackPlan:
    """The packs to rewrite, the largest gain first.

    In them are ``length`` live and ``dead`` stored bytes, and ``overhead`` bytes that are of no object.
    """

    options: RepackOptions
    pack_ids: tuple[int, ...] = ()
    length: int = 0
    dead: int = 0
    overhead: int = 0


@dataclass(frozen=True, slots=True)
class RepackReport:
    """The result of a repack, which took ``seconds``.

    ``objects`` of ``size`` raw bytes were moved out of the packs ``pack_ids``. ``freed`` bytes of disk were released;
    for the packs ``kept`` because a long reader has them open, the next run releases them. ``skipped`` packs had a
    writer. ``unreadable`` packs have a damaged structure. ``damaged`` are the keys of damaged objects, which were
    copied as they are.
    """

    objects: int = 0
    size: int = 0
    freed: int = 0
    pack_ids: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    skipped: tuple[int, ...] = ()
    unreadable: tuple[int, ...] = ()
    damaged: tuple[str, ...] = ()
    seconds: float = 0.0


def plan(engine: Engine, options: RepackOptions) -> RepackPlan:
    """Choose the packs to rewrite.

    Args:
        engine: the open container.
        options: a `RepackOptions`.

    Returns:
        The packs, and their live and dead bytes.

    Raises:
        InvalidOption: an option makes no sense, there is no such pack, or the container cannot store the compression.
    """
    for name in ("min_dead", "min_overhead"):
        if not 0 <= getattr(options, name) <= 1:
            raise InvalidOption(f"{name} is a share from 0 to 1, not {getattr(options, name)!r:.40}")
    recodes = _encoding(engine, options) is not None
    packs = [pack for pack in engine.packed.maintenance.stats().packs if pack.length]
    if options.pack_id is not None:
        packs = [pack for pack in packs if pack.id == options.pack_id]
        if not packs:
            raise InvalidOption(f"there is no pack {options.pack_id}")
    elif not recodes:
        worth = worth_a_repack(packs, options.min_dead, options.min_overhead)
        packs = [pack for pack in packs if pack.id in worth]
    # The pack with the smallest share to copy comes first, so that the disk is never fuller than necessary.
    packs.sort(key=lambda pack: (pack.stored - pack.dead_stored) / (pack.stored or 1))
    dead = sum(pack.dead_stored for pack in packs)
    length = sum(pack.stored for pack in packs) - dead
    return RepackPlan(options, tuple(pack.id for pack in packs), length, dead, sum(pack.overhead for pack in packs))


def _encoding(engine: Engine, options: RepackOptions) -> Encoding | None:
    if options.compression == KEEP:
        return None
    compression = parse_compression(options.compression)
    if compression.codec not in engine.packed.codecs:
        raise InvalidOption(f"not all programs that read this container can read {options.compression}")
    return Encoding.anew(options.compress, compression)


def execute(engine: Engine, plan: RepackPlan, progress: Progress = SILENCE, until: float | None = None) -> RepackReport:
    """Rewrite the packs, one at a time, so that the extra disk space is that of one pack.

    Readers, writers and deletes are not blocked, and other maintenance may run between two packs. A run that is killed
    at any moment loses nothing, and the next run continues. See `rsdos.stores.packs.PackMaintenance.rewrite`.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives stored bytes.
        until: a time of ``time.monotonic`` after which no pack is begun (None: no limit).

    Returns:
        The packs that were rewritten, kept or skipped, and the bytes that were freed.

    Raises:
        Busy: another maintenance operation is running at the beginning.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    encoding = _encoding(engine, plan.options)
    report = _Report()
    with step(progress, "Repacking", plan.length, "bytes"):
        for pack_id in plan.pack_ids:
            if until is not None and monotonic() > until:
                break
            # After the first pack, wait for other maintenance instead of giving up half-way.
            with engine.maintenance("repack", None if report.is_new else WhenBusy.WAIT):
                if report.is_new:
                    engine.objects.collect_garbage()
                report.add(pack_id, engine, encoding, progress, plan.pack_ids)
    return report.report(watch.seconds)


class _Report:
    """The report of a repack while it runs."""

    def __init__(self) -> None:
        self.is_new = True
        self._objects = self._size = self._freed = 0
        self._done: list[int] = []
        self._kept: list[int] = []
        self._skipped: list[int] = []
        self._unreadable: list[int] = []
        self._damaged: list[str] = []

    def add(
        self, pack_id: int, engine: Engine, encoding: Encoding | None, progress: Progress, others: Sequence[int]
    ) -> None:
        self.is_new = False
        try:
            rewritten = engine.packed.maintenance.rewrite(pack_id, encoding, progress.advance, others)
        except Busy:
            self._skipped.append(pack_id)
            return
        except DamagedContainer:
            self._unreadable.append(pack_id)
            return
        self._objects += rewritten.objects
        self._size += rewritten.size
        self._freed += rewritten.freed
        self._done.append(pack_id)
        self._damaged += rewritten.damaged
        if not rewritten.is_gone:
            self._kept.append(pack_id)

    def report(self, seconds: float) -> RepackReport:
        return RepackReport(
            self._objects,
            self._size,
            self._freed,
            tuple(self._done),
            tuple(self._kept),
            tuple(self._skipped),
            tuple(self._unreadable),
            tuple(self._damaged),
            seconds,
        )
