"""An open container."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from rsdos import locks
from rsdos.config import Config, read_config
from rsdos.engine.formats import format_of
from rsdos.engine.objects import REFUSED, Objects
from rsdos.engine.reserve import prepare
from rsdos.errors import Busy
from rsdos.layout import Layout
from rsdos.model import Durability, WhenBusy
from rsdos.sharing import make_directories
from rsdos.stores import LooseStore, Packs

_T = TypeVar("_T")


class Engine:
    """The parts of an open container; maintenance works on these. Any number of threads.

    Opening reads ``config.json`` and nothing else; descriptors and mappings are made at the first use that needs
    them. Raises what `read_config` does.
    """

    def __init__(self, path: str, durability: Durability | None = None, when_busy: WhenBusy = WhenBusy.RAISE) -> None:
        """``when_busy``: what maintenance does when another run is at work."""
        root = os.path.abspath(path)
        self.config: Config = read_config(Layout(root).config)
        form = format_of(self.config)
        self.layout = form.layout(root, self.config.loose_prefix_len)
        self.durability = durability or self.config.durability
        self.when_busy = when_busy
        self.loose = LooseStore(self.layout, self.config, self.durability)
        self.packed: Packs = form.packed(self.layout, self.config, self.durability)
        self.loose.elsewhere, self.packed.elsewhere = self.packed, self.loose
        self.objects = Objects(self.layout.root, self.loose, self.packed)

    @contextmanager
    def maintenance(self, operation: str = "maintenance", when_busy: WhenBusy | None = None) -> Iterator[None]:
        """Hold the lock that one maintenance run at a time has; others are told ``operation`` and who does it.

        Raises `Busy` when it is taken, unless ``when_busy`` (default: the engine's) says to wait; `ReadOnlyContainer`.
        """
        with self.objects.writing():
            make_directories(self.layout.locks)  # disk-objectstore makes none.
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
                lock.describe(f"{operation}, process {os.getpid()} on {os.uname().nodename}")
                prepare(self.layout)
                yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep every pack where it is: for long readers, who look at the newest manifest only after this.

        Where the container cannot be written nothing is held: a pack that is gone is then met, and told, as missing.
        """
        try:
            lock = locks.share(self.layout.readers_lock)
        except OSError as error:
            if error.errno not in (*REFUSED, errno.ENOENT, *locks.UNSUPPORTED):
                raise
            yield
            return
        with lock:
            yield

    def kept(self, answers: Iterator[_T]) -> Iterator[_T]:
        """The same answers, `reading` from the first to the last: a pack that they come from stays where it is.

        Makes no lock file: before the first maintenance of a container of version 1 there is none.
        """
        if not os.path.exists(self.layout.readers_lock):
            yield from answers
            return
        with self.reading():
            yield from answers

    def close(self) -> None:
        """Give descriptors and mappings back; the engine works again after it."""
        self.loose.close()
        self.packed.close()
