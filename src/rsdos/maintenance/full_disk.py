"""Maintenance on a full disk.

For a delete the reserve is removed, and the tombstones are written in smaller commits. A repack says how much room it
needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rsdos.engine.engine import Engine
from rsdos.engine.reserve import give_up
from rsdos.errors import means_full

_R = TypeVar("_R")

CHUNK = 1 << 15
"""Objects that are deleted by one commit: 2 MB of tombstones."""

_FEW = 1 << 12
"""The same on a full disk: the tombstones must fit into the space of the reserve."""


def with_reserve(engine: Engine, count: int, delete: Callable[[slice], _R]) -> list[_R]:
    """Delete ``count`` objects: by one call of ``delete`` or, on a full disk, by several calls for some of them."""
    try:
        return [delete(slice(0, count))]
    except OSError as error:
        if not means_full(error) or not give_up(engine.layout.reserve):
            raise
    return [delete(slice(at, at + _FEW)) for at in range(0, count, _FEW)]
