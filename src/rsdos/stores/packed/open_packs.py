"""The packs of version 2 that a store keeps open to read from."""

from __future__ import annotations

from collections.abc import Container

from rsdos import names
from rsdos.layout import Layout
from rsdos.pack.reader import check_header
from rsdos.storage.opened import RandomAccess
from rsdos.stores.packs import MOST_OPEN


class OpenPacks:
    """Open packs, by their ids. Any number of threads."""

    def __init__(self, layout: Layout, container_id: bytes) -> None:
        self.storage = layout.storage
        self._container_id = container_id
        self._has_hash = layout.storage.traits.is_remote
        """Whether all that is read of a pack is compared with its hash: no header can say more, and it is a request."""
        self.known: dict[int, RandomAccess] = {}
        """Those that were opened; one may be closed by now. Replaced, and never emptied: other threads read it."""

    def close(self) -> None:
        """Close all packs."""
        self.known = {}

    def keep(self, live: Container[int]) -> None:
        """Close all packs but these: the space of a removed pack is not freed while it is open."""
        packs = list(self.known.items())  # In one step: another thread may be opening one.
        self.known = {pack_id: pack for pack_id, pack in packs if pack_id in live}

    def forget(self, pack_id: int) -> None:
        """Close one pack."""
        self.known.pop(pack_id, None)

    def get(self, pack_id: int) -> RandomAccess:
        """Return an open pack. Raise FileNotFoundError, and `DamagedContainer` where the file is not that pack."""
        pack = self.known.get(pack_id)
        # It is closed in a container that is garbage and still works.
        if pack is None or not pack.is_open:
            pack = self.storage.open(names.pack(pack_id))
            if not self._has_hash:
                check_header(pack, pack_id, self._container_id)
            if len(self.known) >= MOST_OPEN:
                self.known = {}
            self.known[pack_id] = pack
        return pack

    def read_any(self, pack_id: int, offset: int, length: int) -> bytes:
        """Read from the file with the name of a pack, whatever its header says: the caller verifies the bytes.

        Raise FileNotFoundError, `DamagedContainer` where the file is cut short, and OSError.
        """
        pack = self.known.get(pack_id)
        if pack is not None and pack.is_open:
            return pack.read(offset, length)
        file = self.storage.open(names.pack(pack_id))
        try:
            return file.read(offset, length)
        finally:
            file.close()
