"""Stores files of a working directory, a batch at a time: each batch is one insert, with one commit."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from rsdos.errors import SourceChanged, UnreadableSource
from rsdos.model import CompressMode, Copy, PackKind, Trust
from rsdos.storage.posix import opener_in
from rsdos.stores import batch
from rsdos.stores.encoding import Encoding
from rsdos.streams.sources import Frames
from rsdos.worktree.contents import TRIES, Opener, read_content
from rsdos.worktree.file_batch import FileBatch
from rsdos.worktree.open_directories import OpenDirectories
from rsdos.worktree.run_files import RunFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rsdos.engine.engine import Engine
    from rsdos.model import BytesLike, Source


class FileStore:
    """Reads and stores files. One thread."""

    def __init__(
        self,
        engine: Engine,
        top: OpenDirectories,
        refuse: Callable[[bytes, OSError], None],
        tell: Callable[[int, int], None],
    ) -> None:
        """``refuse`` gets the path of a file that cannot be read. It raises an error to end the save.

        ``tell`` receives the files and raw bytes that were read.
        """
        self.objects = 0
        """Objects that were stored: the container did not have them."""
        self.size = 0
        """Their raw bytes."""
        self._engine = engine
        self._top = top
        self._refuse = refuse
        self._tell = tell
        self._encoding = Encoding(CompressMode.AUTO, engine.packed.compression)
        self._tries: Counter[str] = Counter()

    def opener(self, run: RunFiles) -> Opener:
        """Return the opener for the names of a run."""
        return opener_in(self._top.open(run.directory))

    def read(self, run: RunFiles, at: int, opener: Opener) -> bytes | Frames | None:
        """Return the content of a file; None if it is gone, or left out because it cannot be read."""
        try:
            return read_content(opener, run.names[at], partial(self.path_of, run, at))
        except UnreadableSource as error:
            if error.errno == errno.ENOENT:
                run.leave_out(at)
            else:
                self.leave_out(run, at, error)
            return None

    def path_of(self, run: RunFiles, at: int) -> str:
        """Return the path of a file, for messages."""
        return self._top.path_of(run.path(at))

    def leave_out(self, run: RunFiles, at: int, error: OSError) -> None:
        """Leave out a file that cannot be read, or raise the error."""
        self._refuse(run.path(at), error)
        run.leave_out(at)

    def told(self, files: int, size: int) -> None:
        """Count files and bytes that were read."""
        self._tell(files, size)

    def insert(self, files: FileBatch) -> None:
        """Store the files of a batch, and give each its key. Raise `SourceChanged`, `UnreadableSource`, OSError.

        The batch is inserted again if one of its files changed, or turned out to be unreadable half-way.
        """
        self._batch = files
        while True:
            objects, size = self.objects, self.size
            writer = self._engine.packed.writer(self._known, kind=PackKind.HELD)
            try:
                with self._engine.objects.writing():
                    keys = batch.insert_many(cast("Iterator[Source]", iter(files)), writer, self._encoding)
            except (SourceChanged, UnreadableSource) as error:
                # Frames raise half-way or at their end. The insert has stored nothing: its files are read again.
                path = os.fspath(error.path)
                if path != files.last_path:
                    raise  # The error came before the store got any byte of the file.
                self._tries[path] += 1
                if isinstance(error, UnreadableSource):
                    files.leave_out_last(error)
                elif self._tries[path] >= TRIES:
                    raise
            else:
                files.fill(keys)
                return
            self.objects, self.size = objects, size

    def _known(
        self, digests: Sequence[bytes], trust: Trust, /, raws: Sequence[BytesLike] | None = None
    ) -> Sequence[Copy]:
        """Return the packed copies of objects, and count the objects without one."""
        copies = self._engine.packed.own_copies(digests, trust, raws, kind=PackKind.HELD)
        new = [at for at, copy in enumerate(copies) if copy is not Copy.GOOD]
        self.objects += len(new)
        if raws is not None:
            self.size += sum([len(raws[at]) for at in new])
        elif new:
            # A large object comes alone, after it was read to its end: it is the last file of the batch.
            self.size += self._batch.last_size
        return copies
