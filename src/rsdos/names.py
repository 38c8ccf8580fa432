"""The names of what a container of version 2 is made of, below its root, wherever that is: see `rsdos.storage.base`."""

from __future__ import annotations

from collections.abc import Callable

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


Named = Callable[[int], str]
"""Makes a name of a number, without a call of Python's own: a commit asks for a dozen names."""

pack: Named = "packed/{:010d}.pack".format

pack_lock: Named = "locks/pack-{}".format
"""Held by the writer of a pack."""

manifest: Named = "index/manifest-{:010d}.json".format

segment: Named = "index/{:010d}.seg".format


def table(number: int, pack_id: int) -> str:
    """Where the table of a segment is: in a file of its own or, where it has no ``number``, in a pack."""
    return segment(number) if number else pack(pack_id)
