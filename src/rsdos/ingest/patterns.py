"""Patterns of names to leave out, as in a .gitignore: ``*.tmp``, ``build/``, ``/data/raw``, ``**/cache/*``."""

from __future__ import annotations

import re
from collections.abc import Iterable


class Excluded:
    """The names that some patterns leave out. No pattern takes back in what another one leaves out (``!``).

    ``*``, ``?`` and ``[a-z]`` match any characters but the slash, ``**`` matches directories. A pattern without a slash
    matches a name in any directory; one with a slash begins at the directory that the walk begins at. A pattern that
    ends with a slash matches directories only.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = list(patterns)
        files = [_expression(pattern) for pattern in patterns if not pattern.endswith("/")]
        directories = [_expression(pattern.rstrip("/")) for pattern in patterns]
        self._files = re.compile("|".join(files), re.DOTALL) if files else None
        self._directories = re.compile("|".join(directories), re.DOTALL) if directories else None

    def __bool__(self) -> bool:
        """Whether there is any pattern."""
        return self._directories is not None

    def file(self, path: str) -> bool:
        """Return whether a file is left out; ``path`` is relative to the directory that the walk begins at."""
        return self._files is not None and self._files.fullmatch(path) is not None

    def directory(self, path: str) -> bool:
        """Return whether a directory, and so everything in it, is left out."""
        return self._directories is not None and self._directories.fullmatch(path) is not None


_PIECES = re.compile(
    r"(?P<any>\*\*/)|(?P<all>/\*\*$)|(?P<some>\*+)|(?P<one>\?)|(?P<set>\[[!^]?\]?[^\]]*\])|(?P<rest>.)", re.S
)


def _expression(pattern: str) -> str:
    """Return the regular expression of a pattern.

    A pattern with a slash before its end is anchored where the walk begins; another matches a name in any directory.
    """
    anchored = "/" in pattern
    return ("" if anchored else "(?:.*/)?") + "".join(map(_piece, _PIECES.finditer(pattern.removeprefix("/"))))


def _piece(match: re.Match[str]) -> str:
    text = match[0]
    match match.lastgroup:
        case "any":
            return "(?:.*/)?"
        case "all":
            return "/.*"
        case "some":
            return "[^/]*"
        case "one":
            return "[^/]"
        case "set":
            inner = text[1:-1]
            no = "^" if inner[0] in "!^" else ""
            inner = inner[len(no) :].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("^", "\\^")
            return f"(?!/)[{no}{inner}]"
        case _:
            return re.escape(text)
