"""An open container."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rsdos.config import read_config_file
from rsdos.engine.formats import format_of
from rsdos.errors import Busy
from rsdos.model import Durability, Links, Verify, WhenBusy
from rsdos.storage import locks

if TYPE_CHECKING:
    from rsdos.stores.loose.paths import LooseNames
    from rsdos.stores.loose.store import LooseStore
    from rsdos.stores.packs import PackStore
    from rsdos.stores.stats import PackedStats
    from rsdos.stores.union import Objects

_T = TypeVar("_T")


class Engine:
    """The parts of an open container; maintenance works on these. Any number of threads.

    Opening reads ``config.json``, looks whether its directories are such, and nothing else; descriptors and mappings
    are made at the first use that needs them. Raises what `read_config` and `Layout.check` do.
    """

    loose: LooseStore
    packed: PackStore
    objects: Objects
    """Both stores as one."""

    def __init__(
        self,
        path: str,
        durability: Durability | None = None,
        when_busy: WhenBusy = WhenBusy.RAISE,
        links: Links = Links.REFUSE,
        verify: Verify | None = None,
    ) -> None:
        """``when_busy``: what maintenance does when another run is at work.

        ``verify``: what reads compare; the hash, by default, where the container's directory is another user's.
        """
        root = os.path.abspath(path)
        self.config, self._config_file = read_config_file(f"{root}/config.json")
        self._format = format_of(self.config)
        self.layout = self._format.layout(root, self.config.loose_prefix_len)
        self.layout.links = links
        owner = self.layout.check()
        self._verify = verify or (Verify.CHECKSUM if owner == os.geteuid() else Verify.HASH)
        self.durability = durability or self.config.durability
        self.when_busy = when_busy

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            # The stores are made, and imported, by who first asks for one: 20 ms that a status does not need. Of two
            # threads that are the first at the same time, both get what one has made.
            if name not in ("loose", "packed", "objects"):
                raise AttributeError(f"'Engine' object has no attribute {name!r}")
            self.loose, self.packed, self.objects = self.__dict__.setdefault("_stores", self._made())
            return getattr(self, name)

    def _made(self) -> tuple[LooseStore, PackStore, Objects]:
        from rsdos.stores.loose.store import LooseStore
        from rsdos.stores.union import Objects

        loose = LooseStore(self.layout, self.config, self.durability)
        packed = self._format.packed(self.layout, self.config, self.durability)
        packed.verify(self._verify)
        packed.original.opened(self._config_file)
        loose.elsewhere, packed.elsewhere = packed, loose
        return loose, packed, Objects(self.layout.root, loose, packed)

    def opener(self) -> Callable[[], Engine]:
        """Return what opens the same container in the same way; it can be sent to another process."""
        return partial(Engine, self.layout.root, self.durability, self.when_busy, self.layout.links, self._verify)

    @property
    def loose_names(self) -> LooseNames:
        """The files of the loose store, by name alone."""
        from rsdos.stores.loose.paths import LooseNames, codecs_of

        return LooseNames(self.layout, self.config.hash, codecs_of(self.config))

    def read_stats(self) -> tuple[PackedStats, Mapping[str, object]]:
        """The newest state of the packed store, counted, and what was noted in it; see `PackStore.stats`,
        `PackStore.notes`.
        """
        if "_stores" in self.__dict__:
            return self.packed.stats(), self.packed.notes()
        return self._format.read_stats(self.layout, self.config)

    @contextmanager
    def maintenance(self, operation: str = "maintenance", when_busy: WhenBusy | None = None) -> Iterator[None]:
        """Hold the lock that one maintenance run at a time has; others are told ``operation`` and who does it.

        Raises `Busy` when it is taken, unless ``when_busy`` (default: the engine's) says to wait; `ReadOnlyContainer`;
        `NotAContainer` and `ContainerReplaced` when the container is gone, or is another by now.
        """
        with self.objects.writing():
            self.layout.make(self.layout.locks)  # disk-objectstore makes none.
            path = self.layout.maintenance_lock
            if (when_busy or self.when_busy) is WhenBusy.WAIT:
                # In line: whoever gives the lock back and wants it again comes after those who wait already.
                with locks.acquire(self.layout.turn_lock):
                    lock = locks.acquire(path)
            else:
                free = locks.try_acquire(path)
                if free is None:
                    raise Busy("the container's maintenance lock", locks.holder(path))
                lock = free
            with lock:
                # Where the container was cleared the lock may be a new one, which keeps nobody out.
                self.packed.original.check()
                lock.describe(f"{operation}, process {os.getpid()} on {os.uname().nodename}")
                from rsdos.engine.reserve import prepare

                prepare(self.layout)
                with self.telling_of_another():
                    yield

    @contextmanager
    def protect_packs(self) -> Iterator[None]:
        """Keep every pack where it is: for long readers, which look at the newest manifest only after this.

        Where the container cannot be written nothing is held: a pack that is gone is then met, and told, as missing. A
        file that is missing because another container is in this one's place by now is told as that: raises
        `ContainerReplaced`, `NotAContainer`.
        """
        with self._shared() or nullcontext(), self.telling_of_another():
            yield

    @contextmanager
    def telling_of_another(self) -> Iterator[None]:
        """Raise `ContainerReplaced` or `NotAContainer` where a file is missing because of that."""
        try:
            yield
        except FileNotFoundError as error:
            if str(error.filename or "").startswith(self.layout.root):
                self.packed.original.check()
            raise

    def _shared(self) -> locks.Lock | None:
        """Lock the file of long readers; None where it cannot be."""
        try:
            return locks.acquire_shared(self.layout.readers_lock)
        except OSError as error:
            from rsdos.stores.union import REFUSED

            if error.errno not in (*REFUSED, errno.ENOENT, *locks.UNSUPPORTED):
                raise
        return None

    def protect_packs_during(self, answers: Iterator[_T]) -> Iterator[_T]:
        """The same answers, `reading` from the first to the last: a pack that they come from stays where it is.

        Makes no lock file: before the first maintenance of a container of version 1 there is none.
        """
        if not os.path.exists(self.layout.readers_lock):
            yield from answers
            return
        with self.protect_packs():
            yield from answers

    def is_same(self) -> bool:
        """Whether no call was told yet that the container at its path is not the one that was opened any more."""
        return "_stores" not in self.__dict__ or not self.packed.original.is_replaced

    def __del__(self) -> None:
        # Its parts know one another: the descriptors are not to wait until the garbage collector comes by.
        if stores := self.__dict__.get("_stores"):
            stores[0].close()
            stores[1].let_go()

    def rest(self) -> None:
        """`close`, but for a little that makes the next opening cheap, in this process; see ADR 4."""
        if "_stores" in self.__dict__:
            self.loose.close()
            self.packed.rest()

    def close(self) -> None:
        """Give descriptors and mappings back, also those that `rest` has kept; the engine works again after it."""
        if "_stores" in self.__dict__:
            self.loose.close()
            self.packed.close()
