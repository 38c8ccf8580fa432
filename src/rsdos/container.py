"""The facade: a container as its users see it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from itertools import islice
from types import TracebackType
from typing import IO, TYPE_CHECKING, Literal, Self, TypeVar, overload

from rsdos.config import DEFAULT_PACK_SIZE, VERSION, Config
from rsdos.engine.create import clear_container, make_container
from rsdos.engine.engine import Engine
from rsdos.errors import AmbiguousKey, InvalidOption, ObjectNotFound, RsdosError
from rsdos.hashing import SHA256
from rsdos.model import (
    BytesLike,
    CompressMode,
    Durability,
    Links,
    Missing,
    ObjectMeta,
    Place,
    Readers,
    Sharing,
    Source,
    Trust,
    Verify,
    WhenBusy,
)
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.stores.stats import MIN_DEAD

if TYPE_CHECKING:
    from pathlib import Path

    from rsdos.maintenance import clean, pack, repack, status
    from rsdos.maintenance.backup import backup
    from rsdos.maintenance.check import validate
    from rsdos.streams.writer import ObjectWriter

SHORTEST_PREFIX = 6
"""Characters of a key that `Container.find` takes: 24 bits tell a few thousand objects apart."""


_Choice = TypeVar("_Choice", bound=Enum)


class Container:
    """A content-addressed object store in one directory.

    Any number of threads may share a container, and any number of processes may open the same directory. Keys are
    the 64 lower-case hex characters of the SHA-256 of an object's bytes; a container of version 1 may have those of
    SHA-1, 40. Nothing is opened before the first use; `close` gives everything back, and the container works again
    after it.

    >>> with Container.create("/tmp/example") as container:
    ...     key = container.insert(b"some bytes")
    ...     container.extract(key)
    b'some bytes'
    """

    _engine: Engine | None = None
    """What is open; each object's own, once there is one."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability | str | None = None,
        when_busy: WhenBusy | str = WhenBusy.RAISE,
        follow_links: bool = False,
        verify: Verify | str | None = None,
    ) -> None:
        """``durability`` ("full" or "relaxed") overrides the container's own for what this object does.

        ``when_busy`` says what maintenance does while another run is at work: "raise" `Busy`, or "wait".
        ``follow_links=True`` is for who has put a link of their own in the place of a directory of the container, say
        to have ``packed`` on a larger disk. Without it such a link is refused, by `NotOurs` (docs/security.md).
        ``verify`` says what a read of a packed object compares: "checksum", which no failure gets past, or "hash",
        which its maker cannot get past either, 0.6 us for each KB; by default the hash where the container's directory
        is another user's.
        """
        # Now: where a relative path leads to is another place after a ``chdir``, or in another process.
        path = os.fspath(path)
        self._path = path if path[:1] == "/" else os.path.abspath(path)
        self._when_busy = _choice(WhenBusy, when_busy)
        self._durability = None if durability is None else _durability(durability)
        self._links = Links.FOLLOW if follow_links else Links.REFUSE
        self._verify = None if verify is None else _choice(Verify, verify)

    @classmethod
    def create(  # noqa: PLR0913  the settings of a container
        cls,
        path: str | os.PathLike[str],
        *,
        pack_size_target: int = DEFAULT_PACK_SIZE,
        loose_prefix_len: int = 2,
        compression: str = "",
        loose_compression: str = "none",
        durability: Durability | str = Durability.FULL,
        container_version: int = VERSION,
        hash_type: str = SHA256.name,
        sharing: Sharing | str = Sharing.UMASK,
    ) -> Self:
        """Make a container and open it; see `init_container`."""
        container = cls(path)
        container.init_container(
            pack_size_target=pack_size_target,
            loose_prefix_len=loose_prefix_len,
            compression_algorithm=compression,
            loose_compression=loose_compression,
            durability=durability,
            container_version=container_version,
            hash_type=hash_type,
            sharing=sharing,
        )
        return container

    def init_container(  # noqa: PLR0913  the settings of a container; disk-objectstore's come first
        self,
        clear: bool = False,
        pack_size_target: int = DEFAULT_PACK_SIZE,
        loose_prefix_len: int = 2,
        hash_type: str = SHA256.name,
        compression_algorithm: str = "",
        *,
        loose_compression: str = "none",
        durability: Durability | str = Durability.FULL,
        container_version: int = VERSION,
        readers: Readers | str = Readers.ALL,
        sharing: Sharing | str = Sharing.UMASK,
    ) -> None:
        """Make the container, in a directory that is not there or is empty; parents are made.

        ``clear`` deletes a container that is there, with all its objects, first. ``pack_size_target`` is in stored
        bytes. ``compression_algorithm`` is what compressing means in packs, ``loose_compression`` what is done to
        loose objects: ``none``, ``zstd``, ``zstd:+3``, ``zlib+1`` and so on; "" stands for zstd, in version 1 for zlib.

        ``container_version=1`` makes a container that disk-objectstore reads and writes as well. What it could not
        read (zstd, and any setting that only version 2 has) is refused there; ``readers="rsdos"`` allows zstd.

        ``sharing="group"``: whatever is made in it later, by whomever, the group of its directory may read and write.

        Raises `ContainerExists`, and `InvalidOption` before anything is touched.
        """
        config = Config(
            compression=compression_algorithm,
            loose_compression=loose_compression,
            durability=_durability(durability),
            pack_size_target=pack_size_target,
            loose_prefix_len=loose_prefix_len,
            hash_type=hash_type,
            version=container_version,
        )
        config.refuse_unreadable(_choice(Readers, readers))
        share = _choice(Sharing, sharing)
        self.close()
        if clear:
            clear_container(self._path, self._links)
        make_container(self._path, config, share, self._links)
        self.__dict__.pop("_engine", None)

    @property
    def engine(self) -> Engine:
        """The open container's parts, for maintenance. Raises `NotAContainer`, `DamagedContainer`, ..."""
        engine = self._engine
        if engine is None:
            # Of two threads that are the first at the same time, both get what one has made.
            fresh = Engine(self._path, self._durability, self._when_busy, self._links, self._verify)
            engine = self.__dict__.setdefault("_engine", fresh)
        return engine

    @property
    def path(self) -> Path:
        """The container's directory."""
        from pathlib import Path  # 4 ms, of which no command and few programs have use.

        return Path(self._path)

    @property
    def config(self) -> Config:
        """What was decided when the container was made."""
        return self.engine.config

    @property
    def container_id(self) -> str:
        """32 hex characters that tell the container from all others."""
        return self.config.container_id

    @property
    def is_initialised(self) -> bool:
        """Whether there is a container here that this release can open."""
        try:
            return bool(self.engine)
        except RsdosError:
            return False

    def close(self) -> None:
        """Give all descriptors and mappings back. Idempotent; the container works again after it.

        It is opened anew then if a call has raised `ContainerReplaced`. The end of a ``with`` block keeps a little for
        the next one (see docs/concurrency.md): this does not.
        """
        if engine := self._engine:
            engine.close()
            self._forget_replaced(engine)

    def _forget_replaced(self, engine: Engine) -> None:
        if not engine.is_same():
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
        return self._path, self._durability, self._when_busy, self._links, self._verify

    def __setstate__(self, state: tuple[str, Durability | None, WhenBusy, Links, Verify | None]) -> None:
        self._path, self._durability, self._when_busy, self._links, self._verify = state

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    # The verbs (`rsdos.interfaces.ObjectStore`).

    def insert(self, source: Source, *, to: Place | str = Place.LOOSE) -> str:
        """Store one object and return its key, once it is as durable as the container promises.

        A source is bytes or what has a buffer of them (an array of numpy, say), the path of a regular file, or a
        binary stream, read from where it stands. It goes to a loose file; ``to="packed"`` appends it to a pack.
        Raises `InvalidSource`, `UnreadableSource`, `SourceChanged`, `ReadOnlyContainer`, what the stream raises, and
        OSError; nothing is stored then.
        """
        objects = (self._engine or self.engine).objects
        return objects.insert(source, to=to if type(to) is Place else _choice(Place, to))

    def insert_many(
        self,
        sources: Iterable[Source],
        *,
        to: Place | str = Place.PACKED,
        compress: CompressMode | str = CompressMode.AUTO,
        trust: Trust | str = Trust.VERIFY,
    ) -> list[str]:
        """Store many objects and return their keys in the order given, once all are durable.

        They go straight to a pack; ``to="loose"`` writes a file for each. ``compress`` is for packs, and
        ``trust`` says whether a copy that is there already is read before it counts. Raises what `insert` does.
        Batches of 262,144 objects or 1 GiB are committed on the way; what was committed stays.
        """
        return self.engine.objects.insert_many(
            sources,
            to=_choice(Place, to),
            compress=_choice(CompressMode, compress),
            trust=_choice(Trust, trust),
        )

    def writer(
        self, *, to: Place | str = Place.LOOSE, compress: CompressMode | str = CompressMode.AUTO
    ) -> ObjectWriter:
        """A binary file to write to, for programs that want one; when it is closed it becomes an object with a key.

        >>> with container.writer(to="packed") as file:
        ...     file.write(b"some bytes")
        >>> container.extract(file.key)
        b'some bytes'

        It is seekable. Nothing is stored when its ``with`` block raises, when it is dropped, or by `abort`. Above
        8 MiB it is held in a file without a name, in the container, and read again when it is stored. ``to`` and
        ``compress`` are as for `insert_many`.
        """
        from rsdos.streams.writer import ObjectWriter

        place, mode = _choice(Place, to), _choice(CompressMode, compress)

        def insert(stream: IO[bytes]) -> str:
            return self.insert_many((stream,), to=place, compress=mode)[0]

        return ObjectWriter(insert, self.engine.layout.root)

    def extract(self, key: str) -> bytes:
        """The bytes of one object, verified. Raises `ObjectNotFound`, `DamagedObject`, `InvalidKey`."""
        return (self._engine or self.engine).objects.extract(key)

    @overload
    def extract_many(
        self, keys: Iterable[str], *, missing: Literal["raise", "skip"] = "raise"
    ) -> Iterator[tuple[str, bytes]]: ...
    @overload
    def extract_many(self, keys: Iterable[str], *, missing: Missing) -> Iterator[tuple[str, bytes | None]]: ...
    def extract_many(self, keys: Iterable[str], *, missing: Missing = "raise") -> Iterator[tuple[str, bytes | None]]:
        """Yield (key, bytes) of many objects in storage order; see `rsdos.stores.Store.extract_many`.

        No pack is unlinked while the iteration lasts.
        """
        return self.engine.protect_packs_during(self.engine.objects.extract_many(keys, missing=missing))

    def open(self, key: str) -> io.BufferedReader:
        """A seekable binary stream of one object. Raises what `extract` does; so do its reads."""
        return self.engine.objects.open(key)

    def extract_to(self, key: str, path: str | os.PathLike[str]) -> int:
        """Write one object to a file, which appears whole or not at all; returns its size."""
        return self.engine.objects.extract_to(key, path)

    def has(self, key: str) -> bool:
        """Whether there is an object of this key; that there is, as of a second ago at most. Raises `InvalidKey`.

        Somebody may delete it at any time: to have it there, insert it, whatever this says.
        """
        return self.engine.objects.has(key)

    def has_many(self, keys: Iterable[str]) -> list[bool]:
        """`has` for each key, in the order given, all as of a second ago at most."""
        return self.engine.objects.has_many(keys)

    def meta(self, key: str) -> ObjectMeta:
        """Sizes, codec and place of one object, without reading it, as of a second ago at most.

        Raises `ObjectNotFound`, `InvalidKey`.
        """
        return self.engine.objects.meta(key)

    def find(self, prefix: str) -> str:
        """The key that begins with ``prefix``, of 6 characters or more.

        Raises `ObjectNotFound`, `AmbiguousKey`, `InvalidKey`.
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

    # Maintenance. Each operation is imported by who calls it: all of them together are 30 ms.

    def status(self) -> status.StatusReport:
        """What the container holds, counted; see `rsdos.maintenance.status`."""
        from rsdos.maintenance import status

        return status.status(self.engine)

    def delete(self, keys: Iterable[str]) -> list[str]:
        """Delete objects, for good; returns the keys of those that were there. See `rsdos.maintenance.delete`.

        Raises `InvalidKey` before anything is deleted, `Busy` when another maintenance run is at work.
        """
        from rsdos.maintenance import delete

        deleted: list[str] = []
        plan = delete.plan(self.engine, delete.DeleteOptions(list(keys)))
        delete.execute(self.engine, plan, tell=lambda gone, missing: deleted.extend(gone))
        return deleted

    def repack(
        self, compression: str = "keep", *, min_dead: float = MIN_DEAD, progress: Progress = SILENCE
    ) -> repack.RepackReport:
        """Write packs anew without their dead bytes, or in another compression; see `rsdos.maintenance.repack`."""
        from rsdos.maintenance import repack

        plan = repack.plan(self.engine, repack.RepackOptions(compression, min_dead))
        return repack.execute(self.engine, plan, progress)

    def clean_storage(self, *, progress: Progress = SILENCE) -> clean.CleanReport:
        """Remove loose files that are safely packed, and leftovers of dead writers; see `rsdos.maintenance.clean`."""
        from rsdos.maintenance import clean

        return clean.execute(self.engine, clean.plan(self.engine, clean.CleanOptions()), progress)

    def validate(
        self, depth: validate.Depth | str = "quick", *, progress: Progress = SILENCE
    ) -> validate.ValidateReport:
        """Check what is stored, "quick" or in "full"; see `rsdos.maintenance.check.validate`."""
        from rsdos.maintenance.check import validate

        options = validate.ValidateOptions(_choice(validate.Depth, depth))
        return validate.execute(self.engine, validate.plan(self.engine, options), progress)

    def pack_all_loose(
        self,
        compress: CompressMode | str = CompressMode.AUTO,
        clean: bool = True,
        *,
        progress: Progress = SILENCE,
    ) -> pack.PackReport:
        """Move all loose objects into packs; see `rsdos.maintenance.pack`.

        The loose files of what is safely packed are removed; ``clean=False`` keeps them.
        """
        from rsdos.maintenance import pack

        return pack.pack_all(self.engine, pack.PackOptions(_choice(CompressMode, compress), clean), progress)

    def backup(
        self,
        destination: str | os.PathLike[str],
        *,
        keep: int = 1,
        verify: bool = False,
        progress: Progress = SILENCE,
    ) -> backup.BackupReport:
        """Copy the container beside its earlier backups; ``keep`` of them stay. See
        `rsdos.maintenance.backup.backup`.
        """
        from rsdos.maintenance.backup import backup

        options = backup.BackupOptions(os.fspath(destination), keep, verify)
        return backup.execute(self.engine, backup.plan(self.engine, options), progress)

    # The names that users of rsdos 0.1 and disk-objectstore know.

    def add_object(self, content: BytesLike) -> str:
        """`insert` of bytes, to a loose file."""
        return self.insert(content)

    def add_streamed_object(self, stream: Source) -> str:
        """`insert` of a binary stream, to a loose file."""
        return self.insert(stream)

    def add_objects_to_pack(
        self, content_list: Sequence[BytesLike], compress: bool | CompressMode | str = False
    ) -> list[str]:
        """`insert_many` of bytes; ``compress`` True is `CompressMode.YES`, False is NO."""
        if not isinstance(compress, (CompressMode, str)):
            compress = CompressMode.YES if compress else CompressMode.NO
        return self.insert_many(content_list, compress=compress)

    def get_object_content(self, hashkey: str) -> bytes:
        """`extract`."""
        return self.extract(hashkey)

    @contextmanager
    def get_object_stream(self, hashkey: str) -> Iterator[io.BufferedReader | None]:
        """`open` for a ``with`` block; None when there is no such object."""
        stream = None
        with suppress(ObjectNotFound):
            stream = self.open(hashkey)
        if stream is None:
            yield None
        else:
            with stream:
                yield stream


def _durability(value: Durability | str) -> Durability:
    return _choice(Durability, value)


def _choice(kind: type[_Choice], value: object) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        choices = " or ".join(f'"{member.value}"' for member in kind)
        raise InvalidOption(f"{kind.__name__.lower()} is {choices}, not {value!r:.40}") from None
