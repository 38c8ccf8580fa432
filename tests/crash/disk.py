"""What a power loss leaves: the part of a directory that was synced, and nothing that was not promised."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.crash.calls import intercepted

_RANDOM = re.compile(r"-[0-9a-f]{16}(?=\.new$)")


class _File:
    """One file, whatever its names: the bytes that have reached the disk."""

    def __init__(self, stable: bytes = b"") -> None:
        self.stable = stable


class Disk:
    """Watches the calls of this process below a directory and knows what of it is on stable storage.

    A file's bytes are from its last sync, a directory's names from its own last sync: the worst that POSIX allows.
    """

    def __init__(self, root: Path) -> None:
        """What is there now counts as stable."""
        self._root = root
        self._files: dict[int, _File] = {}
        self._names: dict[str, dict[str, _File | None]] = {}
        self.calls: list[tuple[str, str]] = []
        """(name of the call, path below the directory) so far; without what is random in the names of new files."""
        for directory, _, names in os.walk(root):
            for name in names:
                path = Path(directory, name)
                self._files[path.stat().st_ino] = _File(path.read_bytes())
        for directory, _, _ in os.walk(root):
            self._names[directory] = self._present(directory)

    @contextmanager
    def watched(self, after: Callable[[], None] = lambda: None, *, sync: bool = True) -> Iterator[None]:
        """Watch; ``after`` is called behind each call. ``sync=False`` pretends that no sync reaches the disk."""

        own = threading.local()  # Syncs are made by several threads.

        def hook(name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
            if getattr(own, "inside", False):
                return call(*arguments)
            new = name == "open" and not os.path.lexists(arguments[0])
            result = call(*arguments)
            path = arguments[0] if isinstance(arguments[0], str) else os.readlink(f"/proc/self/fd/{arguments[0]}")
            where = os.path.relpath(arguments[1] if name in ("link", "rename") else path, self._root)
            self.calls.append((name, _RANDOM.sub("", where)))
            if new:
                self._files[os.fstat(result).st_ino] = _File()
            elif name in ("fsync", "fdatasync") and sync:
                self._sync(arguments[0], path)
            own.inside = True
            try:
                after()
            finally:
                own.inside = False
            return result

        with intercepted(hook):
            yield

    def _sync(self, fd: int, path: str) -> None:
        if os.path.isdir(path):
            self._names[path] = self._present(path)
        else:
            status = os.fstat(fd)
            with open(f"/proc/self/fd/{fd}", "rb") as file:
                self._files[status.st_ino].stable = file.read()

    def _present(self, directory: str) -> dict[str, _File | None]:
        entries = os.scandir(directory)
        return {entry.name: None if entry.is_dir() else self._files[entry.inode()] for entry in entries}

    def lose_power(self, copy: Path, *, names_survive: bool = False, lengths_survive: bool = False) -> None:
        """Put what is left into ``copy``. ``names_survive``: every name is there, but bytes only as far as synced.

        ``lengths_survive``: every name, and of each file as many bytes as there are now; those that are not synced are
        zeros.
        """
        self._restore(str(self._root), copy, names_survive or lengths_survive, lengths_survive)

    def _restore(self, directory: str, copy: Path, names_survive: bool, lengths_survive: bool) -> None:
        copy.mkdir()
        names = self._present(directory) if names_survive else self._names.get(directory, {})
        for name, file in names.items():
            if file is None:
                self._restore(os.path.join(directory, name), copy / name, names_survive, lengths_survive)
            elif lengths_survive:
                length = os.stat(os.path.join(directory, name)).st_size
                (copy / name).write_bytes(file.stable[:length].ljust(length, b"\0"))
            else:
                (copy / name).write_bytes(file.stable)
