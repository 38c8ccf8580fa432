"""Inserting loose objects: the steps from bytes to a file under its name."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import NamedTuple

from rsdos.codecs.checksum import crc32
from rsdos.codecs.workers import Threads
from rsdos.errors import Busy
from rsdos.hashing import HashType
from rsdos.model import FRAME_SIZE, BytesLike, Codec, Durability, RecordFlag, Source, Stored
from rsdos.storage import posix
from rsdos.stores import order
from rsdos.stores.encoding import Encoding
from rsdos.stores.loose.directories import LooseDirectories
from rsdos.stores.loose.file import encode_trailer
from rsdos.stores.loose.paths import LooseNames
from rsdos.stores.loose.sandbox import Sandbox, SandboxFile, WriterDirectory
from rsdos.stores.order import FileId
from rsdos.streams.sources import Frames, take

_GROUP = 64 if sys.platform == "darwin" else 128
"""Objects that are written, then synced, then published together: as many descriptors are open meanwhile.

macOS allows 256 by default, Linux 1,024. Twice as many take a tenth less time on ext4.
"""

_GROUP_BYTES = 8 << 20

SYNCS = 32
"""Threads that sync together: the flushes of as many become one.

Of 2,560 files of 1 KB on ext4, one takes 1,400 us by one thread, 240 by 8 and 160 by 32 (docs/adr/0006).
"""


class LeantOn(NamedTuple):
    """The copy that an insert leans on: a loose file, its own or a duplicate's; or, without a path, a packed one."""

    path: str = ""
    file: FileId = FileId(0, 0)


class Looks(NamedTuple):
    """What an insert asks of the stores."""

    known: Callable[[Sequence[bytes]], Sequence[LeantOn | None]]
    """The good copies that there are of some objects already, made durable if need be."""
    still_there: Callable[[Mapping[bytes, LeantOn]], Collection[bytes]]
    """Of which objects the copy that is leant on is there now."""
    is_elsewhere: Callable[[bytes], bool]
    """Whether the other store may have a copy, good or not."""
    refuse_another: Callable[[], None]
    """Raises when another container has the path of this one: no lock prevents it, and nobody would find the file."""


@dataclass(frozen=True, slots=True)
class _Unpublished:
    """A whole object in the sandbox, not yet under its name."""

    file: SandboxFile
    digest: bytes
    target: str


class _Bulk:
    """What one call of `LooseInsert.insert_many` has under way."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self.directories: set[str] = set()
        """Those with new names in them, to be synced."""
        self.leant_on: dict[bytes, LeantOn] = {}
        """The copies that have not had their last look."""
        self.payloads: dict[bytes, bytes] = {}
        """What is stored anew if it is gone then."""
        self.size = 0
        self.large: _Unpublished | None = None
        """The same, of an object of more than a frame, whether it was published or not."""

    def lean(self, digest: bytes, copy: LeantOn, data: bytes | None) -> None:
        """Remember what an object leans on until the last look; its bytes, unless they are in `large`."""
        self.leant_on[digest] = copy
        if data is not None:
            self.payloads[digest] = data
            self.size += len(data)


class LooseInsert:
    """Stores objects in files of their own. Any number of threads and processes.

    The steps are numbered as in the code, each with a crash test:
    1. look for a good copy, here and in the other store; when there is one, make sure that it is durable, and go to 6;
    2. write a file in the sandbox; 3. sync it; 4. rename it to its place; 5. sync the directory it is in;
    6. look whether the copy that is leant on is still there, its own file or another: when it is not, begin again;
    7. only now return the key. Of many objects, step 2 to 4 are done in groups, and 5 and 6 once for all, of the last
    8 MiB of them; before that, 6 comes whenever so much was gathered. Under relaxed durability 4 takes the place of 6
    for a file of its own: nothing comes behind it that takes time.
    """

    def __init__(
        self,
        hash_type: HashType,
        names: LooseNames,
        directories: LooseDirectories,
        sandbox: Sandbox,
        encoding: Encoding,
        durability: Durability,
        looks: Looks,
    ) -> None:
        self._hash = hash_type
        self._names = names
        self._directories = directories
        self._sandbox = sandbox
        self._encoding = encoding
        self._is_raw = encoding.is_raw
        self._full = durability is Durability.FULL
        self._known, self._still_there, self._is_elsewhere, self._refuse_another = looks
        self._raw_path = names.raw_path
        self._seen = directories.seen

    def insert(self, source: Source) -> str:
        """`insert_many` of one object; of at most a frame by a shorter way where there is no copy to look at.

        Most of what is inserted is small: this is the hot path, and counts calls.
        """
        data = source if type(source) is bytes and len(source) <= FRAME_SIZE else take(source)
        if not self._is_raw or not isinstance(data, bytes):
            return self.insert_many((data,))[0]
        digest = self._hash.digest_of(data)
        key = digest.hex()
        target = self._raw_path(key)
        # 1. Look for a copy. One in a pack is looked at the longer way, and whatever is odd or gone by the end.
        claim = self._sandbox.current
        if os.access(target, os.F_OK):
            is_there = self._lean_on(data, target)
        elif self._is_elsewhere(digest):
            is_there = False
        elif claim is None or claim.is_shared:
            is_there = self._place_first(data, target)
        else:
            is_there = self._place_next(data, target, claim)
        return key if is_there else self.insert_many((data,))[0]

    def _lean_on(self, data: bytes, target: str) -> bool:
        """Step 1, 5 and 6 for one object that has a file; returns whether that is good, and was there to the end."""
        directory = target[: target.rindex("/")]
        if directory not in self._seen:
            self._directories.ensure(directory)
        try:
            file = posix.open_for_reading(target)
        except OSError:
            return False
        with file as fd:
            try:
                if posix.read_at(fd, 0, len(data) + 1) != data:
                    return False
            except OSError:
                return False
            if self._full:
                # Its writer may not have synced it, or not mean to.
                try:
                    posix.sync_file(fd)
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    return self._place_first(data, target)  # Another sync of this file would not be believed.
                self._directories.sync_one(directory)
            self._refuse_another()
            return order.is_still_there(FileId.of(os.fstat(fd)), FileId.at(target))

    def _place_first(self, data: bytes, target: str) -> bool:
        """Step 2 to 6 for one object; returns whether the file was there at the last look."""
        file = self._sandbox.first_file()
        try:
            # 2. Write a file in the sandbox.
            file.write_one(data)
            return self._publish_one(file, target)
        finally:
            file.close()

    def _place_next(self, data: bytes, target: str, claim: WriterDirectory) -> bool:  # noqa: PLR0912  each call counts
        """`_place_first` for a later one, with nothing made and dropped for it: 3 us of 27 on tmpfs.

        False also where a directory has gone.
        """
        own = claim.directory
        if own.fd < 0:  # Of a parent, or of a container that is garbage and works on all the same.
            return False
        name = self._sandbox.next_name()
        directory = target[: target.rindex("/")]
        is_moved = False
        try:
            for fd in posix.opening_new_by(own.opener, name):
                try:
                    # 2. Write a file in the sandbox.
                    posix.write_at(fd, 0, data)
                    if self._full:
                        # 3. Sync the file.
                        posix.sync_file(fd)
                    if directory not in self._seen:
                        self._directories.ensure(directory)
                    # 4. Rename it to its place.
                    if (own_fd := own.fd) < 0:
                        own.refuse_closed(own.path)
                    os.rename(name, target, src_dir_fd=own_fd)
                    is_moved = True
                    if self._full:
                        return self._settle_one(fd, directory, target)
                    self._refuse_another()
                    return True
                finally:
                    try:
                        if not is_moved and own.fd >= 0:
                            posix.remove(name, own.fd)
                    finally:
                        os.close(fd)
        except FileNotFoundError:
            if is_moved:
                raise
        except OSError as error:
            if error.filename == name:
                error.filename = f"{own.path}/{name}"
            raise
        return False

    def insert_many(self, sources: Iterable[Source | Frames]) -> list[str]:
        """Store each object in a file of its own; returns their keys in the order given, once all are durable.

        Files are written, then synced, then published 128 at a time; at the end each directory is synced once. When
        a source fails, what was published stays, as safe as a relaxed insert. Memory: 8 MiB of objects at a time, or
        three frames of one that is larger.
        """
        with Threads(SYNCS) as threads:
            bulk = _Bulk(threads)
            try:
                keys = self._insert_all(sources, bulk)
                self._settle(bulk)
            finally:
                self._let_go(bulk)
        return keys

    def _settle(self, bulk: _Bulk) -> None:
        """Step 5 and 6, until nothing is gone. Raises `Busy` when it always is."""
        lost: list[bytes] = []
        for _ in range(order.MOST_ROUNDS):
            lost = []
            for step in order.SETTLE_ORDER:
                if step is order.Step.SYNC:
                    self._sync(bulk)
                elif step is order.Step.LOOK:
                    lost = self._lost(bulk)
                else:
                    # The others are looked for once more: what is stored now takes time.
                    payloads, leant_on = bulk.payloads, bulk.leant_on
                    self._store_anew(lost, bulk)
                    for digest in set(leant_on).difference(lost) if lost else ():
                        bulk.lean(digest, leant_on[digest], payloads.get(digest))
            if not lost:
                return
        raise Busy(self._names.path(lost[0], Codec.RAW), "others, which delete it whenever it was inserted")

    def _sync(self, bulk: _Bulk) -> None:
        if self._full and bulk.directories:
            # 5. Sync the directories.
            self._directories.sync(bulk.directories, bulk.threads)
            bulk.directories = set()
        self._refuse_another()

    def _lost(self, bulk: _Bulk) -> list[bytes]:
        """Step 6: the objects of which the copy that is leant on is gone."""
        there = self._still_there(bulk.leant_on) if bulk.leant_on else ()
        return order.lost(bulk.leant_on, there)

    def _store_anew(self, lost: Sequence[bytes], bulk: _Bulk) -> None:
        """Step 1 to 4 again for some objects; the others are forgotten."""
        payloads, large = bulk.payloads, bulk.large
        bulk.leant_on, bulk.payloads, bulk.size = {}, {}, 0
        if large and large.digest in lost:
            self._publish_large(large, bulk)
        for at in range(0, len(lost), _GROUP):
            self._insert_group([payloads[digest] for digest in lost[at : at + _GROUP] if digest in payloads], bulk)

    def _settle_early(self, bulk: _Bulk) -> None:
        """Step 6 on the way: nothing more is kept than a group's worth."""
        lost = self._lost(bulk)
        if bulk.large and bulk.large.digest not in lost:
            self._let_go(bulk)
        self._store_anew(lost, bulk)

    def _let_go(self, bulk: _Bulk) -> None:
        large, bulk.large = bulk.large, None
        if large:
            large.file.close()

    def _insert_all(self, sources: Iterable[Source | Frames], bulk: _Bulk) -> list[str]:
        keys: list[str] = []
        group: list[bytes] = []
        size = 0
        for source in sources:
            data = source if isinstance(source, Frames) else take(source)
            if isinstance(data, bytes):
                group.append(data)
                size += len(data)
                if size >= _GROUP_BYTES or len(group) >= _GROUP:
                    keys += self._insert_group(group, bulk)
                    group, size = [], 0
            else:
                with data:
                    keys += self._insert_group(group, bulk)
                    group, size = [], 0
                    keys.append(self._insert_frames(data, bulk))
        return keys + self._insert_group(group, bulk)

    def _insert_group(self, payloads: Sequence[bytes], bulk: _Bulk) -> list[str]:
        """Step 1 to 4 for some objects."""
        if not payloads:
            return []
        digests = self._hash.spelled_by(self._hash.keys_of(payloads))
        # 1. Look for a good copy.
        known = self._known(digests)
        fresh: dict[bytes, bytes] = {}
        for digest, data, copy in zip(digests, payloads, known, strict=True):
            if copy is None:
                fresh[digest] = data
            else:
                bulk.lean(digest, copy, data)
        files: list[_Unpublished] = []
        try:
            stored, codecs = self._encoding.encode_many(list(fresh.values()))
            for (digest, data), form, codec in zip(fresh.items(), stored, codecs, strict=True):
                # 2. Write a file in the sandbox.
                file = self._new_file(digest, Codec(codec))
                files.append(file)
                file.file.write((form,))
                if codec != Codec.RAW:
                    trailer = Stored(Codec(codec), RecordFlag.NONE, len(form), len(data))
                    file.file.write((encode_trailer(trailer, crc32(form)),))
                if self._full:
                    posix.begin_write_out(file.file.fd)
            self._publish(files, bulk, fresh)
        finally:
            for unpublished in files:
                unpublished.file.close()
        if bulk.size > _GROUP_BYTES:
            self._settle_early(bulk)
        return digests.keys

    def _insert_frames(self, source: Frames, bulk: _Bulk) -> str:
        if bulk.large:
            self._settle_early(bulk)
        file = self._sandbox.new_file()
        try:
            # 2. Before 1: the digest is known only when all is written.
            written = self._encoding.write_frames(source, file, self._hash)
            stored = written.stored
            if stored.codec is Codec.RAW:
                file.rewind(stored.size)  # A raw loose file has no frame table: it is the object's bytes.
            else:
                file.write([encode_trailer(stored, written.crc)])
            file.finish()
        except BaseException:
            file.close()
            raise
        large = _Unpublished(file, written.digest, self._names.path(written.digest, stored.codec))
        self._publish_large(large, bulk)
        return written.digest.hex()

    def _publish_large(self, large: _Unpublished, bulk: _Bulk) -> None:
        """Step 1, and 3 and 4 where there is no copy. The file stays open until the last look."""
        bulk.large = large
        (copy,) = self._known([large.digest])
        if copy is not None:
            bulk.lean(large.digest, copy, None)
            return
        if large.file.is_moved:
            # It was published, and deleted since: its bytes are where the descriptor leads to.
            with closing(large.file):
                bulk.large = large = _Unpublished(self._copied(large.file), large.digest, large.target)
        self._publish([large], bulk, {})

    def _copied(self, file: SandboxFile) -> SandboxFile:
        copy = self._sandbox.new_file()
        try:
            for at in range(0, os.fstat(file.fd).st_size, FRAME_SIZE):
                copy.write([file.read(at, FRAME_SIZE)])
        except BaseException:
            copy.close()
            raise
        return copy

    def _new_file(self, digest: bytes, codec: Codec) -> _Unpublished:
        return _Unpublished(self._sandbox.new_file(), digest, self._names.path(digest, codec))

    def _publish(self, files: Sequence[_Unpublished], bulk: _Bulk, payloads: Mapping[bytes, bytes]) -> None:
        if self._full:
            # 3. Sync the files.
            bulk.threads.each(posix.sync_file, [unpublished.file.fd for unpublished in files])
        for unpublished in files:
            file = unpublished.file
            # 4. Rename to its place; what stands there is a damaged copy.
            bulk.directories.add(self._move(file, unpublished.target))
            if self._full:
                copy = LeantOn(unpublished.target, FileId.of(os.fstat(file.fd)))
                bulk.lean(unpublished.digest, copy, payloads.get(unpublished.digest))

    def _move(self, file: SandboxFile, target: str) -> str:
        """Rename to its place; returns the directory of that."""
        directory = target[: target.rindex("/")]
        if directory not in self._seen:
            self._directories.ensure(directory)
        try:
            file.move(target)
        except FileNotFoundError:
            self._move_again(file, target, directory)
        return directory

    def _move_again(self, file: SandboxFile, target: str, directory: str) -> None:
        for _ in range(order.MOST_ROUNDS):
            self._directories.make_again(directory)
            with suppress(FileNotFoundError):
                file.move(target)
                return
        file.move(target)

    def place(self, digest: bytes, parts: Iterable[BytesLike]) -> str:
        """Write an object, of which the parts are known to be good, to a raw file; returns its path."""
        path = self._names.path(digest, Codec.RAW)
        file = self._sandbox.new_file()
        try:
            for part in parts:
                file.write([part])
            for _ in range(order.MOST_ROUNDS):
                if self._publish_one(file, path):
                    return path
                with closing(file):
                    file = self._copied(file)
        finally:
            file.close()
        raise Busy(path, "others, which delete it whenever it was inserted")

    def _publish_one(self, file: SandboxFile, target: str) -> bool:
        """Step 3 to 6; returns whether the file was there at the last look."""
        if self._full:
            # 3. Sync the file.
            posix.sync_file(file.fd)
        # 4. Rename it to its place.
        directory = self._move(file, target)
        if not self._full:
            self._refuse_another()
            return True
        return self._settle_one(file.fd, directory, target)

    def _settle_one(self, fd: int, directory: str, target: str) -> bool:
        """Step 5 and 6; returns whether the file was there at the last look."""
        # 5. Sync the directory.
        self._directories.sync_one(directory)
        self._refuse_another()
        # 6. A delete may have run since.
        return order.is_still_there(FileId.of(os.fstat(fd)), FileId.at(target))
