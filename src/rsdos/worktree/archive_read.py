"""Reads the files of a tree in tree order, a few MiB at a time, and each of these parts in storage order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from rsdos.errors import DamagedContainer
from rsdos.model import FRAME_SIZE
from rsdos.trees.entry import TreeEntry

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine

_MOST_BYTES = 16 << 20
_MOST_ENTRIES = 1 << 13
"""The most bytes of files, by the sizes in the tree, and the most entries that are taken together."""

_MOST_READ = 4 * _MOST_BYTES
"""The most bytes that are kept at a time, whatever sizes the tree has."""


def entry_batches(entries: Iterator[TreeEntry]) -> Iterator[list[TreeEntry]]:
    """Yield entries in order, in lists whose small files are read together."""
    batch: list[TreeEntry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size if entry.size <= FRAME_SIZE else 0
        if size >= _MOST_BYTES or len(batch) >= _MOST_ENTRIES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def read_together(engine: Engine, entries: Sequence[TreeEntry]) -> dict[bytes, bytes]:
    """Return the contents of small files by their digests, of those that a bulk read of the packs yields.

    The other files are large, loose, damaged or missing, and are read one by one.
    """
    digests = list({entry.key: None for entry in entries if entry.key and entry.size <= FRAME_SIZE})
    found: dict[bytes, bytes] = {}
    size = 0
    with suppress(DamagedContainer):
        for positions, payloads in engine.objects.packed_lists(digests):
            found.update(zip([digests[at] for at in positions], payloads, strict=True))
            size += sum(map(len, payloads))
            if size > _MOST_READ:
                break
    return found
