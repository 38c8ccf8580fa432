"""What a notebook shows of a snapshot. Damage is named there, and never raised."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from rsdos.errors import RsdosError
from rsdos.notebook import MOST_ROWS, columns, table_of, titled

if TYPE_CHECKING:
    from rsdos.facade.snapshot_tree import SnapshotTree

_SHOWN = ("time", "author", "message", "files", "size")
"""Members of a `SnapshotRecord`."""


def html_of_snapshot(snapshot: SnapshotTree) -> str:
    """Return what is known of a snapshot, and the first names in its root. One page of its tree is read."""
    record = snapshot.record
    known = {"key": snapshot.key} | {name: getattr(record, name) for name in _SHOWN}
    if record.metadata:
        known["metadata"] = record.metadata
    try:
        found = snapshot.listing()
        rows = [(entry.name, entry.kind, entry.size) for entry in islice(found, MOST_ROWS)]
        names = columns(("name", "kind", "size"), rows, found)
    except (RsdosError, OSError) as error:
        names = table_of({"names cannot be read": str(error)})
    return titled(f"Snapshot {snapshot.label}", table_of(known), names)
