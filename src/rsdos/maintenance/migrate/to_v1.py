"""Migrates a container from version 2 to 1 in place, with the extra disk space of one pack.

Objects that version 1 cannot store (zstd, and compressed loose files) are rewritten first, within version 2. Then the
stored bytes of every object are one range that a row of version 1 can name, at the same offset: the packs get a second
name in the directory of version 1, and nothing is copied. The last step is the rename of ``config.json``.
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
from rsdos.errors import Busy, DamagedObject, InvalidOption
from rsdos.index.commits import CommitLog
from rsdos.index.view import IndexView
from rsdos.layout import V1Layout
from rsdos.maintenance.copier import CopyStats
from rsdos.maintenance.copies import WHOLE, quarantine_directory
from rsdos.maintenance.migrate.rows import row_of
from rsdos.maintenance.repair.quarantine import copy_damaged
from rsdos.maintenance.transfer import SnapshotPolicy
from rsdos.migration import begin_migration
from rsdos.model import Codec, CompressMode, Copy, Durability, PackKind, Record, Trust
from rsdos.progress import step
from rsdos.protocols import Progress
from rsdos.storage import locks, posix
from rsdos.storage.directory import Directory
from rsdos.stores.encoding import Encoding
from rsdos.stores.packed.store import PackedStore
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.row import Row

_ALLOWED = (Codec.RAW, Codec.ZLIB)

_MOST_TRIES = 10
"""Times that all rows are written, and every object hashed, because another process has committed."""


def refuse_snapshots(policy: SnapshotPolicy, refs: str) -> None:
    """Raise `InvalidOption` if there are snapshots, and they are not to be left behind."""
    if refs and policy is SnapshotPolicy.BRING:
        reason = "container version 1 has no snapshots: leave them behind (--without-snapshots), or keep version 2"
        raise InvalidOption(reason)


class ToVersion1:
    """One run. The caller holds the maintenance lock."""

    def __init__(
        self, engine: Engine, config: Config, snapshots: SnapshotPolicy, stats: CopyStats, progress: Progress
    ) -> None:
        assert isinstance(engine.packed, PackedStore)
        self._engine = engine
        self._config = config
        self._snapshots = snapshots
        self._stats = stats
        self._progress = progress
        self._packed = engine.packed
        self._recoded = 0
        """Objects of packs that were rewritten: none of them counts as copied unchanged."""
        self._layout = V1Layout(engine.layout.root, config.loose_prefix_len)

    def run(self) -> None:
        """Migrate; the steps are numbered."""
        # 1. Mark the migration, and make the directories of version 1.
        begin_migration(self._layout, self._config.version)
        for directory in self._layout.directories:
            self._layout.make(directory)
        with step(self._progress, "Migrating objects", len(self._engine.objects), "objects"):
            try:
                for _ in range(_MOST_TRIES):
                    if self._try():
                        break
                else:
                    others = f"others, which committed in each of {_MOST_TRIES} attempts to finish"
                    raise Busy(self._layout.root, others)
                # 6. Decompress loose objects that were inserted since step 3.
                self._expand_loose()
            finally:
                self._stats.rescued[:] = dict.fromkeys(self._stats.rescued)

    def _try(self) -> bool:
        """Do all steps. Return False if another process has committed."""
        # 2. Rewrite, pack by pack, objects of codecs that version 1 does not have.
        self._recode()
        # 3. Decompress loose objects.
        self._expand_loose()
        # 4. Write the rows of one view, and hash every object. What snapshots hold stays behind.
        view = self._packed.index.refresh().for_kind(PackKind.PLAIN)
        refuse_snapshots(self._snapshots, view.manifest.refs)  # One may have been saved since the plan.
        if not self._write_rows(view):
            return False
        # 5. Without a commit in between: link the packs, rename the index to its name, and write the configuration.
        with locks.acquire(self._engine.layout.commit_lock) as lock:
            if self._packed.index.commits.newest().number != view.manifest.number:
                return False
            left = self._packed.inspection.kinds()
            for pack_id in set(self._engine.layout.pack_ids()) - left.keys():
                self._link(self._engine.layout.pack(pack_id), self._layout.pack(pack_id))
            posix.sync_directory(self._layout.packed)
            os.rename(self._new_database, self._layout.database)
            posix.sync_directory(self._layout.root)
            write_config(self._layout, self._config)
            # Readers of the old index see from now on that it is not the newest, and check the configuration.
            commits = self._packed.index.commits
            assert isinstance(commits, CommitLog)
            commits.pass_over(lock)
        return True

    def _link(self, pack: str, name: str) -> None:
        """Give a pack its name in version 1. Move a foreign file of this name to quarantine."""
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
        for pack in self._packed.maintenance.packs():
            if pack.kind is PackKind.PLAIN and self._has_other_codecs(pack.id):
                self._recoded += self._packed.maintenance.rewrite((pack.id,), encoding, lambda _: None).objects

    def _has_other_codecs(self, pack_id: int) -> bool:
        for digests in self._packed.inspection.digests_of(pack_id):
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

    def _write_rows(self, view: IndexView) -> bool:
        """Write the rows to a new database. Return False when an object appears that version 1 cannot store."""
        layout = V1Layout(self._layout.root, self._config.loose_prefix_len)
        layout.database = self._new_database
        format_of(self._config).begin(layout, self._config)
        database = Database(layout)
        # Without the counts of an earlier attempt.
        self._stats.objects = self._stats.size = 0
        for pack in view.manifest.packs:
            for entries in view.in_storage_order(pack):
                if not len(entries):
                    continue
                answers = self._check(entries.digests())
                if None in answers:
                    database.close()
                    return False
                good = list(entries.take(answers))
                if self._drop_bad_copies(view, good) or any(record.codec not in _ALLOWED for record in good):
                    database.close()
                    return False
                with database.writing() as transaction:
                    transaction.insert(map(self._row, good))
        database.seal()
        self._stats.copied = max(self._stats.objects - self._recoded, 0)
        return True

    def _drop_bad_copies(self, view: IndexView, records: Sequence[Record]) -> bool:
        """Delete damaged copies of objects that have a good one. Return whether there were any.

        A row names one copy of an object, the first.
        """
        copies = view.live_copies([record.digest for record in records])
        if len(copies) == len(records):
            return False
        several = {digest for digest, count in Counter(copies.digests()).items() if count > 1}
        bad = [
            record.digest for record in records if record.digest in several and not self._packed.records.is_good(record)
        ]
        if bad:
            self._stats.rescued += map(bytes.hex, bad)
            self._packed.maintenance.drop_damaged(bad)
        return bool(bad)

    def _check(self, digests: Sequence[bytes]) -> list[bool | None]:
        """Return which packed copies are good. Count the others, and copy their bytes to quarantine.

        None means that a good copy of the object was written just now.
        """
        answers: list[bool | None] = [*self._packed.verify_many(digests, PackKind.PLAIN)]
        for at, digest in enumerate(digests):
            is_good = answers[at]
            if not is_good and not self._is_loose(digest) and self._write_again(digest):
                answers[at] = None
                self._stats.rescued.append(digest.hex())
            elif not is_good and not self._is_loose(digest):
                self._stats.damaged[digest.hex()] = "its packed copy is damaged, and there is no other"
                reason = self._stats.damaged[digest.hex()]
                copy_damaged(self._engine, digest.hex(), reason, Quarantine(self._layout))
            elif not is_good:
                self._stats.rescued.append(digest.hex())
        good = answers.count(True)
        self._stats.objects += good
        self._progress.advance(len(digests))
        return answers

    def _write_again(self, digest: bytes) -> bool:
        """Write an object to a plain pack, if only a copy that snapshots hold is good. Return whether it is."""
        parts = self._packed.frames(digest) if self._packed.has_hash(digest) else None
        if parts is None:
            return False
        with self._packed.writer(durability=Durability.FULL) as writer:
            writer.add_parts(parts, Encoding(CompressMode.AUTO, self._config.codec))
            writer.commit()
        return True

    def _is_loose(self, digest: bytes) -> bool:
        return self._engine.loose.check_copies((digest,), Trust.VERIFY, Durability.FULL) == [Copy.GOOD]

    def _row(self, record: Record) -> Row:
        self._stats.size += record.size
        return row_of(record, record.pack_id)
