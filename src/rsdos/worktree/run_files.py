"""The files of a run that have to be read, as a process that reads them needs them."""

from __future__ import annotations

from collections.abc import Sequence


class RunFiles:
    """Names of one directory, their sizes and times by ``lstat``, and the keys that they get."""

    __slots__ = ("ctimes", "directory", "dropped", "keys", "left", "missing", "mtimes", "names", "sizes")

    def __init__(
        self, directory: bytes, names: Sequence[bytes], sizes: list[int], mtimes: Sequence[int], ctimes: Sequence[int]
    ) -> None:
        """Sizes are in bytes, times in nanoseconds."""
        self.directory = directory
        self.names = names
        self.sizes = sizes
        """The sizes by ``lstat``, replaced by the sizes that were read."""
        self.mtimes = mtimes
        self.ctimes = ctimes
        self.keys: list[bytes] = [b""] * len(names)
        """A digest for each file that is known."""
        self.missing: Sequence[int] = ()
        """Positions of files that have to be read."""
        self.left = 0
        """The number of them that have no key yet and are not dropped."""
        self.dropped: set[int] = set()
        """Positions of entries that cannot be read, or are gone."""

    def need(self, missing: Sequence[int]) -> None:
        """Set the positions of the files to be read."""
        self.missing = missing
        self.left = len(missing)

    def leave_out(self, at: int) -> None:
        """Drop a file that was to be read."""
        self.dropped.add(at)
        self.left -= 1

    def path(self, at: int) -> bytes:
        """Return the path of a name below the working directory."""
        return self.directory + b"/" + self.names[at] if self.directory else self.names[at]
