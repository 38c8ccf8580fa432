"""The loose store: one file per object."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

from rsdos.codecs.workers import Threads
from rsdos.config import Config
from rsdos.errors import Busy, DamagedObject, DecodeError, log_warning
from rsdos.layout import Layout
from rsdos.model import BytesLike, Codec, CompressMode, Copy, Durability, ObjectMeta, Place, Source, Trust
from rsdos.storage import posix
from rsdos.stores import order
from rsdos.stores.base import Store, first_good, free_name
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import Depth, Sample
from rsdos.stores.loose.check import LooseCheck
from rsdos.stores.loose.directories import LooseDirectories
from rsdos.stores.loose.file import LooseFile, read_small
from rsdos.stores.loose.insert import SYNCS, LeantOn, Looks, LooseInsert
from rsdos.stores.loose.paths import SUFFIXES, LooseNames, SeenFile, codecs_of
from rsdos.stores.loose.sandbox import Sandbox
from rsdos.stores.order import FileId

_T = TypeVar("_T")


class LooseStore(Store):
    """The loose objects of a container; `LooseInsert` has the commit protocol. Any number of threads and processes."""

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        self.hash = config.hash
        self._layout = layout
        self._durability = durability
        self._codecs = codecs_of(config)
        self._is_raw = self._codecs == (Codec.RAW,)
        self.sandbox = Sandbox(layout)
        self.names = LooseNames(layout, self.hash, self._codecs)
        self._codec = config.loose_codec
        self._directories = LooseDirectories(layout, durability)
        self._inserting: LooseInsert | None = None
        self.elsewhere: Store | None = None
        """The container's other store: what has a good copy there is not inserted here again."""

    def close(self) -> None:
        """Give up the writer's place in the sandbox; the next insert takes another."""
        self.sandbox.close()

    def remove_empty_directories(self) -> None:
        """See `LooseDirectories.remove_empty`."""
        self._directories.remove_empty()

    # Looks.

    def _from_good_copy(self, digest: bytes, use: Callable[[LooseFile], _T]) -> _T | None:
        """What ``use`` makes of the object's file; None when there is none."""
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
                    log_warning("object %s: passed over a damaged loose file: %s", digest.hex(), reason)
                return result
        if reason:
            raise DamagedObject(digest.hex(), f"{reason} (loose)")
        return None

    def file(self, digest: bytes) -> LooseFile | None:
        """The open file of an object."""
        return self._from_good_copy(digest, lambda file: file)

    def read(self, digest: bytes) -> bytes | None:
        if self._is_raw:
            # As most are: raw, whole, and read at once. Whatever is odd is looked at the longer way.
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
        """The bytes in each object's raw file, not verified; None where there is none of at most one frame.

        Three system calls each: whoever asks hashes them in bulk, and looks at what is None or wrong another way.
        Neighbours in one directory are opened by their names in it: a tenth of the time.
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
        for at in self.names.possible(digests):
            answers[at] = self.names.has(digests[at])
        return answers

    def read_many(self, digests: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        for at in self.names.possible(digests):
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
        """As promised: what is good was so, and under its name, when all had been read and synced."""
        answers = [Copy.MISSING] * len(digests)
        todo = self.names.possible(digests)
        for _ in range(order.MOST_ROUNDS):
            again = []
            for at, (copy, leant_on) in self._look_at(digests, todo, trust, durability).items():
                answers[at] = copy
                if leant_on and not _is_there(leant_on):
                    again.append(at)
            todo = again
            if not todo:
                return answers
        raise Busy(self.names.path(digests[todo[0]], Codec.RAW), "others, which replace it whenever it was read")

    def _look_at(
        self, digests: Sequence[bytes], positions: Iterable[int], trust: Trust, durability: Durability
    ) -> dict[int, tuple[Copy, LeantOn | None]]:
        """What there is of the objects at some positions, and, of a good copy, which file that is."""
        answers: dict[int, tuple[Copy, LeantOn | None]] = {}
        for at in positions:
            there = self.names.may_have(digests[at])
            answers[at] = self._copy(digests[at], trust, durability) if there else (Copy.MISSING, None)
        if durability is Durability.FULL:
            # Whoever wrote these may not have synced their names yet, or not mean to.
            directories = {os.path.dirname(leant_on.path) for _, leant_on in answers.values() if leant_on}
            if directories:
                with Threads(SYNCS) as threads:
                    self._directories.sync(directories, threads)
        return answers

    def _copy(self, digest: bytes, trust: Trust, durability: Durability) -> tuple[Copy, LeantOn | None]:
        try:
            file = self.file(digest)
            if file is None:
                return Copy.MISSING, None
            with file:
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

    @property
    def _insert(self) -> LooseInsert:
        """The way in; made at the first use: who only reads opens and closes without."""
        insert = self._inserting
        if insert is None:
            # Of two threads that are the first each has its own: what they share is made already.
            own = self.hash, self.names, self._directories, self.sandbox
            is_elsewhere = _is_nowhere if self.elsewhere is None else self.elsewhere.may_have
            looks = Looks(self._known, self._still_there, is_elsewhere, self._layout.refuse_another)
            encoding = Encoding(CompressMode.AUTO, self._codec)
            insert = self._inserting = LooseInsert(*own, encoding, self._durability, looks)
        return insert

    def insert(self, source: Source) -> str:
        """Store one object; see `LooseInsert`."""
        return (self._inserting or self._insert).insert(source)

    def insert_many(self, sources: Iterable[Source]) -> list[str]:
        """See `LooseInsert.insert_many`."""
        return self._insert.insert_many(sources)

    def place(self, digest: bytes, parts: Iterable[BytesLike]) -> str:
        """See `LooseInsert.place`."""
        return self._insert.place(digest, parts)

    def _known(self, digests: Sequence[bytes]) -> list[LeantOn | None]:
        # 1. Look for a good copy.
        looks = self._look_at(digests, self.names.possible(digests), Trust.VERIFY, self._durability)
        answers: list[LeantOn | None] = [None] * len(digests)
        for at, (_, leant_on) in looks.items():
            answers[at] = leant_on
        rest = [at for at, leant_on in enumerate(answers) if leant_on is None]
        if self.elsewhere is not None and rest:  # Not its truth: that counts the objects of the newest manifest.
            packed = self.elsewhere.check_copies([digests[at] for at in rest], Trust.VERIFY, self._durability)
            for at, copy in zip(rest, packed, strict=True):
                if copy is Copy.GOOD:
                    answers[at] = LeantOn()
        return answers

    def _still_there(self, copies: Mapping[bytes, LeantOn]) -> set[bytes]:
        """Of which objects the copy that is leant on is there now, and as durable as it was."""
        there = {digest for digest, leant_on in copies.items() if leant_on.path and _is_there(leant_on)}
        packed = [digest for digest, leant_on in copies.items() if not leant_on.path]
        if packed and self.elsewhere is not None:
            answers = self.elsewhere.check_copies(packed, Trust.INDEX, self._durability)
            there.update(digest for digest, copy in zip(packed, answers, strict=True) if copy is Copy.GOOD)
        return there

    # The whole.

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def with_prefix(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``."""
        return self.names.with_prefix(prefix)

    def check(self, depth: Depth, sample: Sample) -> LooseCheck:
        """A check of all that is here."""
        return LooseCheck(self._layout, self.hash, self._codecs, depth, sample)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def expand(self, digest: bytes) -> None:
        """Put a raw file in the place of a compressed one. Raises `DamagedObject`; the file stays then."""
        parts = self.frames(digest)
        if parts is None:
            return
        self.place(digest, parts)
        for codec in self._codecs:
            if codec is not Codec.RAW:
                self._layout.remove(self.names.path(digest, codec))

    def set_damaged_aside(self, digest: bytes, aside: Callable[[], str]) -> list[str]:
        """Move what stands in the place of an object, and is not good, elsewhere; returns where it is now.

        To the directory that ``aside`` makes and names.
        What somebody puts there meanwhile stays, or is put back. The directories are synced.
        """
        moved = []
        self._layout.check_loose(self._layout.loose_directory(digest.hex()))
        for codec in self._codecs:
            path = self.names.path(digest, codec)
            if not os.path.lexists(path) or self._is_good(path, digest, codec):
                continue
            target = free_name(os.path.join(aside(), f"{digest.hex()}.loose{SUFFIXES[codec]}"))
            try:
                os.rename(path, target)
            except FileNotFoundError:
                continue
            if self._is_good(target, digest, codec):
                _put_back(target, path)
            else:
                moved.append(target)
        if moved:
            posix.sync_directory(os.path.dirname(moved[0]))
            posix.sync_directory(self._layout.loose_directory(digest.hex()))
        return moved

    def _is_good(self, path: str, digest: bytes, codec: Codec) -> bool:
        try:
            with LooseFile(path, digest, codec, self.hash) as file:
                for _ in file.frames():
                    pass
        except (DecodeError, OSError):
            return False
        return True

    def delete(self, digests: Sequence[bytes]) -> list[bytes]:
        """Remove the files of some objects, durably; returns which of them were there."""
        removed = self.names.remove(digests)
        self._sync_removed(removed)
        return removed

    def delete_seen(self, files: Sequence[SeenFile]) -> list[bytes]:
        """Remove some files, durably, unless another has the name by now; returns of which objects one was removed.

        The caller holds the maintenance lock, so that nobody else removes. Between the look and the removal only an
        insert can change the name, by a good copy in the place of a damaged one or of one just like it: of an object
        that was there at the plan, and may go (docs/concurrency.md).
        """
        removed = self.names.remove_seen(files)
        self._sync_removed(removed)
        return removed

    def _sync_removed(self, digests: Sequence[bytes]) -> None:
        if self._durability is Durability.FULL:
            for directory in {self._layout.loose_directory(digest.hex()) for digest in digests}:
                posix.sync_directory(directory)


def _is_nowhere(_: bytes) -> bool:
    """Whether there is a copy in the other store, where there is none."""
    return False


def _is_there(leant_on: LeantOn) -> bool:
    return order.is_still_there(leant_on.file, FileId.at(leant_on.path))


def _put_back(path: str, name: str) -> None:
    """Give a file its name back, unless another has it by now: that is an insert's, and as good."""
    try:
        os.link(path, name)
    except FileExistsError:
        pass
    except OSError:  # No hard links here.
        os.rename(path, name)
        return
    posix.remove(path)
