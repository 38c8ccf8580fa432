"""Inserting loose objects: the steps from bytes to a file under its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rsdos import fsio
from rsdos.codecs import crc32
from rsdos.hashing import HashType
from rsdos.model import BytesLike, Codec, Durability, RecordFlag, Source, Stored
from rsdos.stores.encoding import Encoding
from rsdos.stores.loose_directories import LooseDirectories
from rsdos.stores.loose_file import encode_trailer
from rsdos.stores.loose_names import LooseNames
from rsdos.stores.sandbox import Sandbox, SandboxFile
from rsdos.stores.threads import Threads
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


class _Bulk:
    """What one call of `LooseInsert.insert_many` has under way."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self.directories: set[str] = set()
        """Those with new names in them, to be synced."""


Known = Callable[[Sequence[bytes]], Sequence[bool]]
"""Of which objects there is a good copy already, made durable if need be."""


@dataclass(frozen=True, slots=True)
class _Unpublished:
    """A whole object in the sandbox, not yet under its name."""

    file: SandboxFile
    target: str


class LooseInsert:
    """Stores objects in files of their own. Any number of threads and processes.

    The steps are numbered as in the code, each with a crash test:
    1. look for a good copy, here and in the other store; when there is one, make sure that it is durable: done;
    2. write a file in the sandbox; 3. sync it; 4. rename it to its place; 5. sync the directory it is in;
    6. only now return the key. Of many objects, step 2 to 4 are done in groups, and step 5 once for all.
    """

    def __init__(
        self,
        hash_type: HashType,
        names: LooseNames,
        directories: LooseDirectories,
        sandbox: Sandbox,
        encoding: Encoding,
        durability: Durability,
        known: Known,
        is_elsewhere: Callable[[bytes], bool],
    ) -> None:
        """``is_elsewhere``: whether the other store may have a copy, good or not."""
        self._hash = hash_type
        self._names = names
        self._directories = directories
        self._sandbox = sandbox
        self._encoding = encoding
        self._is_raw = encoding.is_raw
        self._full = durability is Durability.FULL
        self._known = known
        self._is_elsewhere = is_elsewhere
        self._single = Threads(1)

    def insert_bytes(self, data: bytes) -> str:
        """`insert_many` of one object of at most a frame: five system calls where there is no copy to look at."""
        if not self._is_raw:
            return self.insert_many((data,))[0]
        digest = self._hash.digest_of(data)
        key = digest.hex()
        target = self._names.raw_path(key)
        # 1. Look for a copy; whether it is good, and durable, is asked the longer way.
        if os.access(target, os.F_OK) or self._is_elsewhere(digest):
            return self.insert_many((data,))[0]
        file = self._sandbox.new_file()
        try:
            # 2. Write a file in the sandbox.
            file.write((data,))
            self._publish_one(file, target)
        finally:
            file.close()
        return key

    def insert_many(self, sources: Iterable[Source]) -> list[str]:
        """Store each object in a file of its own; returns their keys in the order given, once all are durable.

        Files are written, then synced, then published 128 at a time; at the end each directory is synced once. When
        a source fails, what was published stays, as safe as a relaxed insert. Memory: 8 MiB of objects at a time, or
        three frames of one that is larger.
        """
        with Threads(SYNCS) as threads:
            bulk = _Bulk(threads)
            keys = self._insert_all(sources, bulk)
            if self._full:
                # 5. Sync the directories.
                self._directories.sync(bulk.directories, threads)
        return keys

    def _insert_all(self, sources: Iterable[Source], bulk: _Bulk) -> list[str]:
        keys: list[str] = []
        group: list[bytes] = []
        size = 0
        for source in sources:
            data = take(source)
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
        digests = self._hash.spelled_by(self._hash.keys_of(payloads))
        # 1. Look for a good copy.
        known = self._known(digests)
        fresh = {digest: data for digest, data, hit in zip(digests, payloads, known, strict=True) if not hit}
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
                    fsio.begin_write_out(file.file.fd)
            self._publish(files, bulk)
        finally:
            for unpublished in files:
                unpublished.file.close()
        return digests.keys

    def _insert_frames(self, source: Frames, bulk: _Bulk) -> str:
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
            if not self._known([written.digest])[0]:
                path = self._names.path(written.digest, stored.codec)
                self._publish([_Unpublished(file, path)], bulk)
        finally:
            file.close()
        return written.digest.hex()

    def _new_file(self, digest: bytes, codec: Codec) -> _Unpublished:
        return _Unpublished(self._sandbox.new_file(), self._names.path(digest, codec))

    def _publish(self, files: Sequence[_Unpublished], bulk: _Bulk) -> None:
        if self._full:
            # 3. Sync the files.
            bulk.threads.each(fsio.sync_file, [unpublished.file.fd for unpublished in files])
        for unpublished in files:
            # 4. Rename to its place; what stands there is a damaged copy.
            bulk.directories.add(self._move(unpublished.file, unpublished.target))

    def _move(self, file: SandboxFile, target: str) -> str:
        """Rename to its place; returns the directory of that."""
        directory = target[: target.rindex("/")]
        self._directories.ensure(directory)
        try:
            file.move(target)
        except FileNotFoundError:
            self._directories.make_again(directory)
            file.move(target)
        return directory

    def place(self, digest: bytes, parts: Iterable[BytesLike]) -> str:
        """Write an object, of which the parts are known to be good, to a raw file; returns its path."""
        path = self._names.path(digest, Codec.RAW)
        file = self._sandbox.new_file()
        try:
            for part in parts:
                file.write([part])
            self._publish_one(file, path)
        finally:
            file.close()
        return path

    def _publish_one(self, file: SandboxFile, target: str) -> None:
        if self._full:
            # 3. Sync the file.
            fsio.sync_file(file.fd)
        # 4. Rename it to its place.
        directory = self._move(file, target)
        if self._full:
            # 5. Sync the directory.
            self._directories.sync({directory}, self._single)
