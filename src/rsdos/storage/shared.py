"""A directory that machines share, used as object stores are: `file://` URLs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from rsdos.model import BytesLike
from rsdos.storage import posix
from rsdos.storage.base import PutResult, Traits, check_name, unsupported
from rsdos.storage.local import LocalStorage
from rsdos.storage.permissions import make_directories


class SharedDirectory(LocalStorage):
    """The files below a directory, without appending and locks: no server of files is needed that has them.

    Directories are made by the first put in them, and a list of a missing one is empty, as on object stores. A put is
    durable with its name.
    """

    traits = Traits("a shared directory", is_shared=True)

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._made: set[str] = set()

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.root,)

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        try:
            return super().list(directory, after, most)
        except FileNotFoundError:
            return iter(())

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        directory = self._make_parent(name)
        result = super().put_new(name, data, still)
        posix.sync_directory(directory)
        return result

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        directory = self._make_parent(name)
        super().put_stream(name, parts, length)
        posix.sync_directory(directory)

    def append(self, name: str, *, new: bool, still: Callable[[], bool] | None = None) -> NoReturn:
        raise unsupported(self, "append")

    def create(self, name: str) -> NoReturn:
        raise unsupported(self, "append")

    def lock(self, name: str, *, shared: bool = False, wait: bool = True) -> NoReturn:
        raise unsupported(self, "lock")

    def _make_parent(self, name: str) -> str:
        """Make the directory of a name, with all above it, and sync their names. Return its path."""
        directory = os.path.dirname(f"{self.root}/{check_name(name)}")
        if directory not in self._made:
            missing = [directory]
            while not os.path.isdir(missing[-1]):
                missing.append(os.path.dirname(missing[-1]))
            make_directories(directory)
            for above in missing[1:]:
                posix.sync_directory(above)
            self._made.add(directory)
        return directory
