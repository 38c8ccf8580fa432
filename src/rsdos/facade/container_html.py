"""What a notebook shows of a container. Damage is named there, and never raised."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from rsdos.engine.publish import read_refs
from rsdos.errors import RsdosError
from rsdos.facade.history import logged
from rsdos.maintenance.status import status
from rsdos.notebook import MOST_ROWS, columns, table_of, titled

if TYPE_CHECKING:
    from rsdos.facade.part import FacadePart

_SHOWN = (
    *("container_version", "compression", "loose_objects", "loose_length"),
    *("packed_objects", "packed_size", "packed_length", "packs"),
)
"""Members of a `StatusReport`."""


def html_of_container(container: FacadePart) -> str:
    """Return the figures of a container, and its snapshots. All loose files are listed, and no object is read."""
    title = repr(container)
    try:
        report = status(container.engine)
        figures = {name: getattr(report, name) for name in _SHOWN}
        if report.damage:
            figures["damage"] = report.damage
        return titled(title, table_of(figures), _snapshots(container) if report.snapshots else "")
    except (RsdosError, OSError) as error:
        return titled(title, table_of({"cannot be read": str(error)}))


def _snapshots(container: FacadePart) -> str:
    """Return the newest versions of the branches, and the tags."""
    found = logged(container, read_refs(container.engine)[0], None)
    rows = [
        (version.label, record.files, record.size, record.time, record.message)
        for version in islice(found, MOST_ROWS)
        for record in (version.snapshot.record,)
    ]
    return columns(("snapshot", "files", "size", "saved", "message"), rows, found)
