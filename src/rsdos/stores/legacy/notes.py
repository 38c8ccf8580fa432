"""What operators' tools have noted about a container of version 1, in a small document beside its index."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rsdos import fsio
from rsdos.documents import decode_document, encode_document

_MOST_BYTES = 1 << 20


def read_notes(path: str) -> Mapping[str, object]:
    """All notes; none where there is no such file or it is not whole: nothing depends on them."""
    try:
        return decode_document(fsio.read_file(path, _MOST_BYTES))
    except (OSError, ValueError):
        return {}


def write_notes(path: str, notes: Mapping[str, object]) -> None:
    """Put these notes, synced, in the place of those that are there."""
    fsio.replace_file(path, encode_document({**notes}))
    fsio.sync_directory(os.path.dirname(path))
