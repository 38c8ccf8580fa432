"""The state-changing system calls of the store, intercepted: every change to a container goes through `os`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WRITES = ("pwrite", "pwritev")
SYNCS = ("fsync", "fdatasync")
CHANGES = (*WRITES, *SYNCS, "link", "rename", "unlink", "ftruncate", "mkdir", "rmdir", "open")

_DIRECTORIES = ("dir_fd", "src_dir_fd")
"""The keywords that say which directory a name is relative to."""

Hook = Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]
"""Is given the call's name, the call itself and its arguments, in the call's place."""


@contextmanager
def intercepted(hook: Hook) -> Iterator[None]:
    """Let ``hook`` stand in for every state-changing call; of ``open`` only those that may create a file."""
    real = {name: getattr(os, name) for name in CHANGES}

    def stand_in(name: str) -> Callable[..., Any]:
        call = real[name]

        def hooked(*arguments: Any, **keywords: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return call(*arguments, **keywords)
            directory = next((keywords.pop(key) for key in _DIRECTORIES if keywords.get(key) is not None), None)
            if directory is not None:
                arguments = (os.path.join(os.readlink(f"/proc/self/fd/{directory}"), arguments[0]), *arguments[1:])
            return hook(name, lambda *given: call(*given, **keywords), arguments)

        return hooked

    try:
        for name in CHANGES:
            setattr(os, name, stand_in(name))
        yield
    finally:
        for name, call in real.items():
            setattr(os, name, call)


class Fault:
    """What happens at the n-th call (from 1), and whether it came to that.

    ``mode``: "kill" dies before the call, "torn" half-way through a write; "short" makes a write short, once; a number
    is the errno that the call fails with, once; a negative one fails that call and all later ones that need space.
    """

    def __init__(self, mode: str | int, number: int) -> None:
        self._mode = mode
        self._left = number
        self.name = ""

    def __call__(self, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if self._mode in ("torn", "short") and name not in WRITES:
            return call(*arguments)
        self._left -= 1
        if self._left > 0:
            return call(*arguments)
        if self._left == 0:
            self.name = name
        if isinstance(self._mode, int):
            if self._left == 0 or (self._mode < 0 and name in (*WRITES, "open", "link", "mkdir")):
                raise OSError(abs(self._mode), os.strerror(abs(self._mode)), *_path(arguments))
        elif self._left == 0:
            done = _half(arguments, call) if name in WRITES and self._mode != "kill" else 0
            if self._mode == "short":
                return done
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)


def _path(arguments: tuple[Any, ...]) -> tuple[str, ...]:
    return (arguments[0],) if isinstance(arguments[0], str) else ()


def _half(arguments: tuple[Any, ...], call: Callable[..., Any]) -> int:
    fd, data, offset = arguments
    many = isinstance(data, (list, tuple))
    whole = b"".join(data) if many else bytes(data)
    half = whole[: max(len(whole) // 2, 1)]  # Never nothing: that would be the end of the disk.
    done: int = call(fd, [half] if many else half, offset)
    return done
