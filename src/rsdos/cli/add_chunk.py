"""Storing files in chunks of one insert each, and so of one sync, and what is to be said of each file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from rsdos.cli.render import human, one_line, short
from rsdos.errors import SourceChanged, UnreadableSource
from rsdos.model import Place
from rsdos.streams.sources import take

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.model import CompressMode, Source

_CHUNK = 16384
"""Files of one insert: their keys are printed when all of them are durable."""

_CHUNK_BYTES = 256 << 20
"""Or of so many bytes: whoever is killed has to read no more than these again."""

_LOOSE_CHUNK = 256
"""The loose store syncs as many files together."""

_LINES = 16
"""Lines that are printed together: 2 KB, which a pipe takes whole or, when the user interrupts, not at all."""


class How(NamedTuple):
    """How files are to be stored and told of."""

    place: Place
    mode: CompressMode
    as_json: bool


class StoredChunk(NamedTuple):
    """What became of some ``files``: what to print of those that are durable now, and why others are not there.

    ``objects`` of ``size`` raw bytes are durable; ``failed`` is what went wrong with all of it, in a worker.
    """

    objects: int
    size: int
    texts: list[str]
    refused: list[str]
    failed: str = ""

    @property
    def files(self) -> int:
        """How many it is about."""
        return self.objects + len(self.refused)


def store_files(container: Container, paths: Iterable[str], how: How) -> Iterator[StoredChunk]:
    """Store files, one insert for each chunk.

    A file of at most one frame is read before the store gets it, and left out when it cannot be. A larger one that
    goes bad half-way fails the whole insert: it is done again without that file.
    """
    rest = iter(paths)
    refused: list[str] = []
    while True:
        reading = _Reading(rest, _LOOSE_CHUNK if how.place is Place.LOOSE else _CHUNK, refused)
        try:
            keys = container.insert_many(iter(reading), to=how.place, compress=how.mode)
        except (UnreadableSource, SourceChanged) as error:
            refused.append(str(error))
            bad = os.fspath(error.path)
            rest = chain([path for path in reading.paths if path != bad], rest)
            continue
        if keys or refused:
            # Of a large file only the store knows how much was read.
            sizes = [
                container.meta(key).size if size is None else size
                for key, size in zip(keys, reading.sizes, strict=True)
            ]
            yield StoredChunk(len(keys), sum(sizes), _texts(keys, reading.paths, sizes, how), refused)
        if reading.is_over:
            return
        refused = []


class _Reading:
    """The sources of one chunk, and what was read of them: the ``paths``, and a size for each that is not large."""

    def __init__(self, rest: Iterator[str], most: int, refused: list[str]) -> None:
        """What cannot be read is added to ``refused``."""
        self._rest = rest
        self._most = most
        self._refused = refused
        self.paths: list[str] = []
        self.sizes: list[int | None] = []
        self.is_over = False

    def __iter__(self) -> Iterator[Source]:
        paths, sizes, most, total = self.paths, self.sizes, self._most, 0
        for path in self._rest:
            try:
                data = take(path)
            except (UnreadableSource, SourceChanged) as error:
                self._refused.append(str(error))
                continue
            paths.append(path)
            if isinstance(data, bytes):
                size = len(data)
                sizes.append(size)
                total += size
                yield data
            else:
                data.close()
                sizes.append(None)
                total += _size_of(path)
                yield path
            if len(paths) >= most or total >= _CHUNK_BYTES:
                return
        self.is_over = True


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # The store will say what is wrong with it.


def _texts(keys: list[str], paths: list[str], sizes: list[int], how: How) -> list[str]:
    """What is printed of some files, a few lines in each text."""
    if how.as_json:
        lines = [
            json.dumps({"key": key, "path": short(path), "size": size})
            for key, path, size in zip(keys, paths, sizes, strict=True)
        ]
    else:
        lines = [f"{key} - {_shown(path)}: {_human(size)}" for key, path, size in zip(keys, paths, sizes, strict=True)]
    return ["\n".join(lines[at : at + _LINES]) for at in range(0, len(lines), _LINES)]


_human = lru_cache(1 << 12)(human)


def _shown(path: str) -> str:
    """`rsdos.cli.render.name`, which costs 2 us, asked once for each directory."""
    head, _, tail = path.rpartition("/")
    if not head or tail in ("", "."):
        return one_line(short(path))
    return _before(head) + one_line(tail)


@lru_cache(16)
def _before(directory: str) -> str:
    """What stands before the name of a file of this directory."""
    return one_line(short(f"{directory}/-"))[:-1]
