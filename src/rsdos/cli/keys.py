"""Keys on the command line: whole, or the first characters of one."""

from __future__ import annotations

from collections.abc import Iterable

from rsdos.cli.session import Session
from rsdos.errors import ObjectNotFound


def whole_keys(session: Session, keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """The keys, where a beginning of 6 characters or more stands for the key that has it, and the beginnings of none.

    Lists in files have whole keys: there a line that was cut must not name an object. Raises `InvalidKey`,
    `AmbiguousKey`.
    """
    container = session.container()
    is_key = container.config.hash.is_key
    whole: list[str] = []
    absent: list[str] = []
    for key in keys:
        try:
            # Only a beginning needs a search of the index, and numpy for it.
            whole.append(key if is_key(key) else container.find(key))
        except ObjectNotFound:
            absent.append(key)
    return whole, absent
