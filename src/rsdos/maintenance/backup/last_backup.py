"""What maintenance leaves noted in a container: here the last backup, which stands beside the locks."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from rsdos.layout import Layout
from rsdos.storage import posix
from rsdos.storage.checked_json import decode_document, encode_document

VALIDATION = "validation"
"""Under this name the packed store knows the last validation (`PackStore.notes`)."""

_MOST = 1 << 16


class LastBackup(NamedTuple):
    """When the last backup was finished (UTC, ISO 8601), and where it is.

    ``verified`` is None where nobody looked, and otherwise whether all of its objects were good.
    """

    time: str
    place: str
    verified: bool | None = None


def read_note(layout: Layout) -> LastBackup | None:
    """The note of the last backup; None when there is none, or it is damaged."""
    with suppress(OSError, ValueError, TypeError):
        note = LastBackup(**decode_document(posix.read_file(layout.last_backup, _MOST)))
        if isinstance(note.time, str) and isinstance(note.place, str) and note.verified in (True, False, None):
            return note
    return None


def write_note(layout: Layout, note: LastBackup) -> None:
    """Put a note, synced, in the place of the one before. A container that cannot be written gets none."""
    from rsdos.stores.loose.sandbox import replace_without_lock  # Not for a status.

    with suppress(OSError):
        layout.make(layout.locks)
        # Two backups to two places have no lock in common.
        replace_without_lock(layout, layout.last_backup, encode_document(note._asdict()))
        posix.sync_directory(layout.locks)
