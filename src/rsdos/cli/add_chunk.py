"""Storing one chunk of files: in this process, or in workers that each write a pack of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from rsdos.errors import RsdosError, SourceChanged, UnreadableSource
from rsdos.streams.sources import take

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from rsdos.cli.session import Session
    from rsdos.container import Container
    from rsdos.model import CompressMode, Place, Source


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """What became of a chunk: key, path and size of each file that is durable now, and why others are not there.

    ``failed`` is what went wrong with all of it, in a worker.
    """

    count: int
    files: list[tuple[str, str, int]]
    refused: list[str]
    failed: str = ""


def store_chunk(container: Container, paths: list[str], place: Place, mode: CompressMode) -> StoredChunk:
    """Store a chunk in one insert.

    A file of at most one frame is read before the store gets it, and left out when it cannot be. A larger one that
    goes bad half-way fails the whole insert: it is done again without that file.
    """
    bad: set[str] = set()
    refused: list[str] = []
    while True:
        taken: list[tuple[str, int | None]] = []
        try:
            sources = _sources((path for path in paths if path not in bad), taken, bad, refused)
            keys = container.insert_many(sources, to=place, compress=mode)
        except (UnreadableSource, SourceChanged) as error:
            refused.append(str(error))
            bad.add(os.fspath(error.path))
        else:
            # Of a large file only the store knows how much was read.
            files = [
                (key, path, container.meta(key).size if size is None else size)
                for key, (path, size) in zip(keys, taken, strict=True)
            ]
            return StoredChunk(len(paths), files, refused)


def _sources(
    paths: Iterable[str], taken: list[tuple[str, int | None]], bad: set[str], refused: list[str]
) -> Iterator[Source]:
    for path in paths:
        try:
            data = take(path)
        except (UnreadableSource, SourceChanged) as error:
            refused.append(str(error))
            bad.add(path)
            continue
        if isinstance(data, bytes):
            taken.append((path, len(data)))
            yield data
        else:
            data.close()
            taken.append((path, None))
            yield path


def store_in_workers(
    session: Session, chunks: Iterable[list[str]], place: Place, mode: CompressMode, jobs: int
) -> Iterator[StoredChunk]:
    """`store_chunk` for each chunk, ``jobs`` at a time, in the order in which they are done.

    A worker has nothing but its end of a pipe: it ends when this process does, however that happens.
    """
    from multiprocessing import get_context
    from multiprocessing.connection import wait

    context = get_context("spawn")  # A fork would inherit locks that other threads hold.
    workers: list[Connection] = []
    try:
        for _ in range(jobs):
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, session, place, mode), daemon=True)
            process.start()
            theirs.close()
            workers.append(mine)
        idle, busy = list(workers), set[object]()
        for chunk in chunks:
            if not idle:
                ready = wait(workers)
                idle = [worker for worker in workers if worker in ready]
                busy.difference_update(idle)
                yield from map(_answer, idle)
            worker = idle.pop()
            worker.send(chunk)
            busy.add(worker)
        for worker in workers:
            if worker in busy:
                yield _answer(worker)
    finally:
        for worker in workers:
            worker.close()


def _answer(worker: Connection) -> StoredChunk:
    """What a worker says. Raises what it failed with."""
    try:
        answer = worker.recv()
    except EOFError:
        raise click.ClickException("a worker has died") from None
    assert isinstance(answer, StoredChunk)
    if answer.failed:
        raise click.ClickException(answer.failed)
    return answer


def _serve(pipe: Connection, session: Session, place: Place, mode: CompressMode) -> None:
    """A worker: store what comes until the pipe is closed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Whoever it was sent to is the process that this one works for.
    with closing(session.container()) as container:
        try:
            while True:
                pipe.send(_stored(container, pipe.recv(), place, mode))
        except (EOFError, BrokenPipeError):
            return


def _stored(container: Container, paths: list[str], place: Place, mode: CompressMode) -> StoredChunk:
    try:
        return store_chunk(container, paths, place, mode)
    except RsdosError as error:
        return StoredChunk(0, [], [], str(error))
    except OSError as error:
        reason = error.strerror or str(error)
        return StoredChunk(0, [], [], f"{error.filename}: {reason}" if error.filename else reason)
