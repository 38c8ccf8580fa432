"""Keys on the command line: whole keys, or beginnings of keys."""

from __future__ import annotations

from collections.abc import Iterable

from rsdos.cli.session import Session
from rsdos.errors import ObjectNotFound


def whole_keys(session: Session, keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return whole keys for ``keys``, which may be beginnings of 6 characters or more, and those that match no key.

    Lists in files must have whole keys, because a line that was cut must not name an object. Raise `InvalidKey`,
    `AmbiguousKey`.
    """
    container = session.container()
    is_key = container.config.hash.is_key
    whole: list[str] = []
    absent: list[str] = []
    for key in keys:
        try:
            # Only a beginning of a key needs a search of the index, which imports numpy.
            whole.append(key if is_key(key) else container.find(key))
        except ObjectNotFound:
            absent.append(key)
    return whole, absent
