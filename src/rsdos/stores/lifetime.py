"""The rules by which saving snapshots and deleting objects go together: what publishes, what may be deleted, and when.

**The rule.** An object that the newest refs lead to is there, and an object that was inserted by key stays until it is
deleted by key. Publishing refs and deleting objects are commits of one chain. If the deletion comes first, the
publisher sees another epoch and looks its objects up again; if the publication comes first, the deleter sees other refs
and marks again (docs/concurrency.md).

Everything here is a table or a pure function. The stores and maintenance use them, and so does the model in
``tests/model``, which tries all interleavings of savers, inserters and deleters, and fails if any of them is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from rsdos.model import PackKind

_T = TypeVar("_T")


class Live(NamedTuple):
    """What publishers and deleters compare: the key of the newest refs document ("": none), and the epoch."""

    refs: str = ""
    epoch: int = 0


COLLECTED_KINDS = (PackKind.HELD, PackKind.TREES)
"""The kinds of packs that gc takes copies from: never those of objects that were inserted by key."""

DELETED_KINDS = (PackKind.PLAIN,)
"""The kinds of packs that a delete by key takes copies from, beside loose files: never what snapshots hold."""

KEPT_DOCUMENTS = 100
"""The newest refs documents that gc leaves, for undo and repair: of 1,000 versions 11 MB."""


def begun(epoch: int) -> int:
    """Return the epoch of a container in which a save begins: from the first save on, deletes count themselves."""
    return epoch or 1


def may_publish(remembered: Live, newest: Live) -> bool:
    """Return whether refs may be published: nothing was deleted, or published by others, since ``remembered``."""
    return remembered == newest


def may_delete(marked: str, newest: str) -> bool:
    """Return whether marked objects may be deleted: the refs that were marked, by key, are the newest ones."""
    return marked == newest


def after_delete(epoch: int) -> int:
    """Return the epoch after a commit that deletes. Where no save ever began nobody compares it."""
    return epoch + 1 if epoch else 0


def collectable(length: int, saves: Iterable[Mapping[int, int]], pack_id: int) -> int:
    """Return the length of a pack up to which gc may take copies: what is behind it a running save may have stored.

    ``length`` is that of the pack. ``saves`` are the committed lengths of the packs when each running save began, by
    pack id. A pack that is not among them was made since.
    """
    return min((lengths.get(pack_id, 0) for lengths in saves), default=length)


def to_hold(reached: Sequence[_T], held: Collection[_T]) -> list[_T]:
    """Return those objects, of which a delete takes the plain copy away, that get a held copy first.

    ``reached`` are those that a live snapshot reaches, ``held`` those that have a held copy already.
    """
    return [one for one in reached if one not in held]


def takes_loose(kind: PackKind) -> bool:
    """Return whether a loose file counts as a copy for an insert into packs of a kind.

    Not for what snapshots hold: removing a loose file is no commit, and no publisher could see it.
    """
    return kind is PackKind.PLAIN
