"""Inserting many loose objects: the steps from bytes to files with their names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from rsdos.codecs.checksum import crc32
from rsdos.codecs.workers import Threads
from rsdos.errors import Busy
from rsdos.hashing import HashType
from rsdos.model import Codec, Copy, RecordFlag, Source, Stored, Trust
from rsdos.storage import posix
from rsdos.stores import order
from rsdos.stores.base import KnownCheck
from rsdos.stores.encoding import Encoding, Framing
from rsdos.stores.loose.file import encode_trailer
from rsdos.stores.loose.publish import LoosePublisher
from rsdos.stores.order import FileId
from rsdos.stores.sandbox import SandboxFile
from rsdos.streams.sources import Frames, take

_GROUP = 64 if sys.platform == "darwin" else 128
"""Objects that are written, then synced, then published together. So many descriptors are open at a time.

macOS allows 256 by default, Linux 1,024. With twice as many, inserts take a tenth less time on ext4.
"""

_GROUP_BYTES = 8 << 20

SYNCS = 32
"""Threads that sync at the same time: their flushes of the disk become one.

Of 2,560 files of 1 KB on ext4, each takes 1,400 us with one thread, 240 with 8 and 160 with 32 (docs/adr/0006).
"""


class LeantOn(NamedTuple):
    """The copy that an insert relies on: a loose file, its own or a duplicate's; or, without a path, a packed one."""

    path: str = ""
    file: FileId = FileId(0, 0)

    def is_there(self) -> bool:
        """Return whether a loose copy still has its name."""
        return order.is_still_there(self.file, FileId.at(self.path))


class _Unpublished(NamedTuple):
    """A complete object in the sandbox, which does not have its name yet."""

    file: SandboxFile
    digest: bytes
    target: str


class _Bulk:
    """The work in progress of one call of `LooseInsert.insert_many`."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self.directories: set[str] = set()
        """The directories with new names, which must be synced."""
        self.leant_on: dict[bytes, LeantOn] = {}
        """The copies that have not had their last lookup."""
        self.payloads: dict[bytes, bytes] = {}
        """The bytes to store again if a copy is gone at the last lookup."""
        self.size = 0
        self.large: _Unpublished | None = None
        """The same for an object of more than a frame, whether it is published or not."""

    def lean(self, digest: bytes, copy: LeantOn, data: bytes | None) -> None:
        """Keep the copy that an object relies on until the last lookup; and its bytes, unless they are in `large`."""
        self.leant_on[digest] = copy
        if data is not None:
            self.payloads[digest] = data
            self.size += len(data)


class LooseInsert:
    """Stores objects in files of their own. Any number of threads and processes.

    The steps are numbered as in the code, each with a crash test:

    1. Look up a good copy, here and in the packs. If there is one, make sure that it is durable, and go to 6.
    2. Write a file in the sandbox.
    3. Sync the file.
    4. Rename the file to its place.
    5. Sync the directory of the file.
    6. Look up once more the copy that the insert relies on, its own file or another. If it is gone, begin again.
    7. Only now return the key.

    For many objects, steps 2 to 4 are done in groups. Steps 5 and 6 are done once for all objects at the end; step 6
    also whenever 8 MiB of objects wait for it. Under relaxed durability an insert does not look up its own file again:
    no step that takes time follows the rename.
    """

    def __init__(
        self,
        hash_type: HashType,
        publisher: LoosePublisher,
        encoding: Encoding,
        good_files: Callable[[Sequence[bytes]], Sequence[LeantOn | None]],
        known_packed: KnownCheck,
    ) -> None:
        """``good_files`` returns the good loose files of objects, and makes them durable if necessary.

        ``known_packed`` says which objects have a good packed copy.
        """
        self._hash = hash_type
        self._publisher = publisher
        self._names = publisher.names
        self._directories = publisher.directories
        self._sandbox = publisher.sandbox
        self._is_durable = publisher.is_durable
        self._encoding = encoding
        self._good_files = good_files
        self._known_packed = known_packed

    def insert_many(self, sources: Iterable[Source | Frames]) -> list[str]:
        """Store each object in a file of its own. Return their keys in the order given, once all are durable.

        Files are written, then synced, then published, 128 at a time; at the end each directory is synced once. If a
        source fails, published objects stay, as safe as those of a relaxed insert. Memory: 8 MiB of objects at a time,
        or three frames of one that is larger. Raise `Busy` if others delete an object each time it was inserted.
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
        """Do steps 5 and 6 until no copy is gone. Raise `Busy` if one always is."""
        lost: list[bytes] = []
        for _ in range(order.MOST_ROUNDS):
            lost = []
            for step in order.SETTLE_ORDER:
                if step is order.Step.SYNC:
                    self._sync(bulk)
                elif step is order.Step.LOOK:
                    lost = self._lost(bulk)
                else:
                    # The other copies are looked up once more, because storing these objects takes time.
                    payloads, leant_on = bulk.payloads, bulk.leant_on
                    self._store_anew(lost, bulk)
                    for digest in set(leant_on).difference(lost) if lost else ():
                        bulk.lean(digest, leant_on[digest], payloads.get(digest))
            if not lost:
                return
        raise Busy(self._names.path(lost[0], Codec.RAW), "others, which delete it whenever it was inserted")

    def _sync(self, bulk: _Bulk) -> None:
        if self._is_durable and bulk.directories:
            # 5. Sync the directories.
            self._directories.sync(bulk.directories, bulk.threads)
            bulk.directories = set()
        self._publisher.refuse_another()

    def _lost(self, bulk: _Bulk) -> list[bytes]:
        """Do step 6: return the objects whose copy is gone."""
        return order.lost(bulk.leant_on, self._still_there(bulk.leant_on)) if bulk.leant_on else []

    def _known(self, digests: Sequence[bytes]) -> list[LeantOn | None]:
        """Do step 1: return the good copy of each object, or None. Make copies durable if necessary."""
        answers = list(self._good_files(digests))
        rest = [at for at, copy in enumerate(answers) if copy is None]
        packed = self._known_packed([digests[at] for at in rest], Trust.VERIFY) if rest else ()
        for at, copy in zip(rest, packed, strict=True):
            if copy is Copy.GOOD:
                answers[at] = LeantOn()
        return answers

    def _still_there(self, copies: Mapping[bytes, LeantOn]) -> set[bytes]:
        """Return the objects whose copy still exists, as durable as before."""
        there = {digest for digest, copy in copies.items() if copy.path and copy.is_there()}
        packed = [digest for digest, copy in copies.items() if not copy.path]
        answers = self._known_packed(packed, Trust.INDEX) if packed else ()
        there.update(digest for digest, copy in zip(packed, answers, strict=True) if copy is Copy.GOOD)
        return there

    def _store_anew(self, lost: Sequence[bytes], bulk: _Bulk) -> None:
        """Do steps 1 to 4 again for some objects, and forget the others."""
        payloads, large = bulk.payloads, bulk.large
        bulk.leant_on, bulk.payloads, bulk.size = {}, {}, 0
        if large and large.digest in lost:
            self._publish_large(large, bulk)
        for at in range(0, len(lost), _GROUP):
            self._insert_group([payloads[digest] for digest in lost[at : at + _GROUP] if digest in payloads], bulk)

    def _settle_early(self, bulk: _Bulk) -> None:
        """Do step 6 before the end, so that the bytes of no more than one group are kept."""
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
        """Do steps 1 to 4 for some objects. Return their keys."""
        if not payloads:
            return []
        digests = self._hash.spelled_by(self._hash.keys_of(payloads))
        # 1. Look up a good copy.
        known = self._known(digests)
        fresh: dict[bytes, bytes] = {}
        for digest, data, copy in zip(digests, payloads, known, strict=True):
            if copy is None:
                fresh[digest] = data
            else:
                bulk.lean(digest, copy, data)
        files: list[_Unpublished] = []
        try:
            forms = self._encoding.encode_many(list(fresh.values()))
            for (digest, data), form, codec in zip(fresh.items(), forms.stored, forms.codecs, strict=True):
                # 2. Write a file in the sandbox.
                file = self._new_file(digest, Codec(codec))
                files.append(file)
                file.file.write((form,))
                if codec != Codec.RAW:
                    trailer = Stored(Codec(codec), RecordFlag.NONE, len(form), len(data))
                    file.file.write((encode_trailer(trailer, crc32(form)),))
                if self._is_durable:
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
            # 2. Before 1, because the digest is known only when the whole object is written.
            written = self._encoding.write_frames(source, file, self._hash, Framing.UNIFORM)
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
        """Do step 1 and, if there is no copy, steps 3 and 4. The file stays open until the last lookup."""
        bulk.large = large
        (copy,) = self._known([large.digest])
        if copy is not None:
            bulk.lean(large.digest, copy, None)
            return
        if large.file.is_moved:
            # The file was published, and deleted since: the open descriptor still has its bytes.
            with closing(large.file):
                bulk.large = large = _Unpublished(self._publisher.copied(large.file), large.digest, large.target)
        self._publish([large], bulk, {})

    def _new_file(self, digest: bytes, codec: Codec) -> _Unpublished:
        return _Unpublished(self._sandbox.new_file(), digest, self._names.path(digest, codec))

    def _publish(self, files: Sequence[_Unpublished], bulk: _Bulk, payloads: Mapping[bytes, bytes]) -> None:
        if self._is_durable:
            # 3. Sync the files.
            bulk.threads.each(posix.sync_file, [unpublished.file.fd for unpublished in files])
        for unpublished in files:
            file = unpublished.file
            # 4. Rename the files to their places. A file that is there already is a damaged copy.
            bulk.directories.add(self._publisher.move(file, unpublished.target))
            if self._is_durable:
                copy = LeantOn(unpublished.target, FileId.of(os.fstat(file.fd)))
                bulk.lean(unpublished.digest, copy, payloads.get(unpublished.digest))
