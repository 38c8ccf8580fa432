"""The files of one insert, which are read when the store asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Protocol

from rsdos.errors import UnreadableSource
from rsdos.model import DIGEST_BYTES, FRAME_SIZE
from rsdos.streams.sources import Frames
from rsdos.worktree.contents import Opener, read_as_it_was
from rsdos.worktree.run_files import RunFiles

_BATCH = 16384
"""Files of one insert."""

_BATCH_BYTES = 256 << 20
"""The most bytes of one insert: after a kill no more than these are read again."""

_TOLD_FILES = 256
_TOLD_BYTES = 1 << 20
"""Small files, or their bytes, between two calls of the progress callback: about 3 ms."""


NextRun = Callable[[], RunFiles | None]
"""Returns the next run with files to be read, or None if the batch must end here."""


class FileReader(Protocol):
    """Reads the files of batches."""

    def opener(self, run: RunFiles) -> Opener:
        """Return the opener for the names of a run."""

    def read(self, run: RunFiles, at: int, opener: Opener) -> bytes | Frames | None:
        """Return the content of a file; None if it is gone, or left out because it cannot be read."""

    def leave_out(self, run: RunFiles, at: int, error: OSError) -> None:
        """Leave out a file that cannot be read, or raise the error."""

    def path_of(self, run: RunFiles, at: int) -> str:
        """Return the path of a file, for messages."""

    def told(self, files: int, size: int) -> None:
        """Count files and bytes that were read."""


class FileBatch:
    """The files of one insert. Iterate it for their contents, and again if the insert failed."""

    def __init__(self, reader: FileReader, run: RunFiles, start: int, next_run: NextRun) -> None:
        """``start`` is the first of the positions in ``run.missing`` that are to be read."""
        self._reader = reader
        self._next_run = next_run
        self._slots: list[tuple[RunFiles, int]] = []
        self._bytes = self._told = self._told_files = 0
        self._run: RunFiles | None = run
        self._start = start

    @property
    def rest(self) -> tuple[RunFiles, int] | None:
        """The run to be read next, and the first position in its ``missing`` that was not read."""
        return None if self._run is None else (self._run, self._start)

    @property
    def last_size(self) -> int:
        """The raw bytes of the file that was read last."""
        run, at = self._slots[-1]
        return run.sizes[at]

    @property
    def last_path(self) -> str:
        """The path of that file; "" if none was read."""
        if not self._slots:
            return ""
        run, at = self._slots[-1]
        return self._reader.path_of(run, at)

    def fill(self, keys: Sequence[str]) -> None:
        """Give each file its key."""
        digests = bytes.fromhex("".join(keys))
        for (run, at), start in zip(self._slots, range(0, len(digests), DIGEST_BYTES), strict=True):
            run.keys[at] = digests[start : start + DIGEST_BYTES]
            run.left -= 1

    def leave_out_last(self, error: UnreadableSource) -> None:
        """Leave out the file that was read last, or raise the error."""
        run, at = self._slots.pop()
        self._reader.leave_out(run, at, error)

    def __iter__(self) -> Iterator[bytes | Frames]:
        again, self._slots = self._slots, []
        self._bytes = self._told = self._told_files = 0
        for run, slots in groupby(again, itemgetter(0)):
            opener = self._reader.opener(run)
            for _, at in slots:
                if (content := self._read(run, at, opener)) is not None:
                    yield content
        while self._run is not None:
            yield from self._contents(self._run)
            if self._is_full:
                break
            self._run, self._start = self._next_run(), 0
        self._tell()

    def _contents(self, run: RunFiles) -> Iterator[bytes | Frames]:
        """Yield the contents of the files of a run, until the batch is full."""
        opener, slots = self._reader.opener(run), self._slots
        names, sizes, mtimes, ctimes = run.names, run.sizes, run.mtimes, run.ctimes
        for at in run.missing[self._start :]:
            self._start += 1
            size = sizes[at]
            content: bytes | Frames | None = None
            if size <= FRAME_SIZE:
                content = read_as_it_was(opener, names[at], size, mtimes[at], ctimes[at])
            if content is not None:
                slots.append((run, at))
                self._bytes += size
            else:
                content = self._read(run, at, opener)
                if content is None:
                    continue
            yield content
            if len(slots) - self._told_files >= _TOLD_FILES or self._bytes - self._told >= _TOLD_BYTES:
                self._tell()
                if self._is_full:
                    return

    @property
    def _is_full(self) -> bool:
        return len(self._slots) >= _BATCH or self._bytes >= _BATCH_BYTES

    def _read(self, run: RunFiles, at: int, opener: Opener) -> bytes | Frames | None:
        """Return the content of a file of any size, also of one that has changed since the scan."""
        content = self._reader.read(run, at, opener)
        if content is None:
            return None
        self._slots.append((run, at))
        if isinstance(content, bytes):
            run.sizes[at] = len(content)
            self._bytes += len(content)
            return content
        run.sizes[at] = 0
        return content.told(partial(self._count, run, at))

    def _count(self, run: RunFiles, at: int, size: int) -> None:
        """Count ``size`` more bytes of a large file."""
        run.sizes[at] += size
        self._bytes += size
        self._tell()

    def _tell(self) -> None:
        """Report how much was read."""
        files, size = len(self._slots), self._bytes
        self._reader.told(max(files - self._told_files, 0), max(size - self._told, 0))
        self._told_files, self._told = files, size
