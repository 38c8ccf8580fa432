"""Trying out whether a storage gives a name once: the one thing that commits of many machines rest on (ADR 35)."""

from __future__ import annotations

from contextlib import suppress

from rsdos.errors import ReadOnlyContainer
from rsdos.storage import chance
from rsdos.storage.base import Put, Storage

_MOST_PUTS = 10
"""Times that the name is put again because the answer was lost."""


def refuse_two_winners(storage: Storage) -> None:
    """Raise `ReadOnlyContainer` if a storage gives a name twice: commits would be lost there.

    A bucket on Ceph 16 does when it keeps old versions (docs/remote.md), and says that it does not. Three requests: a
    name below ``probe/`` is put twice, and removed. Raise OSError.
    """
    name = f"probe/{chance.token(64)}"
    winners = 0
    for _ in range(_MOST_PUTS):
        outcome = storage.put_new(name, b"given once?").outcome
        winners += outcome is Put.OURS
        if winners > 1 or outcome is Put.TAKEN:
            break
    with suppress(PermissionError):  # A writer need not have the right to remove.
        storage.remove(name)
    if winners > 1:
        reason = "a put replaces what is there, although its name is taken: two writers would lose objects"
        raise ReadOnlyContainer(storage.root, f"{reason} (see: rsdos remote probe)")
