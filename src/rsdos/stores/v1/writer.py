"""Appending objects to the packs of container version 1: the commit protocol, its steps numbered as in version 2.

1. lock a pack: ours by ``flock``, and for disk-objectstore by its ``packs/<id>.lock``; a pack that either is taken is
   passed over, never taken from its holder;
2. only now look how long it is: what is appended goes behind that, whoever wrote it;
3. look for duplicates; 4. write; sync the pack, and ``packs/`` if it is new;
5. see that nobody else has appended meanwhile (disk-objectstore deletes a lock that it was refused), and, within the
   transaction of 6, that no duplicate was deleted meanwhile;
6. one transaction adds the rows, ``synchronous=FULL``; 7. only now are the keys returned.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, chain, count
from types import TracebackType
from typing import Self

from rsdos.config import Config
from rsdos.errors import Busy, ContainerReplaced, WriterPoisoned, log_warning
from rsdos.hashing import spell_digests
from rsdos.layout import V1Layout
from rsdos.model import BytesLike, Codec, Durability, RecordFlag, Stored
from rsdos.storage import locks, posix
from rsdos.storage.descriptors import Working, opening
from rsdos.storage.permissions import inherit
from rsdos.stores.base import LOOKUPS
from rsdos.stores.batch import MOST_BATCH, MOST_ENTRIES, BatchWriter, KnownCheck, Large
from rsdos.stores.encoding import Encoding
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.row import Row

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


_OURS = b"rsdos\n"


class V1Pack:
    """A pack that is being appended to, under both its locks: a `rsdos.stores.encoding.Sink`."""

    def __init__(self, layout: V1Layout, pack_id: int, lock: locks.Lock, peer_lock: Working) -> None:
        self.id = pack_id
        self.path = layout.pack(pack_id)
        self._lock = lock
        self._peer_path = layout.peer_lock(pack_id)
        self._peer_lock = peer_lock
        self.is_new = not os.path.lexists(self.path)
        self.is_kept = False
        """Whether a commit may or may not have reached the disk: nothing is cut off then."""
        self._file = Working(iter(()))
        try:
            self._file.take(opening(self.path, _FLAGS, 0o666))
            # 2. Behind what is there.
            self.committed = self.position = self._highest = os.fstat(self.fd).st_size
            if not self.committed:
                inherit(self.path, self.fd)
        except BaseException:
            self._file.close()
            self._release()
            raise

    @property
    def fd(self) -> int:
        """The number of the open file, -1 once it is closed."""
        return self._file.fd

    def write(self, buffers: Sequence[BytesLike]) -> int:
        """Append; returns the offset of the first byte."""
        self._refuse_company()
        offset = self.position
        try:
            self.position += posix.write_many_at(self.fd, offset, buffers)
        except BaseException:
            self._own_part(offset, buffers)
            raise
        self._highest = max(self._highest, self.position)
        return offset

    def _own_part(self, offset: int, buffers: Sequence[BytesLike]) -> None:
        """Take what a write that failed has left behind the end for ours, to be cut off, if that is what it is."""
        with suppress(OSError):
            length = os.fstat(self.fd).st_size - offset
            if length > 0 and self.read(offset, length) == b"".join(buffers)[:length]:
                self._highest = max(self._highest, offset + length)

    def read(self, offset: int, length: int) -> bytes:
        """Read back."""
        return posix.read_at(self.fd, offset, length)

    def rewind(self, offset: int) -> None:
        """Append from ``offset`` on."""
        assert self.committed <= offset <= self.position
        self.position = offset

    def _refuse_company(self) -> None:
        self._file.refuse_closed(self.path)
        if os.fstat(self.fd).st_size != self._highest:
            raise Busy(self.path)

    def finish(self) -> None:
        """Cut off what a rewind left behind the end, if nobody else has appended there."""
        # 5. Somebody who took no notice of the locks may have written behind, or into, what is to be committed.
        self._refuse_company()
        if self._highest > self.position:
            os.ftruncate(self.fd, self.position)
            self._highest = self.position

    def close(self) -> None:
        """Give back the space of what was not committed, and both locks. In a forked child nothing."""
        try:
            with suppress(FileNotFoundError):  # Of a file that has no name any more some of FUSE tell nothing.
                if self.fd >= 0 and os.fstat(self.fd).st_size == self._highest and not self.is_kept:
                    if self._highest > self.committed:
                        os.ftruncate(self.fd, self.committed)
                    if self.is_new and not self.committed:
                        posix.remove(self.path)
        finally:
            self._file.close()
            self._release()

    def _release(self) -> None:
        try:
            _let_in_peers(self._peer_path, self._peer_lock)
        finally:
            self._lock.release()


def _lock_out_peers(path: str, own: str) -> Working:
    """Make the lock file of disk-objectstore; raises FileExistsError when it holds it.

    Its own are empty. One that says that we made it was left by one of us that died: the caller has our own lock, the
    file ``own``. That gets a second name, so that what says so is there from the first moment on, power loss or not.
    """
    file = Working(opening(own, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
    try:
        if os.fstat(file.fd).st_size != len(_OURS):
            posix.write_at(file.fd, 0, _OURS)
            posix.sync_file(file.fd)
        try:
            os.link(own, path)
        except FileExistsError:
            if not is_ours(path):
                raise
            posix.remove(path)
            os.link(own, path)
    except FileExistsError:
        file.close()
        raise
    except FileNotFoundError:
        file.close()
        if not os.path.lexists(own):
            raise ContainerReplaced(own, "it was removed or replaced while it was held") from None
        raise
    except BaseException:
        _let_in_peers(path, file)
        raise
    return file


def is_ours(path: str) -> bool:
    """Whether one of us has made a lock file of disk-objectstore's kind. One that has just gone was not ours."""
    try:
        return posix.read_file(path, len(_OURS)) == _OURS
    except OSError:
        return False


def _let_in_peers(path: str, file: Working) -> None:
    """Remove the lock file that `_lock_out_peers` made: another may stand there, if disk-objectstore deleted ours."""
    try:
        if file.fd >= 0 and os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(file.fd)):
            posix.remove(path)
    except FileNotFoundError:
        pass
    finally:
        file.close()


def fresh_ids(layout: V1Layout, database: Database) -> Iterator[int]:
    """Ids that no pack has had: lock files stay, and tell of packs that are gone."""
    return count(max([-1, *layout.pack_ids(), *layout.locked_ids(), *database.stats()]) + 1)


def try_pack(layout: V1Layout, pack_id: int) -> V1Pack | None:
    """A pack under both its locks, or None when somebody else has one of them. Made if it is not there.

    None too where a stranger's directory has its name.
    """
    lock = locks.try_acquire(layout.pack_lock(pack_id))
    if lock is None:
        return None
    peer_lock: Working | None = None
    try:
        peer_lock = _lock_out_peers(layout.peer_lock(pack_id), layout.pack_lock(pack_id))
        return V1Pack(layout, pack_id, lock, peer_lock)
    except FileExistsError:
        lock.release()
        return None
    except BaseException as error:
        if peer_lock:
            _let_in_peers(layout.peer_lock(pack_id), peer_lock)
        lock.release()
        if isinstance(error, IsADirectoryError):
            return None
        raise


class V1BatchWriter(BatchWriter):
    """A writer of container version 1."""

    def __init__(
        self,
        layout: V1Layout,
        config: Config,
        database: Database,
        durability: Durability,
        look: KnownCheck,
        make_durable: Callable[[Iterable[Row]], bool],
    ) -> None:
        """``make_durable`` syncs the packs of some rows, and says whether the rows are to be looked up anew."""
        super().__init__(config.hash, look)
        self._make_durable = make_durable
        self._layout = layout
        self._config = config
        self._database = database
        self._durability = durability
        self._pack: V1Pack | None = None
        self._failed = False
        self._rows: list[Row] = []

    def __enter__(self) -> Self:
        return self

    def _open(self) -> V1Pack:
        if self._failed:
            raise WriterPoisoned("this appender has failed before")
        if self._pack is None:
            self._layout.make(self._layout.locks)
            candidates = chain(self._layout.pack_ids(), fresh_ids(self._layout, self._database))
            self._pack = next(pack for pack in map(self._try, candidates) if pack)
        return self._pack

    def _try(self, pack_id: int) -> V1Pack | None:
        with suppress(FileNotFoundError):
            status = os.stat(self._layout.pack(pack_id), follow_symlinks=False)
            # One of two names is in a backup as well, or a copy by ``cp -al``, or is one of version 2: a migration is
            # under way.
            if status.st_size >= self._config.pack_size_target or status.st_nlink > 1:
                return None
        # 1. Lock it: for our own kind, and for disk-objectstore.
        try:
            pack = try_pack(self._layout, pack_id)
        except PermissionError as error:
            path = self._layout.pack(pack_id)
            if error.filename != path or not os.path.lexists(path) or not os.access(self._layout.packed, os.W_OK):
                raise
            log_warning("%s: cannot be written (%s): another pack is taken", path, error.strerror)
            return None
        if pack is None:
            return None
        if pack.position >= self._config.pack_size_target:
            pack.close()
            return None
        return pack

    def _absent(self, digests: Sequence[bytes]) -> list[bytes]:
        keys = list(map(bytes.hex, digests))
        there: set[str] = set()
        for _ in range(LOOKUPS):
            rows = self._database.find_many(keys)
            there = {row.key for row in rows}
            # A sync takes time, and a repack takes packs away; a clearing or a restore the index that was looked at.
            is_durable = self._durability is not Durability.FULL or not self._make_durable(rows)
            if is_durable and (not rows or self._database.is_of_now()):
                return [digest for digest in digests if digest.hex() not in there]
        # In doubt, as with `V1PackStore.check_copies`.
        self._damaged.update(digest for digest in digests if digest.hex() in there)
        return list(digests)

    @property
    def room(self) -> int:
        position = self._pack.position if self._pack else 0
        return max(self._config.pack_size_target - position, 1)

    def _append(
        self, digests: Sequence[bytes], stored: Sequence[bytes], codecs: Sequence[int], sizes: Sequence[int]
    ) -> None:
        # 4. Write.
        self._settle_large()
        self._put(digests, stored, codecs, sizes)
        self._commit_if_full()

    def _put(
        self, digests: Sequence[bytes], stored: Sequence[bytes], codecs: Sequence[int], sizes: Sequence[int]
    ) -> None:
        offset = self._open().write(stored)
        lengths = list(map(len, stored))
        offsets = list(accumulate(lengths[:-1], initial=offset))
        self._record(digests, codecs, sizes, offsets, lengths)

    def _put_large(self, large: Large) -> None:
        stored = large.stored
        self._record([large.digest], [stored.codec], [stored.size], [large.start], [stored.length])

    def _rewind(self, offset: int) -> None:
        self._open().rewind(offset)

    def add_frames(self, source: Iterator[BytesLike], encoding: Encoding) -> bytes:
        # 4. Before 3: the digest is known only when all is written.
        self._settle_large()
        pack = self._open()
        start = pack.position
        try:
            written = encoding.write_frames(source, pack, self._hash, RecordFlag.NONE)
        except BaseException:
            pack.rewind(start)
            raise
        large = Large(written.digest, start, written.stored, written.crc)
        if self.unknown([written.digest]):
            self._put_large(large)
            self._commit_if_full()
        else:
            self._remember_large(large)
        return written.digest

    def add_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> None:
        assert not stored.flags, "version 1 has no frames"
        if not self.unknown([digest]):
            return
        self._settle_large()
        pack = self._open()
        start = pack.position
        for part in parts:
            pack.write([part])
        self._put_large(Large(digest, start, stored, 0))
        self._commit_if_full()

    def _record(
        self,
        digests: Sequence[bytes],
        codecs: Sequence[int],
        sizes: Sequence[int],
        offsets: Sequence[int],
        lengths: Sequence[int],
    ) -> None:
        pack = self._open()
        keys = spell_digests(digests)
        columns = zip(keys, codecs, sizes, offsets, lengths, strict=True)
        self._rows += (
            Row(key, int(codec != Codec.RAW), size, offset, length, pack.id)
            for key, codec, size, offset, length in columns
        )
        self._batch.update(keys)

    def _commit_if_full(self) -> None:
        pack = self._open()
        full = self.room == 1 or len(self._rows) >= MOST_ENTRIES
        if full or pack.position - pack.committed >= MOST_BATCH:
            self.commit()

    def _commit(self) -> None:
        if not self._rows:
            self._settle_now()
            return
        self._commit_rows(self._open())
        self._batch.clear()
        pack = self._pack
        if pack and pack.position >= self._config.pack_size_target:
            self._pack = None
            pack.close()

    @property
    def _count(self) -> int:
        return len(self._rows)

    def _commit_rows(self, pack: V1Pack) -> None:
        synced = -1
        if not self._large:
            synced = self._sync(pack)
        elif self._durability is Durability.FULL:
            # Whether it belongs to the batch is known only in the transaction: what there is to sync by then is little.
            posix.sync_file(pack.fd)
        try:
            with self._database.writing(self._durability) as transaction:
                if duplicates := self._leant_on():
                    # 5. What was deleted since step 3 is recorded after all: nobody else writes to the index now.
                    self._settle_packed(set(self._absent(duplicates)))
                if pack.position != synced:
                    self._sync(pack)
                # 6. The rows.
                damaged = {digest.hex() for digest in self._damaged}
                pack.is_kept = True
                if transaction.insert(self._rows) < len(self._rows) and self._durability is Durability.FULL:
                    # A relaxed writer's row may have come since step 3, and a power loss take what it leads to.
                    transaction.replace(self._rows)
                else:
                    transaction.replace(row for row in self._rows if row.key in damaged)
        except OSError as error:
            # For want of room there is no commit, and what the pack has of it is the room that a delete needs.
            pack.is_kept = pack.is_kept and error.errno != errno.ENOSPC
            raise
        if pack.id not in self.pack_ids:
            self.pack_ids.append(pack.id)
        pack.committed, pack.is_new, pack.is_kept = pack.position, False, False
        self._rows.clear()
        self._damaged.clear()

    def _sync(self, pack: V1Pack) -> int:
        """See that the end of the pack is ours, and put it on stable storage; returns where it is."""
        pack.finish()
        if self._durability is Durability.FULL:
            # 4. On stable storage before the index says so: disk-objectstore leaves that to chance.
            posix.sync_file(pack.fd)
            if pack.is_new:
                posix.sync_directory(self._layout.packed)
        return pack.position

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert kind or not self._rows, "an appender's block ended without a commit"
        self._failed = kind is not None
        pack, self._pack = self._pack, None
        if pack:
            pack.close()
