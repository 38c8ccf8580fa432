"""Writes a loose object through a file, as disk-objectstore allows."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from rsdos.compat.disk_objectstore.compression import compute_hash_and_size, get_hash_cls
from rsdos.compat.disk_objectstore.exceptions import ClosingNotAllowed, ModificationNotAllowed
from rsdos.storage import posix
from rsdos.storage.directory import remove_own


class HashWriterWrapper:
    """A binary file open for writing that hashes the written bytes."""

    def __init__(self, write_stream: Any, hash_type: str) -> None:
        if "b" not in write_stream.mode:
            raise AssertionError("the stream is not open for writing bytes")
        self._stream = write_stream
        self._hash_type = hash_type
        self._hasher = get_hash_cls(hash_type)()
        self._position: int = write_stream.tell()

    @property
    def hash_type(self) -> str:
        return self._hash_type

    @property
    def closed(self) -> bool:
        return bool(self._stream.closed)

    @property
    def mode(self) -> str:
        return str(self._stream.mode)

    def write(self, data: bytes) -> int:
        """Write data. Return the new position in the file."""
        if self._position != self._stream.tell():
            raise AssertionError(
                f"Error in the position ({self._position} vs {self._stream.tell()}): an earlier write failed"
            )
        self._stream.write(data)
        self._position += len(data)
        self._hasher.update(data)
        return self._position

    def hexdigest(self) -> str:
        return str(self._hasher.hexdigest())

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()

    def fileno(self) -> int:
        return int(self._stream.fileno())


class ObjectWriter:
    """A context manager with a file to write one object to. At the end of the block the object is stored loose.

    The file and its directory are synced. After an exception in the block nothing is stored.
    """

    def __init__(
        self,
        sandbox_folder: Path,
        loose_folder: Path,
        loose_prefix_len: int,
        duplicates_folder: Path,
        hash_type: str,
        trust_existing: bool = False,
    ) -> None:
        self._sandbox = sandbox_folder
        self._loose = loose_folder
        self._prefix_len = loose_prefix_len
        self._hash_type = hash_type
        self._trusts = trust_existing
        self._path: Path | None = None
        self._file: HashWriterWrapper | None = None
        self._key: str | None = None
        self._is_stored = False

    @property
    def hash_type(self) -> str:
        return self._hash_type

    def get_hashkey(self) -> str | None:
        """Return the key of the stored object."""
        return self._key

    def __enter__(self) -> HashWriterWrapper:
        if self._file is not None:
            raise OSError("You have already opened this ObjectWriter instance")
        if self._is_stored:
            raise ModificationNotAllowed(f"You have already tried to store this object '{self._key}'")
        self._path = self._sandbox / uuid.uuid4().hex
        self._file = HashWriterWrapper(open(self._path, "xb"), self._hash_type)
        return self._file

    def __exit__(
        self, exc_type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        file, path = self._file, self._path
        self._file = None
        self._is_stored = True
        if file is None or path is None:
            return
        try:
            if exc_type is None:
                self._store(file, path)
        finally:
            file.close()
            remove_own(str(path))

    def _store(self, file: HashWriterWrapper, path: Path) -> None:
        if file.closed:
            raise ClosingNotAllowed("You cannot close the file handle yourself!")
        file.flush()
        os.fsync(file.fileno())
        self._key = key = file.hexdigest()
        target = self._loose / key[: self._prefix_len] / key[self._prefix_len :]
        if not self._is_there(target, key):
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
            posix.sync_directory(str(target.parent))
            posix.sync_directory(str(self._loose))

    def _is_there(self, target: Path, key: str) -> bool:
        try:
            with open(target, "rb") as existing:
                return self._trusts or compute_hash_and_size(existing, self._hash_type)[0] == key
        except FileNotFoundError:
            return False


def safe_flush_to_disk(fhandle: Any, real_path: Path, use_fullsync: bool = False) -> None:
    """Sync an open file, and its directory."""
    fhandle.flush()
    posix.sync_file(fhandle.fileno())
    posix.sync_directory(os.path.dirname(real_path))
