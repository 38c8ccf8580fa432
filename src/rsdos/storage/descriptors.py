"""Descriptors that belong to objects, so that none is lost, held or used by mistake, whatever comes between.

An exception that the handler of a signal raises (Ctrl-C, a timer) comes between any two steps of Python's own: behind
each call and at the beginning of each function, ``__del__`` among them. A number that is on its way from ``os.open`` to
where it is kept is lost then, and a lock on it held until the process ends. What must not be torn apart is one call
into C here: to open and to keep, to forget and to close.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType

from rsdos.errors import WriterPoisoned


def opening(path: str | os.PathLike[str], flags: int, mode: int = 0o777, dir_fd: int | None = None) -> Iterator[int]:
    """Return an iterator that opens a file when it is taken from: one descriptor, for a `Descriptor` or a loop.

    ``for fd in opening(…)`` stores what was opened without a step between; with a ``try`` and a ``finally`` that closes
    it right behind it is a block that leaks nothing, for less than an object costs.
    """
    call = os.open if dir_fd is None else partial(os.open, dir_fd=dir_fd)
    return map(call, (path,), (flags,), (mode,))


_FD = ("fd",)


class Opened:
    """An open file. It is closed by `close`, or with the last reference.

    From that moment on, and in a cycle of garbage too, the number is -1: never that of another file that was opened
    since. Raises what ``opening`` raises.
    """

    __slots__ = ("__del__", "__dict__", "__weakref__", "close")

    fd: int = -1
    """The number, -1 once it is closed: then the instance has none, and this is the class's."""
    close: Callable[[], None]
    """Close it. Idempotent."""
    __del__: Callable[[], None]

    def __init__(self, opening: Iterator[int]) -> None:
        members = self.__dict__
        # Takes the number from the instance and closes it, at the first call; where there is none, and later, nothing.
        self.close = self.__del__ = partial(next, map(os.close, iter(partial(members.pop, "fd", -1), -1)), None)
        members.update(zip(_FD, opening, strict=False))

    def take(self, opening: Iterator[int]) -> None:
        """Open it, once."""
        self.__dict__.update(zip(_FD, opening, strict=False))


class Descriptor(Opened):
    """An open file, as a context manager: it gives the number, and is closed behind the block."""

    __slots__ = ()

    def __enter__(self) -> int:
        return self.fd

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Working(Descriptor):
    """A descriptor of what this process holds, or is in the middle of writing.

    A fork copies it, and the child unwinds the frames of its parent, or goes on with them. But what was begun belongs
    to the process that began it: in the child it is closed at once. What is closed is not written, cut, renamed or
    removed any more: look at `fd` before you undo work.
    """

    __slots__ = ()

    def __init__(self, opening: Iterator[int]) -> None:
        super().__init__(iter(()))
        _working[id(self)] = self  # Before it is open: no fork may come between.
        self.take(opening)

    def refuse_closed(self, what: str) -> None:
        """Raise `WriterPoisoned` when it is closed, by hand or by a fork."""
        if self.fd < 0:
            raise WriterPoisoned(f"{what}: was closed, or begun by the process that this one was forked from")


_working: weakref.WeakValueDictionary[int, Working] = weakref.WeakValueDictionary()


def _disown() -> None:
    """In a forked child: let go of what the parent has under way, and of its locks, which are not to outlive it."""
    for reference in _working.valuerefs():
        if one := reference():
            one.close()


os.register_at_fork(after_in_child=_disown)
