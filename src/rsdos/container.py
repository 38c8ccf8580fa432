"""The facade: a container as its users see it.

Here are opening and making a container, and the verbs for its objects. The operations on the whole container are in
`rsdos.facade.maintenance`, those between containers and directories in `rsdos.facade.exchange`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import IO, TYPE_CHECKING, Literal, Self, overload

from rsdos.config import DEFAULT_PACK_SIZE, VERSION, Config
from rsdos.engine.create import clear_container, make_container, make_container_on
from rsdos.engine.engine import Engine
from rsdos.errors import AmbiguousKey, InvalidOption, ObjectNotFound, RsdosError
from rsdos.facade.exchange import Exchange
from rsdos.facade.old_names import OldNames
from rsdos.hashing import SHA256
from rsdos.model import (
    CompressMode,
    Durability,
    Links,
    Missing,
    ObjectMeta,
    Place,
    ReadableBy,
    Sharing,
    Source,
    Trust,
    Verify,
    WhenBusy,
    choice,
)
from rsdos.storage.base import Storage

if TYPE_CHECKING:
    from pathlib import Path

    from rsdos.streams.writer import ObjectWriter

SHORTEST_PREFIX = 6
"""The fewest characters of a key that `Container.find` takes: 24 bits distinguish a few thousand objects."""


class Container(Exchange, OldNames):
    """A content-addressed object store in one directory.

    Any number of threads may share a container, and any number of processes may open the same directory. Keys are
    the 64 lower-case hex characters of the SHA-256 of an object's bytes; a container of version 1 may have those of
    SHA-1, 40. Nothing is opened before the first use; `close` closes everything, and the container works again after
    it. Enumerations are accepted as their strings: ``to="packed"`` is ``to=Place.PACKED``.

    Every method may raise `NotAContainer`, `UnsupportedContainer` and `DamagedContainer` when it opens the container,
    and `ContainerReplaced` when another one has been put in its place since.

    >>> with Container.create("/tmp/example") as container:
    ...     key = container.insert(b"some bytes")
    ...     container.extract(key)
    b'some bytes'
    """

    _engine: Engine | None = None
    """The open container; None before the first use."""

    def __init__(
        self,
        path: str | os.PathLike[str] | Storage,
        *,
        durability: Durability | str | None = None,
        when_busy: WhenBusy | str = WhenBusy.RAISE,
        follow_links: bool = False,
        verify: Verify | str | None = None,
    ) -> None:
        """Name a container; it is opened at its first use.

        Args:
            path: the container's directory.
            durability: "full" or "relaxed", for inserts through this object; None: the container's own.
            when_busy: what maintenance does while another operation is running: "raise" `Busy`, or "wait".
            follow_links: follow symbolic links in the place of the container's own directories. The user has put them
                there, for example to have ``packed`` on a larger disk. Without it they raise `NotOurs`
                (docs/security.md).
            verify: what a read of a packed object compares: "checksum", which finds every failure, or "hash", which
                also finds bytes that a stranger has forged, and costs 0.6 us for each KB; None: the hash where the
                container's directory belongs to another user.

        Raises:
            InvalidOption: one of the settings is unknown.
        """
        self._storage = None
        if type(path) is not str and not isinstance(path, str | os.PathLike):
            self._storage = path
            path = path.root
        # Resolved now: after a ``chdir``, or in another process, a relative path leads to another place.
        path = os.fspath(path)
        self._path = path if path[:1] == "/" or self._storage else os.path.abspath(path)
        self._when_busy = choice(WhenBusy, when_busy)
        self._durability = None if durability is None else choice(Durability, durability)
        self._links = Links.FOLLOW if follow_links else Links.REFUSE
        self._verify = None if verify is None else choice(Verify, verify)

    @classmethod
    def create(  # noqa: PLR0913  the settings of a container
        cls,
        path: str | os.PathLike[str] | Storage,
        *,
        pack_size_target: int = DEFAULT_PACK_SIZE,
        loose_prefix_len: int = 2,
        compression: str = "",
        loose_compression: str = "none",
        durability: Durability | str = Durability.FULL,
        container_version: int = VERSION,
        hash_type: str = SHA256.name,
        readers: ReadableBy | str = ReadableBy.ALL,
        sharing: Sharing | str = Sharing.UMASK,
    ) -> Self:
        """Make a container, and open it.

        Args:
            path: a directory that is not there, or is empty. Its parents are made.
            pack_size_target: stored bytes from which on a pack is full.
            loose_prefix_len: characters of a key that name the directory of a loose object.
            compression: what compressing means in packs: "none", "zstd", "zstd:+3", "zlib+1" and so on; "": zstd, in
                version 1 zlib.
            loose_compression: how loose objects are compressed, in the same words.
            durability: what an acknowledged insert survives: "full": a power loss; "relaxed": the death of the process.
            container_version: 1 makes a container that disk-objectstore reads and writes as well.
            hash_type: "sha256"; in version 1 also "sha1".
            readers: which programs must be able to read a container of version 1; "rsdos" allows zstd there.
            sharing: "group": the group of the directory may read and write every file that is made in it.

        Raises:
            ContainerExists: there is a container already, or a directory that is not empty.
            InvalidOption: a setting makes no sense. Nothing was written.
            ReadOnlyContainer: the file system lacks locks, hard links or syncs; the error says which.
        """
        container = cls(path)
        container.init_container(
            pack_size_target=pack_size_target,
            loose_prefix_len=loose_prefix_len,
            compression_algorithm=compression,
            loose_compression=loose_compression,
            durability=durability,
            container_version=container_version,
            hash_type=hash_type,
            readers=readers,
            sharing=sharing,
        )
        return container

    def _create(self, config: Config, readers: ReadableBy, sharing: Sharing, clear: bool) -> None:
        config.refuse_unreadable(readers)
        self.close()
        if self._storage is not None:
            if clear:
                raise InvalidOption("clear: only a container in a directory can be cleared")
            make_container_on(self._storage, config)
        else:
            if clear:
                clear_container(self._path, self._links)
            make_container(self._path, config, sharing, self._links)
        self.__dict__.pop("_engine", None)

    @property
    def engine(self) -> Engine:
        """The open container's parts, which maintenance works on."""
        engine = self._engine
        if engine is None:
            # Of two threads that open it at the same time, both get the engine of one.
            how = self._durability, self._when_busy, self._links, self._verify
            fresh = Engine(self._path, *how, self._storage)
            engine = self.__dict__.setdefault("_engine", fresh)
        return engine

    @property
    def path(self) -> Path:
        """The container's directory."""
        from pathlib import Path  # 4 ms that no command and few programs need.

        return Path(self._path)

    @property
    def config(self) -> Config:
        """The settings that were chosen when the container was made."""
        return self.engine.config

    @property
    def container_id(self) -> str:
        """32 hex characters that distinguish the container from all others."""
        return self.config.container_id

    @property
    def is_initialised(self) -> bool:
        """Whether there is a container here that this release can open."""
        try:
            return bool(self.engine)
        except RsdosError:
            return False

    def close(self) -> None:
        """Close all descriptors and mappings. Idempotent; the container works again afterwards.

        After a `ContainerReplaced` the next use opens the container that is at the path now. The end of a ``with``
        block keeps a little for the next one (docs/concurrency.md); this method does not.
        """
        if engine := self._engine:
            engine.close()
            self._forget_replaced(engine)

    def _forget_replaced(self, engine: Engine) -> None:
        if not engine.is_same():
            self.__dict__.pop("_engine", None)

    def _forget(self) -> None:
        self.close()
        self.__dict__.pop("_engine", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if engine := self._engine:
            engine.rest()
            self._forget_replaced(engine)

    def __getstate__(self) -> tuple[str, Durability | None, WhenBusy, Links, Verify | None]:
        if self._storage is not None:
            raise TypeError(f"{self._path}: only a container in a directory can be sent to another process")
        return self._path, self._durability, self._when_busy, self._links, self._verify

    def __setstate__(self, state: tuple[str, Durability | None, WhenBusy, Links, Verify | None]) -> None:
        self._path, self._durability, self._when_busy, self._links, self._verify = state
        self._storage = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    # The verbs (`rsdos.protocols.ObjectStore`).

    def insert(self, source: Source, *, to: Place | str = Place.LOOSE) -> str:
        """Store one object, and return once it is as durable as the container promises.

        Args:
            source: bytes or an object with a C-contiguous buffer of them (an array of numpy, for example), the path of
                a regular file, or a binary stream, which is read from its position and not closed.
            to: "loose": a file of its own; "packed": a pack.

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
        return objects.insert(source, to=to)

    def insert_many(
        self,
        sources: Iterable[Source],
        *,
        to: Place | str = Place.PACKED,
        compress: CompressMode | str = CompressMode.AUTO,
        trust: Trust | str = Trust.VERIFY,
    ) -> list[str]:
        """Store many objects, and return once all are durable.

        Batches of 262,144 objects or 1 GiB are committed during the call. If it raises, committed batches stay.

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
        return self.engine.objects.insert_many(sources, to=to, compress=compress, trust=trust)

    def writer(
        self, *, to: Place | str = Place.LOOSE, compress: CompressMode | str = CompressMode.AUTO
    ) -> ObjectWriter:
        """Return a seekable binary file to write to; when it is closed it becomes an object, with a ``key``.

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

        return ObjectWriter(insert, self.engine.layout.root)

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

        Raise `DamagedContainer` after all others if damage hides some.
        """
        where = None if place is None else choice(Place, place)
        engine = self.engine
        return iter(engine.objects if where is None else engine.loose if where is Place.LOOSE else engine.packed)

    def find(self, prefix: str) -> str:
        """Return the key that begins with ``prefix``, of 6 characters or more.

        Raise `ObjectNotFound`, `AmbiguousKey`, `InvalidKey`.
        """
        self.config.hash.parse_prefix(prefix, SHORTEST_PREFIX)
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
