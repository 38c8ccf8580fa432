"""Descriptors that belong to objects, so that none is lost, kept or used by mistake, even if a signal interrupts.

The handler of a signal (Ctrl-C, a timer) may raise its exception between any two steps of Python: after each call, and
at the beginning of each function, also of ``__del__``. If that happens between ``os.open`` and the assignment of its
result, the descriptor is lost, and a lock on it is held until the process ends. So two pairs of steps are one call into
C here: to open and to keep, to forget and to close.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType

from rsdos.errors import WriterPoisoned


def opening(
    path: str | bytes | os.PathLike[str], flags: int, mode: int = 0o777, dir_fd: int | None = None
) -> Iterator[int]:
    """Return an iterator that opens a file when its one item is taken: a descriptor, for a `Descriptor` or a loop.

    ``for fd in opening(…)`` opens and assigns in one step. With a ``try`` right after it, and a ``finally`` that closes
    the descriptor, it leaks nothing and costs less than an object.
    """
    call = os.open if dir_fd is None else partial(os.open, dir_fd=dir_fd)
    return map(call, (path,), (flags,), (mode,))


_FD = ("fd",)


class Opened:
    """An open file. It is closed by `close`, or with the last reference.

    Once it is closed, also by the garbage collector, the number is -1, and never that of a file that was opened since.
    Raise what ``opening`` raises.
    """

    __slots__ = ("__del__", "__dict__", "__weakref__", "close")

    fd: int = -1
    """The descriptor. This -1 of the class shows when the instance has none: before it is opened, and once closed."""
    close: Callable[[], None]
    """Close it. Idempotent."""
    __del__: Callable[[], None]

    def __init__(self, opening: Iterator[int]) -> None:
        members = self.__dict__
        # The first call takes the number from the instance and closes it. Without a number a call does nothing.
        self.close = self.__del__ = partial(next, map(os.close, iter(partial(members.pop, "fd", -1), -1)), None)
        members.update(zip(_FD, opening, strict=False))

    def take(self, opening: Iterator[int]) -> None:
        """Open it, once."""
        self.__dict__.update(zip(_FD, opening, strict=False))


class Descriptor(Opened):
    """An open file as a context manager: the block gets the number, and the file is closed at its end."""

    __slots__ = ()

    def __enter__(self) -> int:
        return self.fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Working(Descriptor):
    """A descriptor of a lock that this process holds, or of a file that it is writing.

    A fork copies the descriptor, and the child unwinds or continues the frames of its parent. But work belongs to the
    process that began it, so in the child the descriptor is closed at once. A file whose descriptor is closed must not
    be written, cut, renamed or removed any more: check `fd` before undoing work.
    """

    __slots__ = ()

    def __init__(self, opening: Iterator[int]) -> None:
        super().__init__(iter(()))
        _working[id(self)] = self  # Before it is open, so that no fork can come between.
        self.take(opening)

    def refuse_closed(self, what: str) -> None:
        """Raise `WriterPoisoned` when it is closed, by hand or by a fork."""
        if self.fd < 0:
            raise WriterPoisoned(f"{what}: was closed, or begun by the process that this one was forked from")


_working: weakref.WeakValueDictionary[int, Working] = weakref.WeakValueDictionary()


def _disown() -> None:
    """In a forked child: close the descriptors of the parent's work and locks, so that no lock outlives the parent."""
    for reference in _working.valuerefs():
        if one := reference():
            one.close()


os.register_at_fork(after_in_child=_disown)
