"""An open container, as its parts."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from rsdos import names
from rsdos.config import read_config_from
from rsdos.engine.formats import format_of
from rsdos.errors import Busy, InvalidOption, RsdosError, log_warning
from rsdos.model import Durability, Links, Verify, WhenBusy
from rsdos.root import CONTAINER
from rsdos.storage import locks
from rsdos.storage.base import Storage, require
from rsdos.storage.local import LocalStorage

if TYPE_CHECKING:
    from rsdos.storage.opened import HeldLock
    from rsdos.stores.keeper import Keeping
    from rsdos.stores.loose.paths import LooseNames
    from rsdos.stores.loose.store import LooseStore
    from rsdos.stores.packs import PackStore
    from rsdos.stores.stats import PackedStats
    from rsdos.stores.union import Objects

_T = TypeVar("_T")

NEEDED = ("appends", "locks")
"""The traits of a storage that a container of version 2 needs."""


class _Lazy(Generic[_T]):
    """A store of an engine, which the first use of any of them opens.

    Afterwards Python finds the engine's own attribute first: a property would be 3.5 % of an extract. A
    `cached_property` would hold a lock in Python 3.11, which a fork by another thread would keep.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, engine: Engine, owner: type) -> _T:
        engine._open_stores()
        store: _T = engine.__dict__[self._name]
        return store


class Beyond(Protocol):
    """The remote of a lazy clone: what has the objects that are not here."""

    def is_there(self, clone: Engine) -> bool:
        """Return whether a container is a lazy clone of a remote. The remote is not asked."""

    def open(self, clone: Engine) -> Engine | None:
        """Open the remote; None for a container that is no lazy clone. Raise what opening a container raises."""


class Engine:
    """The parts of an open container. Maintenance works on these. Any number of threads.

    Opening reads ``config.json`` and checks that the container's directories are directories. Descriptors and mappings
    are opened by the first call that needs them. Raise what `read_config` and `Layout.check` raise.
    """

    loose: _Lazy[LooseStore] = _Lazy()
    packed: _Lazy[PackStore] = _Lazy()
    objects: _Lazy[Objects] = _Lazy()
    """Both stores as one, and of a lazy clone its remote."""
    here: _Lazy[Objects] = _Lazy()
    """Both stores as one, without a remote."""

    _far: Engine | None = None
    """The remote of a lazy clone, once it was needed."""

    _stores: tuple[LooseStore, PackStore, Objects, Objects] | None = None
    """Made, and imported, by the first call that needs a store: 27 ms that a status does not need."""

    def __init__(
        self,
        path: str,
        durability: Durability | None = None,
        when_busy: WhenBusy = WhenBusy.RAISE,
        links: Links = Links.REFUSE,
        verify: Verify | None = None,
        storage: Storage | None = None,
        keeping: Keeping | None = None,
        beyond: Beyond | None = None,
    ) -> None:
        """Open the container at ``path``, or the one in a ``storage`` that is no directory.

        ``when_busy``: what maintenance does while another operation runs. ``verify``: what reads compare; None: the
        hash, if the container's directory belongs to another user. ``keeping``: where what is read of a remote is kept.
        ``beyond``: the remote of a lazy clone, if this is one.
        """
        if storage is None:
            storage = LocalStorage(os.path.abspath(path), CONTAINER)
        self._medium = storage
        self.config, self._config_file = read_config_from(storage)
        self._keeping = keeping
        self._beyond = beyond
        if storage.traits.is_remote:
            from rsdos.stores.remote.cached import CachedStorage

            storage = CachedStorage(storage, keeping.index_files(self.config.container_id) if keeping else None)
        self._format = format_of(self.config)
        self.layout = self._format.layout(storage.root, self.config.loose_prefix_len, storage)
        self.layout.set_links(links)
        self._has_files = self.layout.storage.traits.files
        if self._has_files:
            is_own = self.layout.check() == os.geteuid()
        else:
            require(self.layout.storage, *NEEDED)
            is_own = True
        self._verify = verify or (Verify.CHECKSUM if is_own else Verify.HASH)
        self.durability = self._format.durability or durability or self.config.durability
        self.when_busy = when_busy

    def _open_stores(self) -> None:
        from rsdos.stores.loose.store import LooseStore

        packed = self._packed()
        packed.verify(self._verify)
        packed.original.opened(self._config_file)
        if self._has_files:
            loose = LooseStore(self.layout, self.config, self.durability)
        else:
            from rsdos.stores.loose.absent import NoLooseStore

            loose = NoLooseStore(self.layout, self.config, self.durability)
        stores = loose, packed, *self._objects(loose, packed)
        # Of two threads that make them at the same time, both use those of the first.
        stores = self.__dict__.setdefault("_stores", stores)
        self.__dict__.update(zip(("loose", "packed", "objects", "here"), stores, strict=True))

    def _packed(self) -> PackStore:
        how = self.layout, self.config, self.durability
        if self._keeping is not None:
            try:
                if keeper := self._keeping.keeper(self.config.container_id):
                    return self._format.kept(*how, keeper)
            except (OSError, RsdosError) as error:
                log_warning("%s: nothing that is read is kept on this machine: %s", self.layout.root, error)
        return self._format.packed(*how)

    def _objects(self, loose: LooseStore, packed: PackStore) -> tuple[Objects, Objects]:
        """Return all objects, and those that are here."""
        from rsdos.stores.union import Objects

        here = Objects(self.layout.root, loose, packed)
        if self._beyond is None or not self.layout.has_remote_files:
            return here, here
        from rsdos.stores.lazy import LazyObjects

        return LazyObjects(self.layout.root, loose, packed, self._far_objects), here

    @property
    def is_lazy(self) -> bool:
        """Whether this is a lazy clone: what is not here is in its remote. The remote is not asked."""
        return self._beyond is not None and self.layout.has_remote_files and self._beyond.is_there(self)

    def _far_objects(self) -> Objects | None:
        """Open the remote of a lazy clone."""
        assert self._beyond is not None
        far = self._far = self._beyond.open(self)
        return far.objects if far else None

    def opener(self) -> Callable[[], Engine]:
        """Return a function that opens the same container in the same way. It can be sent to another process.

        Raise `InvalidOption` for a container that only this process has.
        """
        how = self.layout.root, self.durability, self.when_busy, self.layout.links, self._verify
        if self._medium.traits.is_shared:
            return partial(Engine, *how, self._medium, self._keeping)
        self.need_files("several processes")
        return partial(Engine, *how, beyond=self._beyond)

    @property
    def loose_names(self) -> LooseNames:
        """The names of the loose store's files, without the store."""
        if not self._has_files:
            return self.loose.names
        from rsdos.stores.loose.paths import LooseNames, codecs_of

        return LooseNames(self.layout, self.config.hash, codecs_of(self.config))

    def read_stats(self) -> tuple[PackedStats, Mapping[str, object]]:
        """Return the counts and the notes of the packed store; see `PackMaintenance.stats` and `notes`.

        If no call has needed the store yet, read them without it: importing and opening it takes 27 ms, the rest of
        `rsdos status` 43.
        """
        if self._stores:
            return self.packed.maintenance.stats(), self.packed.maintenance.notes()
        return self._format.read_stats(self.layout, self.config)

    @contextmanager
    def maintenance(self, operation: str = "maintenance", when_busy: WhenBusy | None = None) -> Iterator[None]:
        """Hold the maintenance lock for the length of a block. Others that want it learn ``operation`` and the process.

        Raise `Busy` if another process holds the lock, unless ``when_busy`` (default: the engine's) says to wait;
        `ReadOnlyContainer`; `NotAContainer` and `ContainerReplaced` if the container has been removed or replaced.
        """
        with self.objects.writing():
            if self._has_files:
                self.layout.make(self.layout.locks)  # disk-objectstore makes none.
            with self._maintenance_lock(when_busy or self.when_busy) as lock:
                # If the container was cleared, the lock may be a new file, which keeps no other process out.
                self.packed.original.check()
                lock.describe(f"{operation}, process {os.getpid()} on {os.uname().nodename}")
                if self._has_files:
                    from rsdos.engine.reserve import prepare

                    prepare(self.layout)
                self.packed.original.maintenance = lock
                try:
                    with self.telling_of_another():
                        yield
                finally:
                    self.packed.original.maintenance = None

    @contextmanager
    def maintenance_of_many(self) -> Iterator[None]:
        """Keep `maintenance` out for the length of a block, in which others may do a part of the same operation.

        Wait for what is running. Raise what `maintenance` does, but `Busy`.
        """
        with self.objects.writing():
            lock = self.layout.storage.lock(names.MAINTENANCE_LOCK, shared=True)
            assert lock is not None
            with lock:
                self.packed.original.check()
                with self.telling_of_another():
                    yield

    def _maintenance_lock(self, when_busy: WhenBusy) -> HeldLock:
        """Take the lock of maintenance. Raise `Busy`."""
        storage = self.layout.storage
        if when_busy is WhenBusy.WAIT:
            # A queue: a process that releases the lock and wants it again comes after those that wait already.
            turn = storage.lock(names.TURN_LOCK)
            assert turn is not None
            with turn:
                lock = storage.lock(names.MAINTENANCE_LOCK)
        else:
            lock = storage.lock(names.MAINTENANCE_LOCK, wait=False)
        if lock is None:
            raise Busy("the container's maintenance lock", storage.holder(names.MAINTENANCE_LOCK))
        return lock

    @property
    def directory(self) -> str | None:
        """The container's directory; None where it has none."""
        return self.layout.root if self._has_files else None

    def need_files(self, operation: str) -> None:
        """Raise `InvalidOption` for an operation that works on files, if the container has none."""
        if not self._has_files:
            medium = self.layout.storage.traits.medium
            raise InvalidOption(f"{operation}: {medium} has no 'files', which this needs")

    @contextmanager
    def protect_packs(self) -> Iterator[None]:
        """Protect every pack from being removed, for the length of a block. Read the newest manifest inside of it.

        If the container cannot be written no lock is held: a pack that another process removes is then missing. Raise
        `ContainerReplaced` or `NotAContainer` instead of a missing file, if the container has been replaced or removed.
        """
        with self._shared() or nullcontext(), self.telling_of_another():
            yield

    @contextmanager
    def telling_of_another(self) -> Iterator[None]:
        """Raise `ContainerReplaced` or `NotAContainer` for a missing file, if that is the reason."""
        try:
            yield
        except FileNotFoundError as error:
            if str(error.filename or "").startswith(self.layout.root):
                self.packed.original.check()
            raise

    def _shared(self) -> HeldLock | None:
        """Take the readers' lock, shared. Return None if the container cannot be written, or has no locks."""
        try:
            return self.layout.storage.lock(names.READERS_LOCK, shared=True)
        except OSError as error:
            from rsdos.stores.union import REFUSED

            if error.errno not in (*REFUSED, errno.ENOENT, *locks.UNSUPPORTED):
                raise
        return None

    def protect_packs_during(self, answers: Iterator[_T]) -> Iterator[_T]:
        """Yield ``answers``, and protect every pack from the first of them to the last.

        Make no lock file: before its first maintenance a container of version 1 has none.
        """
        if self._has_files and not os.path.exists(self.layout.readers_lock):
            yield from answers
            return
        with self.protect_packs():
            yield from answers

    def is_same(self) -> bool:
        """Return whether no call has noticed yet that another container is at the path now."""
        return self._stores is None or not self.packed.original.is_replaced

    def __del__(self) -> None:
        # The stores refer to each other. Without this their descriptors would wait for the garbage collector.
        if stores := self._stores:
            stores[0].close()
            stores[1].let_go()

    def rest(self) -> None:
        """Do what `close` does, but keep a little that makes the next opening in this process cheap; see ADR 4."""
        if self._stores:
            if self._far:
                self._far.rest()
            self.loose.close()
            self.packed.rest()

    def close(self) -> None:
        """Close all descriptors and mappings, also those that `rest` has kept. The engine works again afterwards."""
        if self._stores:
            if self._far:
                self._far.close()
            self.loose.close()
            self.packed.close()
