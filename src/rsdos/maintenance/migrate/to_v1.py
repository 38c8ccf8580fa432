"""From container version 2 to 1, in place, at the cost of one pack of extra disk.

What version 1 cannot store (zstd, and anything but raw bytes in a loose file) is rewritten first, within version 2.
After that every stored object is one piece that a row of version 1 can lead to, where it stands: the packs get a
second name among those of version 1, and nothing is copied. The last step is the rename of ``config.json``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from rsdos.config import Config
from rsdos.engine.create import write_config
from rsdos.engine.engine import Engine
from rsdos.engine.formats import format_of
from rsdos.errors import Busy, DamagedObject
from rsdos.index.snapshot import Snapshot
from rsdos.layout import V1Layout
from rsdos.maintenance.copier import CopyStats
from rsdos.maintenance.copies import WHOLE, quarantine_directory
from rsdos.maintenance.repair.quarantine import move_to_quarantine
from rsdos.migration import begin_migration
from rsdos.model import Codec, CompressMode, Copy, Durability, Record, RecordFlag, Stored, Trust
from rsdos.protocols import Progress
from rsdos.storage import locks, posix
from rsdos.storage.directory import Directory
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.store import PackedStore
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.row import Row
from rsdos.streams.frames import plain_length

_ALLOWED = (Codec.RAW, Codec.ZLIB)

_MOST_TRIES = 10
"""Times that all rows are written, and every object hashed, because somebody has committed meanwhile."""


class ToVersion1:
    """One run. The caller holds the maintenance lock."""

    def __init__(self, engine: Engine, config: Config, carried: CopyStats, progress: Progress) -> None:
        assert isinstance(engine.packed, PackedStore)
        self._engine = engine
        self._config = config
        self._carried = carried
        self._progress = progress
        self._packed = engine.packed
        self._recoded = 0
        """Objects of packs that were written anew, all of them: not one of these is copied as it was."""
        self._layout = V1Layout(engine.layout.root, config.loose_prefix_len)

    def run(self) -> None:
        """Migrate; the steps are numbered."""
        # 1. Say so, and make what version 1 has beside version 2.
        begin_migration(self._layout, self._config.version)
        for directory in self._layout.directories:
            self._layout.make(directory)
        self._progress.start("Migrating objects", len(self._engine.objects), "objects")
        try:
            for _ in range(_MOST_TRIES):
                if self._try():
                    break
            else:
                raise Busy(self._layout.root, f"others, which have committed in each of {_MOST_TRIES} attempts to end")
            # 6. What was inserted compressed meanwhile.
            self._expand_loose()
        finally:
            self._carried.rescued[:] = dict.fromkeys(self._carried.rescued)
            self._progress.finish()

    def _try(self) -> bool:
        """Everything, unless somebody commits meanwhile."""
        # 2. Rewrite, pack by pack, what is compressed in a way that version 1 does not have.
        self._recode()
        # 3. Decompress loose objects.
        self._expand_loose()
        # 4. Write the rows of one moment, every object hashed.
        snapshot = self._packed.index.refresh()
        if not self._write_rows(snapshot):
            return False
        # 5. With no commit in between: names for the packs, the index to its place, and the configuration.
        with locks.acquire(self._engine.layout.commit_lock) as lock:
            if self._packed.index.commits.newest().number != snapshot.manifest.number:
                return False
            for pack_id in self._engine.layout.pack_ids():
                self._link(self._engine.layout.pack(pack_id), self._layout.pack(pack_id))
            posix.sync_directory(self._layout.packed)
            os.rename(self._new_database, self._layout.database)
            posix.sync_directory(self._layout.root)
            write_config(self._layout, self._config)
            # Who reads the old index takes it for an older one from now on, and looks at the configuration.
            self._packed.index.commits.pass_over(lock)
        return True

    def _link(self, pack: str, name: str) -> None:
        """Give a pack its name of version 1; what somebody else has put there goes to quarantine."""
        if os.path.lexists(name):
            if os.path.samestat(os.lstat(name), os.lstat(pack)):
                return
            with Directory(self._layout.root, WHOLE) as place, quarantine_directory(place) as quarantine:
                with place.child(os.path.basename(self._layout.packed)) as packs:
                    packs.move_to_quarantine(os.path.basename(name), quarantine)
                quarantine.sync()
        os.link(pack, name)

    def _recode(self) -> None:
        encoding = Encoding(CompressMode.AUTO, self._config.codec)
        for pack in self._packed.stats().packs:
            if self._has_other_codecs(pack.id):
                self._recoded += self._packed.rewrite(pack.id, encoding, lambda _: None).objects

    def _has_other_codecs(self, pack_id: int) -> bool:
        for digests in self._packed.digests_of(pack_id):
            entries = self._packed.index.find_many(digests).entries
            if any(record.codec not in _ALLOWED for record in entries):
                return True
        return False

    def _expand_loose(self) -> None:
        loose = self._engine.loose
        for key in loose:
            digest = bytes.fromhex(key)
            meta = None
            with suppress(DamagedObject):
                meta = loose.describe(digest)
            if meta is not None and meta.codec is not Codec.RAW:
                loose.expand(digest)

    # The index of version 1.

    @property
    def _new_database(self) -> str:
        return f"{self._layout.database}.new"

    def _write_rows(self, snapshot: Snapshot) -> bool:
        """Write them to a new database; not all, and False, where something came that version 1 cannot store so."""
        layout = V1Layout(self._layout.root, self._config.loose_prefix_len)
        layout.database = self._new_database
        format_of(self._config).begin(layout, self._config)
        database = Database(layout)
        # Not what an attempt before this one, which somebody's commit has outrun, has counted.
        self._carried.objects = self._carried.size = 0
        for pack in snapshot.manifest.packs:
            for entries in snapshot.in_storage_order(pack):
                if not len(entries):
                    continue
                answers = self._check(entries.digests())
                good = list(entries.take(answers))
                if self._drop_bad_copies(snapshot, good) or any(record.codec not in _ALLOWED for record in good):
                    database.close()
                    return False
                with database.writing() as transaction:
                    transaction.insert(map(self._row, good))
        database.seal()
        self._carried.copied = max(self._carried.objects - self._recoded, 0)
        return True

    def _drop_bad_copies(self, snapshot: Snapshot, records: Sequence[Record]) -> bool:
        """Let go of copies that are not good, where the object has another that is; whether there were any.

        A row leads to one copy of an object, the first one.
        """
        copies = snapshot.live_copies([record.digest for record in records])
        if len(copies) == len(records):
            return False
        several = {digest for digest, count in Counter(copies.digests()).items() if count > 1}
        bad = [
            record.digest for record in records if record.digest in several and not self._packed.records.is_good(record)
        ]
        if bad:
            self._carried.rescued += map(bytes.hex, bad)
            self._packed.drop_damaged(bad)
        return bool(bad)

    def _check(self, digests: Sequence[bytes]) -> list[bool]:
        """Which of the packed copies are what their keys say; the others are noted, and copied aside."""
        answers = self._packed.verify_many(digests)
        for digest, is_good in zip(digests, answers, strict=True):
            if not is_good and not self._is_loose(digest):
                self._carried.damaged[digest.hex()] = "its packed copy is damaged, and there is no other"
                move_to_quarantine(
                    self._engine, digest.hex(), self._carried.damaged[digest.hex()], self._layout.quarantine
                )
            elif not is_good:
                self._carried.rescued.append(digest.hex())
        good = sum(answers)
        self._carried.objects += good
        self._progress.advance(len(digests))
        return answers

    def _is_loose(self, digest: bytes) -> bool:
        return self._engine.loose.check_copies((digest,), Trust.VERIFY, Durability.FULL) == [Copy.GOOD]

    def _row(self, record: Record) -> Row:
        length = plain_length(_stored(record)) if record.flags else record.length
        self._carried.size += record.size
        return Row(record.key, int(record.codec != Codec.RAW), record.size, record.offset, length, record.pack_id)


def _stored(record: Record) -> Stored:
    return Stored(Codec(record.codec), RecordFlag(record.flags), record.length, record.size)
