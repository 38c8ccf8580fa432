"""Patterns of names that are left out, as in a .gitignore: ``*.tmp``, ``build/``, ``/data/raw``, ``**/cache/*``."""

from __future__ import annotations

import re
from collections.abc import Iterable


class Excluded:
    """Whether a path is left out by one of some patterns. No pattern takes back in what another leaves out."""

    def __init__(self, patterns: Iterable[str]) -> None:
        files = [_expression(pattern) for pattern in patterns if not pattern.endswith("/")]
        directories = [_expression(pattern.rstrip("/")) for pattern in patterns]
        self._files = re.compile("|".join(files), re.DOTALL) if files else None
        self._directories = re.compile("|".join(directories), re.DOTALL) if directories else None

    def file(self, path: str) -> bool:
        """Of a file; ``path`` begins below the directory that was named."""
        return self._files is not None and self._files.fullmatch(path) is not None

    def directory(self, path: str) -> bool:
        """Of a directory, and so of all that is in it."""
        return self._directories is not None and self._directories.fullmatch(path) is not None


_PIECES = re.compile(
    r"(?P<any>\*\*/)|(?P<all>/\*\*$)|(?P<some>\*+)|(?P<one>\?)|(?P<set>\[[!^]?\]?[^\]]*\])|(?P<rest>.)", re.S
)


def _expression(pattern: str) -> str:
    """The regular expression of a pattern: one with a slash before its end begins where the search does, another
    is that of a name, in whatever directory.
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
