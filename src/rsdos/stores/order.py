"""The order of an insert beside a delete: which copy still counts, what may be removed, and the order of the steps.

**The rule.** Every insert ends with a last lookup, after all steps that take time: reading the source, writing,
syncing. If it comes after the commit of a delete, the insert stores the object again, and the object stays. A delete
removes only copies that existed at its commit or, if it follows a plan, when the plan began (docs/concurrency.md).

Everything here is a table or a pure function. The stores use them, and so does the model in ``tests/model``, which
tries all interleavings of up to five operations, and fails if any one of these rules is missing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import NamedTuple, TypeVar

from rsdos.model import Place

_T = TypeVar("_T")


class Step(Enum):
    """The steps of an insert between writing its objects and returning their keys."""

    SYNC = "sync the stored objects, and the copies that duplicates rely on"
    LOOK = "look up which copies still exist"
    STORE = "store the others again, and begin again"


DELETE_ORDER = (Place.LOOSE, Place.PACKED)
"""A delete removes loose files first, and the tombstones are its commit.

No file is touched after the commit: a file that appears later belongs to an insert whose last lookup came later.
"""

SETTLE_ORDER = (Step.SYNC, Step.LOOK, Step.STORE)
"""The end of every insert. The lookup comes after the syncs, because a whole delete may run while they take place."""

MOST_ROUNDS = 100
"""Times that an insert goes through `SETTLE_ORDER`. Each further round means that this object was deleted again."""

MOST_AGE = 1.0
"""Seconds for which the loaded state of the index answers without a check whether it is the newest."""


class FileId(NamedTuple):
    """The identity of a file: a later file of the same name has another one. Inode numbers alone are soon reused
    (ext4)."""

    inode: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileId:
        return tuple.__new__(cls, (status.st_ino, status.st_mtime_ns))  # Half the time of `cls(…)`.

    @classmethod
    def at(cls, path: str) -> FileId | None:
        """Return the identity of the file at a path; None if there is none."""
        try:
            return cls.of(os.stat(path, follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return None


def is_still_there(leant_on: FileId, now: FileId | None) -> bool:
    """Return whether a loose file that an insert relies on, its own or a duplicate's, still has its name."""
    return leant_on == now


def may_remove(planned: FileId, now: FileId | None) -> bool:
    """Return whether the file at a path is still the one that was there when a plan began."""
    return planned == now


def may_bury(planned: Collection[_T] | None, now: _T) -> bool:
    """Return whether a live packed copy may be deleted: any, without a plan; otherwise those that lived at the plan."""
    return planned is None or now in planned


def lost(duplicates: Iterable[bytes], there: Collection[bytes]) -> list[bytes]:
    """Return the duplicates to store again: those without a copy at the last lookup."""
    return [digest for digest in duplicates if digest not in there]


def removable(digests: Sequence[bytes], is_packed: Sequence[bool]) -> list[bytes]:
    """Return the loose objects that may be removed: their packed copies were read, are good and on stable storage.

    It does not matter if another file has the name by then: the caller keeps deletes away from the packed copy.
    """
    return [digest for digest, good in zip(digests, is_packed, strict=True) if good]


def is_due(asked: float, now: float) -> bool:
    """Return whether to check for a newer state before an answer. Both times are seconds of a monotonic clock."""
    return now - asked >= MOST_AGE
