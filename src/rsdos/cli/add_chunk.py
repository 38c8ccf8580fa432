"""Storing files in chunks of one insert each, and so of one sync, and what is to be said of each file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, cast

from rsdos.cli.add_walk import is_stream
from rsdos.cli.render import human, one_line, short
from rsdos.errors import SourceChanged, UnreadableSource
from rsdos.model import Place
from rsdos.standard import standard_input
from rsdos.streams.sources import Frames, take

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.model import CompressMode, Source

_CHUNK = 16384
"""Files of one insert: their keys are printed when all of them are durable."""

_CHUNK_BYTES = 256 << 20
"""Or of so many bytes: whoever is killed has to read no more than these again."""

_LOOSE_CHUNK = 256
"""The loose store syncs as many files together."""

_STREAMS = ("-", "/")
"""What the name of a stream begins with; most begin otherwise."""

_LINES = 16
"""Lines that are printed together: 2 KB, which a pipe takes whole or, when the user interrupts, not at all."""


class AddOptions(NamedTuple):
    """How files are to be stored and told of."""

    place: Place
    mode: CompressMode
    as_json: bool


class ChunkResult(NamedTuple):
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


def store_files(
    container: Container, paths: Iterable[str], how: AddOptions, tell: Callable[[int], None]
) -> Iterator[ChunkResult]:
    """Store files, one insert for each chunk; ``tell`` gets the bytes that are read, as they are.

    A file of at most one frame is read before the store gets it, and left out when it cannot be. A larger one that
    goes bad half-way fails the whole insert: it is done again without that file. A stream, which can be read only
    once, is a chunk of its own.
    """
    rest = iter(paths)
    refused: list[str] = []
    while True:
        reading = _Reading(rest, _LOOSE_CHUNK if how.place is Place.LOOSE else _CHUNK, refused, tell)
        try:
            keys = container.insert_many(iter(reading), to=how.place, compress=how.mode)
        except (UnreadableSource, SourceChanged) as error:
            refused.append(str(error))
            bad = os.fspath(error.path)
            rest = chain([path for path in (*reading.paths, *reading.later) if path != bad], rest)
            continue
        if keys or refused:
            sizes = reading.sizes
            yield ChunkResult(len(keys), sum(sizes), _texts(keys, reading.paths, sizes, how), refused)
        if reading.is_over:
            return
        rest = chain(reading.later, rest) if reading.later else rest
        refused = []


class _Reading:
    """The sources of one chunk, and what was read of them: the ``paths``, and the ``sizes``, known when it is stored.

    ``later`` is of the next chunk.
    """

    def __init__(self, rest: Iterator[str], most: int, refused: list[str], tell: Callable[[int], None]) -> None:
        """What cannot be read is added to ``refused``."""
        self._rest = rest
        self._most = most
        self._refused = refused
        self._tell = tell
        self.paths: list[str] = []
        self.sizes: list[int] = []
        self.later: list[str] = []
        self._total = 0
        self.is_over = False

    def __iter__(self) -> Iterator[Source]:
        paths, sizes, most, tell = self.paths, self.sizes, self._most, self._tell
        for path in self._rest:
            is_alone = path[:1] in _STREAMS and is_stream(path)
            if is_alone and paths:
                self.later = [path]
                return
            try:
                data = _take_stream(path) if is_alone else take(path)
            except (UnreadableSource, SourceChanged) as error:
                self._refused.append(str(error))
                continue
            paths.append(path)
            if isinstance(data, bytes):
                size = len(data)
                sizes.append(size)
                self._total += size
                tell(size)
                yield data
            else:
                sizes.append(0)
                yield cast("Source", data.told(partial(self._read, len(sizes) - 1)))
            if is_alone or len(paths) >= most or self._total >= _CHUNK_BYTES:
                return
        self.is_over = True

    def _read(self, at: int, size: int) -> None:
        """So much more of a large one was read."""
        self.sizes[at] += size
        self._total += size
        self._tell(size)


def _take_stream(path: str) -> bytes | Frames:
    try:
        # What the shell has opened is closed when this process ends.
        return take(standard_input() if path in ("-", "/dev/stdin") else open(path, "rb", buffering=0))
    except OSError as error:
        raise UnreadableSource(path, error.errno or errno.EIO) from error


def _texts(keys: list[str], paths: list[str], sizes: list[int], how: AddOptions) -> list[str]:
    """What is printed of some files, a few lines in each text."""
    if how.as_json:
        lines = [
            json.dumps({"key": key, "path": short(path), "size": size})
            for key, path, size in zip(keys, paths, sizes, strict=True)
        ]
    else:
        lines = [f"{key} - {_shown(path)}: {_human(size)}" for key, path, size in zip(keys, paths, sizes, strict=True)]
    return ["\n".join(lines[at : at + _LINES]) for at in range(0, len(lines), _LINES)]


def line_of(path: str, size: int | None, as_json: bool) -> str:
    """What is printed of a file that is not stored yet; a stream has no size before it is read."""
    if as_json:
        return json.dumps({"path": short(path), "size": size})
    return _shown(path) if size is None else f"{_shown(path)}: {_human(size)}"


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
