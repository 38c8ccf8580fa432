"""A watcher on a directory outside: whether anything there was read, written, made, removed, or given another mode."""

from __future__ import annotations

import os
from pathlib import Path

State = dict[str, tuple[int, ...]]


class Watch:
    """What is in ``root``. Its times of access are set back, so that ``relatime`` notes the next read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.sees_reads = True
        self._state = self._taken()
        self.sees_reads = self._probe()

    def _paths(self) -> list[str]:
        paths = [str(self._root)]
        for directory, directories, files in os.walk(self._root):
            paths += [os.path.join(directory, name) for name in (*directories, *files)]
        return paths

    def _taken(self) -> State:
        paths = self._paths()
        for path in paths:
            os.utime(path, ns=(0, os.lstat(path).st_mtime_ns), follow_symlinks=False)
        return {path: self._of(path) for path in paths}

    def _of(self, path: str) -> tuple[int, ...]:
        status = os.lstat(path)
        read = status.st_atime_ns if self.sees_reads else 0
        return (
            *(status.st_ino, status.st_mode, status.st_nlink, status.st_uid, status.st_gid, status.st_size),
            *(status.st_mtime_ns, status.st_ctime_ns, read),
        )

    def _probe(self) -> bool:
        """Whether the file system notes who reads."""
        os.listdir(self._root)
        seen = os.lstat(self._root).st_atime_ns != 0
        self._state = self._taken()
        return seen

    def changes(self) -> list[str]:
        """What is not as it was, each once."""
        changed = []
        names = ("inode", "mode", "links", "owner", "group", "size", "written", "changed", "read")
        for path, before in self._state.items():
            try:
                after = self._of(path)
            except FileNotFoundError:
                changed.append(f"{path}: removed")
                continue
            what = [name for name, old, new in zip(names, before, after, strict=True) if old != new]
            if what:
                changed.append(f"{path}: {', '.join(what)}")
        if not any("read" in change for change in changed):
            # Only now: this reads the directories itself.
            changed += [f"{path}: made" for path in self._paths() if path not in self._state]
        self._state = self._taken()
        return changed
