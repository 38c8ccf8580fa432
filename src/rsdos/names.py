"""The names of what a container of version 2 is made of, below its root, wherever that is: see `rsdos.storage.base`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

LAST_NUMBER = 9_999_999_999
"""The highest number of a manifest and of a segment file: their names have ten digits."""

LAST_PACK = (1 << 32) - 1
"""The highest id of a pack: an entry of a segment has four bytes for it. A file of a higher one is nobody's."""

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
"""Held shared by long readers. Packs are removed only by a process that holds it exclusively."""


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


# Compiled at the first use: all of them together take 2 ms.
PACKS = r"(\d{10})\.pack"
FOUND_PACKS = r"(\d{10})\.pack\.found"
PACK_LOCKS = r"pack-(\d{1,18})"
MANIFESTS = r"manifest-(\d{10})\.json"
SEGMENTS = r"(\d{10})\.seg"
_UNFINISHED = r"manifest(-[0-9a-f]{16})?\.new"


def numbers_among(listed: Iterable[str], pattern: str) -> list[int]:
    """Return the numbers in those names of a directory that a pattern matches, ascending."""
    return sorted(int(match[1]) for match in map(re.compile(pattern).fullmatch, listed) if match)


def is_unfinished(name: str) -> bool:
    """Return whether a name in ``index/`` is that of a manifest that was not finished."""
    return re.fullmatch(_UNFINISHED, name) is not None
