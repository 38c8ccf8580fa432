"""The note of the last backup, a file beside the locks of a container."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from rsdos.layout import Layout
from rsdos.storage import posix
from rsdos.storage.checked_json import decode_document, encode_document

VALIDATION = "validation"
"""The name of the note of the last validation (`PackMaintenance.notes`)."""

_MOST = 1 << 16


class LastBackup(NamedTuple):
    """The time when the last backup was finished (UTC, ISO 8601), and its place.

    ``verified`` is None for a backup that was not verified, and otherwise whether all of its objects were good.
    """

    time: str
    place: str
    verified: bool | None = None


def read_note(layout: Layout) -> LastBackup | None:
    """Return the note of the last backup; None when there is none, or it is damaged."""
    with suppress(OSError, ValueError, TypeError):
        note = LastBackup(**decode_document(posix.read_file(layout.last_backup, _MOST)))
        if isinstance(note.time, str) and isinstance(note.place, str) and note.verified in (True, False, None):
            return note
    return None


def write_note(layout: Layout, note: LastBackup) -> None:
    """Replace the note, and sync it. In a container that cannot be written, do nothing."""
    from rsdos.stores.sandbox import replace_without_lock  # `status` does not need it.

    with suppress(OSError):
        layout.make(layout.locks)
        # Backups to two places have no lock in common.
        replace_without_lock(layout, layout.last_backup, encode_document(note._asdict()))
        posix.sync_directory(layout.locks)
