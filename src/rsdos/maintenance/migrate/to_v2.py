"""From container version 1 to 2, in place, at the cost of one pack of extra disk.

A pack of version 2 holds the stored bytes of its objects as they are, each in one piece; so a row of version 1 can
lead into it as into any pack. The packs of version 2 are written one by one, given a second name among those of
version 1, and the rows are pointed there; only then is the old pack removed. At every moment the container is a whole
one of version 1, which disk-objectstore reads and writes; the last step is the rename of ``config.json``.

Which pack of version 1 is one of version 2 is told by the file, not by its name: others begin packs meanwhile.
disk-objectstore appends to the lowest number that has room, we go up from the highest. So our names begin far above all
others, and go down from there. What a program appends to one of version 2 all the same is told by rows that lead beyond
that one's own end, and is moved on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress

from rsdos.config import Config
from rsdos.engine.create import write_config
from rsdos.engine.engine import Engine
from rsdos.engine.formats import format_of
from rsdos.errors import Busy
from rsdos.layout import Layout, V1Layout
from rsdos.maintenance.copier import CopyStats, ObjectCopier, StoredFormPolicy
from rsdos.maintenance.repair.quarantine import move_to_quarantine, write_report
from rsdos.migration import begin_migration
from rsdos.model import Codec, Durability, Record, RecordFlag, Stored
from rsdos.protocols import Progress
from rsdos.storage import posix
from rsdos.stores.base import free_name
from rsdos.stores.packed.store import PackedStore
from rsdos.stores.v1.row import Row
from rsdos.stores.v1.store import V1PackStore
from rsdos.stores.v1.writer import try_pack
from rsdos.streams.frames import plain_length

_ABOVE = 1_000_000
"""The first pack of version 2 has, in version 1, a number so much above the highest; the next ones go down from it.

Who takes the highest number and one more never gets one of these. At 4 GiB a pack it is room for 4 PiB.
"""

_MOST_ROUNDS = 100
"""Times that what others have inserted into packs meanwhile is moved. Each round has only that to do, and is short."""


class ToVersion2:
    """One run. The caller holds the maintenance lock."""

    def __init__(self, engine: Engine, config: Config, carried: CopyStats, progress: Progress) -> None:
        assert isinstance(engine.packed, V1PackStore) and isinstance(engine.layout, V1Layout)
        self._engine = engine
        self._config = config
        self._carried = carried
        self._progress = progress
        self._layout = engine.layout
        self._database = engine.packed.database
        self._native_layout = Layout(engine.layout.root, config.loose_prefix_len)
        self._aside: set[str] = set()
        self._names: dict[int, int] = {}
        """The packs of version 2, and their numbers in version 1."""
        self._native = PackedStore(self._native_layout, config, Durability.FULL)

    def run(self) -> None:
        """Migrate; the steps are numbered."""
        # 1. Say so, and make what version 2 has beside version 1.
        self._begin()
        self._engine.packed.collect_garbage()
        self._drop_hostile()
        self._progress.start("Migrating packs", self._database.count(), "objects")
        try:
            for _ in range(_MOST_ROUNDS):
                for pack_id in self._waiting():
                    self._move(pack_id)
                # 6. With the index locked against new rows: nothing is left, so the container is one of version 2.
                with self._database.writing() as transaction:
                    if not self._waiting():
                        # Who reads the old index sees that it has changed, and looks at the configuration.
                        transaction.touch()
                        write_config(self._layout, self._config)
                        return
            raise Busy(self._layout.root, f"others, which have inserted in each of {_MOST_ROUNDS} attempts to end")
        finally:
            self._progress.finish()
            self._native.close()

    def _begin(self) -> None:
        begin_migration(self._layout, self._config.version)
        for directory in self._native_layout.directories:
            self._native_layout.make(directory)
        posix.sync_directory(self._native_layout.root)
        if not self._native_layout.manifest_numbers():
            format_of(self._config).begin(self._native_layout, self._config)

    def _waiting(self) -> list[int]:
        """The packs that rows lead to, where there is no object of version 2: in a pack of that, behind its end."""
        self._look_for_names()
        lengths = {pack.id: pack.length for pack in self._native.stats().packs}
        ends = {name: lengths.get(pack_id, 0) for pack_id, name in self._names.items()}
        return sorted(pack_id for pack_id, end in self._database.ends().items() if end > ends.get(pack_id, -1))

    def _look_for_names(self) -> None:
        files = {_identity(self._layout.pack(number)): number for number in self._layout.pack_ids()}
        own = {pack_id: _identity(self._native_layout.pack(pack_id)) for pack_id in self._native_layout.pack_ids()}
        self._names = {pack_id: files[file] for pack_id, file in own.items() if file and file in files}

    def _move(self, pack_id: int) -> None:
        """Move the objects of one pack. Nobody appends to it meanwhile."""
        self._layout.make(self._layout.locks)
        pack = try_pack(self._layout, pack_id)
        if pack is None:
            raise Busy(self._layout.pack(pack_id))
        with closing(pack):
            # 2. Store them in packs of version 2: synced, and in a manifest.
            form = StoredFormPolicy.kept(self._native, self._config.codec)
            with self._native.appender() as appender:
                carrier = ObjectCopier(self._engine, appender, form, self._carried)
                for digests in self._engine.packed.digests_of(pack_id):
                    carrier.copy(digests)
                    self._progress.advance(len(digests))
                appender.commit()
            # 3. Give those packs a name in version 1; copy aside what is damaged.
            self._link()
            for key in self._carried.damaged.keys() - self._aside:
                move_to_quarantine(self._engine, key, self._carried.damaged[key], self._native_layout.quarantine)
                self._aside.add(key)
            # 4. Point the rows there. A row that leads to nothing good goes: it is in the quarantine.
            for digests in self._engine.packed.digests_of(pack_id):
                self._point(digests)
            # 5. Only now remove the old pack. Where a long reader, a backup, needs it, it goes with its directory.
            if pack_id not in self._names.values() and not self._database.has_rows(pack_id):
                self._engine.packed.unlink(pack_id)
                posix.sync_directory(self._layout.packed)

    def _link(self) -> None:
        self._look_for_names()
        for pack_id in self._native_layout.pack_ids():
            while pack_id not in self._names:
                number = self._free_number()
                # Somebody may have taken it by now; what stands there stays.
                with suppress(FileExistsError):
                    os.link(self._native_layout.pack(pack_id), self._layout.pack(number))
                    self._names[pack_id] = number
        posix.sync_directory(self._layout.packed)

    def _free_number(self) -> int:
        """A number that no pack has had, and no writer takes."""
        # Lock files stay, and tell of packs that are gone.
        taken = {*self._layout.pack_ids(), *self._layout.locked_ids(), *self._database.ends()}
        number = min(self._names.values(), default=max(taken, default=0) + _ABOVE) - 1
        while number in taken:
            number -= 1
        return number

    def _drop_hostile(self) -> None:
        """Let go of rows that nobody can use, and say so: what they say goes to quarantine."""
        rows = list(self._database.hostile_rows(self._engine.config.hash))
        if not rows:
            return
        self._native_layout.make(self._native_layout.quarantine)
        path = free_name(os.path.join(self._native_layout.quarantine, "rows.json"))
        write_report(path, {"rows": [list(map(str, row)) for row in rows]})
        posix.sync_directory(self._native_layout.quarantine)
        for row in rows:
            self._carried.damaged[str(row[1])] = "its row in packs.idx makes no sense"
        self._aside.update(str(row[1]) for row in rows)
        with self._database.writing() as transaction:
            transaction.delete_rows(row[0] for row in rows)

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
            yield Row(record.key, compressed, record.size, record.offset, length, self._names[record.pack_id])


def _identity(path: str) -> tuple[int, int] | None:
    """Which file stands at a path; None when there is none."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _stored(record: Record) -> Stored:
    return Stored(Codec(record.codec), RecordFlag(record.flags), record.length, record.size)
