"""The loose store: one file per object."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from rsdos import fsio
from rsdos.codecs import crc32
from rsdos.config import Config
from rsdos.errors import DamagedObject, DecodeError, log_warning
from rsdos.layout import Layout
from rsdos.model import (
    FRAME_SIZE,
    BytesLike,
    Codec,
    CompressMode,
    Copy,
    Durability,
    ObjectMeta,
    Place,
    RecordFlag,
    Source,
    Stored,
    Trust,
)
from rsdos.sharing import make_directories
from rsdos.stores.checking import Depth, Sample
from rsdos.stores.encoding import Encoding
from rsdos.stores.loose_check import LooseCheck
from rsdos.stores.loose_file import SUFFIXES, LooseFile, encode_trailer
from rsdos.stores.sandbox import Sandbox, SandboxFile
from rsdos.stores.store import Store, ask_for_rest, first_good, free_name
from rsdos.streams.sources import Frames, take

_GROUP = 64
"""Objects that are written, then synced, then published together: as many descriptors are open meanwhile.

macOS allows 256 by default.
"""

_GROUP_BYTES = 8 << 20

_FIRST = 1 << 14
"""What is read of a file at first: a buffer of a whole frame costs more than most objects."""

_LIST_FROM = 256
"""Digests from which on directories are listed rather than asked for each file, ..."""

_LISTED_PER_LOOK = 16
"""... unless they have more entries than this for each digest: a name costs 0.3 us to list, a miss 6 us to ask for, ...

... and opening a directory 5 us, as much as 16 names.
"""

_T = TypeVar("_T")

_SYNCS = 8
"""Threads that sync together: 64 files of 1 KB on ext4 take 14 ms so, and 20 one after another."""


@dataclass(frozen=True, slots=True)
class _Unpublished:
    """A whole object in the sandbox, not yet under its name."""

    key: str
    file: SandboxFile
    target: str


class LooseStore(Store):
    """The loose objects of a container. Any number of threads and processes.

    An insert (steps numbered as in the code, each with a crash test):
    1. look for a good copy, here and in the other store; when there is one, make sure that it is durable: done;
    2. write a file in the sandbox; 3. sync it; 4. rename it to its place; 5. sync the directory it is in;
    6. only now return the key.
    """

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        self.hash = config.hash
        self._layout = layout
        self._durability = durability
        self._encoding = Encoding(CompressMode.AUTO, config.loose_codec)
        codec = config.loose_codec.codec
        self._codecs = (Codec.RAW,) if codec is Codec.RAW else (codec, Codec.RAW)
        self.sandbox = Sandbox(layout.sandbox)
        self._settled: set[str] = set()
        """The prefix directories that are known to survive a power loss, whoever made them."""
        self.elsewhere: Store | None = None
        """The container's other store: what has a good copy there is not inserted here again."""

    def close(self) -> None:
        """Give up the writer's place in the sandbox; the next insert takes another."""
        self.sandbox.close()

    # Looks.

    def _path(self, digest: bytes, codec: Codec) -> str:
        return self._layout.loose_file(digest.hex()) + SUFFIXES[codec]

    def _from_good_copy(self, digest: bytes, use: Callable[[LooseFile], _T]) -> _T | None:
        """What ``use`` makes of the object's file; None when there is none."""
        reason = ""
        for codec in self._codecs:
            try:
                result = use(LooseFile(self._path(digest, codec), digest, codec, self.hash))
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
        return self._from_good_copy(digest, LooseFile.read)

    def raw_many(self, digests: Iterable[bytes]) -> Iterator[bytes | None]:
        """The bytes in each object's raw file, not verified; None where there is none of at most one frame.

        Three system calls each: whoever asks hashes them in bulk, and looks at what is None or wrong another way.
        """
        loose_file = self._layout.loose_file
        for digest in digests:
            try:
                fd = fsio.open_for_bytes(loose_file(digest.hex()))
            except OSError:
                yield None
                continue
            try:
                data = os.pread(fd, _FIRST, 0)
                if len(data) == _FIRST:
                    data += os.pread(fd, FRAME_SIZE - _FIRST + 1, _FIRST)
            except OSError:
                data = None
            finally:
                os.close(fd)
            yield None if data is None or len(data) > FRAME_SIZE else data

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
        for at in self._possible(digests):
            answers[at] = any(_is_file(self._path(digests[at], codec)) for codec in self._codecs)
        return answers

    def _possible(self, digests: Sequence[bytes]) -> Iterable[int]:
        """The positions of the digests that may have a file; of all others there is none.

        Most bulk looks are for what is not here: a listing tells that of all the digests of a directory at once.
        """
        if len(digests) < _LIST_FROM:
            return range(len(digests))
        names: set[str] = set()
        listed = 0
        try:
            for directory, some in self._directories():
                listed += len(some) + _LISTED_PER_LOOK
                if listed > _LISTED_PER_LOOK * len(digests):
                    return range(len(digests))
                prefix = os.path.basename(directory) if self._layout.loose_prefix_len else ""
                names.update(prefix + self._stem(name) for name in some)
        except PermissionError:  # A directory may let its files be opened, and not be listed.
            return range(len(digests))
        return [at for at, digest in enumerate(digests) if digest.hex() in names] if names else ()

    def read_many(self, digests: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        for at in self._possible(digests):
            data = self.read(digests[at])
            if data is not None:
                yield at, data

    def copies(self, digests: Sequence[bytes], trust: Trust, durability: Durability) -> list[Copy]:
        answers = [Copy.MISSING] * len(digests)
        for at in self._possible(digests):
            answers[at] = self._copy(digests[at], trust, durability)
        if durability is Durability.FULL and Copy.GOOD in answers:
            # Whoever wrote these may not have synced their names yet, or not mean to.
            hits = (digest.hex() for digest, copy in zip(digests, answers, strict=True) if copy is Copy.GOOD)
            self._sync_directories(hits)
        return answers

    def _copy(self, digest: bytes, trust: Trust, durability: Durability) -> Copy:
        try:
            file = self.file(digest)
            if file is None:
                return Copy.MISSING
            with file:
                if trust is Trust.VERIFY:
                    for _ in file.frames():
                        pass
                if durability is Durability.FULL:
                    fsio.sync_file(file.fd)
        except (DecodeError, DamagedObject):
            return Copy.DAMAGED
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return Copy.DAMAGED
        return Copy.GOOD

    def _sync_directories(self, keys: Iterable[str]) -> None:
        """Sync the directories of some objects, and once for each the entry that it is itself."""
        directories = {self._layout.loose_directory(key) for key in keys}
        _together(fsio.sync_directory, directories)
        if not directories <= self._settled:
            fsio.sync_directory(self._layout.loose)
            self._settled |= directories

    # Inserting.

    def insert_many(self, sources: Iterable[Source]) -> list[str]:
        """Store each object in a file of its own; returns their keys in the order given, once all are durable.

        Files are written, then synced, then published 64 at a time, with one sync for each directory. Memory: 8 MiB
        of objects at a time, or three frames of one that is larger.
        """
        keys: list[str] = []
        group: list[bytes] = []
        size = 0
        for source in sources:
            data = take(source)
            if isinstance(data, bytes):
                group.append(data)
                size += len(data)
                if size >= _GROUP_BYTES or len(group) >= _GROUP:
                    keys += self._insert_group(group)
                    group, size = [], 0
            else:
                with data:
                    keys += self._insert_group(group)
                    group, size = [], 0
                    keys.append(self._insert_frames(data))
        return keys + self._insert_group(group)

    def _insert_group(self, payloads: Sequence[bytes]) -> list[str]:
        digests = self.hash.digests_of(payloads)
        known = self._known(digests)
        fresh = {digest: data for digest, data, hit in zip(digests, payloads, known, strict=True) if not hit}
        files: list[_Unpublished] = []
        try:
            stored, codecs = self._encoding.encode_many(list(fresh.values()))
            for (digest, data), form, codec in zip(fresh.items(), stored, codecs, strict=True):
                # 2. Write a file in the sandbox.
                file = self._new_file(digest, Codec(codec))
                files.append(file)
                file.file.write([form])
                if codec != Codec.RAW:
                    trailer = Stored(Codec(codec), RecordFlag.NONE, len(form), len(data))
                    file.file.write([encode_trailer(trailer, crc32(form))])
            self._publish(files)
        finally:
            for unpublished in files:
                unpublished.file.close()
        return [digest.hex() for digest in digests]

    def _insert_frames(self, source: Frames) -> str:
        file = self.sandbox.new_file()
        try:
            # 2. Before 1: the digest is known only when all is written.
            written = self._encoding.write_frames(source, file, self.hash)
            stored = written.stored
            if stored.codec is Codec.RAW:
                file.rewind(stored.size)  # A raw loose file has no frame table: it is the object's bytes.
            else:
                file.write([encode_trailer(stored, written.crc)])
            file.finish()
            if not self._known([written.digest])[0]:
                path = self._path(written.digest, stored.codec)
                self._publish([_Unpublished(written.digest.hex(), file, path)])
        finally:
            file.close()
        return written.digest.hex()

    def _known(self, digests: Sequence[bytes]) -> list[bool]:
        # 1. Look for a good copy.
        answers = self.copies(digests, Trust.VERIFY, self._durability)
        if self.elsewhere is not None:  # Not its truth: that counts the objects of the newest manifest.
            ask = partial(self.elsewhere.copies, trust=Trust.VERIFY, durability=self._durability)
            answers = ask_for_rest(answers, digests, ask)
        return [copy is Copy.GOOD for copy in answers]

    def _new_file(self, digest: bytes, codec: Codec) -> _Unpublished:
        return _Unpublished(digest.hex(), self.sandbox.new_file(), self._path(digest, codec))

    def _publish(self, files: Sequence[_Unpublished]) -> None:
        full = self._durability is Durability.FULL
        if full:
            # 3. Sync the files.
            _together(fsio.sync_file, [unpublished.file.fd for unpublished in files])
        for unpublished in files:
            # 4. Rename to its place; what stands there is a damaged copy.
            self._rename(unpublished.file.path, unpublished.target)
            unpublished.file.is_moved = True
        if full:
            # 5. Sync the directories.
            self._sync_directories(unpublished.key for unpublished in files)

    def _rename(self, path: str, target: str) -> None:
        try:
            os.rename(path, target)
        except FileNotFoundError:
            make_directories(os.path.dirname(target))
            os.rename(path, target)

    # The whole.

    def __iter__(self) -> Iterator[str]:
        seen_twice = len(self._codecs) > 1
        for directory, names in self._directories():
            prefix = os.path.basename(directory) if self._layout.loose_prefix_len else ""
            keys = [prefix + self._stem(name) for name in names]
            yield from filter(self.hash.is_key, dict.fromkeys(keys) if seen_twice else keys)

    def _stem(self, name: str) -> str:
        """A file's name without the suffix of a codec that this container uses."""
        for codec in self._codecs:
            if codec is not Codec.RAW and name.endswith(SUFFIXES[codec]):
                return name.removesuffix(SUFFIXES[codec])
        return name

    def paths(self) -> Iterator[str]:
        """The files that loose objects are in; foreign ones are passed over."""
        for directory, names in self._directories():
            prefix = os.path.basename(directory) if self._layout.loose_prefix_len else ""
            yield from (f"{directory}/{name}" for name in names if self.hash.is_key(prefix + self._stem(name)))

    def _directories(self) -> Iterator[tuple[str, list[str]]]:
        """The directories that hold loose objects, and the names in each. Foreign names are passed over later."""
        try:
            names = os.listdir(self._layout.loose)
        except FileNotFoundError:
            return
        if not self._layout.loose_prefix_len:
            yield self._layout.loose, names
            return
        for name in names:
            directory = os.path.join(self._layout.loose, name)
            if len(name) == self._layout.loose_prefix_len and not name.startswith("."):
                try:
                    yield directory, os.listdir(directory)
                except (FileNotFoundError, NotADirectoryError):
                    continue

    def check(self, depth: Depth, sample: Sample) -> LooseCheck:
        """A check of all that is here."""
        return LooseCheck(self._layout, self.hash, self._codecs, depth, sample)

    def with_prefix(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``."""
        cut = self._layout.loose_prefix_len
        if len(prefix) < cut:
            yield from (key for key in self if key.startswith(prefix))
            return
        try:
            names = os.listdir(self._layout.loose_directory(prefix))
        except (FileNotFoundError, NotADirectoryError):
            return
        rest = prefix[cut:]
        found = {prefix[:cut] + self._stem(name) for name in names if name.startswith(rest)}
        yield from filter(self.hash.is_key, found)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def place(self, digest: bytes, parts: Iterable[BytesLike]) -> str:
        """Write an object, of which the parts are known to be good, to a raw file; returns its path."""
        path = self._path(digest, Codec.RAW)
        file = self.sandbox.new_file()
        try:
            for part in parts:
                file.write([part])
            self._publish([_Unpublished(digest.hex(), file, path)])
        finally:
            file.close()
        return path

    def expand(self, digest: bytes) -> None:
        """Put a raw file in the place of a compressed one. Raises `DamagedObject`; the file stays then."""
        parts = self.frames(digest)
        if parts is None:
            return
        self.place(digest, parts)
        for codec in self._codecs:
            if codec is not Codec.RAW:
                fsio.remove(self._path(digest, codec))

    def files(self, digest: bytes) -> list[str]:
        """The files of one object that are there."""
        return [path for codec in self._codecs if _is_file(path := self._path(digest, codec))]

    def set_damaged_aside(self, digest: bytes, aside: Callable[[], str]) -> list[str]:
        """Move what stands in the place of an object, and is not good, elsewhere; returns where it is now.

        To the directory that ``aside`` makes and names.
        What somebody puts there meanwhile stays, or is put back. The directories are synced.
        """
        moved = []
        for codec in self._codecs:
            path = self._path(digest, codec)
            if not os.path.lexists(path) or self._is_good(path, digest, codec):
                continue
            target = free_name(os.path.join(aside(), f"{digest.hex()}.loose{SUFFIXES[codec]}"))
            try:
                os.rename(path, target)
            except FileNotFoundError:
                continue
            if self._is_good(target, digest, codec):
                os.rename(target, path)
            else:
                moved.append(target)
        if moved:
            fsio.sync_directory(os.path.dirname(moved[0]))
            fsio.sync_directory(self._layout.loose_directory(digest.hex()))
        return moved

    def _is_good(self, path: str, digest: bytes, codec: Codec) -> bool:
        try:
            with LooseFile(path, digest, codec, self.hash) as file:
                for _ in file.frames():
                    pass
        except (DecodeError, OSError):
            return False
        return True

    def remove(self, digests: Sequence[bytes]) -> int:
        """Remove the files of objects that are safe elsewhere; returns how many objects there were."""
        removed = 0
        for digest in digests:
            files = [self._path(digest, codec) for codec in self._codecs]
            removed += sum(map(fsio.remove, files)) > 0
        return removed

    def length_of(self, digests: Sequence[bytes]) -> int:
        """Bytes in the files of some objects."""
        return sum(fsio.length_of(self._path(digest, codec)) for digest in digests for codec in self._codecs)

    def delete(self, digests: Sequence[bytes]) -> list[bytes]:
        """Remove the files of some objects, durably; returns which of them were there."""
        removed = []
        for digest in digests:
            files = [self._path(digest, codec) for codec in self._codecs]
            if sum(map(fsio.remove, files)):
                removed.append(digest)
        if self._durability is Durability.FULL:
            for directory in {self._layout.loose_directory(digest.hex()) for digest in removed}:
                fsio.sync_directory(directory)
        return removed


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _together(sync: Callable[[_T], None], those: Collection[_T]) -> None:
    """Sync all, several at a time. Raises what the first of them that fails does, when none is at it any more."""
    if len(those) < 2:
        for one in those:
            sync(one)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_SYNCS, len(those))) as pool:
        for _ in pool.map(sync, those):
            pass
