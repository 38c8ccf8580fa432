"""The members that only manifests of version 3 have: the chain of commits, and reservations.

`rsdos.index.reservations` has the rules by which commits change them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from rsdos.names import LAST_NUMBER, LAST_PACK

PACK = "pack"
SEGMENT = "segment"
TABLE = "table"
KINDS = (PACK, SEGMENT, TABLE)

KEPT_HISTORY = 16
"""Earlier commits that a manifest names. A program that is no more than this far behind notices a fork."""

MOST_ROWS = 1 << 16
"""The most rows of ``reserved``, and of ``retired``. A manifest of 16 MiB has room for seven times as many, which took
six seconds to check. A collector looks each name up in them."""

_COMMIT = re.compile(r"[0-9a-f]{32}")
_SUFFIX = re.compile(r"[0-9a-f]{16}")
_TOKEN = re.compile(r"[0-9a-f]{16,64}")


class Reservation(NamedTuple):
    """Ids that a commit has given to a writer and that are not used up yet.

    ``first`` is the first of ``count`` ids that follow one another. ``number`` is the number of the commit. ``token``
    is the writer's own.
    """

    first: int
    count: int  # type: ignore[assignment]  # a tuple's method of this name is of no use here
    number: int
    token: str

    @property
    def end(self) -> int:
        """The first id after the reservation."""
        return self.first + self.count

    def has(self, ids: range) -> bool:
        """Return whether all of these ids, which follow one another, are in it."""
        return self.first <= ids.start and ids.stop <= self.end


class Retired(NamedTuple):
    """A pack, segment file or table that the commit ``number`` took out of use. Its object may still be there."""

    kind: str
    id: int
    suffix: str
    number: int


class RemoteState(NamedTuple):
    """The part of a manifest that only containers of version 3 have.

    ``commit`` is the name of this commit, 128 random bits; ``parent`` is the name of the commit before. ``history`` has
    the numbers and names of the last commits before this one, ascending. Manifests below ``emptied_below`` are empty.
    """

    commit: str
    parent: str = ""
    history: tuple[tuple[int, str], ...] = ()
    reserved: tuple[Reservation, ...] = ()
    retired: tuple[Retired, ...] = ()
    emptied_below: int = 1


# The members of a document.


def encode_state(state: RemoteState) -> dict[str, Any]:
    """Return the members of a manifest's document."""
    return {
        "commit": state.commit,
        "parent": state.parent,
        "history": state.history,
        "reserved": state.reserved,
        "retired": state.retired,
        "emptied_below": state.emptied_below,
    }


def decode_state(members: Mapping[str, Any], number: int, next_id: int) -> RemoteState:
    """Return the state in the members of a document. Raise ValueError with the reason if they contradict each other.

    ``number`` is the number of the manifest, ``next_id`` is larger than every id that was given out.
    """
    history = tuple(
        (_of(row[0], LAST_NUMBER), _text(row[1], _COMMIT)) for row in _rows(members, "history", 2, KEPT_HISTORY)
    )
    if [row[0] for row in history] != list(range(number - len(history), number)):
        raise ValueError("history is not that of the commits before this one")
    reserved = tuple(
        Reservation(_of(row[0], LAST_PACK), _of(row[1], LAST_PACK), _of(row[2], number), _text(row[3], _TOKEN))
        for row in _rows(members, "reserved", 4, MOST_ROWS)
    )
    if any(not 0 < row.first < row.end <= next_id for row in reserved):
        raise ValueError("ids are reserved that were never given out")
    if any(one.end > other.first for one, other in pairwise(sorted(reserved))):
        raise ValueError("an id is reserved twice")
    retired = tuple(
        Retired(_kind(row[0]), _of(row[1], LAST_PACK), _text(row[2], _SUFFIX), _of(row[3], number))
        for row in _rows(members, "retired", 4, MOST_ROWS)
    )
    if any(not 0 < row.id < next_id for row in retired):
        raise ValueError("ids are retired that were never given out")
    parent = members.get("parent")
    return RemoteState(
        commit=_text(members.get("commit"), _COMMIT),
        parent="" if parent == "" else _text(parent, _COMMIT),
        history=history,
        reserved=reserved,
        retired=retired,
        emptied_below=_of(members.get("emptied_below"), number),
    )


def check_suffix(suffix: object) -> str:
    """Return a suffix of a name. Raise ValueError for anything else."""
    return _text(suffix, _SUFFIX)


def _rows(members: Mapping[str, Any], name: str, length: int, most: int) -> list[list[Any]]:
    rows = members.get(name)
    if not isinstance(rows, list) or len(rows) > most:
        raise ValueError(f"{name} is not a list of up to {most} rows")
    if not all(isinstance(row, list) and len(row) == length for row in rows):
        raise ValueError(f"a row of {name} does not have {length} members")
    return rows


def _of(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"not a number in range: {value!r:.40}")
    return value


def _text(value: object, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ValueError(f"not so many hex digits as it should be: {value!r:.80}")
    return value


def _kind(value: object) -> str:
    if value not in KINDS:
        raise ValueError(f"kind {value!r:.40} is not known")
    return str(value)
