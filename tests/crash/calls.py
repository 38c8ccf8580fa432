"""The state-changing system calls of the store, intercepted: every change to a container goes through `os`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CHANGES = ("pwrite", "pwritev", "fsync", "fdatasync", "link", "rename", "unlink", "ftruncate", "mkdir", "rmdir", "open")

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
            return hook(name, lambda *given: call(*given, **keywords), arguments)

        return hooked

    try:
        for name in CHANGES:
            setattr(os, name, stand_in(name))
        yield
    finally:
        for name, call in real.items():
            setattr(os, name, call)
