"""The facade: a container as its users see it.

Here are opening and making a container. The verbs for its objects are in `rsdos.facade.verbs`, the operations on the
whole container in `rsdos.facade.maintenance`, those between containers and directories in `rsdos.facade.exchange`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from rsdos.config import REMOTE_VERSION, VERSION, Config
from rsdos.engine.create import clear_container, make_container, make_container_on
from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption, RsdosError
from rsdos.facade.exchange import Exchange
from rsdos.facade.keywords import refuse_mistyped
from rsdos.facade.old_names import OldNames
from rsdos.facade.part import LazyRemote
from rsdos.facade.verbs import ObjectVerbs
from rsdos.hashing import SHA256
from rsdos.model import (
    Durability,
    Links,
    ReadableBy,
    Sharing,
    Verify,
    WhenBusy,
    choice,
)
from rsdos.storage.base import Storage

if TYPE_CHECKING:
    from pathlib import Path

    from rsdos.facade.remotes import RemoteContainers
    from rsdos.facade.snapshots import Snapshots
    from rsdos.storage.url import OptionValue, StorageUrl
    from rsdos.stores.keeper import Keeping

    _State: TypeAlias = tuple[str | StorageUrl, Durability | None, WhenBusy, Links, Verify | None, str | None]


def _place(
    function: Callable[..., object],
    path: str | os.PathLike[str] | Storage | StorageUrl,
    options: Mapping[str, OptionValue],
) -> str | Storage | StorageUrl:
    """Return the path of a directory, a checked URL, or a storage as it is. Raise `InvalidOption`, and TypeError.

    ``function`` was given these ``options``.
    """
    place = os.fspath(path) if isinstance(path, str | os.PathLike) else path
    if isinstance(place, str) and "://" in place:
        from rsdos.storage.url import is_url, parse_url

        if is_url(place):
            refuse_mistyped(function, options, url=True)
            return parse_url(place, options)
    if options:
        refuse_mistyped(function, options, url=False)
        raise TypeError(f"{next(iter(options))!r}: only a container at a URL has such an argument")
    return place


class Container(ObjectVerbs, Exchange, OldNames):
    """A content-addressed object store in one directory.

    Any number of threads may share a container, and any number of processes may open the same directory. Keys are
    the 64 lower-case hex characters of the SHA-256 of an object's bytes; a container of version 1 may have those of
    SHA-1, 40. Nothing is opened before the first use; `close` closes everything, and the container works again after
    it. Enumerations are accepted as their strings: ``to="packed"`` is ``to=Place.PACKED``.

    Every method may raise `NotAContainer`, `UnsupportedContainer` and `DamagedContainer` when it opens the container,
    and `ContainerReplaced` when another one has been put in its place since.

    Examples:
        >>> with Container.create("/tmp/example") as container:
        ...     key = container.insert(b"some bytes")
        ...     container.extract(key)
        b'some bytes'
    """

    _url: StorageUrl | None = None
    """Of a container that is at a URL."""

    def __init__(
        self,
        path: str | os.PathLike[str] | Storage | StorageUrl,
        *,
        durability: Durability | str | None = None,
        when_busy: WhenBusy | str = WhenBusy.RAISE,
        follow_links: bool = False,
        verify: Verify | str | None = None,
        cache: str | os.PathLike[str] | None = None,
        **options: OptionValue,
    ) -> None:
        """Name a container; it is opened at its first use.

        Args:
            path: the container's directory, or its URL: "s3://bucket/prefix" (docs/urls.md).
            durability: "full" or "relaxed", for inserts through this object; None: the container's own.
            when_busy: what maintenance does while another operation is running: "raise" `Busy`, or "wait".
            follow_links: follow symbolic links in the place of the container's own directories. The user has put them
                there, for example to have ``packed`` on a larger disk. Without it they raise `NotOurs`
                (docs/security.md).
            verify: what a read of a packed object compares: "checksum", which finds every failure, or "hash", which
                also finds bytes that a stranger has forged, and costs 0.6 us for each KB; None: the hash where the
                container's directory belongs to another user. Whole objects of a URL are always hashed; with "hash"
                they are before a part is read, too.
            cache: a directory on this machine where what is read of a URL is kept, for all programs that give the same
                (docs/remote.md); None: nothing is kept.
            options: how the storage of a URL is reached: ``endpoint``, ``region`` and so on. Never credentials.

        Raises:
            InvalidOption: one of the settings is unknown; the URL or one of its options is none.
        """
        self._storage: Storage | None = None
        if options or type(path) is not str or "://" in path:
            path = self._locate(path, options)
        # Resolved now: after a ``chdir``, or in another process, a relative path leads to another place.
        self._path = path if path[:1] == "/" or self._storage else os.path.abspath(path)
        self._when_busy = choice(WhenBusy, when_busy)
        self._durability = None if durability is None else choice(Durability, durability)
        self._links = Links.FOLLOW if follow_links else Links.REFUSE
        self._verify = None if verify is None else choice(Verify, verify)
        self._cache = None if cache is None else os.path.abspath(cache)
        if cache is not None and self._storage is None:
            raise InvalidOption("cache: only a container at a URL has one")

    def _locate(self, path: str | os.PathLike[str] | Storage | StorageUrl, options: Mapping[str, OptionValue]) -> str:
        """Return the path of a directory. Of anything else open the storage, and return its path for messages."""
        path = _place(type(self), path, options)
        if isinstance(path, str):
            return path
        if isinstance(path, tuple):
            from rsdos.storage.url import open_storage

            self._url = path
            path = open_storage(path)
        self._storage = path
        return path.root

    @classmethod
    def create(  # noqa: PLR0913  the settings of a container
        cls,
        path: str | os.PathLike[str] | Storage | StorageUrl,
        *,
        pack_size_target: int | None = None,
        loose_prefix_len: int = 2,
        compression: str = "",
        loose_compression: str = "none",
        durability: Durability | str = Durability.FULL,
        container_version: int | None = None,
        hash_type: str = SHA256.name,
        readers: ReadableBy | str = ReadableBy.ALL,
        sharing: Sharing | str = Sharing.UMASK,
        **options: OptionValue,
    ) -> Self:
        """Make a container, and open it.

        Args:
            path: a directory that is not there, or is empty; its parents are made. Or a URL: "s3://bucket/prefix".
            pack_size_target: stored bytes from which on a pack is full; None: 4 GiB, in version 3 32 MiB.
            loose_prefix_len: characters of a key that name the directory of a loose object.
            compression: what compressing means in packs: "none", "zstd", "zstd:+3", "zlib+1" and so on; "": zstd, in
                version 1 zlib.
            loose_compression: how loose objects are compressed, in the same words.
            durability: what an acknowledged insert survives: "full": a power loss; "relaxed": the death of the process.
            container_version: 1 makes a container that disk-objectstore reads and writes as well; 3 one that many
                machines write at a time, in a storage that need not append or lock. None: 2, and 3 in a storage that
                cannot append or lock.
            hash_type: "sha256"; in version 1 also "sha1".
            readers: which programs must be able to read a container of version 1; "rsdos" allows zstd there.
            sharing: "group": the group of the directory may read and write every file that is made in it.
            options: as for `Container`.

        Raises:
            ContainerExists: there is a container already, or a directory that is not empty.
            InvalidOption: a setting makes no sense. Nothing was written.
            ReadOnlyContainer: the file system lacks locks, hard links or syncs; the error says which.
        """
        container = cls(_place(cls.create, path, options))
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

    def _version_or_default(self, version: int | None) -> int:
        if version is not None:
            return version
        traits = self._storage.traits if self._storage is not None else None
        return VERSION if traits is None or (traits.appends and traits.locks) else REMOTE_VERSION

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
            fresh = Engine(self._path, *how, self._storage, self._keeping(), LazyRemote())
            engine = self.__dict__.setdefault("_engine", fresh)
        return engine

    def _keeping(self) -> Keeping | None:
        if self._cache is None or self._storage is None or not self._storage.traits.is_remote:
            return None
        from rsdos.engine.keeping import Cache

        return Cache(self._cache)

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
    def snapshots(self) -> Snapshots:
        """The snapshots of directories, by their names. See `rsdos.facade.snapshots.Snapshots`."""
        from rsdos.facade.snapshots import Snapshots  # A program of keys alone need not pay for trees.

        return Snapshots(self)

    @property
    def remotes(self) -> RemoteContainers:
        """The other containers that this one has names for. See `rsdos.facade.remotes.RemoteContainers`."""
        from rsdos.facade.remotes import RemoteContainers

        return RemoteContainers(self)

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
        if self._url is not None and self._storage is not None:
            self._storage.close()

    def _forget_replaced(self, engine: Engine) -> None:
        if not engine.is_same():
            self.__dict__.pop("_engine", None)

    def _place(self) -> tuple[str, Links] | str:
        return (self._path, self._links) if self._storage is None else self._path

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

    def __getstate__(self) -> _State:
        if self._storage is not None and (self._url is None or self._url.scheme == "memory"):
            raise TypeError(f"{self._path}: only a container in a directory or at a URL can be sent to another process")
        # Of a URL never the storage: the other process reads its own credentials.
        return self._url or self._path, self._durability, self._when_busy, self._links, self._verify, self._cache

    def __setstate__(self, state: _State) -> None:
        place, self._durability, self._when_busy, self._links, self._verify, self._cache = state
        self._storage = None
        self._path = place if isinstance(place, str) else self._locate(place, {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    def _repr_html_(self) -> str:
        """Return the container as a notebook shows it. It raises nothing; one at a URL costs no request."""
        if self._storage is not None:
            from rsdos.notebook import titled

            return titled(repr(self))
        from rsdos.facade.container_html import html_of_container

        return html_of_container(self)
