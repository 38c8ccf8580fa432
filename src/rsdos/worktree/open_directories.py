"""Open directories below a top: reached part by part from its descriptor, so that no link is followed on the way."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from rsdos.storage.descriptors import Opened, opening

_TOP = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = _TOP | os.O_NOFOLLOW

MOST_OPEN = 64
"""The most directories of the chain that are open at the same time. A tree of 1,024 levels would need all descriptors
of a process: systems allow 1,024, or even 256."""


class OpenDirectories:
    """A directory, and those below it, by descriptors. A context manager; one thread.

    A path may be longer than the system's ``PATH_MAX``. In tree order each directory costs one ``openat``. The
    directory that is named may be a link; below it links are refused, with an OSError (ENOTDIR or ELOOP).
    """

    def __init__(self, top: str | os.PathLike[str]) -> None:
        """Open the top. Raise OSError."""
        self.path = os.fspath(top)
        self._top = Opened(opening(self.path, _TOP))
        self._chain: list[tuple[bytes, Opened | None]] = []
        """The parts of the path that was opened last, each with its descriptor, unless that was closed since."""

    @property
    def top(self) -> int:
        """The descriptor of the top."""
        return self._top.fd

    def open(self, directory: bytes) -> int:
        """Return the descriptor of a directory below the top, valid until the next call. Raise OSError, with its path.

        b"" is the top. The descriptor belongs to this object.
        """
        if not directory:
            return self._top.fd
        parts = directory.split(b"/")
        chain = self._chain
        same = 0
        for (part, _), wanted in zip(chain, parts, strict=False):
            if part != wanted:
                break
            same += 1
        while same and chain[same - 1][1] is None:
            same -= 1
        while len(chain) > same:
            _, opened = chain.pop()
            if opened is not None:
                opened.close()
        for part in parts[same:]:
            self._descend(part, directory)
        last = chain[-1][1]
        assert last is not None, "the last of the chain is open"
        return last.fd

    def _descend(self, part: bytes, directory: bytes) -> None:
        chain = self._chain
        above = chain[-1][1] if chain else self._top
        assert above is not None, "the last of the chain is open"
        try:
            # `opening` is for paths of either kind; a name is resolved in the directory above.
            opened = Opened(opening(os.fsdecode(part), _BELOW, dir_fd=above.fd))
        except OSError as error:
            error.filename = self.path_of(directory)
            raise
        chain.append((part, opened))
        if len(chain) > MOST_OPEN and (far := chain[-MOST_OPEN - 1])[1] is not None:
            far[1].close()
            chain[-MOST_OPEN - 1] = far[0], None

    def path_of(self, path: bytes) -> str:
        """Return the path of an entry for messages. It begins with the top's path as the caller gave it."""
        return os.path.join(self.path, os.fsdecode(path)) if path else self.path

    def close(self) -> None:
        """Close all descriptors."""
        while self._chain:
            _, opened = self._chain.pop()
            if opened is not None:
                opened.close()
        self._top.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
