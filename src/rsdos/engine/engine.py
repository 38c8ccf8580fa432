"""An open container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rsdos import locks
from rsdos.config import Config, read_config
from rsdos.engine.formats import format_of
from rsdos.engine.objects import REFUSED, Objects
from rsdos.errors import Busy
from rsdos.layout import Layout
from rsdos.model import Durability
from rsdos.stores import LooseStore, Packs


class Engine:
    """The parts of an open container; maintenance works on these. Any number of threads.

    Opening reads ``config.json`` and nothing else; descriptors and mappings are made at the first use that needs
    them. Raises what `read_config` does.
    """

    def __init__(self, path: str, durability: Durability | None = None) -> None:
        root = os.path.abspath(path)
        self.config: Config = read_config(Layout(root).config)
        form = format_of(self.config)
        self.layout = form.layout(root, self.config.loose_prefix_len)
        self.durability = durability or self.config.durability
        self.loose = LooseStore(self.layout, self.config, self.durability)
        self.packed: Packs = form.packed(self.layout, self.config, self.durability)
        self.loose.elsewhere, self.packed.elsewhere = self.packed, self.loose
        self.objects = Objects(self.layout.root, self.loose, self.packed)

    @contextmanager
    def maintenance(self) -> Iterator[None]:
        """Hold the lock that one maintenance run at a time has. Raises `Busy`, `ReadOnlyContainer`."""
        with self.objects.writing():
            os.makedirs(self.layout.locks, exist_ok=True)  # disk-objectstore makes none.
            lock = locks.try_acquire(self.layout.maintenance_lock)
            if lock is None:
                raise Busy("the container's maintenance lock")
            with lock:
                yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep every pack where it is: for long readers, who look at the newest manifest only after this.

        Where the container cannot be written nothing is held: a pack that is gone is then met, and told, as missing.
        """
        try:
            os.makedirs(self.layout.locks, exist_ok=True)
            lock = locks.share(self.layout.readers_lock)
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            yield
            return
        with lock:
            yield

    def close(self) -> None:
        """Give descriptors and mappings back; the engine works again after it."""
        self.loose.close()
        self.packed.close()
