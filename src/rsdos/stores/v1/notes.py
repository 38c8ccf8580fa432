"""The notes for operators in a container of version 1, which has no manifest for them."""

from __future__ import annotations

from collections.abc import Mapping

from rsdos.layout import V1Layout
from rsdos.storage import posix
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.stores.sandbox import replace_without_lock

_MOST_BYTES = 1 << 20


def read_notes(path: str) -> Mapping[str, object]:
    """Return all notes; none if the file is missing or damaged: nothing depends on them."""
    try:
        return decode_document(posix.read_file(path, _MOST_BYTES))
    except (OSError, ValueError):
        return {}


def write_notes(layout: V1Layout, notes: Mapping[str, object]) -> None:
    """Write these notes, synced, in place of the old ones."""
    replace_without_lock(layout, layout.notes, encode_document({**notes}))
    posix.sync_directory(layout.root)
