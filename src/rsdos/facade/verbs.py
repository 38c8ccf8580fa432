"""The verbs for the objects of a container (`rsdos.protocols.ObjectStore`), as methods of `rsdos.Container`."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, TYPE_CHECKING, Literal, overload

from rsdos.errors import AmbiguousKey, InvalidSource, ObjectNotFound, UnreadableSource
from rsdos.facade.part import FacadePart
from rsdos.model import CompressMode, Missing, ObjectMeta, Place, Source, Trust, choice

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.streams.writer import ObjectWriter

SHORTEST_PREFIX = 6
"""The fewest characters of a key that `Container.find` takes: 24 bits distinguish a few thousand objects."""


def _explain(error: UnreadableSource) -> None:
    """Raise the error of a missing file again with what a string means, if a string named it."""
    if isinstance(error.path, str) and error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
        reason = f"{error.reason} (a str is a path; to store text, encode it)"
        raise UnreadableSource(error.path, error.errno, reason) from error


class ObjectVerbs(FacadePart):
    """Inserting, reading and listing objects. Any number of threads."""

    _engine: Engine | None = None
    """The open container; None before the first use."""

    def insert(self, source: Source, *, to: Place | str = Place.LOOSE) -> str:
        """Store one object, and return once it is as durable as the container promises.

        In a container at a URL each call uploads a pack and makes a commit, some requests in all: store many objects by
        `insert_many`.

        Args:
            source: bytes or an object with a C-contiguous buffer of them (an array of numpy, for example), the path of
                a regular file, or a binary stream, which is read from its position and not closed.
            to: "loose": a file of its own; "packed": a pack, the only place at a URL.

        Returns:
            The key of the object.

        Raises:
            InvalidSource: the source is none of these.
            UnreadableSource: the file is missing, unreadable, or not a regular file.
            SourceChanged: the file changed while it was read.
            ReadOnlyContainer: the container cannot be written.
            OSError: the disk is full, for example; also what a stream raises. Nothing is stored then.
        """
        objects = (self._engine or self.engine).objects
        try:
            return objects.insert(source, to=to)
        except UnreadableSource as error:
            _explain(error)
            raise

    def insert_many(
        self,
        sources: Iterable[Source],
        *,
        to: Place | str = Place.PACKED,
        compress: CompressMode | str = CompressMode.AUTO,
        trust: Trust | str = Trust.VERIFY,
    ) -> list[str]:
        """Store many objects, and return once all are durable.

        Batches of 262,144 objects or 1 GiB are committed during the call, at a URL of 131,072 objects or 64 packs. If
        it raises, committed batches stay.

        Args:
            sources: objects, each as for `insert`.
            to: "packed": straight to a pack, one sync for all; "loose": a file for each.
            compress: whether to compress what goes to a pack: "auto" (what becomes clearly smaller by it), "yes", "no".
                With zstd, 64 KiB or more of objects of at most 16 KiB share a trained dictionary where that pays.
            trust: when an existing copy counts as stored: "verify": if its bytes were read and checked; "index": if the
                index lists it, for bulk imports of known content.

        Returns:
            The keys, in the order given.

        Raises:
            InvalidSource: as `insert`, which raises the same errors.
        """
        if isinstance(sources, str | bytes):
            raise InvalidSource(f"sources: one {type(sources).__name__}, and not many objects: use insert, or a list")
        try:
            return self.engine.objects.insert_many(sources, to=to, compress=compress, trust=trust)
        except UnreadableSource as error:
            _explain(error)
            raise

    def writer(
        self, *, to: Place | str = Place.LOOSE, compress: CompressMode | str = CompressMode.AUTO
    ) -> ObjectWriter:
        """Return a seekable binary file to write to; when it is closed it becomes an object, with a ``key``.

        Examples:
            >>> with container.writer(to="packed") as file:
            ...     file.write(b"some bytes")
            >>> container.extract(file.key)
            b'some bytes'

        Nothing is stored when its ``with`` block raises, when its last reference is dropped, or after ``abort()``. Up
        to 8 MiB are kept in memory until then; more is kept in a file without a name, in the container, and read again.

        Args:
            to: "loose" or "packed".
            compress: as for `insert_many`.
        """
        from rsdos.streams.writer import ObjectWriter

        place, mode = choice(Place, to), choice(CompressMode, compress)

        def insert(stream: IO[bytes]) -> str:
            return self.insert_many((stream,), to=place, compress=mode)[0]

        return ObjectWriter(insert, self.engine.directory)

    def extract(self, key: str) -> bytes:
        """Return the bytes of one object, verified.

        Raises:
            ObjectNotFound: the container has no such object.
            DamagedObject: no copy of it is good.
            InvalidKey: the string is not a key.
        """
        return (self._engine or self.engine).objects.extract(key)

    @overload
    def extract_many(
        self, keys: Iterable[str], *, missing: Literal["raise", "skip"] = "raise"
    ) -> Iterator[tuple[str, bytes]]: ...
    @overload
    def extract_many(self, keys: Iterable[str], *, missing: Missing) -> Iterator[tuple[str, bytes | None]]: ...
    def extract_many(self, keys: Iterable[str], *, missing: Missing = "raise") -> Iterator[tuple[str, bytes | None]]:
        """Yield (key, bytes) of many objects in storage order, each once. No pack is removed during the iteration.

        Args:
            keys: the keys of the objects.
            missing: what to do about a key without an object: "raise" `ObjectNotFound`, "skip" it, or yield
                (key, None) ("none").

        Raises:
            DamagedObject: as `extract`, which raises the same errors.
        """
        return self.engine.protect_packs_during(self.engine.objects.extract_many(keys, missing=missing))

    def open(self, key: str) -> io.BufferedReader:
        """Return a seekable binary stream of one object. It, and its reads, raise what `extract` does."""
        return self.engine.objects.open(key)

    def extract_to(self, key: str, path: str | os.PathLike[str]) -> int:
        """Write one object to a file, which appears whole or not at all.

        Args:
            key: the key of the object.
            path: the file. An older one is replaced.

        Returns:
            The raw bytes that were written.

        Raises:
            ObjectNotFound: as `extract`, which raises the same errors.
            OSError: the file cannot be written.
        """
        return self.engine.objects.extract_to(key, path)

    def has(self, key: str) -> bool:
        """Return whether there is an object of this key; True may be a second old. Raise `InvalidKey`.

        Another process may delete it at any time: to be sure of an object, insert it, whatever this returns.
        """
        return self.engine.objects.has(key)

    def has_many(self, keys: Iterable[str]) -> list[bool]:
        """Return `has` for each key, in the order given."""
        return self.engine.objects.has_many(keys)

    def meta(self, key: str) -> ObjectMeta:
        """Return size, length, codec and place of one object, without reading it. They may be a second old.

        Raise `ObjectNotFound`, `InvalidKey`.
        """
        return self.engine.objects.meta(key)

    def keys(self, place: Place | str | None = None) -> Iterator[str]:
        """Yield every key once, in no particular order; with a ``place``, those that have a copy there.

        What snapshots need beside the contents of files is read by its key, and not listed.
        Raise `DamagedContainer` after all others if damage hides some.
        """
        where = None if place is None else choice(Place, place)
        engine = self.engine
        return iter(engine.objects if where is None else engine.loose if where is Place.LOOSE else engine.packed)

    def find(self, prefix: str) -> str:
        """Return the key that begins with ``prefix``, of 6 characters or more.

        Raise `ObjectNotFound`, `AmbiguousKey`, `InvalidKey`.
        """
        self.engine.config.hash.parse_prefix(prefix, SHORTEST_PREFIX)
        keys = list(islice(self.engine.objects.with_prefix(prefix), 2))
        if not keys:
            raise ObjectNotFound(prefix)
        if len(keys) > 1:
            raise AmbiguousKey(prefix)
        return keys[0]

    def __contains__(self, key: object) -> bool:
        return key in self.engine.objects

    def __iter__(self) -> Iterator[str]:
        return iter(self.engine.objects)

    def __len__(self) -> int:
        return len(self.engine.objects)

    def __bool__(self) -> bool:
        """True: an empty container is one."""
        return True
