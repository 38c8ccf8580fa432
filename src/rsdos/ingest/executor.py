"""Store files with an executor: in its processes, on this machine or on many that see the same files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING

from rsdos.engine.executors import HandedOut
from rsdos.ingest.files import MOST_CHUNK, MOST_CHUNK_BYTES, ChunkResult, StoredAs, store_files
from rsdos.ingest.walk import FileSource, Stream

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine


class ExecutorPool:
    """Stores files in one container with an executor. One thread."""

    shortage = ""
    """See `rsdos.engine.workers.WorkerProcesses.shortage`."""

    def __init__(self, engine: Engine, form: StoredAs, executor: Executor) -> None:
        self._engine = engine
        self._form = form
        self._executor = executor

    def store(self, sources: Iterable[FileSource], tell: Callable[[int], None]) -> Iterator[ChunkResult]:
        """Do `store_files`. Yield chunks in the order in which they are done. ``tell`` receives the bytes of each part.

        This process stores the streams. Each part commits for itself: what was yielded is stored. Raise the error of a
        worker, or `WorkerDied`; then the caller runs it again.
        """
        streams: list[Stream] = []
        handed_out = HandedOut(self._executor, self._engine)
        for chunks in handed_out.as_done(partial(_store, form=self._form), _parts(sources, streams)):
            for chunk in chunks:
                tell(chunk.size)
                yield chunk
        yield from store_files(self._engine, streams, self._form, tell)


def _store(engine: Engine, paths: list[str], form: StoredAs) -> list[ChunkResult]:
    """Store the files of one part. This runs in a worker."""
    return list(store_files(engine, paths, form, lambda size: None))


def _parts(sources: Iterable[FileSource], streams: list[Stream]) -> Iterator[list[str]]:
    """Yield the paths in parts, each for one worker, and one insert there. The streams are added to ``streams``."""
    paths: list[str] = []
    size = 0
    for source in sources:
        if not isinstance(source, str):
            streams.append(source)
            continue
        paths.append(source)
        size += _size_of(source)
        if len(paths) >= MOST_CHUNK or size >= MOST_CHUNK_BYTES:
            yield paths
            paths, size = [], 0
    if paths:
        yield paths


def _size_of(path: str) -> int:
    """Return the size of a file; 0 if it cannot be found out: the worker reports why."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0
