"""From container version 1 to 2, in place, at the cost of one pack of extra disk.

A pack of version 2 holds the stored bytes of its objects as they are, each in one piece; so a row of version 1 can
lead into it as into any pack. The packs of version 2 are written one by one, given a second name among those of
version 1, and the rows are pointed there; only then is the old pack removed. At every moment the container is a whole
one of version 1, which disk-objectstore reads; the last step is the rename of ``config.json``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing

from rsdos import fsio
from rsdos.config import Config
from rsdos.engine import Engine, format_of, write_config
from rsdos.errors import Busy
from rsdos.interfaces import Progress
from rsdos.layout import Layout, LegacyLayout
from rsdos.maintenance.carry import Carried, Carrier, Form
from rsdos.maintenance.quarantine import set_aside
from rsdos.migration import mark
from rsdos.model import Codec, Durability, Record, RecordFlag, Stored
from rsdos.stores.legacy import LegacyPacks, Row, try_pack
from rsdos.stores.packed import PackedStore
from rsdos.streams.frames import plain_length

_FIRST_NAME = 1_000_000
"""The packs of version 2 are called so many more in version 1: disk-objectstore appends to the lowest that has room."""


class MigrateForward:
    """One run. The caller holds the maintenance lock."""

    def __init__(self, engine: Engine, config: Config, carried: Carried, progress: Progress) -> None:
        assert isinstance(engine.packed, LegacyPacks) and isinstance(engine.layout, LegacyLayout)
        self._engine = engine
        self._config = config
        self._carried = carried
        self._progress = progress
        self._layout = engine.layout
        self._database = engine.packed.database
        self._native_layout = Layout(engine.layout.root, config.loose_prefix_len)
        self._aside: set[str] = set()
        self._native = PackedStore(self._native_layout, config, Durability.FULL)

    def run(self) -> None:
        """Migrate; the steps are numbered."""
        # 1. Say so, and make what version 2 has beside version 1.
        self._begin()
        self._engine.packed.sweep()
        self._progress.start("Migrating packs", self._database.count(), "objects")
        try:
            while True:
                for pack_id in self._waiting():
                    self._move(pack_id)
                # 6. With the index locked against new rows: nothing is left, so the container is one of version 2.
                with self._database.writing() as transaction:
                    if not self._waiting():
                        # Who reads the old index sees that it has changed, and looks at the configuration.
                        transaction.touch()
                        write_config(self._layout, self._config)
                        return
        finally:
            self._progress.finish()
            self._native.close()

    def _begin(self) -> None:
        mark(self._layout, self._config.version)
        for directory in self._native_layout.directories:
            self._native_layout.make(directory)
        fsio.sync_directory(self._native_layout.root)
        if not self._native_layout.manifest_numbers():
            format_of(self._config).begin(self._native_layout, self._config)

    def _waiting(self) -> list[int]:
        """The packs of version 1 that rows lead to."""
        ours = self._names()
        return [pack_id for pack_id in self._database.pack_ids() if pack_id not in ours.values()]

    def _names(self) -> dict[int, int]:
        """The packs of version 2, and the names that they have in version 1."""
        names = {}
        for pack_id in self._native_layout.pack_ids():
            name = _FIRST_NAME + pack_id
            if os.path.lexists(self._layout.pack(name)):
                names[pack_id] = name
        return names

    def _move(self, pack_id: int) -> None:
        """Move the objects of one pack. Nobody appends to it meanwhile."""
        self._layout.make(self._layout.locks)
        pack = try_pack(self._layout, pack_id)
        if pack is None:
            raise Busy(self._layout.pack(pack_id))
        with closing(pack):
            # 2. Store them in packs of version 2: synced, and in a manifest.
            form = Form.kept(self._native, self._config.codec)
            with self._native.appender() as appender:
                carrier = Carrier(self._engine, appender, form, self._carried)
                for digests in self._engine.packed.digests_of(pack_id):
                    carrier.carry(digests)
                    self._progress.advance(len(digests))
                appender.commit()
            # 3. Give those packs a name in version 1; copy aside what is damaged.
            self._link()
            for key in self._carried.damaged.keys() - self._aside:
                set_aside(self._engine, key, self._carried.damaged[key], self._native_layout.quarantine)
                self._aside.add(key)
            # 4. Point the rows there. A row that leads to nothing good goes: it is in the quarantine.
            for digests in self._engine.packed.digests_of(pack_id):
                self._point(digests)
            # 5. Only now remove the old pack.
            if not self._database.has_rows(pack_id):
                fsio.remove(self._layout.pack(pack_id))
                fsio.sync_directory(self._layout.packed)

    def _link(self) -> None:
        for pack_id in self._native_layout.pack_ids():
            name = self._layout.pack(_FIRST_NAME + pack_id)
            if not os.path.lexists(name):
                os.link(self._native_layout.pack(pack_id), name)
        fsio.sync_directory(self._layout.packed)

    def _point(self, digests: Sequence[bytes]) -> None:
        moved = {digest.hex() for digest in digests}
        rows = list(self._rows(digests))
        with self._database.writing() as transaction:
            transaction.replace(rows)
            transaction.delete(moved & self._aside - {row.key for row in rows})

    def _rows(self, digests: Sequence[bytes]) -> Iterator[Row]:
        for record in self._native.index.find_many(digests).entries:
            length = plain_length(_stored(record)) if record.flags else record.length
            compressed = int(record.codec != Codec.RAW)
            pack_id = _FIRST_NAME + record.pack_id
            yield Row(record.key, compressed, record.size, record.offset, length, pack_id)


def _stored(record: Record) -> Stored:
    return Stored(Codec(record.codec), RecordFlag(record.flags), record.length, record.size)
