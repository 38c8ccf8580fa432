"""The lock of a directory that is checked out into: two checkouts never work in one directory at the same time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from rsdos.errors import Busy
from rsdos.storage import locks


def lock(stack: ExitStack, top: int, directory: str) -> None:
    """Keep other checkouts out of an open directory until the stack ends. Raise `Busy`.

    Where directories cannot be locked (NFS), nothing keeps them out.
    """
    if _try(locks.try_lock, top, directory):
        stack.callback(locks.unlock, top)


def share_lock(top: int, directory: str) -> None:
    """Lock an open directory together with the workers of this checkout, which do the same. Raise `Busy`.

    So a worker that outlives its checkout keeps the next checkout out until the worker ends.
    """
    _try(locks.try_lock_shared, top, directory)


def _try(take: Callable[[int], bool], top: int, directory: str) -> bool:
    """Return whether the lock is held. Return False where directories cannot be locked."""
    try:
        taken = take(top)
    except OSError:
        return False
    if not taken:
        raise Busy(f"the directory {directory}", "another checkout")
    return True
