"""What is asked of a medium: of a storage, call by call, and of the files of a directory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rsdos.testing import RecordingStorage

_BY_NAME = ("access", "stat", "lstat", "open", "listdir", "scandir")
_BY_DESCRIPTOR = ("pread", "preadv")


_NO_REQUEST = frozenset(("need", "will_need"))
"""Of these tables, each below 256 KiB, a view has read all bytes; a hint is not waited for."""


def requests(storage: RecordingStorage, do: Callable[[], object]) -> dict[str, int]:
    """Do something, and return how often it asked the storage for each verb, and waited for the answer."""
    storage.forget()
    do()
    return dict(Counter(call.verb for call in storage.calls if call.verb not in _NO_REQUEST))


@contextmanager
def file_calls(below: str) -> Iterator[list[tuple[str, str]]]:
    """Record each call that asks for a file or directory below a path: the call, and the path from there.

    Reads of what is open are those of anything that is open.
    """
    seen: list[tuple[str, str]] = []
    real = {name: getattr(os, name) for name in (*_BY_NAME, *_BY_DESCRIPTOR)}

    def recording(name: str) -> Callable[..., Any]:
        call = real[name]

        def recorded(*arguments: Any, **keywords: Any) -> Any:
            path = str(arguments[0]) if arguments else ""
            if name in _BY_DESCRIPTOR:
                seen.append((name, ""))
            elif path.startswith(f"{below}/"):
                seen.append((name, path.removeprefix(f"{below}/")))
            return call(*arguments, **keywords)

        return recorded

    try:
        for name in real:
            setattr(os, name, recording(name))
        yield seen
    finally:
        for name, call in real.items():
            setattr(os, name, call)
