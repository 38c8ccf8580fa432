"""Names of objects on the command line: a key, its beginning, ``REF`` or ``REF:PATH``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rsdos.container import Container

_HEX = re.compile("[0-9a-f]+")


def object_key(container: Container, text: str) -> str:
    """Return the key of the object that a text names; ``REF`` names the snapshot's own document.

    Raise `InvalidKey`, `AmbiguousKey`, `ObjectNotFound`, `RefNotFound`, FileNotFoundError and so on.
    """
    if container.config.hash.is_key(text):
        return text  # Only a beginning of a key needs a search of the index, which imports numpy.
    if _HEX.fullmatch(text) or not _may_be_ref(container, text):
        return container.find(text)
    snapshots = container.snapshots
    ref, path = snapshots.split(text)
    return snapshots[ref].key if path is None else snapshots[ref].file(path).key


def may_be_ref(text: str) -> bool:
    """Return whether a text can be the name of a snapshot, and no key, beginning of a key, or path."""
    return ":" not in text and not _HEX.fullmatch(text)


def _may_be_ref(container: Container, text: str) -> bool:
    """Return whether a text that is no key can be the name of a snapshot: it has a path, or there are snapshots."""
    return ":" in text or len(container.snapshots) > 0
