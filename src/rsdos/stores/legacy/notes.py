"""What operators' tools have noted about a container of version 1, in a small document beside its index."""

from __future__ import annotations

from collections.abc import Mapping

from rsdos import fsio
from rsdos.documents import decode_document, encode_document
from rsdos.layout import LegacyLayout
from rsdos.stores.sandbox import replace_file

_MOST_BYTES = 1 << 20


def read_notes(path: str) -> Mapping[str, object]:
    """All notes; none where there is no such file or it is not whole: nothing depends on them."""
    try:
        return decode_document(fsio.read_file(path, _MOST_BYTES))
    except (OSError, ValueError):
        return {}


def write_notes(layout: LegacyLayout, notes: Mapping[str, object]) -> None:
    """Put these notes, synced, in the place of those that are there."""
    replace_file(layout, layout.notes, encode_document({**notes}))
    fsio.sync_directory(layout.root)
