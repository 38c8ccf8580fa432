"""The index files of a remote: in a cache on this machine, and block by block as long as they are large and new.

A segment or a table of a bucket has a name that is never used again, so a whole copy of it never becomes outdated. All
processes of this machine share the copies. A copy is put under a temporary name and linked, so it is whole or absent.
Its bytes are checked when they are used, as in any segment, and a damaged copy is dropped (`CachedStorage.drop_copy`).

Manifests are not kept: a bucket that is set back to an older state has other manifests of the same names.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from contextlib import suppress

from rsdos.errors import log_warning
from rsdos.index.segment_layout import layout_of
from rsdos.model import BytesLike
from rsdos.storage.base import Put, PutResult, Storage, Version
from rsdos.storage.memory import MemoryView
from rsdos.storage.opened import RandomAccess, View
from rsdos.storage.wrapper import StorageWrapper
from rsdos.stores.remote.blocks import BlockView

KEPT = ("segments", "tables")
"""Directories of a bucket whose objects are never changed, and have a random suffix in their names."""

WHOLE = 8 << 20
"""Bytes up to which an index file is fetched whole into the cache: one request, that takes as long as five small ones
or more, for all programs that come after."""

WHOLE_WITHOUT = 1 << 20
"""The same where there is no cache: a longer one is fetched for one process, which may read a single object. By blocks
that is two waits of small requests; 6.7 MB took ten of them on a Ceph on loopback."""

PATIENCE = 5
"""Fetches of blocks of a file up to `WHOLE` after which the rest of it is fetched: it has cost as much by then."""

_MOST_WRITTEN = 2
"""Files that a merge writes at most: one of entries, and one of tombstones."""

NEVER_CHANGES: Version = (0,)
"""The version of an object whose name is never used again."""


class CachedStorage(StorageWrapper):
    """A bucket whose index files are fetched once. Any number of threads; processes share ``cache``.

    If the cache cannot be written, the log has a warning, and the bytes come from the bucket. That is never an error.
    """

    def __init__(self, inner: Storage, cache: Storage | None) -> None:
        """``cache`` is for one container alone; None: index files are kept in memory."""
        super().__init__(inner)
        self._written: dict[str, bytes] = {}
        """Index files that were put last, where there is no cache, until they are opened."""
        self._cache = cache
        self._warned = False

    def open(self, name: str, length: int | None = None) -> RandomAccess:
        if not _is_kept(name):
            file = self.inner.open(name, length)
            # Of an object that never changes no version is asked: each table in a pack would be a request more.
            return file if length is None else _Unchanging(file)
        if copy := self.copy_of(name):
            return copy
        if written := self._written.pop(name, None):
            return _BytesFile(self.path(name), written)
        far = self.inner.open(name, length)
        size = far.size() if length is None else length
        if size > (WHOLE_WITHOUT if self._cache is None else WHOLE):
            return _BlockFile(self, name, far, size)
        data = far.read(0, size)
        self.keep(name, (data,), size)
        return _BytesFile(far.path, data)

    def read(self, name: str, most: int) -> bytes:
        return self.read_with_version(name, most)[0] if _is_kept(name) else self.inner.read(name, most)

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        if not _is_kept(name):
            return self.inner.read_with_version(name, most)
        file = self.open(name)
        if file.size() > most:
            raise OSError(errno.EFBIG, f"larger than {most} bytes", file.path)
        return file.read(0, file.size()), file.version

    def version(self, name: str) -> Version | None:
        """See `Storage.version`. Of an index file nothing is asked: a manifest names it, or named it."""
        return NEVER_CHANGES if _is_kept(name) else self.inner.version(name)

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        """See `Storage.put_new`. An index file that was stored is kept: its writer reads it next."""
        result = self.inner.put_new(name, data, still)
        if result.outcome is Put.OURS and _is_kept(name):
            self.keep(name, (data,), len(data))
            if self._cache is None and len(data) <= WHOLE:
                self._written[name] = data
                for older in list(self._written)[:-_MOST_WRITTEN]:
                    self._written.pop(older, None)
        return result

    # The copies.

    def copy_of(self, name: str) -> RandomAccess | None:
        """Return the copy of an index file, open; None if there is none, or it cannot be read."""
        if self._cache is not None:
            try:
                return _Unchanging(self._cache.open(name))
            except FileNotFoundError:
                pass
            except OSError as error:
                self._warn("read", error)
        return None

    def keep(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        """Put a copy of an index file into the cache, if there is one. Raise nothing: a failure is a warning."""
        if self._cache is None:
            return
        try:
            self._cache.make_directory(name.rpartition("/")[0])
            self._cache.put_stream(name, parts, length)
        except FileExistsError:
            pass  # Another process was faster.
        except OSError as error:
            self._warn("written", error)

    def drop_copy(self, name: str) -> bool:
        self._written.pop(name, None)
        if self._cache is None or not _is_kept(name):
            return False
        with suppress(OSError):
            return self._cache.remove(name)
        return False

    def _warn(self, done: str, error: OSError) -> None:
        if not self._warned and self._cache is not None:
            self._warned = True
            reason = error.strerror or str(error)
            log_warning(
                "%s: the cache cannot be %s (%s); index files come from the remote", self._cache.root, done, reason
            )


def _is_kept(name: str) -> bool:
    return name.partition("/")[0] in KEPT


class _BytesFile:
    """An index file in memory: see `rsdos.storage.base.RandomAccess`."""

    version = NEVER_CHANGES
    is_open = True

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self._data = data

    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def read_into(self, offset: int, buffer: memoryview) -> int:
        buffer[:] = self._data[offset : offset + len(buffer)]
        return len(buffer)

    def view(self, offset: int, length: int) -> View:
        return MemoryView(self._data[offset : offset + length])

    def is_cached(self, offset: int) -> bool | None:
        return True

    def will_need(self, offset: int, length: int) -> None:
        return

    def close(self) -> None:
        return


class _Unchanging:
    """An object whose name is never used again, or a copy of one."""

    version = NEVER_CHANGES

    def __init__(self, file: RandomAccess) -> None:
        self._file = file
        self.path = file.path
        self.size = file.size
        self.read = file.read
        self.read_into = file.read_into
        self.view = file.view
        self.is_cached = file.is_cached
        self.will_need = file.will_need
        self.close = file.close

    @property
    def is_open(self) -> bool:
        return self._file.is_open


class _BlockFile:
    """A large index file in a bucket, until there is a copy of it."""

    version = NEVER_CHANGES
    is_open = True

    def __init__(self, storage: CachedStorage, name: str, file: RandomAccess, size: int) -> None:
        self._storage = storage
        self._name = name
        self._file = file
        self._size = size
        self._is_asked_for = False
        self.path = file.path

    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        return self._file.read(offset, length)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        return self._file.read_into(offset, buffer)

    def view(self, offset: int, length: int) -> View:
        view = BlockView(self._file, offset, length, self._copied, PATIENCE if self._size <= WHOLE else None)
        # Wanted with the header, which names no place: both are fetched at once.
        layout = layout_of(self._size)
        if layout and not offset:
            view.will_need(layout.table, layout.tail_end)
        return view

    def _copied(self) -> RandomAccess | None:
        """Fetch all of it into the cache. Return the copy; None if that is not possible, or was tried already."""
        from rsdos.stores.packed.ahead import MOST_SPAN, read_parts

        if self._is_asked_for:
            return None
        self._is_asked_for = True
        parts = read_parts(self._file, 0, self._size, MOST_SPAN, 16 * MOST_SPAN)
        self._storage.keep(self._name, parts, self._size)
        return self._storage.copy_of(self._name)

    def is_cached(self, offset: int) -> bool | None:
        return None

    def will_need(self, offset: int, length: int) -> None:
        return

    def close(self) -> None:
        """Do nothing: a view needs the object for as long as it is there."""
