"""Migrates a container from version 1 to 2 in place, with the extra disk space of one pack.

A pack of version 2 stores the bytes of each object in one range, so a row of version 1 can name it as in any pack. The
packs of version 2 are written one by one, get a second name in the directory of version 1, and the rows are changed to
point to them; only then is the old pack removed. At every moment the container is a complete one of version 1, which
disk-objectstore can read and write. The last step is the rename of ``config.json``.

Whether a pack of version 1 is one of version 2 is decided by the identity of the file, not by its name: other programs
begin packs during the migration. disk-objectstore appends to the lowest number that has room, rsdos to the highest. So
the names of version 2 begin far above all others, and descend. If a program appends to such a pack nevertheless, its
rows lead beyond the end that version 2 knows, and their objects are moved again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing, suppress

from rsdos.config import Config
from rsdos.engine.create import write_config
from rsdos.engine.engine import Engine
from rsdos.engine.formats import format_of
from rsdos.errors import Busy
from rsdos.layout import Layout, V1Layout
from rsdos.maintenance.copier import CopyStats, ObjectCopier, StoredFormPolicy
from rsdos.maintenance.migrate.rows import row_of
from rsdos.maintenance.repair.quarantine import copy_damaged
from rsdos.migration import begin_migration
from rsdos.model import Durability
from rsdos.progress import step
from rsdos.protocols import Progress
from rsdos.storage import posix
from rsdos.stores.packed.store import PackedStore
from rsdos.stores.packs import unlink_pack
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.v1.pack import try_pack
from rsdos.stores.v1.store import V1PackStore

_ABOVE = 1_000_000
"""The distance of the first number for a pack of version 2 from the highest in version 1; further numbers descend.

A program that takes the highest number plus one never gets one of them. With packs of 4 GiB there is room for 4 PiB.
"""

_MOST_ROUNDS = 100
"""Rounds at most. After the first, each moves only objects that other processes have packed, and is short."""


class ToVersion2:
    """One run. The caller holds the maintenance lock."""

    def __init__(self, engine: Engine, config: Config, stats: CopyStats, progress: Progress) -> None:
        assert isinstance(engine.packed, V1PackStore) and isinstance(engine.layout, V1Layout)
        self._engine = engine
        self._config = config
        self._stats = stats
        self._progress = progress
        self._layout = engine.layout
        self._database = engine.packed.database
        self._layout_2 = Layout(engine.layout.root, config.loose_prefix_len)
        self._quarantined: set[str] = set()
        self._names: dict[int, int] = {}
        """The number in version 1 of each pack of version 2."""
        self._packed_2 = PackedStore(self._layout_2, config, Durability.FULL)

    def run(self) -> None:
        """Migrate; the steps are numbered."""
        # 1. Mark the migration, and make the directories and the index of version 2.
        self._begin()
        self._engine.objects.collect_garbage()
        self._drop_hostile()
        with step(self._progress, "Migrating packs", self._database.count(), "objects"):
            try:
                for _ in range(_MOST_ROUNDS):
                    for pack_id in self._waiting():
                        self._move(pack_id)
                    # 6. Lock the index against new rows. If no object is left to move, change the version.
                    with self._database.writing() as transaction:
                        if not self._waiting():
                            # Readers of the old index see that it has changed, and check the configuration.
                            transaction.touch()
                            write_config(self._layout, self._config)
                            return
                raise Busy(self._layout.root, f"others, which inserted in each of {_MOST_ROUNDS} attempts to finish")
            finally:
                self._packed_2.close()

    def _begin(self) -> None:
        begin_migration(self._layout, self._config.version)
        for directory in self._layout_2.directories:
            self._layout_2.make(directory)
        posix.sync_directory(self._layout_2.root)
        if not self._layout_2.manifest_numbers():
            format_of(self._config).begin(self._layout_2, self._config)
        # Without shared memory SQLite changes its journal for the first write: not while `_move` reads rows.
        with self._database.writing():
            pass

    def _waiting(self) -> list[int]:
        """Return the packs with rows that do not lead to an object of version 2."""
        self._look_for_names()
        lengths = {pack.id: pack.length for pack in self._packed_2.maintenance.packs()}
        ends = {name: lengths.get(pack_id, 0) for pack_id, name in self._names.items()}
        return sorted(pack_id for pack_id, end in self._database.ends().items() if end > ends.get(pack_id, -1))

    def _look_for_names(self) -> None:
        files = {_identity(self._layout.pack(number)): number for number in self._layout.pack_ids()}
        own = {pack_id: _identity(self._layout_2.pack(pack_id)) for pack_id in self._layout_2.pack_ids()}
        self._names = {pack_id: files[file] for pack_id, file in own.items() if file and file in files}

    def _move(self, pack_id: int) -> None:
        """Move the objects of one pack, under its lock."""
        self._layout.make(self._layout.locks)
        pack = try_pack(self._layout, pack_id)
        if pack is None:
            raise Busy(self._layout.pack(pack_id))
        with closing(pack):
            # 2. Store the objects in packs of version 2: synced, and in a manifest.
            form = StoredFormPolicy.kept(self._packed_2, self._config.codec)
            with self._packed_2.writer() as writer:
                copier = ObjectCopier(self._engine, writer, form, self._stats)
                for digests in self._engine.packed.inspection.digests_of(pack_id):
                    copier.copy(digests)
                    self._progress.advance(len(digests))
                writer.commit()
            # 3. Give those packs a name in version 1; copy damaged objects to quarantine.
            self._link()
            for key in self._stats.damaged.keys() - self._quarantined:
                copy_damaged(self._engine, key, self._stats.damaged[key], Quarantine(self._layout_2))
                self._quarantined.add(key)
            # 4. Change the rows. Delete the row of an object without a good copy: its bytes are in quarantine.
            for digests in self._engine.packed.inspection.digests_of(pack_id):
                self._point(digests)
            # 5. Only then remove the old pack. If a long reader (a backup) has it open, it is removed at the end.
            if pack_id not in self._names.values() and not self._database.has_rows(pack_id):
                unlink_pack(self._engine.layout, pack_id)
                posix.sync_directory(self._layout.packed)

    def _link(self) -> None:
        self._look_for_names()
        for pack_id in self._layout_2.pack_ids():
            while pack_id not in self._names:
                number = self._free_number()
                # Another process may have taken the number: its file is left alone.
                with suppress(FileExistsError):
                    os.link(self._layout_2.pack(pack_id), self._layout.pack(number))
                    self._names[pack_id] = number
        posix.sync_directory(self._layout.packed)

    def _free_number(self) -> int:
        """Return a number that no pack has had, and that no writer takes."""
        # Lock files are never deleted: they show the numbers of removed packs.
        taken = {*self._layout.pack_ids(), *self._layout.locked_ids(), *self._database.ends()}
        number = min(self._names.values(), default=max(taken, default=0) + _ABOVE) - 1
        while number in taken:
            number -= 1
        return number

    def _drop_hostile(self) -> None:
        """Delete rows that cannot be used, and write their values to quarantine."""
        rows = list(self._database.hostile_rows(self._engine.config.hash))
        if not rows:
            return
        quarantine = Quarantine(self._layout_2)
        name = os.path.basename(quarantine.free_path("rows.json"))
        quarantine.report(name, {"rows": [list(map(str, row)) for row in rows]})
        for row in rows:
            self._stats.damaged[str(row[1])] = "its row in packs.idx makes no sense"
        self._quarantined.update(str(row[1]) for row in rows)
        with self._database.writing() as transaction:
            transaction.delete_rows(row[0] for row in rows)

    def _point(self, digests: Sequence[bytes]) -> None:
        moved = {digest.hex() for digest in digests}
        entries = self._packed_2.index.find_many(digests).entries
        rows = [row_of(record, self._names[record.pack_id]) for record in entries]
        with self._database.writing() as transaction:
            transaction.replace(rows)
            transaction.delete(moved & self._quarantined - {row.key for row in rows})


def _identity(path: str) -> tuple[int, int] | None:
    """Return the identity of the file at a path; None without one."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
