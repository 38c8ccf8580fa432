"""Patterns of names to leave out, as in a .gitignore: ``*.tmp``, ``build/``, ``/data/raw``, ``**/cache``, ``!keep``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple


class Excluded:
    """The names that some patterns leave out.

    ``*``, ``?`` and ``[a-z]`` match any characters but the slash, ``**`` matches directories; a backslash takes the
    meaning from the next character. A pattern without a slash matches a name in any directory; one with a slash begins
    at the directory that the walk begins at. A pattern that ends with a slash matches directories only. The last
    pattern that matches decides, and one that begins with ``!`` includes a name again, except in a directory that is
    left out, because that is not visited.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        rules = list(map(_rule, patterns))
        self._groups = [
            _Group(takes_in, _joined(group, directories=False), _joined(group, directories=True))
            for takes_in, group in ((key, list(rows)) for key, rows in groupby(rules, lambda rule: rule.takes_in))
        ][::-1]

    def __bool__(self) -> bool:
        """Whether there is any pattern."""
        return bool(self._groups)

    def file(self, path: str) -> bool:
        """Return whether a file is left out; ``path`` is relative to the directory that the walk begins at."""
        return self.decide_file(path) is True

    def directory(self, path: str) -> bool:
        """Return whether a directory, and so everything in it, is left out."""
        return self.decide_directory(path) is True

    def decide_file(self, path: str) -> bool | None:
        """Return whether a file is left out (True) or included again (False); None if no pattern matches it."""
        for group in self._groups:
            if group.files is not None and group.files.fullmatch(path):
                return not group.takes_in
        return None

    def decide_directory(self, path: str) -> bool | None:
        """Do `decide_file` for a directory."""
        for group in self._groups:
            if group.directories is not None and group.directories.fullmatch(path):
                return not group.takes_in
        return None


def patterns_in(text: str) -> Iterator[str]:
    """Yield the patterns in the text of a file: one a line, without comments, empty lines and blanks at the end."""
    for line in text.removeprefix("\ufeff").split("\n"):
        pattern = _BLANKS.sub("", line.removesuffix("\r"))
        if pattern and not pattern.startswith("#"):
            yield pattern


_BLANKS = re.compile(r"(?<!\\)[ \t]+$")


class _Rule(NamedTuple):
    takes_in: bool
    for_directories: bool
    expression: str


class _Group(NamedTuple):
    """Consecutive patterns that decide in the same way, as one expression each for files and directories."""

    takes_in: bool
    files: re.Pattern[str] | None
    directories: re.Pattern[str] | None


def _rule(pattern: str) -> _Rule:
    takes_in = pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    return _Rule(takes_in, pattern.endswith("/"), _expression(pattern.removesuffix("/")))


def _joined(rules: list[_Rule], *, directories: bool) -> re.Pattern[str] | None:
    expressions = [rule.expression for rule in rules if directories or not rule.for_directories]
    return re.compile("|".join(expressions), re.DOTALL) if expressions else None


_PIECES = re.compile(
    r"(?P<any>(?:(?<=/)|^)\*\*+/)|(?P<all>/\*\*+$)|(?P<some>\*+)|(?P<one>\?)"
    r"|(?P<set>\[[!^]?\]?[^\]]*\])|\\(?P<plain>.)|(?P<rest>.)",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _expression(pattern: str) -> str:
    """Return the regular expression of a pattern.

    A pattern with a slash before its end is anchored where the walk begins; any other matches a name in any directory.
    """
    pattern = _ESCAPED.sub(lambda match: "/" if match[1] == "/" else match[0], pattern)
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
            return _set(text[1:-1])
        case "plain":
            return re.escape(match["plain"])
        case _:
            return re.escape(text)


def expression(pattern: str) -> re.Pattern[str]:
    """Return an expression that matches exactly the paths that a pattern matches."""
    return re.compile(_expression(pattern), re.DOTALL)


def _set(inner: str) -> str:
    """Return the expression of a set of characters. A descending range has only its first character, as in git."""
    no = "^" if inner[:1] in ("!", "^") else ""
    rest = inner[len(no) :]
    parts = []
    while rest:
        first, last = rest[0], rest[2:3]
        if rest[1:2] == "-" and last:
            parts.append(f"{re.escape(first)}-{re.escape(last)}" if first <= last else re.escape(first))
            rest = rest[3:]
        else:
            parts.append(re.escape(first))
            rest = rest[1:]
    return f"(?!/)[{no}{''.join(parts)}]" if parts else "(?!)"
