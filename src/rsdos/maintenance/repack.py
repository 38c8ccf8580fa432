"""Repack: rewrite packs without their dead bytes, or in another compression. Options → plan → execute → report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from time import monotonic
from typing import NamedTuple

from rsdos.codecs.spec import parse_compression
from rsdos.engine.engine import Engine
from rsdos.engine.workers import Jobs, jobs_of
from rsdos.errors import Busy, DamagedContainer, InvalidOption, means_full
from rsdos.figures import human
from rsdos.index.pack_entry import PackEntry
from rsdos.model import CompressMode, PackKind, WhenBusy
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import Rewritten
from rsdos.stores.stats import MIN_DEAD, worth_a_repack

KEEP = "keep"

_MOST_TOGETHER = 64
"""The most packs that are rewritten into one: their entries are in memory until the commit."""


@dataclass(frozen=True, slots=True)
class RepackOptions:
    """The options of a repack.

    ``compression`` "keep" copies stored bytes unchanged, except for small objects that zstd has compressed: if a sample
    shows that a new dictionary saves a tenth of their stored bytes, they are encoded with it. Any other specification
    ("none", "zstd:3") decodes and encodes every object of every pack. Then all objects are compressed, also those that
    inserts left raw; with ``compress`` AUTO only those that become clearly smaller, as by an insert.

    A pack is rewritten if its share of dead bytes is at least ``min_dead``, or if its share of overhead is at least
    ``min_overhead``; both are from 0 to 1. Overhead is bytes that belong to no object and that a large batch would not
    have. With ``min_overhead`` 1 no pack is rewritten for its overhead. ``pack_id`` rewrites only this pack, whatever
    its shares. ``jobs`` is the number of processes that rewrite packs at the same time, or an executor.
    """

    compression: str = KEEP
    min_dead: float = MIN_DEAD
    pack_id: int | None = None
    compress: CompressMode = CompressMode.YES
    min_overhead: float = 1.0
    jobs: Jobs = 1


@dataclass(frozen=True, slots=True)
class RepackPlan:
    """The packs to rewrite, the largest gain first.

    They have ``length`` live and ``dead`` stored bytes, and ``overhead`` bytes that belong to no object. The packs of
    each of the ``groups`` are rewritten into one pack.
    """

    options: RepackOptions = field(repr=False)
    pack_ids: tuple[int, ...] = ()
    length: int = 0
    dead: int = 0
    overhead: int = 0
    groups: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class RepackReport(ShownAsTable):
    """The result of a repack, which took ``seconds``.

    ``objects`` of ``size`` raw bytes were moved out of the packs ``pack_ids``. ``freed`` bytes of disk were released.
    The files of the packs ``kept`` are still there, because a long reader runs; the next run removes them. ``skipped``
    packs had a writer. ``unreadable`` packs have a damaged structure. ``damaged`` are the keys of damaged objects,
    whose stored bytes were copied unchanged.
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
        InvalidOption: an option is out of range, there is no such pack, or the container cannot store the compression.
    """
    for name in ("min_dead", "min_overhead"):
        if not 0 <= getattr(options, name) <= 1:
            raise InvalidOption(f"{name} is a share from 0 to 1, not {getattr(options, name)!r:.40}")
    if jobs_of(options.jobs) is None:
        raise InvalidOption("jobs is 1 or more, or an executor")
    recodes = _encoding(engine, options) is not None
    packs = [pack for pack in engine.packed.maintenance.packs() if pack.length]
    if options.pack_id is not None:
        packs = [pack for pack in packs if pack.id == options.pack_id]
        if not packs:
            raise InvalidOption(f"there is no pack {options.pack_id}")
    elif not recodes:
        worth = {*worth_a_repack(packs, options.min_dead, options.min_overhead)}
        if options.min_overhead < 1 and not engine.packed.packs_grow:
            worth |= _small(packs, engine.packed.packing.target)
        packs = [pack for pack in packs if pack.id in worth]
    # The pack with the smallest share to copy comes first, so that the disk is never fuller than necessary.
    packs.sort(key=lambda pack: (pack.stored - pack.dead_stored) / (pack.stored or 1))
    dead = sum(pack.dead_stored for pack in packs)
    length = sum(pack.stored for pack in packs) - dead
    overhead = sum(pack.overhead for pack in packs)
    return RepackPlan(options, tuple(pack.id for pack in packs), length, dead, overhead, _groups(engine, packs))


def _small(packs: Sequence[PackEntry], target: int) -> set[int]:
    """Return the packs, which can never grow, that are below a quarter of the target, if a kind has several of them."""
    small = [pack for pack in packs if pack.length < target // 4]
    kinds = [pack.kind for pack in small]
    return {pack.id for pack in small if kinds.count(pack.kind) > 1}


def _length_of(pack: PackEntry) -> int:
    return max(pack.stored - pack.dead_stored, 0)


def _groups(engine: Engine, packs: Sequence[PackEntry]) -> tuple[tuple[int, ...], ...]:
    """Return the packs that are rewritten together: one by one, or as many of one kind as fit into a new pack."""
    if engine.packed.packs_grow:
        return tuple((pack.id,) for pack in packs)
    groups: list[list[int]] = []
    open_groups: dict[PackKind, tuple[list[int], int]] = {}
    for pack in packs:
        group, length = open_groups.get(pack.kind, ([], 0))
        if not group or length + _length_of(pack) > engine.packed.packing.target or len(group) >= _MOST_TOGETHER:
            group, length = [], 0
            groups.append(group)
        group.append(pack.id)
        open_groups[pack.kind] = group, length + _length_of(pack)
    return tuple(map(tuple, groups))


def _encoding(engine: Engine, options: RepackOptions) -> Encoding | None:
    if options.compression == KEEP:
        return None
    compression = parse_compression(options.compression)
    if compression.codec not in engine.packed.codecs:
        raise InvalidOption(f"not all programs that read this container can read {options.compression}")
    return Encoding.anew(options.compress, compression)


def execute(engine: Engine, plan: RepackPlan, progress: Progress = SILENCE, until: float | None = None) -> RepackReport:
    """Rewrite the packs: one at a time, so that the extra disk space is that of one pack, or as many as there are jobs.
    On object storage, where packs cannot grow, a new pack takes the objects of several packs.

    Readers, writers and deletes are not blocked, and other maintenance may run between two packs. A run that is killed
    at any moment loses nothing, and the next run continues. See `PackMaintenance.rewrite`.

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
    groups = takewhile(lambda _: until is None or monotonic() <= until, plan.groups)
    rewrite, rewrite_all = (_rewrite, _one_by_one) if plan.options.jobs == 1 else (rewrite_beside, _at_once)
    do = partial(rewrite, encoding=_encoding(engine, plan.options), others=plan.pack_ids)
    report = _Report()
    with step(progress, "Repacking", plan.length, "bytes"):
        for outcome in rewrite_all(engine, plan.options.jobs, do, groups, progress):
            report.add(outcome)
    return report.report(watch.seconds)


class _Outcome(NamedTuple):
    """The result for packs that were rewritten together. ``alone`` has those of packs that were tried one by one."""

    pack_ids: tuple[int, ...]
    rewritten: Rewritten | None = None
    is_busy: bool = False
    """Whether one of them has a writer. If none has, and they were not rewritten, they are damaged."""
    length: int = 0
    """Stored bytes that were processed."""
    alone: tuple[_Outcome, ...] = ()


_Do = Callable[..., _Outcome]


def _rewrite(
    engine: Engine,
    pack_ids: tuple[int, ...],
    encoding: Encoding | None,
    others: Sequence[int],
    advance: Callable[[int], None] = lambda length: None,
) -> _Outcome:
    total = 0

    def count(length: int) -> None:
        nonlocal total
        total += length
        advance(length)

    try:
        rewritten = engine.packed.maintenance.rewrite(pack_ids, encoding, count, others)
    except Busy:
        return _Outcome(pack_ids, is_busy=True, length=total)
    except DamagedContainer:
        if len(pack_ids) == 1:
            return _Outcome(pack_ids, length=total)
        # Find out which of them is damaged.
        alone = tuple(_rewrite(engine, (pack_id,), encoding, others, count) for pack_id in pack_ids)
        return _Outcome((), length=total, alone=alone)
    except OSError as error:
        if means_full(error):
            packs = [pack for pack in engine.packed.maintenance.packs() if pack.id in pack_ids]
            room = human(sum(map(_length_of, packs)))
            error.add_note(f"a repack copies the live objects, here {room}, before it removes the old pack")
        raise
    return _Outcome(pack_ids, rewritten, length=total)


def rewrite_beside(
    engine: Engine,
    pack_ids: tuple[int, ...],
    encoding: Encoding | None,
    others: Sequence[int],
    advance: Callable[[int], None] = lambda length: None,
) -> _Outcome:
    """Do one part of a repack while other processes do other parts. The part continues if the calling process dies."""
    with engine.maintenance_of_many():
        return _rewrite(engine, pack_ids, encoding, others, advance)


def _one_by_one(
    engine: Engine, jobs: Jobs, do: _Do, groups: Iterable[tuple[int, ...]], progress: Progress
) -> Iterator[_Outcome]:
    is_first = True
    for group in groups:
        # After the first pack, wait for other maintenance instead of giving up half-way.
        with engine.maintenance("repack", None if is_first else WhenBusy.WAIT):
            if is_first:
                engine.objects.collect_garbage()
                is_first = False
            outcome = do(engine, group, advance=progress.advance)
        yield outcome


def _at_once(
    engine: Engine, jobs: Jobs, do: _Do, groups: Iterable[tuple[int, ...]], progress: Progress
) -> Iterator[_Outcome]:
    from rsdos.engine.executors import HandedOut, executor_of

    with engine.maintenance("repack"):
        engine.objects.collect_garbage()
    # Each part keeps other maintenance out by itself: it may outlive this process.
    with executor_of(jobs) as executor:
        for outcome in HandedOut(executor, engine).as_done(do, groups):
            progress.advance(outcome.length)
            yield outcome


class _Report:
    """The report of a repack while it runs."""

    def __init__(self) -> None:
        self._objects = self._size = self._freed = 0
        self._done: list[int] = []
        self._kept: list[int] = []
        self._skipped: list[int] = []
        self._unreadable: list[int] = []
        self._damaged: list[str] = []

    def add(self, outcome: _Outcome) -> None:
        for one in outcome.alone:
            self.add(one)
        pack_ids, rewritten = outcome.pack_ids, outcome.rewritten
        if rewritten is None:
            left = self._skipped if outcome.is_busy else self._unreadable
            left += pack_ids
            return
        self._objects += rewritten.objects
        self._size += rewritten.size
        self._freed += rewritten.freed
        self._done += pack_ids
        self._damaged += rewritten.damaged
        if not rewritten.is_gone:
            self._kept += pack_ids

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
