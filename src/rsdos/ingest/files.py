"""Store files in this process, in chunks. Each chunk is one insert, with one sync."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, cast

from rsdos.errors import SourceChanged, UnreadableSource
from rsdos.ingest.walk import FileSource, RefusedFile, Stream
from rsdos.model import CompressMode, PackKind, Place
from rsdos.streams.sources import Frames, take

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.model import Source

MOST_CHUNK = 16384
"""Files of one insert. Their keys are reported when all of them are durable."""

MOST_CHUNK_BYTES = 256 << 20
"""The most bytes of one insert: after a kill no more than these are read again."""

_LOOSE_CHUNK = 256
"""Loose files of one insert."""

_TOLD_FILES = 256
_TOLD_BYTES = 1 << 20
"""Small files, or their bytes, between two calls of the progress callback: about 3 ms."""


class StoredAs(NamedTuple):
    """How files are stored: where, whether compressed, and in packs of which kind."""

    place: Place
    compress: CompressMode
    kind: PackKind = PackKind.PLAIN


class StoredFile(NamedTuple):
    """A file that is stored: its path, the key of the object, and its raw bytes."""

    path: str
    key: str
    size: int


class ChunkResult(NamedTuple):
    """The outcome for some files: those that are durable now, as columns, and those that were refused."""

    paths: Sequence[str]
    keys: Sequence[str]
    sizes: Sequence[int]
    """Raw bytes of each."""
    refused: Sequence[RefusedFile] = ()

    @property
    def objects(self) -> int:
        """How many files were stored."""
        return len(self.keys)

    @property
    def size(self) -> int:
        """Raw bytes of all."""
        return sum(self.sizes)

    def files(self) -> list[StoredFile]:
        """The files that were stored, as rows."""
        return list(map(StoredFile, self.paths, self.keys, self.sizes))


def store_files(
    engine: Engine, sources: Iterable[FileSource], form: StoredAs, tell: Callable[[int], None]
) -> Iterator[ChunkResult]:
    """Store files, one insert for each chunk, and yield the outcome of each chunk. ``tell`` receives the bytes read.

    A file of at most one frame is read before the store gets it, and left out when it cannot be read. A larger file
    that turns out to be unreadable half-way fails the whole insert: the insert is repeated without that file. A stream,
    which can be read only once, is a chunk of its own.
    """
    place, compress, kind = form
    rest = iter(sources)
    refused: list[RefusedFile] = []
    while True:
        reading = _Reading(rest, _LOOSE_CHUNK if place is Place.LOOSE else MOST_CHUNK, refused, tell)
        try:
            keys = engine.objects.insert_many(iter(reading), to=place, compress=compress, kind=kind)
        except (UnreadableSource, SourceChanged) as error:
            refused.append(_refused(error))
            bad = os.fspath(error.path)
            rest = chain([path for path in (*reading.paths, *reading.later) if path != bad], rest)
            continue
        if keys or refused:
            yield ChunkResult(reading.paths, keys, reading.sizes, refused)
        if reading.is_over:
            return
        rest = chain(reading.later, rest) if reading.later else rest
        refused = []


class _Reading:
    """The sources of one chunk, and the ``paths`` and ``sizes`` that were read. Sizes are known once it is stored.

    ``later`` is the source that begins the next chunk.
    """

    def __init__(
        self, rest: Iterator[FileSource], most: int, refused: list[RefusedFile], tell: Callable[[int], None]
    ) -> None:
        """Files that cannot be read are added to ``refused``."""
        self._rest = rest
        self._most = most
        self._refused = refused
        self._tell = tell
        self.paths: list[str] = []
        self.sizes: list[int] = []
        self.later: list[FileSource] = []
        self._total = self._told = 0
        self.is_over = False

    def __iter__(self) -> Iterator[Source]:
        paths, sizes, most = self.paths, self.sizes, self._most
        until_files, until = _TOLD_FILES, _TOLD_BYTES
        for source in self._rest:
            is_stream = not isinstance(source, str)
            if is_stream and paths:
                self.later = [source]
                break
            try:
                path, data = _take_stream(source) if isinstance(source, Stream) else (source, take(source))
            except (UnreadableSource, SourceChanged) as error:
                self._refused.append(_refused(error))
                continue
            paths.append(path)
            if isinstance(data, bytes):
                size = len(data)
                sizes.append(size)
                self._total += size
                if len(paths) >= until_files or self._total >= until:
                    self._tell_all()
                    until_files, until = len(paths) + _TOLD_FILES, self._total + _TOLD_BYTES
                yield data
            else:
                self._tell_all()
                sizes.append(0)
                yield cast("Source", data.told(partial(self._read, len(sizes) - 1)))
            if is_stream or len(paths) >= most or self._total >= MOST_CHUNK_BYTES:
                break
        else:
            self.is_over = True
        self._tell_all()

    def _read(self, at: int, size: int) -> None:
        """Count ``size`` more bytes of a large file."""
        self.sizes[at] += size
        self._total += size
        self._tell_all()

    def _tell_all(self) -> None:
        if self._total > self._told:
            self._tell(self._total - self._told)
            self._told = self._total


def _take_stream(stream: Stream) -> tuple[str, bytes | Frames]:
    try:
        return stream.path, take(stream.open())
    except OSError as error:
        if isinstance(error, UnreadableSource):
            raise
        raise UnreadableSource(stream.path, error.errno or errno.EIO) from error


def _refused(error: UnreadableSource | SourceChanged) -> RefusedFile:
    return RefusedFile(os.fspath(error.path), error.reason)
