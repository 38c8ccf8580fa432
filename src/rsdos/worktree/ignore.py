"""The names that a scan leaves out, and the entries that a checkout of a part covers: both by patterns of a .gitignore.

The patterns are those of `rsdos.ingest.patterns`, for ``.rsdosignore`` files at any depth, for ``--exclude``, and for
checkouts of a part of a tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import compress
from typing import TypeVar

from rsdos.ingest.patterns import Excluded, patterns_in
from rsdos.trees.entry import EntryKind, Listing

IGNORE_FILE = b".rsdosignore"

MOST_BYTES = 1 << 20
"""Bytes of an ignore file: 20,000 patterns. Bytes after these are not read."""

_T = TypeVar("_T")


class Ignore:
    """The names that a scan leaves out. It enters directories in tree order; one thread.

    Patterns of the caller decide first, then those of the ignore files from the nearest to the topmost. A pattern of a
    file is relative to its directory.
    """

    def __init__(self, exclude: Sequence[str] = ()) -> None:
        """``exclude`` are patterns relative to the top."""
        self._always = Excluded(exclude)
        self._files: list[tuple[str, Excluded]] = []
        """The directories whose ignore files are valid now, each with a slash at its end, and their patterns."""
        self._directory = ""

    def enter(self, directory: bytes, text: bytes) -> bool:
        """Go to a directory. ``text`` is the text of its ignore file, up to `MOST_BYTES`: a cut line is dropped.

        Return whether anything may be left out there.
        """
        if len(text) >= MOST_BYTES:
            text = text[: text.rfind(b"\n") + 1]
        self._directory = _with_slash(directory)
        while self._files and not self._directory.startswith(self._files[-1][0]):
            self._files.pop()
        if text and (excluded := Excluded(patterns_in(os.fsdecode(text)))):
            self._files.append((self._directory, excluded))
        return bool(self._always or self._files)

    def file(self, name: bytes) -> bool:
        """Return whether a file in the directory that was entered last is left out."""
        return self._decide(name, Excluded.decide_file)

    def directory(self, name: bytes) -> bool:
        """Return whether a directory in the directory that was entered last is left out."""
        return self._decide(name, Excluded.decide_directory)

    def _decide(self, name: bytes, ask: Callable[[Excluded, str], bool | None]) -> bool:
        path = self._directory + os.fsdecode(name)
        if (answer := ask(self._always, path)) is not None:
            return answer
        for top, excluded in reversed(self._files):
            if (answer := ask(excluded, path[len(top) :])) is not None:
                return answer
        return False


class Selection:
    """The entries of a tree that a checkout of a part covers.

    An entry is covered if it, or a directory above it, matches ``include`` (no pattern: all do), and neither it nor a
    directory above it matches ``exclude``. A directory that is not covered may hold covered entries: a checkout makes
    it for them, but it does not count as an entry of the working directory.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = Excluded(include)
        self._exclude = Excluded(exclude)
        # Cached for 64 levels, because directories beside each other ask for the same ones above them.
        self._above = lru_cache(64)(self._reach)

    def __bool__(self) -> bool:
        """Whether there is any pattern: without one everything is covered."""
        return bool(self._include or self._exclude)

    def file(self, path: bytes) -> bool:
        """Return whether a file or a link is covered."""
        directory, _, _ = path.rpartition(b"/")
        included, excluded = self._above(directory)
        if excluded:
            return False
        text = os.fsdecode(path)
        return (included or self._include.file(text)) and not self._exclude.file(text)

    def directory(self, path: bytes) -> bool:
        """Return whether a directory is covered."""
        included, excluded = self._above(path)
        return included and not excluded

    def excludes(self, path: bytes) -> bool:
        """Return whether nothing below a directory is covered."""
        return self._above(path)[1]

    def entry(self, path: bytes, kind: EntryKind) -> bool:
        """Return whether an entry is covered."""
        return self.directory(path) if kind == EntryKind.DIRECTORY else self.file(path)

    def listing(self, listing: Listing) -> Listing:
        """Return the entries of a listing that are covered."""
        prefix = listing.directory + b"/" if listing.directory else b""
        keep = [
            self.entry(prefix + name, EntryKind(kind)) for name, kind in zip(listing.names, listing.kinds, strict=True)
        ]
        return listing if all(keep) else chosen(listing, keep)

    def _reach(self, directory: bytes) -> tuple[bool, bool]:
        """Return whether a directory, or one above it, is included, and whether one is excluded."""
        if not directory:
            return not self._include, False
        included, excluded = self._above(directory.rpartition(b"/")[0])
        text = os.fsdecode(directory)
        return included or self._include.directory(text), excluded or self._exclude.directory(text)


def chosen(listing: Listing, keep: Sequence[object]) -> Listing:
    """Return the entries of a listing for which ``keep`` is true."""

    def some(column: Sequence[_T]) -> list[_T]:
        return list(compress(column, keep))

    return Listing(
        listing.directory,
        some(listing.names),
        bytes(some(listing.kinds)),
        some(listing.sizes),
        some(listing.keys),
        some(listing.targets),
        None if listing.mtimes is None else some(listing.mtimes),
        None if listing.modes is None else some(listing.modes),
    )


def _with_slash(directory: bytes) -> str:
    return os.fsdecode(directory) + "/" if directory else ""
