"""The state of a working directory: the result of ``lstat`` for each entry when its content was last known. A cache.

It is a file ``checkouts/<id>.state`` in the container, or in a directory that the caller gives if the container cannot
be written. The id is made from the directory's real path and inode. The file has a row (`rows`) for each entry, in tree
order, then a JSON document with the tree and the checksum of the rows, then the length of that document in eight bytes.
A file that is damaged, of another directory or container, or too new is ignored, which costs only time. So it is not
synced, and not backed up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rsdos.codecs.checksum import crc32
from rsdos.errors import RsdosError
from rsdos.hashing import SHA256
from rsdos.storage import locks, posix
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.storage.descriptors import Opened, Working, opening
from rsdos.trees.entry import Attributes
from rsdos.worktree.rows import NO_ROW, ROW_BYTES

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine

# Opened for writing, because NFS turns flock into a lock that needs it.
_LOCK = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_TYPE = "rsdos state"
_VERSION = 1
_LENGTH = Struct("<Q")
_MOST_HEAD = 1 << 20
"""Bytes of the document: 20,000 patterns."""

_AT_ONCE = ROW_BYTES << 15
"""Bytes that are read together: 1.3 MB."""


@dataclass(frozen=True, slots=True)
class StateHead:
    """What a state describes."""

    container_id: str
    reference: str
    """The name that the directory was saved to or checked out from: ``NAME@N``, a tag or a key."""
    snapshot: str
    """The key of the snapshot."""
    tree: str
    """The key of its tree."""
    under: bytes = b""
    """The directory of the tree that the working directory has."""
    attributes: Attributes = Attributes.NONE
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """The patterns of a checkout of a part. There are rows of the entries that they cover (`ignore.Selection`)."""


class State:
    """The state of a working directory, open for reading. A context manager."""

    def __init__(self, file: Opened, head: StateHead, count: int, taken: int) -> None:
        self._file = file
        self.head = head
        self.count = count
        """The number of rows."""
        self.taken = taken
        """The machine's time when the state was written, in ns."""

    def rows(self, start: int, stop: int) -> bytes:
        """Return the rows from ``start`` to before ``stop``; `NO_ROW` for those that are not there."""
        wanted = (stop - start) * ROW_BYTES
        data = b""
        if start < self.count:
            with suppress(OSError):  # A read of a server's disk may fail, but a state never raises an error.
                data = posix.read_at(self._file.fd, start * ROW_BYTES, (min(stop, self.count) - start) * ROW_BYTES)
        if len(data) == wanted:
            return data
        data = data[: len(data) - len(data) % ROW_BYTES]
        return data + NO_ROW * (wanted // ROW_BYTES - len(data) // ROW_BYTES)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_state(engine: Engine, directory: str | os.PathLike[str], state_directory: str | None = None) -> State | None:
    """Open the state of a working directory; of two, the newer one. Return None if there is no good one."""
    found: State | None = None
    for path in _paths(engine, directory, state_directory):
        state = _open(path, engine.config.container_id)
        if state is not None and (found is None or found.taken < state.taken):
            found, state = state, found
        if state is not None:
            state.close()
    return found


def write_state(
    engine: Engine,
    directory: str | os.PathLike[str],
    head: StateHead,
    rows: Iterable[bytes],
    state_directory: str | None = None,
) -> str:
    """Replace the state of a working directory. Return the path of the file; "" if it cannot be written anywhere.

    ``rows`` are rows in runs of any length. Readers have the old state or the new one.
    """
    with StateWriter(engine, directory, state_directory) as writer:
        for run in rows:
            writer.add(run)
        return writer.finish(head)


def drop_state(engine: Engine, directory: str | os.PathLike[str], state_directory: str | None = None) -> None:
    """Remove the state of a working directory, if there is one."""
    for path in _paths(engine, directory, state_directory):
        with suppress(OSError):
            posix.remove(path)


class StateWriter:
    """A new state, row by row. A context manager; what `finish` did not complete is removed. One thread.

    If no file can be made, or the disk is full, nothing is written, and no error is raised.
    """

    def __init__(self, engine: Engine, directory: str | os.PathLike[str], state_directory: str | None = None) -> None:
        self._paths = _paths(engine, directory, state_directory)
        self._in_container = engine.directory
        self._engine = engine
        self._container_id = engine.config.container_id
        self._file: posix.NewFile | None = None
        self._path = ""
        self._length = 0
        self._checksum = 0

    def __enter__(self) -> Self:
        for path in self._paths:
            with suppress(OSError, RsdosError):
                self._make_directory(path)
                _remove_leftovers(os.path.dirname(path))
                self._path = path
                self._file = posix.NewFile(f"{path}.{os.urandom(8).hex()}.new")
                self._begin(self._file)
                break
            self._file = None
        return self

    def _begin(self, file: posix.NewFile) -> None:
        try:
            locks.try_lock(file.__enter__())
        except BaseException:
            file.undo()
            raise

    def add(self, rows: bytes) -> None:
        """Append rows."""
        if self._file is None:
            return
        try:
            self._length += posix.write_at(self._file.fd, self._length, rows)
        except OSError:
            self._give_up()
            return
        self._checksum = crc32(rows, self._checksum)

    def finish(self, head: StateHead) -> str:
        """Complete the state. Return its path; "" if it could not be written."""
        if self._file is None:
            return ""
        fields = _fields_of(head) | {
            "taken": time.time_ns(),
            "count": self._length // ROW_BYTES,
            "rows_crc32": self._checksum,
        }
        document = encode_document(fields)
        try:
            posix.write_at(self._file.fd, self._length, document + _LENGTH.pack(len(document)))
            os.rename(self._file.path, self._path)
        except OSError:
            self._give_up()
            return ""
        self._file.close()
        self._file = None
        return self._path

    def _make_directory(self, path: str) -> None:
        directory = os.path.dirname(path)
        if path.startswith(f"{self._in_container}/"):
            self._engine.layout.make(directory)
        else:
            os.makedirs(directory, exist_ok=True)

    def _give_up(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.undo()
            self._file = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_up()


def _remove_leftovers(directory: str) -> None:
    """Remove the files that killed processes have left: those without a lock."""
    for name in os.listdir(directory):
        if name.endswith(".new"):
            with Working(opening(f"{directory}/{name}", _LOCK)) as fd:
                if locks.try_lock(fd):
                    posix.remove(f"{directory}/{name}")


def _paths(engine: Engine, directory: str | os.PathLike[str], state_directory: str | None) -> list[str]:
    """Return the paths that the state may have, first the one in the container."""
    path = os.path.realpath(directory)
    identity = f"{path}\0{os.stat(path).st_ino}"
    name = f"{sha256(os.fsencode(identity)).hexdigest()[:32]}.state"
    paths = [f"{engine.layout.checkouts}/{name}"] if engine.directory is not None else []
    if state_directory is not None:
        # Several containers may have states of one directory there.
        paths.append(f"{os.path.abspath(state_directory)}/{engine.config.container_id}-{name}")
    return paths


def _open(path: str, container_id: str) -> State | None:
    """Open a state. Return None if there is none, or it is not good."""
    try:
        file = posix.open_for_reading(path)
    except OSError:
        return None
    try:
        state = _read(file, container_id)
    except (OSError, ValueError, KeyError, TypeError):
        state = None
    if state is None:
        file.close()
    return state


def _read(file: Opened, container_id: str) -> State | None:
    """Read what follows the rows, and compare their checksum. Raise ValueError, KeyError or TypeError for damage."""
    end = os.fstat(file.fd).st_size - _LENGTH.size
    if end < 0:
        return None
    (length,) = _LENGTH.unpack(posix.read_at(file.fd, end, _LENGTH.size))
    if length > min(end, _MOST_HEAD):
        return None
    fields = decode_document(posix.read_at(file.fd, end - length, length))
    count = int(fields["count"])
    if (fields["type"], fields["version"], fields["container_id"]) != (_TYPE, _VERSION, container_id):
        return None
    if count * ROW_BYTES != end - length:
        return None
    checksum = 0
    for offset in range(0, end - length, _AT_ONCE):
        checksum = crc32(posix.read_at(file.fd, offset, min(_AT_ONCE, end - length - offset)), checksum)
    if checksum != fields["rows_crc32"]:
        return None
    return State(file, _head_of(fields), count, int(fields["taken"]))


def _fields_of(head: StateHead) -> dict[str, Any]:
    return {
        "type": _TYPE,
        "version": _VERSION,
        "container_id": head.container_id,
        "reference": head.reference,
        "snapshot": head.snapshot,
        "tree": head.tree,
        "under": os.fsdecode(head.under),
        "attributes": int(head.attributes),
        "include": list(head.include),
        "exclude": list(head.exclude),
    }


def _head_of(fields: dict[str, Any]) -> StateHead:
    return StateHead(
        container_id=str(fields["container_id"]),
        reference=str(fields["reference"]),
        snapshot=_key(fields["snapshot"]),
        tree=_key(fields["tree"]),
        under=os.fsencode(fields["under"]),
        attributes=Attributes(fields["attributes"]),
        include=tuple(map(str, fields["include"])),
        exclude=tuple(map(str, fields["exclude"])),
    )


def _key(text: str) -> str:
    if not SHA256.is_key(text):
        raise ValueError("no key")
    return text
