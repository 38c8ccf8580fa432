"""Repack: write packs anew without their dead bytes, or in another compression. Options → plan → execute → report."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from rsdos.codecs.spec import parse_compression
from rsdos.engine.engine import Engine
from rsdos.errors import Busy, DamagedContainer, InvalidOption
from rsdos.model import Codec, CompressMode, WhenBusy
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.stores.encoding import Encoding
from rsdos.stores.stats import MIN_DEAD

KEEP = "keep"


@dataclass(frozen=True, slots=True)
class RepackOptions:
    """What is wanted of a repack.

    ``compression``: "keep" copies stored bytes as they are; "none", "zstd:3" and so on decode and encode every object
    anew, of every pack, and ``compress`` says which are compressed. ``min_dead``: which share of a pack's stored bytes
    has to be dead, from 0 to 1. ``pack_id``: only this pack, whatever is dead in it.
    """

    compression: str = KEEP
    min_dead: float = MIN_DEAD
    pack_id: int | None = None
    compress: CompressMode = CompressMode.AUTO


@dataclass(frozen=True, slots=True)
class RepackPlan:
    """The packs worth it, those with the most to gain first; ``length`` stored bytes live in them, ``dead`` do not."""

    options: RepackOptions
    pack_ids: tuple[int, ...] = ()
    length: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class RepackReport:
    """What a repack did.

    ``objects`` of ``size`` raw bytes went on from the packs ``pack_ids``; ``freed`` bytes are less on disk, or will be
    when the packs ``kept`` for a long reader are gone: the next run sees to that. ``skipped`` packs were being written
    to. ``unreadable`` ones have a damaged structure. ``damaged`` are the keys of objects that went on, bad as they are.
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
    """Choose the packs. Raises `InvalidOption`."""
    if not 0 <= options.min_dead <= 1:
        raise InvalidOption(f"min_dead is a share from 0 to 1, not {options.min_dead!r:.40}")
    recodes = _encoding(engine, options) is not None
    packs = [pack for pack in engine.packed.stats().packs if pack.length]
    if options.pack_id is not None:
        packs = [pack for pack in packs if pack.id == options.pack_id]
        if not packs:
            raise InvalidOption(f"there is no pack {options.pack_id}")
    elif not recodes:
        packs = [pack for pack in packs if pack.is_worth_a_repack(options.min_dead)]
    # The one with the least to copy for what is won goes first, so that the disk is never fuller than it has to be.
    packs.sort(key=lambda pack: (pack.stored - pack.dead_stored) / (pack.stored or 1))
    dead = sum(pack.dead_stored for pack in packs)
    return RepackPlan(options, tuple(pack.id for pack in packs), sum(pack.stored for pack in packs) - dead, dead)


def _encoding(engine: Engine, options: RepackOptions) -> Encoding | None:
    if options.compression == KEEP:
        return None
    compression = parse_compression(options.compression)
    if compression.codec not in engine.packed.codecs:
        raise InvalidOption(f"not every program that is to read this container reads {options.compression}")
    return Encoding(CompressMode.NO if compression.codec is Codec.RAW else options.compress, compression)


def execute(engine: Engine, plan: RepackPlan, progress: Progress = SILENCE, until: float | None = None) -> RepackReport:
    """Rewrite the packs, one at a time: the extra space is that of one. See `rsdos.stores.packs.PackStore.rewrite`.

    Readers, writers and deletes go on; other maintenance gets its turn after each pack. No pack is begun when
    ``time.monotonic`` has passed ``until``. Killed at any moment, the next run goes on. Raises `Busy` when another
    maintenance run is at work at the beginning, `ReadOnlyContainer`, OSError.
    """
    begun = monotonic()
    encoding = _encoding(engine, plan.options)
    report = _Report()
    progress.start("Repacking", plan.length, "bytes")
    try:
        for pack_id in plan.pack_ids:
            if until is not None and monotonic() > until:
                break
            # After the first pack it waits for its turn, and does not give up half-way.
            with engine.maintenance("repack", None if report.is_new else WhenBusy.WAIT):
                if report.is_new:
                    engine.packed.collect_garbage()
                report.add(pack_id, engine, encoding, progress)
    finally:
        progress.finish()
    return report.report(monotonic() - begun)


class _Report:
    """A report that grows."""

    def __init__(self) -> None:
        self.is_new = True
        self._objects = self._size = self._freed = 0
        self._done: list[int] = []
        self._kept: list[int] = []
        self._skipped: list[int] = []
        self._unreadable: list[int] = []
        self._damaged: list[str] = []

    def add(self, pack_id: int, engine: Engine, encoding: Encoding | None, progress: Progress) -> None:
        self.is_new = False
        try:
            rewritten = engine.packed.rewrite(pack_id, encoding, progress.advance)
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
