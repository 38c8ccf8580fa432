"""Writing pack tables in a commit: step 5b of the protocol (docs/design.md, section 4)."""

from __future__ import annotations

from contextlib import suppress
from itertools import count, islice

from rsdos import names
from rsdos.index.manifest import Manifest
from rsdos.layout import Layout
from rsdos.names import LAST_NUMBER
from rsdos.storage.base import Put

MOST_CHANGED = 512
"""Rows of packs and ids of gone ones in a manifest that has pack tables, or is to have some.

They are 0.1 MB of JSON. Two or three milliseconds of a commit, and of each reading, are for them.
"""


def folded(layout: Layout, manifest: Manifest) -> Manifest:
    """Return the manifest with its packs in tables, where too many are in itself; the same where that cannot be done.

    The caller holds the lock on commits. The tables and their names are on stable storage then, whatever the
    durability: it is one commit of some hundred, and with a table that a power loss takes all manifests since are
    damaged. When this raises, the tables are gone.
    """
    packs = manifest.packs
    # The ids of gone ones are among the hidden ones, of which most containers have none.
    if len(packs.changed) + len(packs.hidden and packs.gone) <= MOST_CHANGED:
        return manifest
    from rsdos.index.folding import plan_fold

    fold = plan_fold(packs, MOST_CHANGED)
    if fold is None:
        return manifest
    # What has a number that no manifest has given out is a dead writer's, and goes by and by.
    taken = set(layout.table_numbers())
    free = (number for number in count(manifest.next_segment) if number not in taken)
    numbers = list(islice(free, len(fold.files)))
    if numbers and numbers[-1] > LAST_NUMBER:
        return manifest
    written: list[int] = []
    try:
        for number, data in zip(numbers, fold.files, strict=True):
            # 5b. Put the tables, whole and synced, and sync their names.
            if layout.storage.put_new(names.pack_table(number), data).outcome is not Put.OURS:
                return _undone(layout, written, manifest)
            written.append(number)
        layout.storage.sync_names(names.INDEX)
    except OSError:
        return _undone(layout, written, manifest)  # No room: a later commit tries again.
    except BaseException:
        _undone(layout, written, manifest)
        raise
    after = fold.onto(packs, [(number, "") for number in numbers])
    assert after is not None
    return manifest._replace(packs=after, next_segment=max([manifest.next_segment, *(n + 1 for n in numbers)]))


def _undone(layout: Layout, written: list[int], manifest: Manifest) -> Manifest:
    """Remove what was written, and return the manifest."""
    for number in written:
        with suppress(OSError):
            layout.storage.remove(names.pack_table(number))
    return manifest
