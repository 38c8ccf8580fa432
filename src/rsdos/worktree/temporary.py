"""Names of temporary files that rsdos makes in a user's directory. Every scan leaves them out."""

from __future__ import annotations

import os

TEMPORARY = b".rsdos-tmp-"
_PREFIX = TEMPORARY.decode()


def is_temporary(name: bytes) -> bool:
    """Return whether a name is that of a temporary file, which a killed process may have left."""
    return name.startswith(TEMPORARY)


def temporary_name() -> str:
    """Return a temporary name that no other process has."""
    return f"{_PREFIX}{os.urandom(8).hex()}"


class TemporaryNames:
    """Temporary names for a process that needs a hundred thousand: one system call for all of them."""

    def __init__(self) -> None:
        self._prefix = os.fsencode(temporary_name())
        self._number = 0

    def next(self) -> bytes:
        """Return a name that neither this object nor another process has returned."""
        self._number += 1
        return b"%b-%x" % (self._prefix, self._number)
