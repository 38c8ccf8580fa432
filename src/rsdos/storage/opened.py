"""What a storage hands out: objects that are open for reading or appending, ranges of them as buffers, and held locks.

Only types: a module that a short command imports takes them under ``TYPE_CHECKING``, because to make the four classes
takes 0.3 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self

from rsdos.model import BytesLike


class View(Protocol):
    """A range of an object as a buffer. Immutable objects only."""

    data: memoryview
    """The whole range. Bytes for which `need` was never called may be zeros."""
    keeps_open: bool
    """Whether the object stays open for as long as this view exists."""

    def need(self, start: int, end: int) -> None:
        """Make the bytes from ``start`` to ``end`` present. Raise OSError."""

    def will_need(self, start: int, end: int) -> None:
        """Begin to fetch bytes that will be read soon, and do not wait. This is a hint."""

    def copy(self, start: int, end: int) -> bytes:
        """Do `need`, and return the bytes. A view that is mapped reads them, so that it maps nothing for them."""

    def let_go(self, start: int, end: int) -> None:
        """Give back memory for bytes that are not needed soon. They stay as present as they were."""


class RandomAccess(Protocol):
    """An open object, read at any offset by any number of threads. It stays readable after its name was removed."""

    path: str
    """The path of the object, for messages."""

    @property
    def version(self) -> tuple[int, ...]:
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
        """Leave a text that says who holds the lock, for callers that are refused: `Storage.holder` returns it."""

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
