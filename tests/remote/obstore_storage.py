"""A storage through obstore, the second client library: it shows that the seam holds, and is a way out of the first."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PermissionDeniedError, PreconditionError

from rsdos.errors import DamagedContainer, Refused, Unavailable
from rsdos.model import BytesLike
from rsdos.storage.base import FileInfo, Put, PutResult, Traits, check_name, is_name
from rsdos.storage.ranged import RangedStorage


class ObstoreStorage(RangedStorage):
    """Objects below a prefix that the store of obstore has."""

    traits = Traits("storage through obstore", is_remote=True)

    def __init__(self, store: Any) -> None:
        self.root = "obstore:"
        self._store = store

    def _error(self, error: Exception, name: str) -> OSError:
        if isinstance(error, FileNotFoundError | NotFoundError):
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path(name))
        kind = Refused if isinstance(error, PermissionDeniedError) else Unavailable
        return kind(self.path(name), type(error).__name__)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        path = self.path(name)
        try:
            data = bytes(obstore.get_range(self._store, name, start=offset, length=length))
        except (BaseError, FileNotFoundError) as error:
            raise self._error(error, name) from None
        if len(data) != length:
            raise DamagedContainer(path, "cut short", offset)
        return data

    def stat(self, name: str) -> FileInfo | None:
        try:
            return _info(name, obstore.head(self._store, check_name(name)))
        except (FileNotFoundError, NotFoundError):
            return None
        except BaseError as error:
            raise self._error(error, name) from None

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        skipped = len(directory) + 1
        return (info.name[skipped:] for info in self.list_infos(directory, after, most))

    def list_infos(self, directory: str, after: str = "", most: int | None = None) -> Iterator[FileInfo]:
        prefix = f"{check_name(directory)}/"
        found = obstore.list(self._store, prefix, offset=prefix + after if after else None)
        infos = (_info(meta["path"], meta) for page in found for meta in page)
        return islice((info for info in infos if "/" not in info.name[len(prefix) :] and is_name(info.name)), most)

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        check_name(name)
        if still is not None and not still():
            return PutResult(Put.TAKEN)
        try:
            obstore.put(self._store, name, data, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError, FileExistsError):
            return PutResult(Put.TAKEN)
        except PermissionDeniedError as error:
            raise self._error(error, name) from None
        except BaseError:
            return PutResult(Put.UNKNOWN)
        return PutResult(Put.OURS)

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        data = b"".join(parts)
        if len(data) != length:
            raise ValueError(f"{self.path(name)}: {len(data)} bytes came of {length}")
        if self.put_new(name, data).outcome is not Put.OURS:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.path(name))

    def empty(self, name: str) -> None:
        self._info(name)
        obstore.put(self._store, name, b"", use_multipart=False)

    def remove(self, name: str) -> bool:
        obstore.delete(self._store, check_name(name))
        return True


def _info(name: str, meta: Any) -> FileInfo:
    etag = (meta["e_tag"] or "").strip('"')
    version = meta["size"], int.from_bytes(etag.encode()[:32])
    return FileInfo(name, meta["size"], version, 1, meta["last_modified"].timestamp(), etag)
