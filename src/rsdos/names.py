"""The names of what a container of version 2 is made of, below its root, wherever that is: see `rsdos.storage.base`."""

from __future__ import annotations

CONFIG = "config.json"

PACKED = "packed"
INDEX = "index"
LOCKS = "locks"

COMMIT_LOCK = "locks/commit"
"""Held by a commit. Its note has the number of the last one."""

MAINTENANCE_LOCK = "locks/maintenance"

TURN_LOCK = "locks/turn"
"""Held by the next in line for `MAINTENANCE_LOCK`: a run that takes that again and again lets it pass."""

READERS_LOCK = "locks/readers"
"""Held shared by long readers; packs are removed only by who has it exclusively."""


def pack(pack_id: int) -> str:
    return f"packed/{pack_id:010d}.pack"


def pack_lock(pack_id: int) -> str:
    """Held by the one who writes to a pack."""
    return f"locks/pack-{pack_id}"


def manifest(number: int) -> str:
    return f"index/manifest-{number:010d}.json"


def segment(number: int) -> str:
    return f"index/{number:010d}.seg"


def table(number: int, pack_id: int) -> str:
    """Where the table of a segment is: in a file of its own or, where it has no ``number``, in a pack."""
    return segment(number) if number else pack(pack_id)
