"""The rules for saving snapshots beside deleting objects: when refs may be published, and what may be deleted when.

**The rule.** An object that the newest refs lead to is there, and an object that was inserted by key stays until it is
deleted by key. Publishing refs and deleting objects are commits of one chain. If the deletion comes first, the
publisher sees another epoch and looks its objects up again; if the publication comes first, the deleter sees other refs
and marks again (docs/concurrency.md).

Everything here is a table or a pure function. The stores and maintenance use them, and so does the model in
``tests/model``, which tries all interleavings of savers, inserters and deleters, and fails if any rule is missing.
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
"""The kinds of packs in which gc deletes copies: never those of objects that were inserted by key."""

DELETED_KINDS = (PackKind.PLAIN,)
"""The kinds of packs in which a delete by key deletes copies, beside loose files: never those held for snapshots."""

KEPT_DOCUMENTS = 100
"""The newest refs documents, which gc keeps for undo and repair. With 1,000 versions they take 11 MB."""


def begun(epoch: int) -> int:
    """Return the epoch of a container in which a save begins: from the first save on, deletes raise the epoch."""
    return epoch or 1


def may_publish(remembered: Live, newest: Live) -> bool:
    """Return whether refs may be published: nothing was deleted, or published by others, since ``remembered``."""
    return remembered == newest


def may_delete(marked: str, newest: str) -> bool:
    """Return whether marked objects may be deleted: the refs that were marked, by key, are the newest ones."""
    return marked == newest


def after_delete(epoch: int) -> int:
    """Return the epoch after a commit that deletes. It stays 0 if no save ever began, because nothing compares it."""
    return epoch + 1 if epoch else 0


def collectable(length: int, saves: Iterable[Mapping[int, int]], pack_id: int) -> int:
    """Return the length of a pack up to which gc may delete copies: a running save may have stored copies beyond it.

    ``length`` is that of the pack. ``saves`` are the committed lengths of the packs when each running save began, by
    pack id. A pack that is not among them was made later.
    """
    return min((lengths.get(pack_id, 0) for lengths in saves), default=length)


def to_hold(reached: Sequence[_T], held: Collection[_T]) -> list[_T]:
    """Return the objects that need a held copy before a delete removes their plain copy.

    ``reached`` are the objects that a live snapshot reaches, ``held`` those that have a held copy already.
    """
    return [one for one in reached if one not in held]


def takes_loose(kind: PackKind) -> bool:
    """Return whether a loose file counts as a copy for an insert into packs of a kind.

    It does not count for held objects and pages: removing a loose file is no commit, so no publisher would notice it.
    """
    return kind is PackKind.PLAIN
