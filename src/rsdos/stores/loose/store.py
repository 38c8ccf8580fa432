"""The loose store: one file per object."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from rsdos.codecs.workers import Threads
from rsdos.config import Config
from rsdos.errors import Busy, DamagedObject, DecodeError, log_warning
from rsdos.hashing import spell_digests
from rsdos.layout import Layout
from rsdos.model import BytesLike, Codec, CompressMode, Copy, Durability, ObjectMeta, Place, Trust
from rsdos.storage import posix
from rsdos.storage.base import may_be_whole
from rsdos.stores import order
from rsdos.stores.base import KnownCheck, Store, first_good
from rsdos.stores.encoding import Encoding
from rsdos.stores.loose.directories import LooseDirectories
from rsdos.stores.loose.file import LooseFile, read_small
from rsdos.stores.loose.insert import SYNCS, LeantOn, LooseInsert
from rsdos.stores.loose.paths import SUFFIXES, LooseNames, SeenFile, codecs_of
from rsdos.stores.loose.publish import LoosePublisher
from rsdos.stores.quarantine import Quarantine
from rsdos.stores.sandbox import Sandbox

if TYPE_CHECKING:
    from rsdos.stores.findings import Depth, Sample
    from rsdos.stores.loose.check import LooseCheck

_T = TypeVar("_T")


class LooseStore(Store):
    """The loose objects of a container; `LooseInsert` has the commit protocol. Any number of threads and processes."""

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        self.hash = config.hash
        self._layout = layout
        self._durability = durability
        self._codecs = codecs_of(config)
        self.is_raw = self._codecs == (Codec.RAW,)
        """Whether new files are raw: they have the bytes of the object, and nothing else."""
        self.sandbox = Sandbox(layout)
        self.names = LooseNames(layout, self.hash, self._codecs)
        self._codec = config.loose_codec
        self._directories = LooseDirectories(layout, durability)
        self.publisher = LoosePublisher(self.names, self._directories, self.sandbox, durability, layout.refuse_another)

    def close(self) -> None:
        """Remove the writer's directory in the sandbox. The next insert makes another."""
        self.sandbox.close()

    def remove_empty_directories(self) -> None:
        """See `LooseDirectories.remove_empty`."""
        self._directories.remove_empty()

    # Lookups.

    def _from_good_copy(self, digest: bytes, use: Callable[[LooseFile], _T]) -> _T | None:
        """Return what ``use`` returns for the first good file of the object; None if it has no file."""
        reason = ""
        self._layout.check_loose(self._layout.loose_directory(digest.hex()))
        for codec in self._codecs:
            try:
                result = use(LooseFile(self.names.path(digest, codec), digest, codec, self.hash))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except DamagedObject as error:
                reason = error.reason
            except DecodeError as error:
                reason = str(error)
            except OSError as error:
                if error.errno not in (errno.EIO, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.EISDIR):
                    raise
                reason = error.strerror or str(error)
            else:
                if reason:
                    log_warning("object %s: skipped a damaged loose file: %s", digest.hex(), reason)
                return result
        if reason:
            raise DamagedObject(digest.hex(), f"{reason} (loose)")
        return None

    def file(self, digest: bytes) -> LooseFile | None:
        """Return the open file of an object."""
        return self._from_good_copy(digest, lambda file: file)

    def read(self, digest: bytes) -> bytes | None:
        if self.is_raw:
            # The common case: raw, complete, and read at once. Every other case takes the longer way below.
            path = self._layout.checked_loose_file(digest.hex())
            try:
                data = read_small(path, os.open)
            except FileNotFoundError:
                return None
            except OSError:
                data = None
            if data is not None and self.hash.digest_of(data) == digest:
                return data
        return self._from_good_copy(digest, LooseFile.read)

    def raw_many(self, digests: Iterable[bytes]) -> Iterator[bytes | None]:
        """Yield the unverified bytes of each object's raw file; None if there is no such file of at most one frame.

        Three system calls for each. The caller hashes the bytes in bulk; for None or wrong bytes it calls `read`.
        Neighbours in one directory are opened by their names in it, which takes a tenth of the time.
        """
        for directory, group in groupby(map(bytes.hex, digests), self._layout.loose_directory):
            cut = self._layout.loose_prefix_len
            self._layout.check_loose(directory)
            try:
                opened = posix.open_directory(directory)
            except OSError:
                yield from (None for _ in group)
                continue
            with opened as fd:
                opener = posix.opener_in(fd)
                for key in group:
                    try:
                        yield read_small(key[cut:], opener)
                    except OSError:
                        yield None

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        file = self.file(digest)
        return None if file is None else first_good(digest, (file.frames,))

    def stream(self, digest: bytes) -> io.BufferedReader | None:
        return self._from_good_copy(digest, LooseFile.stream)

    def describe(self, digest: bytes) -> ObjectMeta | None:
        file = self.file(digest)
        if file is None:
            return None
        stored = file.stored
        return ObjectMeta(digest.hex(), Place.LOOSE, stored.size, stored.length, stored.codec)

    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        answers = [False] * len(digests)
        for at in self.names.possible(spell_digests(digests)):
            answers[at] = self.names.has(digests[at])
        return answers

    def read_many(self, digests: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        for at in self.names.possible(spell_digests(digests)):
            data = self.read(digests[at])
            if data is not None:
                yield at, data

    def check_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        durability: Durability,
        raws: Sequence[BytesLike] | None = None,
    ) -> list[Copy]:
        """See `Store.check_copies`. Good copies were good, and had their names, after all had been read and synced."""
        answers = [Copy.MISSING] * len(digests)
        todo = self.names.occupied(spell_digests(digests))
        if not todo:
            return answers
        for _ in range(order.MOST_ROUNDS):
            again = []
            for at, (copy, leant_on) in self._copies_at(digests, todo, trust, durability).items():
                answers[at] = copy
                if leant_on and not leant_on.is_there():
                    again.append(at)
            todo = again
            if not todo:
                return answers
        raise Busy(self.names.path(digests[todo[0]], Codec.RAW), "others, which replace it whenever it was read")

    def _copies_at(
        self, digests: Sequence[bytes], positions: Sequence[int], trust: Trust, durability: Durability
    ) -> dict[int, tuple[Copy, LeantOn | None]]:
        """Return the copies of the objects at some positions and, of a good copy, the file."""
        answers: dict[int, tuple[Copy, LeantOn | None]] = {}
        one_reads = Lock()

        def answer(at: int) -> None:
            answers[at] = self._copy(digests[at], trust, durability, one_reads)

        # A sync waits for the disk, also of a file that was synced long ago: 32 of them wait together.
        with Threads(SYNCS if durability is Durability.FULL else 1) as threads:
            threads.each(answer, positions)
            if durability is Durability.FULL:
                # The writers of these files may not have synced the names yet, or may never do so.
                directories = {os.path.dirname(leant_on.path) for _, leant_on in answers.values() if leant_on}
                if directories:
                    self._directories.sync(directories, threads)
        return answers

    def _copy(
        self, digest: bytes, trust: Trust, durability: Durability, one_reads: Lock
    ) -> tuple[Copy, LeantOn | None]:
        try:
            with ExitStack() as opened:
                with one_reads:  # The frames of one file are in memory at a time.
                    file = self.file(digest)
                    if file is None:
                        return Copy.MISSING, None
                    opened.enter_context(file)
                    if trust is Trust.VERIFY:
                        for _ in file.frames():
                            pass
                if durability is Durability.FULL:
                    posix.sync_file(file.fd)
                return Copy.GOOD, LeantOn(file.path, file.id)
        except (DecodeError, DamagedObject):
            return Copy.DAMAGED, None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return Copy.DAMAGED, None

    # Inserting.

    def writer(self, known_packed: KnownCheck) -> LooseInsert:
        """Return an inserter of many objects; ``known_packed`` says which of them have a good packed copy."""
        encoding = Encoding(CompressMode.AUTO, self._codec)
        return LooseInsert(self.hash, self.publisher, encoding, self._good_files, known_packed)

    def _good_files(self, digests: Sequence[bytes]) -> list[LeantOn | None]:
        answers: list[LeantOn | None] = [None] * len(digests)
        found = self._copies_at(digests, self.names.occupied(spell_digests(digests)), Trust.VERIFY, self._durability)
        for at, (_, leant_on) in found.items():
            answers[at] = leant_on
        return answers

    def place(self, digest: bytes, parts: Iterable[BytesLike]) -> str:
        """See `LoosePublisher.place`."""
        return self.publisher.place(digest, parts)

    # The whole.

    def key_lists(self) -> Iterator[Sequence[str]]:
        for digests in self.names.digest_lists():
            yield spell_digests(digests)

    def with_prefix(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``."""
        return self.names.with_prefix(prefix)

    def check(self, depth: Depth, sample: Sample) -> LooseCheck:
        """Return a check of all loose objects."""
        from rsdos.stores.loose.check import LooseCheck

        return LooseCheck(self._layout, self.hash, self._codecs, depth, sample)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def expand(self, digest: bytes) -> None:
        """Replace a compressed file by a raw one. Raise `DamagedObject`, and keep the file, if it is damaged."""
        parts = self.frames(digest)
        if parts is None:
            return
        self.place(digest, parts)
        for codec in self._codecs:
            if codec is not Codec.RAW:
                self._layout.remove(self.names.path(digest, codec))

    def quarantine_damaged(self, digest: bytes, quarantine: Quarantine) -> None:
        """Move the damaged files of an object to quarantine, durably.

        If an insert puts a good file in the place of one at the same time, that file stays, or gets its name back.
        """
        directory = self._layout.loose_directory(digest.hex())
        self._layout.check_loose(directory)
        is_changed = False
        for codec in self._codecs:
            path = self.names.path(digest, codec)
            if not os.path.lexists(path) or self._is_good(path, digest, codec):
                continue
            target = quarantine.free_path(f"{digest.hex()}.loose{SUFFIXES[codec]}")
            try:
                os.rename(path, target)
            except FileNotFoundError:
                continue
            if self._is_good(target, digest, codec):
                _put_back(target, path)
            else:
                is_changed = True
                quarantine.moved.append(target)
        if is_changed:
            posix.sync_directory(quarantine.directory)
            posix.sync_directory(directory)

    def _is_good(self, path: str, digest: bytes, codec: Codec) -> bool:
        try:
            with LooseFile(path, digest, codec, self.hash) as file:
                for _ in file.frames():
                    pass
        except DecodeError:
            return False
        except OSError as error:
            if may_be_whole(error):
                raise
            return False
        return True

    def delete(self, digests: Sequence[bytes]) -> list[bytes]:
        """Remove the files of some objects, durably. Return the objects that had one."""
        removed = self.names.remove(digests)
        self._sync_removed(removed)
        return removed

    def delete_seen(self, files: Sequence[SeenFile]) -> list[bytes]:
        """Remove some files, durably, unless another file has the name by now. Return the objects that lost one.

        The caller holds the maintenance lock, so no other process removes files. Between the lookup and the removal
        only an insert can replace the file: a damaged one, or a good one by an equal one. The object existed at the
        plan, and may be removed (docs/concurrency.md).
        """
        removed = self.names.remove_seen(files)
        self._sync_removed(removed)
        return removed

    def _sync_removed(self, digests: Sequence[bytes]) -> None:
        if self._durability is Durability.FULL:
            for directory in {self._layout.loose_directory(digest.hex()) for digest in digests}:
                posix.sync_directory(directory)


def _put_back(path: str, name: str) -> None:
    """Give a file its name back, unless another file has it by now: that is an insert's, and as good."""
    try:
        os.link(path, name)
    except FileExistsError:
        pass
    except OSError:  # This file system has no hard links.
        os.rename(path, name)
        return
    posix.remove(path)
