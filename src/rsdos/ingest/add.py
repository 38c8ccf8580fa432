"""Add files: store all files of a walk, in this process or in several. Options → execute → report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from rsdos.engine.workers import Jobs, default_jobs, jobs_of
from rsdos.ingest.files import ChunkResult, StoredAs, store_files
from rsdos.ingest.walk import NOTHING_SKIPPED, FileSource, RefusedFile, Skipped, Walk
from rsdos.ingest.workers import WorkerPool
from rsdos.model import CompressMode, PackKind, Place
from rsdos.progress import SILENCE, Stopwatch, step

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.protocols import Progress

PACKED_FROM = 100
"""Without a choice, so many files or more go straight to a pack."""

WORKERS_FROM = 16384
"""Without a choice, so many files or more get workers: one process takes 0.3 s for them, which two can halve."""


class AddOptions(NamedTuple):
    """How to store files.

    ``to``: where; None: to packs for `PACKED_FROM` files or more, or with ``compress`` YES; otherwise to loose files.
    ``compress`` is for packs; objects that the container has already stay in their form.
    ``kind``: of the packs; only plain objects can be loose.
    ``jobs``: processes that store at the same time; None: as many as the machine has cores, 4 at most, for
    `WORKERS_FROM` files or more that go to packs. Below `PACKED_FROM` files there is one process in any case. Or an
    executor, whose processes see the same files and the same container.
    """

    to: Place | None = None
    compress: CompressMode = CompressMode.AUTO
    jobs: Jobs = 1
    kind: PackKind = PackKind.PLAIN


class AddReport(NamedTuple):
    """What was stored: ``files`` of ``size`` raw bytes, in ``seconds``.

    ``refused`` could not be read; ``skipped`` counts the names that the walk left out. ``shortage`` says why fewer
    workers were started than asked for, "" if all were.
    """

    files: int = 0
    size: int = 0
    refused: tuple[RefusedFile, ...] = ()
    skipped: Skipped = NOTHING_SKIPPED
    shortage: str = ""
    seconds: float = 0.0

    def _repr_html_(self) -> str:
        from rsdos.notebook import as_html

        return as_html(self)


Tell = Callable[[ChunkResult], None]
"""Receives the outcome for some files. Those that are stored are durable."""


def add_walk(
    engine: Engine,
    walk: Walk,
    options: AddOptions,
    progress: Progress = SILENCE,
    tell: Tell = lambda chunk: None,
    total: int | None = None,
) -> AddReport:
    """Store all files of a walk; ``tell`` receives each chunk. ``total`` is their raw bytes, if known: for progress.

    Each process makes up to 16,384 files or 256 MiB durable together in packs, and 256 loose files. A file that cannot
    be read is refused, and the others are stored. After a kill or an interruption at least the files that ``tell`` has
    received are stored. The next run reads stored files again, but does not write them again.

    Raise `InvalidOption`, `ReadOnlyContainer`, `WorkerDied`, whatever a stream raises, and OSError.
    """
    jobs_of(options.jobs)
    watch = Stopwatch()
    files = size = 0
    refused: list[RefusedFile] = []

    def tell_all(chunk: ChunkResult) -> None:
        nonlocal files, size
        files, size = files + chunk.objects, size + chunk.size
        refused.extend(chunk.refused)
        tell(chunk)

    with ExitStack() as stack:
        stack.enter_context(step(progress, "Adding", total, "bytes"))
        stored, shortage = _store(engine, iter(walk), options, progress, stack)
        for chunk in stored:
            tell_all(chunk._replace(refused=[*walk.take_refused(), *chunk.refused]))
        if rest := walk.take_refused():
            tell_all(ChunkResult((), (), (), rest))
    return AddReport(files, size, tuple(refused), walk.skipped, shortage, watch.seconds)


def _store(
    engine: Engine, sources: Iterator[FileSource], options: AddOptions, progress: Progress, stack: ExitStack
) -> tuple[Iterator[ChunkResult], str]:
    """Choose place and workers if the options leave them open. Return the chunks, and the shortage of workers."""
    head = list(islice(sources, PACKED_FROM))
    # A loose object is compressed as the container says, not as the caller does.
    is_packed = len(head) >= PACKED_FROM or options.compress is CompressMode.YES or engine.directory is None
    is_packed = is_packed or options.kind is not PackKind.PLAIN
    place = options.to or (Place.PACKED if is_packed else Place.LOOSE)
    jobs = options.jobs
    if jobs is None:
        head += islice(sources, WORKERS_FROM - len(head))
        many = len(head) >= WORKERS_FROM and place is Place.PACKED and engine.directory is not None
        jobs = default_jobs() if many else 1
    every = chain(head, sources)
    form = StoredAs(place, options.compress, options.kind)
    if jobs == 1 or len(head) < PACKED_FROM:
        return store_files(engine, every, form, progress.advance), ""
    if not isinstance(jobs, int):
        from rsdos.ingest.executor import ExecutorPool

        return ExecutorPool(engine, form, jobs).store(every, progress.advance), ""
    pool = stack.enter_context(WorkerPool(engine, form, jobs))
    return pool.store(every, progress.advance), pool.shortage
