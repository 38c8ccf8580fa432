"""Walk: finds the files that are named, and those in named directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, TypeAlias

from rsdos.ingest.patterns import Excluded
from rsdos.model import Readable
from rsdos.root import is_inside

_LIST = 1024
"""Files of one directory that are listed together: 150 KB of names."""

IS_DIRECTORY = "is a directory"
"""Why a name is refused under `Directories.REFUSE`."""


class Stream(NamedTuple):
    """A source that can be read only once, such as standard input. It is opened when its turn comes."""

    path: str
    """Its name in results and errors."""
    open: Callable[[], Readable]


FileSource: TypeAlias = str | Stream
"""What is stored as one object: the file of a path, or a stream."""


class RefusedFile(NamedTuple):
    """A file or directory that could not be read, and the reason."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Skipped(NamedTuple):
    """How many names a walk left out, by the reason."""

    irregular: int = 0
    """Symbolic links, sockets and other special files that were found in a directory."""
    own: int = 0
    """Names of the container itself, or of something in it."""
    directories: int = 0
    """Directories, under `Directories.SKIP`."""


NOTHING_SKIPPED = Skipped()


class Directories(Enum):
    """What a walk does with a directory that is named."""

    DESCEND = "descend"
    """Go through all files below it. Symbolic links that are found there are skipped."""
    REFUSE = "refuse"
    """Report it as refused."""
    SKIP = "skip"
    """Count it as skipped: for lists that other programs make, as `find` names directories too."""


class Walk:
    """The named files, and those in named directories. Iterate it once; one thread.

    The container itself is skipped, by whatever name it is reached. Memory: the names of the directories that are still
    to be visited, and of 1,024 files.
    """

    def __init__(self, container: str | None, exclude: Iterable[str] = ()) -> None:
        """``container`` is the container's directory; None: it has none.

        ``exclude`` are patterns of names to leave out of directories; see `rsdos.ingest.patterns.Excluded`.
        """
        self._own: tuple[int, int] | None = None
        if container is not None:
            status = os.stat(container)
            self._own = (status.st_dev, status.st_ino)
        self._excluded = Excluded(exclude)
        self._irregular = self._own_names = self._directories = 0
        self._refused: list[RefusedFile] = []
        self._is_own = lru_cache(16)(lambda directory: container is not None and is_inside(directory or ".", container))
        self._sources: list[Iterator[FileSource]] = []

    def add(self, names: Iterable[FileSource], directories: Directories) -> None:
        """Go through these names too, after those that were added before."""
        self._sources.append(chain.from_iterable(self._lists(names, directories)))

    def __iter__(self) -> Iterator[FileSource]:
        return chain.from_iterable(self._sources)

    @property
    def skipped(self) -> Skipped:
        """The names that were left out so far."""
        return Skipped(self._irregular, self._own_names, self._directories)

    def take_refused(self) -> list[RefusedFile]:
        """Return what was refused since the last call."""
        refused, self._refused = self._refused, []
        return refused

    def _lists(self, names: Iterable[FileSource], directories: Directories) -> Iterator[Iterable[FileSource]]:
        """Yield the files in lists. Yielding them one by one would take a tenth of the time of storing them."""
        for name in names:
            if not isinstance(name, str):
                yield (name,)
            elif os.path.isdir(name):
                if self._is_own(name):
                    self._own_names += 1
                elif directories is Directories.DESCEND:
                    yield from self._descend(name)
                elif directories is Directories.SKIP:
                    self._directories += 1
                else:
                    self._refused.append(RefusedFile(name, IS_DIRECTORY))
            elif self._is_own(os.path.dirname(name)):
                self._own_names += 1
            else:
                yield (name,)

    def _descend(self, top: str) -> Iterator[list[str]]:
        """Yield the regular files below a directory, in lists."""
        start = len(os.path.join(top, ""))
        excluded = self._excluded if self._excluded else None
        directories = [top]
        while directories:
            directory = directories.pop()
            files: list[str] = []
            try:
                status = os.stat(directory)
                if (status.st_dev, status.st_ino) == self._own:
                    continue
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):
                            if excluded is None or not excluded.file(entry.path[start:]):
                                files.append(entry.path)
                        elif entry.is_dir(follow_symlinks=False):
                            if excluded is None or not excluded.directory(entry.path[start:]):
                                directories.append(entry.path)
                        elif excluded is None or not excluded.file(entry.path[start:]):
                            self._irregular += 1
                        if len(files) >= _LIST:
                            yield files
                            files = []
            except OSError as error:
                self._refused.append(RefusedFile(error.filename or directory, error.strerror or str(error)))
            yield files


def size_of(names: Iterable[FileSource]) -> int:
    """Return the bytes in the files of these paths, without those that cannot be read. It is for a progress bar."""
    size = 0
    for name in names:
        if isinstance(name, str):
            with suppress(OSError):
                size += os.stat(name).st_size
    return size
