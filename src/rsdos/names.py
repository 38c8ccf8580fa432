"""The names of the objects of a container of version 2 in its storage, see `rsdos.storage.base`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

LAST_NUMBER = 9_999_999_999
"""The highest number of a manifest, and of a segment file or pack table: their names have ten digits."""

LAST_PACK = (1 << 32) - 1
"""The highest id of a pack: an entry of a segment has four bytes for it. A file with a higher one is foreign."""

CONFIG = "config.json"

PACKED = "packed"
INDEX = "index"
LOCKS = "locks"

COMMIT_LOCK = "locks/commit"
"""Held by a commit. Its note has the number of the last commit."""

MAINTENANCE_LOCK = "locks/maintenance"

MERGE_LOCK = "locks/merge"
"""Held by a merge of the index that runs beside commits. Its note has the names of the segments that it merges."""

TURN_LOCK = "locks/turn"
"""Held by the next in line for `MAINTENANCE_LOCK`, so that a run that takes that again and again lets it pass."""

REMOTES_LOCK = "locks/remotes"
"""Held by a change of the names that a container has for others (``remotes.json``)."""

READERS_LOCK = "locks/readers"
"""Held shared by long readers. Packs are removed only by a process that holds it exclusively."""


Named = Callable[[int], str]
"""Makes a name from a number, without a function of Python: a commit makes a dozen names."""

pack: Named = "packed/{:010d}.pack".format

pack_lock: Named = "locks/pack-{}".format
"""Held by the writer of a pack."""

save_lock: Named = "locks/save-{}".format
"""Held by a running save. Its note has the committed lengths of the packs at its beginning."""

manifest: Named = "index/manifest-{:010d}.json".format

segment: Named = "index/{:010d}.seg".format

pack_table: Named = "index/{:010d}.tab".format


def unfinished_segment(token: str, number: int) -> str:
    """Return the name of a segment file that a merge is writing: those of one merge have a random ``token``."""
    return f"index/merged-{token}-{number}.new"


def table(number: int, pack_id: int) -> str:
    """Return the name of the object with the table of a segment: a file of its own or, if ``number`` is 0, a pack."""
    return segment(number) if number else pack(pack_id)


# Compiled at the first use: all of them together take 2 ms.
PACKS = r"(\d{10})\.pack"
FOUND_PACKS = r"(\d{10})\.pack\.found"
PACK_LOCKS = r"pack-(\d{1,18})"
SAVE_LOCKS = r"save-(\d{1,18})"
MANIFESTS = r"manifest-(\d{10})\.json"
SEGMENTS = r"(\d{10})\.seg"
PACK_TABLES = r"(\d{10})\.tab"
NEW = ".new"
"""The end of the name of every unfinished file in ``index/``."""

_UNFINISHED_SEGMENT = r"merged-[0-9a-f]{16}-\d\.new"
_UNFINISHED = r"manifest\.new|(manifest|\d{10})-[0-9a-f]{16}\.new"


def numbers_among(listed: Iterable[str], pattern: str) -> list[int]:
    """Return the numbers in the names of a directory that match a pattern, ascending."""
    return sorted(int(match[1]) for match in map(re.compile(pattern).fullmatch, listed) if match)


def is_unfinished(name: str) -> bool:
    """Return whether a name in ``index/`` is that of an unfinished manifest or pack table."""
    return re.fullmatch(_UNFINISHED, name) is not None


def is_unfinished_segment(name: str) -> bool:
    """Return whether a name in ``index/`` is that of a file which a merge is writing, or has left."""
    return re.fullmatch(_UNFINISHED_SEGMENT, name) is not None
