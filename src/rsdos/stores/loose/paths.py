"""The files of loose objects: their names, their paths, and finding, listing and removing them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple, TypeVar

from rsdos.config import Config
from rsdos.errors import InvalidKey
from rsdos.hashing import HashType, spell_digests
from rsdos.layout import Layout
from rsdos.model import Codec
from rsdos.storage import posix
from rsdos.storage.directory import Directory
from rsdos.stores import order
from rsdos.stores.order import FileId

SUFFIXES = {Codec.RAW: "", Codec.ZLIB: ".zz", Codec.ZSTD: ".zst"}
"""The suffix of a file's name for each codec; see `rsdos.stores.loose.file`."""

_LIST_FROM = 256
"""The least digests for which directories are listed."""

_LISTED_PER_LOOK = 16
"""If a directory has more entries for each digest than this, it is not listed: each file is asked for.

Listing costs 0.3 us for each name, and 5 us to open the directory, as much as 16 names. Asking for a missing file costs
6 us.
"""


_REMOVERS = 4
"""Threads that remove files, each in directories of its own.

10,000 files of 1 KB on ext4: 17 us each with one thread, 10 with four. With the mount option ``discard`` and without a
journal, 600 and 150.
"""

_REMOVE_TOGETHER_FROM = 256
"""Files from which on the threads are worth their cost."""

_HEX = frozenset("0123456789abcdef")
_T = TypeVar("_T")


def codecs_of(config: Config) -> tuple[Codec, ...]:
    """Return the codecs that loose files of a container may have. The first is the one to look for first."""
    codec = config.loose_codec.codec
    return (Codec.RAW,) if codec is Codec.RAW else (codec, Codec.RAW)


class SeenFile(NamedTuple):
    """A file of a loose object at the moment of a plan."""

    digest: bytes
    codec: Codec
    id: FileId


class LooseNames:
    """The files in ``loose/``, by their names alone: no object is read. Any number of threads."""

    def __init__(self, layout: Layout, hash_type: HashType, codecs: Sequence[Codec]) -> None:
        """``codecs``: see `codecs_of`."""
        self._layout = layout
        self._hash = hash_type
        self._codecs = codecs
        self.raw_path = layout.loose_file
        """The raw file of an object, by its key."""

    def path(self, digest: bytes, codec: Codec) -> str:
        """Return the file of an object in a codec."""
        return self._layout.loose_file(digest.hex()) + SUFFIXES[codec]

    def files(self, digest: bytes) -> list[str]:
        """Return the existing files of one object."""
        files = [path for codec in self._codecs if _is_file(path := self.path(digest, codec))]
        return self._found(digest, files)

    def has(self, digest: bytes) -> bool:
        """Return whether an object has a file."""
        return self._found(digest, any(_is_file(self.path(digest, codec)) for codec in self._codecs))

    def _found(self, digest: bytes, answer: _T) -> _T:
        """Return the same answer. Raise `NotOurs` if there is one, and a link in place of a directory led to it."""
        if answer:
            self._layout.check_loose(self._layout.loose_directory(digest.hex()))
        return answer

    def occupied(self, keys: Sequence[str]) -> list[int]:
        """Return the positions of the keys that have a file, of any kind, in their place.

        Asking for a name takes a third of the time of opening a missing file. Raise `NotOurs`.
        """
        possible, path_of = self.possible(keys), self.raw_path
        if not possible:
            return []
        suffixes = [SUFFIXES[codec] for codec in self._codecs]
        if suffixes == [""]:
            found = [at for at in possible if os.access(path_of(keys[at]), os.F_OK)]
        else:
            found = [at for at in possible if any(os.access(path_of(keys[at]) + end, os.F_OK) for end in suffixes)]
        for directory in {self._layout.loose_directory(keys[at]) for at in found}:
            self._layout.check_loose(directory)
        return found

    def possible(self, keys: Sequence[str]) -> Sequence[int]:
        """Return the positions of the keys that may have a file; all others have none.

        Most bulk lookups are for objects that are not loose: one listing answers that for all keys of a directory.
        """
        count = len(keys)
        if count < _LIST_FROM:
            return range(count)
        names: set[str] = set()
        listed = 0
        try:
            for directory, some in self._directories():
                listed += len(some) + _LISTED_PER_LOOK
                if listed > _LISTED_PER_LOOK * count:
                    return range(count)
                prefix = os.path.basename(directory) if self._layout.loose_prefix_len else ""
                names.update(prefix + self._stem(name) for name in some)
        except PermissionError:  # The files of a directory may be readable when the directory is not.
            return range(count)
        return [at for at, key in enumerate(keys) if key in names] if names else ()

    def digest_lists(self) -> Iterator[Sequence[bytes]]:
        """Yield the objects that have a file, each once, in a list for each directory; foreign names are left out."""
        has_suffixes = len(self._codecs) > 1
        for directory, names in self._directories():
            prefix = os.path.basename(directory) if self._layout.loose_prefix_len else ""
            if has_suffixes:
                keys = list(dict.fromkeys(prefix + self._stem(name) for name in names))
            else:
                keys = [prefix + name for name in names]
            try:
                yield self._hash.parse_keys(keys)
            except InvalidKey:
                yield self._hash.parse_keys(filter(self._hash.is_key, keys))

    def seen(self) -> Iterator[list[SeenFile]]:
        """Yield the files of loose objects with their identities, sorted, in a list for each directory."""
        for directory, names in self._directories():
            prefix = os.path.basename(directory) if self._layout.loose_prefix_len else ""
            files = []
            for name in names:
                stem = self._stem(name)
                if not self._hash.is_key(prefix + stem):
                    continue
                codec = next(codec for codec in self._codecs if stem + SUFFIXES[codec] == name)
                if file_id := FileId.at(f"{directory}/{name}"):
                    files.append(SeenFile(bytes.fromhex(prefix + stem), codec, file_id))
            yield sorted(files)

    def _stem(self, name: str) -> str:
        """Return a file's name without the suffix of a codec that this container uses."""
        for codec in self._codecs:
            if codec is not Codec.RAW and name.endswith(SUFFIXES[codec]):
                return name.removesuffix(SUFFIXES[codec])
        return name

    def paths(self) -> Iterator[str]:
        """Yield the files of loose objects; foreign ones are left out."""
        for directory, names in self._directories():
            prefix = os.path.basename(directory) if self._layout.loose_prefix_len else ""
            yield from (f"{directory}/{name}" for name in names if self._hash.is_key(prefix + self._stem(name)))

    def _directories(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the directories that hold loose objects, sorted, and the names in each, foreign ones too."""
        try:
            names = sorted(os.listdir(self._layout.loose))
        except FileNotFoundError:
            return
        if not self._layout.loose_prefix_len:
            yield self._layout.loose, names
            return
        for name in names:
            directory = os.path.join(self._layout.loose, name)
            if len(name) == self._layout.loose_prefix_len and _HEX.issuperset(name):
                self._layout.check_loose(directory)
                try:
                    yield directory, os.listdir(directory)
                except (FileNotFoundError, NotADirectoryError):
                    continue

    def with_prefix(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``."""
        cut = self._layout.loose_prefix_len
        if len(prefix) < cut:
            for digests in self.digest_lists():
                yield from (key for key in spell_digests(digests) if key.startswith(prefix))
            return
        self._layout.check_loose(self._layout.loose_directory(prefix))
        try:
            names = os.listdir(self._layout.loose_directory(prefix))
        except (FileNotFoundError, NotADirectoryError):
            return
        rest = prefix[cut:]
        found = {prefix[:cut] + self._stem(name) for name in names if name.startswith(rest)}
        yield from filter(self._hash.is_key, found)

    def remove(self, digests: Sequence[bytes]) -> list[bytes]:
        """Remove the present files of objects. Return the objects that had one."""
        suffixes = [SUFFIXES[codec] for codec in self._codecs]
        cut = self._layout.loose_prefix_len
        removed: set[bytes] = set()

        def remove_from(directory: Directory, keys: Sequence[str]) -> None:
            for suffix in suffixes:
                gone = directory.remove_many([key[cut:] + suffix for key in keys])
                removed.update(bytes.fromhex(key) for key, was_there in zip(keys, gone, strict=True) if was_there)

        self._in_each(sorted(map(bytes.hex, digests)), lambda key: key, remove_from)
        return [digest for digest in digests if digest in removed] if removed else []

    def remove_seen(self, files: Sequence[SeenFile]) -> list[bytes]:
        """Remove files, unless another file has the name by now. Return the objects that lost one, each once."""
        cut = self._layout.loose_prefix_len
        removed: set[bytes] = set()

        def remove_from(directory: Directory, some: Sequence[SeenFile]) -> None:
            for seen in some:
                name = seen.digest.hex()[cut:] + SUFFIXES[seen.codec]
                with suppress(FileNotFoundError):
                    now = FileId.of(directory.status(name))
                    if order.may_remove(seen.id, now) and directory.remove(name):
                        removed.add(seen.digest)

        self._in_each(sorted(files), lambda seen: seen.digest.hex(), remove_from)
        return [digest for digest in dict.fromkeys(seen.digest for seen in files) if digest in removed]

    def _in_each(
        self, those: Sequence[_T], key_of: Callable[[_T], str], do: Callable[[Directory, Sequence[_T]], None]
    ) -> None:
        """Call a function for groups of objects, sorted by key, with the open directory of their files.

        Each directory is opened once, from ``loose/``. A few threads share the work if there are many objects.
        """
        from rsdos.codecs.workers import Threads

        cut = self._layout.loose_prefix_len
        groups = [(prefix, list(some)) for prefix, some in groupby(those, lambda one: key_of(one)[:cut])]
        with suppress(FileNotFoundError), self._layout.open(self._layout.loose) as loose:

            def do_in(group: tuple[str, list[_T]]) -> None:
                prefix, some = group
                if not prefix:
                    do(loose, some)
                    return
                with suppress(FileNotFoundError), loose.child(prefix) as directory:
                    do(directory, some)

            with Threads(_REMOVERS if len(those) >= _REMOVE_TOGETHER_FROM else 1) as threads:
                threads.each(do_in, groups)

    def length_of(self, digests: Sequence[bytes]) -> int:
        """Return the bytes in the files of some objects."""
        return sum(posix.length_of(self.path(digest, codec)) for digest in digests for codec in self._codecs)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
