"""The seam between the store and its medium: named objects below one root.

Packs, segments and manifests are read and written through `Storage`, and never through paths. `LocalStorage` is a
directory, `MemoryStorage` the memory of this process. `rsdos.testing.StorageConformance` tests a storage.

What a medium must guarantee:

1. Read after write. Every reader finds an object as soon as the put of it has returned.
2. Whole or not at all. No reader sees a part of an object that is being put. (An object that a writer appends to may be
   longer than its manifest says; readers trust the manifest.)
3. One winner. Of all calls of `Storage.put_new` for one name at most one stores its bytes, until the name is removed.
4. Versions. Two objects that ever had the same name differ in `FileInfo.version`. So does an object after a change.
5. Stable puts. An object survives a crash of the medium once `Storage.sync` and `Storage.sync_names` have returned.

Everything else is a trait (`Traits`): the store asks for the traits that it needs when it is opened, and an error names
the missing one.
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
"""Distinguishes an object from every other one of its name, and from itself before a change. Only compare it."""

MOST_NAME = 1024
"""The most bytes of a name: the limit of object stores."""

_NAME = re.compile(r"(?!\.\.?(?:/|\Z))[A-Za-z0-9_.-]+(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9_.-]+)*")


class Put(Enum):
    """The outcome of a `Storage.put_new`."""

    OURS = "ours"
    """The bytes are stored under the name, and this call stored them."""
    TAKEN = "taken"
    """Another object has the name; nothing was stored."""
    UNKNOWN = "unknown"
    """The answer was lost: the bytes may be stored, now or later. Read the name to find out."""


class PutResult(NamedTuple):
    """The outcome of a `Storage.put_new`, and the version of what it stored (None: nothing, or not known)."""

    outcome: Put
    version: Version | None = None


class Traits(NamedTuple):
    """What a medium can do beyond the guarantees above. Errors give these names."""

    medium: str
    """The kind of medium, for messages: "a directory", "memory"."""
    appends: bool = False
    """`Storage.append` works: an object can grow while others read its beginning."""
    locks: bool = False
    """`Storage.lock` works, between all programs that use the medium, and the lock of a dead holder is free."""
    files: bool = False
    """The medium is a directory of this machine: objects can have files of their own, and damaged files can be moved to
    quarantine."""


class FileInfo(NamedTuple):
    """What `Storage.stat` returns about an object."""

    name: str
    length: int
    """Bytes."""
    version: Version
    names: int = 1
    """The number of its names. A copy by hard links has more than one, and a change through one name shows in all."""


class Span(NamedTuple):
    """A range of an object, in bytes."""

    name: str
    offset: int
    length: int


class View(Protocol):
    """A range of an object as a buffer. Immutable objects only."""

    data: memoryview
    """The whole range. Bytes for which `need` was never called may be zeros."""
    keeps_open: bool
    """Whether the object stays open for as long as this view exists."""

    def need(self, start: int, end: int) -> None:
        """Make the bytes from ``start`` to ``end`` present. Raise OSError."""

    def let_go(self, start: int, end: int) -> None:
        """Give back memory for bytes that are not needed soon. They stay as present as they were."""


class RandomAccess(Protocol):
    """An open object, read at any offset by any number of threads. It stays readable after its name was removed."""

    path: str
    """The path of the object, for messages."""

    @property
    def version(self) -> Version:
        """The version of the object when it was opened, see `FileInfo.version`."""

    @property
    def is_open(self) -> bool:
        """Whether the object can be read: it is not closed yet."""

    def size(self) -> int:
        """Return the present length of the object in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``. Raise `DamagedContainer` if the object is too short, and OSError."""

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from ``offset`` and return the number of bytes. Raise what `read` raises."""

    def view(self, offset: int, length: int) -> View:
        """Return a range as a buffer. Raise OSError, and ValueError, OverflowError or MemoryError for lack of room."""

    def is_cached(self, offset: int) -> bool | None:
        """Return whether this byte is read without waiting for the medium; None if that is not known.

        If not, and only then, `will_need` should fetch it.
        """

    def will_need(self, offset: int, length: int) -> None:
        """Begin to fetch a range that will be read soon, and do not wait. This is a hint."""

    def close(self) -> None:
        """Close the object. Idempotent; the last reference does it too."""


class AppendFile(Protocol):
    """An object that one writer holds exclusively, to append to it. One thread. Every method raises OSError."""

    @property
    def is_open(self) -> bool:
        """Whether this process may write the object: it is not closed, and not inherited by a fork."""

    def size(self) -> int:
        """Return the length of the object in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end of the object."""

    def write(
        self,
        offset: int,
        buffers: Sequence[BytesLike],
        lengths: Iterable[int] | None = None,
        each: Callable[[Sequence[BytesLike]], object] | None = None,
    ) -> int:
        """Write all ``buffers``, one after another, from ``offset``. Return the number of bytes.

        ``lengths`` are the lengths of the buffers, if the caller has them. ``each`` is called with groups of buffers,
        each buffer in one group.
        """

    def cut(self, length: int) -> None:
        """Drop all bytes from ``length`` on."""

    def sync(self) -> None:
        """Put the bytes on stable storage. After a failure the caller must not trust any of them."""

    def remove(self) -> None:
        """Remove the name of the object."""

    def end(self) -> None:
        """Close the object, and let others append to it. Idempotent."""


class HeldLock(Protocol):
    """A held lock; a context manager that releases it. It is also released when its holder dies."""

    @property
    def is_held(self) -> bool:
        """Whether this process holds the lock: it is not released, and not inherited by a fork."""

    def describe(self, holder: str) -> None:
        """Leave a text that says who holds the lock, for callers that are refused; see `Storage.holder`."""

    def write_note(self, data: bytes) -> None:
        """Leave a short note in the lock, see `Storage.read_note`. Raise OSError."""

    def is_in_place(self) -> bool:
        """Return whether the lock still keeps others out: nobody has removed the file that is locked."""

    def release(self) -> None:
        """Release the lock. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Storage(Protocol):
    """Named objects below one root. Subclass it: methods with a body here are defaults.

    Names are relative, of ASCII letters, digits, "_", ".", "-" and "/" (`check_name`). Every verb raises ValueError for
    any other name, and `list` leaves out names of any other form. Any number of threads.

    Every verb raises OSError: FileNotFoundError for a missing object, PermissionError where the medium refuses. After
    an OSError idempotent verbs may be tried again; `put_new` may not, see `Put.UNKNOWN`.
    """

    root: str
    """The path of the storage, for messages."""
    traits: Traits

    def path(self, name: str) -> str:
        """Return the path of an object, for messages. Raise ValueError for anything but a name."""
        return f"{self.root}/{check_name(name)}"

    # Reading.

    def read(self, name: str, most: int) -> bytes:
        """Return a whole small object. Raise OSError with EFBIG when it has more than ``most`` bytes."""
        return self.read_with_version(name, most)[0]

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        """Return a whole small object as `read` does, and its version."""
        with _closing(self.open(name)) as file:
            size = file.size()
            if size > most:
                raise OSError(errno.EFBIG, f"larger than {most} bytes", file.path)
            return file.read(0, size), file.version

    def open(self, name: str) -> RandomAccess:
        """Open an object for reading at any offset. Links are never followed."""
        ...

    def read_spans(self, spans: Iterable[Span]) -> Iterator[bytes]:
        """Return the bytes of many ranges, in the order given, in bounded memory."""
        name, file = "", None
        for span in spans:
            if file is None or span.name != name:
                name, file = span.name, self.open(span.name)
            yield file.read(span.offset, span.length)

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        """Return the names directly in a directory, without the directory, in order: at most ``most`` after ``after``.

        No lengths: these would cost one call for each name in a directory of this machine. Raise FileNotFoundError if
        the medium has directories, and this one is missing.
        """
        ...

    def stat(self, name: str) -> FileInfo | None:
        """Return what is known of an object without reading it; None for a missing one."""
        ...

    def version(self, name: str) -> Version | None:
        """Return the version of an object; None for a missing one."""
        info = self.stat(name)
        return info and info.version

    def exists(self, name: str) -> bool:
        """Return whether an object exists."""
        return self.stat(name) is not None

    def is_prompt(self) -> bool:
        """Return whether guarantee 1 holds between machines too. Where it does not, a file that is opened is recent.

        A client of NFS answers from memory whether a name exists, for up to a minute.
        """
        return True

    # Writing.

    def may_add(self, directory: str) -> bool:
        """Return whether new objects can be made in a directory; True if that is not known."""
        return True

    def make_directory(self, directory: str) -> None:
        """Make a directory and its parents, if the medium has directories. Call this before a put in it."""
        return

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        """Store a new object, whole, unless its name is taken. Its bytes are then stable; its name needs `sync_names`.

        ``still`` is called as late as possible, after all steps that take time. If it returns False, nothing is stored,
        and the outcome is `Put.TAKEN`. After an OSError look for the name to find out whether anything was stored.
        """
        ...

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        """Store a new large object, whole, from parts that have ``length`` bytes in all.

        Raise FileExistsError when the name is taken, and ValueError when the parts have another length.
        """
        ...

    def empty(self, name: str) -> None:
        """Drop the bytes of an object and keep its name, which stays taken."""
        ...

    def remove(self, name: str) -> bool:
        """Remove an object. Return whether it was there. Readers that have it open can still read it."""
        ...

    # Verbs that not every medium has; see `Traits`.

    def sync(self, name: str) -> None:
        """Put the bytes of an object on stable storage, also bytes that another process wrote."""
        return

    def sync_names(self, directory: str) -> None:
        """Put the additions and removals of names in a directory on stable storage."""
        return

    def append(self, name: str, *, new: bool) -> AppendFile:
        """Open an object for one writer. ``new``: make it, and remove an object of a dead writer that has the name.

        Raise `Busy` when the object has a writer.
        """
        raise unsupported(self, "append")

    def create(self, name: str) -> AppendFile:
        """Make an object that is written at any offset before any process reads it. Raise FileExistsError."""
        raise unsupported(self, "append")

    def lock(self, name: str, *, shared: bool = False, wait: bool = True) -> HeldLock | None:
        """Take a lock. Return None if it is held by another caller and ``wait`` is false.

        Raise `Busy` instead of waiting for the calling thread itself, and OSError with ENOLCK, ENOSYS or ENOTSUP if
        nothing can be locked.
        """
        raise unsupported(self, "lock")

    def holder(self, name: str) -> str:
        """Return the text that the holder of a lock has left with `HeldLock.describe`; "" if there is none."""
        return ""

    def read_note(self, name: str, most: int) -> bytes:
        """Return the note in a lock, up to ``most`` bytes; b"" if there is none, or it cannot be read."""
        return b""


class _closing:
    """Closes an open object at the end of a block. (Every short command would import ``contextlib`` for it.)"""

    def __init__(self, file: RandomAccess) -> None:
        self._file = file

    def __enter__(self) -> RandomAccess:
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()


def check_name(name: str) -> str:
    """Return the name. Raise ValueError for a string that is no name, or could lead out of the root."""
    if len(name) > MOST_NAME or not _NAME.fullmatch(name):
        raise ValueError(f"not a name in a storage: {name!r:.100}")
    return name


def is_name(name: str) -> bool:
    """Return whether `check_name` accepts the string."""
    return len(name) <= MOST_NAME and _NAME.fullmatch(name) is not None


def unsupported(storage: Storage, verb: str) -> OSError:
    """Return the error for a verb that the traits of a storage do not have."""
    return OSError(errno.ENOTSUP, f"{storage.traits.medium} cannot {verb}", storage.root)


def require(storage: Storage, *traits: str) -> None:
    """Raise `ReadOnlyContainer`, which names it, for the first trait that a storage does not have."""
    for trait in traits:
        if not getattr(storage.traits, trait):
            reason = f"{storage.traits.medium} has no {trait!r}, which a container of version 2 needs"
            raise ReadOnlyContainer(storage.root, reason)
