"""The order of an insert beside a delete: what counts as still there, what may go, and which step comes when.

**The rule.** An insert whose last look at the store comes after a delete's commit stores the object anew, and it stays.
That look comes after all that takes time: reading the source, writing, syncing. A delete removes only what was there at
its commit; one that goes by a plan, only what was there when the plan was begun (docs/concurrency.md).

Everything here is a table or a pure function. The stores go by them, and so does the model in ``tests/model``, which
tries all interleavings of up to five operations and fails without any one of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import NamedTuple, TypeVar

from rsdos.model import Place

_T = TypeVar("_T")


class Step(Enum):
    """What an insert does between having its objects in hand and returning their keys."""

    SYNC = "put on stable storage what was stored, and what the duplicates lean on"
    LOOK = "see which copies are still there"
    STORE = "store anew what is not, and begin again"


DELETE_ORDER = (Place.LOOSE, Place.PACKED)
"""A delete removes loose files first, and the tombstones are its commit.

No name is touched after the commit: a file that appears from then on is an insert's, whose last look came later.
"""

SETTLE_ORDER = (Step.SYNC, Step.LOOK, Step.STORE)
"""The end of every insert: the look is behind the syncs, which take milliseconds in which a whole delete may run."""

MOST_ROUNDS = 100
"""Times that an insert goes through `SETTLE_ORDER`. Each further round is a delete of this very object."""

MOST_AGE = 1.0
"""Seconds for which an answer from an open state of the index is given without asking whether it is the newest."""


class FileId(NamedTuple):
    """Tells a file from another that has its name later. An inode's number alone is soon used again (ext4)."""

    inode: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileId:
        return tuple.__new__(cls, (status.st_ino, status.st_mtime_ns))  # Half the time of `cls(…)`.

    @classmethod
    def at(cls, path: str) -> FileId | None:
        """That of what has a name now; None when nothing has."""
        try:
            return cls.of(os.stat(path, follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return None


def is_still_there(leant_on: FileId, now: FileId | None) -> bool:
    """Whether a loose file that an insert leans on, its own or a duplicate's, still has its name."""
    return leant_on == now


def may_remove(planned: FileId, now: FileId | None) -> bool:
    """Whether the file under a name is the one that was there when a plan was begun, and not one that came since."""
    return planned == now


def may_bury(planned: Collection[_T] | None, now: _T) -> bool:
    """Whether a packed copy that lives now may be killed: all may that live, or those that lived at the plan."""
    return planned is None or now in planned


def lost(duplicates: Iterable[bytes], there: Collection[bytes]) -> list[bytes]:
    """Return the duplicates that are to be stored anew: those of which no copy was there at the last look."""
    return [digest for digest in duplicates if digest not in there]


def removable(digests: Sequence[bytes], is_packed: Sequence[bool]) -> list[bytes]:
    """The loose objects that may go because they are packed: the packed copy was read, is good and on stable storage.

    Whichever file has the name by then: the caller keeps deletes away from the packed copy.
    """
    return [digest for digest, good in zip(digests, is_packed, strict=True) if good]


def is_due(asked: float, now: float) -> bool:
    """Whether it is time to ask for a newer state before answering; both in seconds of a monotonic clock."""
    return now - asked >= MOST_AGE
