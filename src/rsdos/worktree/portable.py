"""Names that every system can have: for trees that will be checked out elsewhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rsdos.errors import InvalidName

_FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]|[. ]$')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$", re.IGNORECASE)
"""Names that mean devices on Windows, with any extension."""


class PortableNames:
    """The names of one directory. All that were added are in memory."""

    def __init__(self, prefix: bytes) -> None:
        """``prefix`` is the path of the directory with a slash, for messages."""
        self._prefix = prefix
        self._seen: dict[str, bytes] = {}

    def add(self, names: Iterable[bytes]) -> None:
        """Raise `InvalidName` for a name that some systems refuse, or do not distinguish from one added before."""
        for name in names:
            try:
                text = name.decode()
            except UnicodeDecodeError:
                raise self._error(name, "is not UTF-8") from None
            if _FORBIDDEN.search(text) or _DEVICES.match(text):
                raise self._error(name, "is not allowed on Windows")
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
            other = self._seen.setdefault(folded, name)
            if other is not name:
                raise self._error(name, f"differs from {other!r} in case or Unicode form only")

    def _error(self, name: bytes, reason: str) -> InvalidName:
        return InvalidName(self._prefix + name, reason)
