"""The files that names on the command line stand for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import lru_cache

from rsdos.cli.patterns import Excluded
from rsdos.cli.render import count
from rsdos.layout import is_inside
from rsdos.standard import standard_input

_READ = 1 << 16

_STREAM = re.compile(r"-|/dev/stdin|/dev/fd/\d+|/proc/self/fd/\d+")


def is_stream(path: str) -> bool:
    """Whether it is standard input, or another stream that the shell has opened, and that is read once."""
    return _STREAM.fullmatch(path) is not None


def listed(source: str, null: bool) -> Iterator[str]:
    """The names in a file, one after another, without reading all of it."""
    with nullcontext(standard_input()) if source == "-" else open(source, "rb") as stream:
        rest = stream.read(_READ)
        separator = b"\0" if null or b"\0" in rest else b"\n"
        while data := rest:
            *lines, rest = data.split(separator)
            yield from (os.fsdecode(line) for line in lines if line)
            more = stream.read(_READ)
            if not more:
                break
            rest += more
        if rest:
            yield os.fsdecode(rest)


class Walk:
    """Goes through the files, passes over what is not for storing, and counts it."""

    def __init__(self, container: str, excluded: Excluded, refuse: Callable[[str], None]) -> None:
        """``refuse`` is told what is wrong with one name; the others go on."""
        status = os.stat(container)
        self._own = (status.st_dev, status.st_ino)
        self._excluded = excluded
        self._refuse = refuse
        self._irregular = self._own_files = self._directories = 0
        self._is_own = lru_cache(16)(lambda directory: is_inside(directory or ".", container))

    def passed_over(self) -> Iterator[str]:
        """What was, in words."""
        if self._irregular:
            yield f"{self._irregular} that are no regular files (links, ...)"
        if self._own_files:
            yield f"{count(self._own_files, 'name')} of the container itself"
        if self._directories:
            yield f"{count(self._directories, 'name')} of directories (-r descends into them)"

    def files(self, names: Iterable[str], recursive: bool) -> Iterator[str]:
        """The files that the names on the command line stand for, one after another."""
        return self._files(names, recursive, lambda path: self._refuse(f"{path}: is a directory (-r descends into it)"))

    def files_of_list(self, names: Iterable[str], recursive: bool) -> Iterator[str]:
        """Those of a list that another program has made: `find` names directories too."""

        def pass_over(path: str) -> None:
            self._directories += 1

        return self._files(names, recursive, pass_over)

    def _files(self, names: Iterable[str], recursive: bool, directory: Callable[[str], None]) -> Iterator[str]:
        for path in names:
            if is_stream(path):
                yield path
            elif os.path.isdir(path):
                if self._is_own(path):
                    self._own_files += 1
                elif recursive:
                    yield from self._descend(path)
                else:
                    directory(path)
            elif self._is_own(os.path.dirname(path)):
                self._own_files += 1
            else:
                yield path

    def _descend(self, top: str) -> Iterator[str]:
        """The regular files below a directory. Memory: the names of directories that are still to be visited."""
        start = len(os.path.join(top, ""))
        excluded = self._excluded
        directories = [top]
        while directories:
            directory = directories.pop()
            try:
                status = os.stat(directory)
                if (status.st_dev, status.st_ino) == self._own:
                    continue
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if entry.is_file(follow_symlinks=False):
                            if not excluded.file(entry.path[start:]):
                                yield entry.path
                        elif entry.is_dir(follow_symlinks=False):
                            if not excluded.directory(entry.path[start:]):
                                directories.append(entry.path)
                        elif not excluded.file(entry.path[start:]):
                            self._irregular += 1
            except OSError as error:
                self._refuse(f"{error.filename or directory}: {error.strerror}")
