"""The seam between the store and its medium: named objects below one root.

Packs, segments and manifests are read and written through `Storage`, and never through paths. `LocalStorage` is a
directory, `MemoryStorage` the memory of this process. `rsdos.testing.StorageConformance` tests a storage.

What a medium must guarantee:

1. Read after write. A name that was put is read, by everybody, as soon as the put has returned.
2. Whole or not at all. No reader sees a part of an object that is being put. (What is appended to is longer than what
   a manifest says of it, and readers go by the manifest.)
3. One winner. Of all `Storage.put_new` for one name at most one stores its bytes, until the name is removed.
4. Immutable versions. `FileInfo.version` differs between two objects that ever had the same name, and between an
   object and itself once it was changed.
5. Stable puts. What was put survives a crash of the medium once `Storage.sync` and `Storage.sync_names` have returned.

Everything else is a trait (`Traits`): the store asks for what it needs when it is opened, and names what is missing.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeAlias

from rsdos.errors import ReadOnlyContainer
from rsdos.model import BytesLike

Version: TypeAlias = tuple[int, ...]
"""What tells an object from any other of its name, and from itself once it was changed. Compare it; read nothing in it.
"""

MOST_NAME = 1024
"""Bytes of the longest name: that of object stores."""

_NAME = re.compile(r"(?!\.\.?(?:/|\Z))[A-Za-z0-9_.-]+(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9_.-]+)*")


class Put(Enum):
    """What became of a `Storage.put_new`."""

    OURS = "ours"
    """The bytes are stored under the name, and this call stored them."""
    TAKEN = "taken"
    """The name has other bytes; nothing was stored."""
    UNKNOWN = "unknown"
    """The answer was lost: the bytes may be stored, now or later. Read the name to find out."""


class PutResult(NamedTuple):
    """The outcome of a `Storage.put_new`, and the version of what it stored (None: nothing, or not known)."""

    outcome: Put
    version: Version | None = None


class Traits(NamedTuple):
    """What a medium can do beyond the guarantees above. The names are those that a refusal gives."""

    medium: str
    """What it is, for messages: "a directory", "memory"."""
    appends: bool = False
    """`Storage.append` works: an object can grow while others read its beginning."""
    locks: bool = False
    """`Storage.lock` works, between all that use the medium, and a dead holder's lock is free."""
    files: bool = False
    """It is a directory of this machine: objects can have files of their own, and a damaged file is moved aside."""


class FileInfo(NamedTuple):
    """What `Storage.stat` says of an object."""

    name: str
    length: int
    """Bytes."""
    version: Version
    names: int = 1
    """How many names it has: more than one in a copy by hard links, which shows whatever is done to it."""


class Span(NamedTuple):
    """A range of an object, in bytes."""

    name: str
    offset: int
    length: int


class View(Protocol):
    """A range of an object as a buffer. Immutable objects only."""

    data: memoryview
    """All of it. Bytes of which `need` was never called may be zeros."""
    keeps_open: bool
    """Whether the object stays open for as long as this is."""

    def need(self, start: int, end: int) -> None:
        """Make the bytes from ``start`` to ``end`` present. Raises OSError."""


class RandomAccess(Protocol):
    """An open object, read at any offset by any number of threads. It stays readable after its name was removed."""

    path: str
    """Where it is, for messages."""

    @property
    def version(self) -> Version:
        """Which object it was when it was opened, see `FileInfo.version`."""

    @property
    def is_open(self) -> bool:
        """Whether it can be read: not closed yet."""

    def size(self) -> int:
        """Return the bytes that it has now."""

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``. Raises `DamagedContainer` where it is too short, and OSError."""

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from ``offset`` and return how many bytes that were. Raises as `read` does."""

    def view(self, offset: int, length: int) -> View:
        """Return a range as a buffer. Raises OSError, and ValueError, OverflowError or MemoryError for lack of room."""

    def is_cached(self, offset: int) -> bool:
        """Return whether reading a byte is known to need no slow medium, or nothing is known."""

    def will_need(self, offset: int, length: int) -> None:
        """Begin to fetch a range that is read soon; do not wait. A hint."""

    def close(self) -> None:
        """Let go of it. Idempotent; it also happens with the last reference."""


class AppendFile(Protocol):
    """An object that one writer has to itself, to append to it. One thread. Every method raises OSError."""

    @property
    def is_open(self) -> bool:
        """Whether this process may write it: not closed, and not the parent's of a forked child."""

    def size(self) -> int:
        """Return the bytes that it has."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``: fewer only where it ends."""

    def write(
        self,
        offset: int,
        buffers: Sequence[BytesLike],
        lengths: Iterable[int] | None = None,
        each: Callable[[Sequence[BytesLike]], object] | None = None,
    ) -> int:
        """Write all ``buffers``, one after another, from ``offset``; return how many bytes.

        ``lengths`` are theirs, where the caller has them. ``each`` is called with each of them once, some at a time.
        """

    def cut(self, length: int) -> None:
        """Drop all bytes from ``length`` on."""

    def sync(self) -> None:
        """Put its bytes on stable storage. After a failure nothing of it is believed."""

    def remove(self) -> None:
        """Remove its name."""

    def end(self) -> None:
        """Close it, and let others append to it. Idempotent."""


class HeldLock(Protocol):
    """A held lock; a context manager that releases it. It is released when its holder dies, too."""

    @property
    def is_held(self) -> bool:
        """Whether this process holds it: not released, and not the parent's of a forked child."""

    def describe(self, holder: str) -> None:
        """Say who holds the lock, for those who are refused; see `Storage.holder`."""

    def write_note(self, data: bytes) -> None:
        """Leave a short note in the lock, see `Storage.read_note`. Raises OSError."""

    def is_in_place(self) -> bool:
        """Return whether it still keeps others out: nobody has removed what is locked."""

    def release(self) -> None:
        """Give it back. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Storage(Protocol):
    """Named objects below one root. Subclass it: what has a body here is a default.

    Names are relative, of ASCII letters, digits, "_", ".", "-" and "/" (`check_name`). They are checked on the way in,
    where another one is a ValueError, and on the way out, where another one is passed over. Any number of threads.

    Every verb raises OSError: FileNotFoundError for a name that is not there, PermissionError where the medium refuses.
    Idempotent verbs may be tried again after one; `put_new` may not, see `Put.UNKNOWN`.
    """

    root: str
    """Where it is, for messages."""
    traits: Traits

    def path(self, name: str) -> str:
        """Return where an object is, for messages. Raises ValueError for what is no name."""
        return f"{self.root}/{check_name(name)}"

    # Reading.

    def read(self, name: str, most: int) -> bytes:
        """Return a whole small object. Raises OSError with EFBIG when it has more than ``most`` bytes."""
        return self.read_with_version(name, most)[0]

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        """Return a whole small object as `read` does, and which one it was."""
        with _closing(self.open(name)) as file:
            size = file.size()
            if size > most:
                raise OSError(errno.EFBIG, f"larger than {most} bytes", file.path)
            return file.read(0, size), file.version

    def open(self, name: str) -> RandomAccess:
        """Open an object, to read it at any offset. Links are never followed."""
        ...

    def read_spans(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """Return the bytes of many ranges, in the order given, in bounded memory."""
        name, file = "", None
        for span in spans:
            if file is None or span.name != name:
                name, file = span.name, self.open(span.name)
            yield file.read(span.offset, span.length)

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        """Return the names directly in a directory, without it, in order: those behind ``after``, ``most`` of them.

        Names alone: the lengths of them would cost a directory of this machine a call each. Raises FileNotFoundError
        where the medium has directories, and not this one.
        """
        ...

    def stat(self, name: str) -> FileInfo | None:
        """Return what is known of an object without reading it; None when it is not there."""
        ...

    def version(self, name: str) -> Version | None:
        """Return the version of an object; None when it is not there."""
        info = self.stat(name)
        return info and info.version

    def exists(self, name: str) -> bool:
        """Return whether an object is there."""
        return self.stat(name) is not None

    # Writing.

    def may_add(self, directory: str) -> bool:
        """Return whether new objects can be made in a directory, as far as that is known."""
        return True

    def make_directory(self, directory: str) -> None:
        """Make a directory, with those above it, if it is missing and the medium has such: nothing is put before."""
        return

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        """Store a new object, whole, unless its name is taken. Its bytes are stable then; its name needs `sync_names`.

        ``still`` is asked as late as can be, behind all that takes time: where it says no, nothing is stored, and the
        answer is `Put.TAKEN`. After an OSError the name says whether anything was stored.
        """
        ...

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        """Store a new large object, whole, from parts of ``length`` bytes together.

        Raises FileExistsError when the name is taken, and ValueError when the parts have another length.
        """
        ...

    def empty(self, name: str) -> None:
        """Drop the bytes of an object and keep its name, which stays taken."""
        ...

    def remove(self, name: str) -> bool:
        """Remove an object; return whether it was there. What has it open reads on."""
        ...

    # What not every medium can do; see `Traits`.

    def sync(self, name: str) -> None:
        """Put the bytes of an object on stable storage, also those that another process wrote."""
        return

    def sync_names(self, directory: str) -> None:
        """Put the names in a directory, new and removed ones, on stable storage."""
        return

    def append(self, name: str, *, new: bool) -> AppendFile:
        """Open an object for one writer, a ``new`` one in the place of what a dead writer left there.

        Raises `Busy` when it has a writer.
        """
        raise unsupported(self, "append")

    def create(self, name: str) -> AppendFile:
        """Make an object that is written at any offset before anybody reads it. Raises FileExistsError."""
        raise unsupported(self, "append")

    def lock(self, name: str, *, shared: bool = False, wait: bool = True) -> HeldLock | None:
        """Take a lock; None where another has it and ``wait`` is false.

        Raises `Busy` instead of waiting for the calling thread itself, and OSError with ENOLCK, ENOSYS or ENOTSUP where
        nothing can be locked.
        """
        raise unsupported(self, "lock")

    def holder(self, name: str) -> str:
        """Return what the holder of a lock has said of itself; "" where nothing is known."""
        return ""

    def read_note(self, name: str, most: int) -> bytes:
        """Return the note in a lock, up to ``most`` bytes; b"" where there is none, or it cannot be read."""
        return b""


class _closing:
    """Close an open object behind a block. (``contextlib`` would be an import more for every short command.)"""

    def __init__(self, file: RandomAccess) -> None:
        self._file = file

    def __enter__(self) -> RandomAccess:
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()


def check_name(name: str) -> str:
    """Return a name. Raises ValueError when it is none, or could lead out of the root."""
    if len(name) > MOST_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"not a name in a storage: {name!r:.100}")
    return name


def is_name(name: str) -> bool:
    """Return whether `check_name` lets it pass."""
    return len(name) <= MOST_NAME and _NAME.fullmatch(name) is not None


def unsupported(storage: Storage, verb: str) -> OSError:
    """Return the error of a storage that is asked for what its traits say that it cannot do."""
    return OSError(errno.ENOTSUP, f"{storage.traits.medium} cannot {verb}", storage.root)


def require(storage: Storage, *traits: str) -> None:
    """Raise `ReadOnlyContainer`, by its name, for the first trait that a storage does not have."""
    for trait in traits:
        if not getattr(storage.traits, trait):
            reason = f"{storage.traits.medium} has no {trait!r}, which a container of version 2 needs"
            raise ReadOnlyContainer(storage.root, reason)
