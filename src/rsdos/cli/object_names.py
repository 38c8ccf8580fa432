"""Names of objects on the command line: a key, its beginning, ``REF`` or ``REF:PATH``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rsdos.errors import RefNotFound

if TYPE_CHECKING:
    from rsdos.container import Container

_HEX = re.compile("[0-9a-f]{6,}")


def object_key(container: Container, text: str) -> str:
    """Return the key of the object that a text names; ``REF`` names the snapshot's own document.

    Raise `InvalidKey`, `AmbiguousKey`, `ObjectNotFound`, `RefNotFound`, FileNotFoundError and so on.
    """
    if container.config.hash.is_key(text):
        return text  # Only a beginning of a key needs a search of the index, which imports numpy.
    snapshots = container.snapshots
    if ":" not in text and (not len(snapshots) or means_key(container, text)):
        return container.find(text)
    ref, path = snapshots.split(text)
    if path is not None:
        return snapshots[ref].file(path).key
    try:
        return snapshots[ref].key
    except RefNotFound:
        if "@" in text:
            raise
        # A text that is meant as a key is often too short, or in upper case.
        raise RefNotFound(text, "no such branch or tag, and not a key (at least 6 lower-case hex digits)") from None


def means_key(container: Container, text: str) -> bool:
    """Return whether a text is a key, or 6 characters or more of one, and not the name of a branch or tag."""
    if not _HEX.fullmatch(text):
        return False
    return container.config.hash.is_key(text) or not container.snapshots.is_name(text)
