"""Both stores of a container as one."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from rsdos.errors import (
    DamagedContainer,
    DamagedObject,
    InvalidOption,
    ReadOnlyContainer,
    RsdosError,
    log_warning,
    means_full,
)
from rsdos.model import (
    FRAME_SIZE,
    BytesLike,
    CompressMode,
    Copy,
    Durability,
    MetaColumns,
    ObjectMeta,
    PackKind,
    Place,
    Source,
    Trust,
    choice,
)
from rsdos.storage import locks
from rsdos.stores import batch, lifetime
from rsdos.stores.base import CHUNK, Store, ask_for_rest, first_good, rest_of
from rsdos.stores.encoding import Encoding
from rsdos.stores.loose.insert import LooseInsert
from rsdos.stores.loose.store import LooseStore
from rsdos.stores.packs import PackStore
from rsdos.streams.sources import take

if TYPE_CHECKING:
    from rsdos.stores.findings import Reclaimed

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of the file system when writing is not allowed."""

NO_LOCKS = "its file system has no locks (flock): see docs/concurrency.md"

_T = TypeVar("_T")


class Objects(Store):
    """All objects of a container, packed and loose. Any number of threads.

    Lookups search the visible packs first, then the loose files. An object that is packed and cleaned between the two
    is found by the next lookup, because the visible packs are not the latest any more.

    The two stores do not know each other. This class decides whether the container has an object already.
    """

    def __init__(self, root: str, loose: LooseStore, packed: PackStore) -> None:
        self.hash = loose.hash
        self._root = root
        self.loose = loose
        self.packed = packed
        self._loose_writer: LooseInsert | None = None

    def version(self) -> object:
        return self.packed.version()

    def has_version(self) -> bool:
        return self.packed.has_version()

    def is_latest(self, version: object) -> bool:
        return self.packed.is_latest(version)

    def refresh(self) -> None:
        self.packed.refresh()

    # Lookups.

    def _either(
        self, packed: Callable[[bytes], _T | None], loose: Callable[[bytes], _T | None], digest: bytes
    ) -> _T | None:
        try:
            result = packed(digest)
        except (DamagedObject, DamagedContainer) as error:
            result = loose(digest)
            if result is None:
                raise
            log_warning("object %s: read from its loose file: %s", digest.hex(), error)
            return result
        return loose(digest) if result is None else result

    def read(self, digest: bytes) -> bytes | None:
        try:
            data = self.packed.read(digest)
        except (DamagedObject, DamagedContainer):
            return self._either(self.packed.read, self.loose.read, digest)
        return self.loose.read(digest) if data is None else data

    def frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        return self._either(self._packed_frames, self.loose.frames, digest)

    def _packed_frames(self, digest: bytes) -> Iterator[BytesLike] | None:
        packed = self.packed.frames(digest)
        return None if packed is None else first_good(digest, self._copies_in_parts(digest, packed))

    def _copies_in_parts(
        self, digest: bytes, packed: Iterator[BytesLike]
    ) -> Iterator[Callable[[], Iterator[BytesLike]]]:
        """Yield the packed copies and, when they are all damaged, the loose one if there is one."""
        yield lambda: packed
        loose = self.loose.frames(digest)
        if loose is not None:
            yield lambda: loose

    def stream(self, digest: bytes) -> io.BufferedReader | None:
        return self._either(self.packed.stream, self.loose.stream, digest)

    def describe(self, digest: bytes) -> ObjectMeta | None:
        return self._either(self.packed.describe, self.loose.describe, digest)

    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        try:
            present = self.packed.contains_many(digests)
        except DamagedContainer:
            return [self.describe(digest) is not None for digest in digests]
        if not all(present):
            rest = [at for at, hit in enumerate(present) if not hit]
            for at, hit in zip(rest, self.loose.contains_many([digests[at] for at in rest]), strict=True):
                present[at] = hit
        return present

    def read_many(self, digests: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        for positions, payloads in self.read_lists(digests):
            yield from zip(positions, payloads, strict=True)

    def read_lists(self, digests: Sequence[bytes]) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        found: list[Sequence[int]] = []
        try:
            for positions, payloads in self.packed.read_lists(digests, self.read):
                found.append(positions)
                yield positions, payloads
        except DamagedContainer:
            # One by one: where the index cannot answer, a loose copy does, or the damage is raised.
            for at in rest_of(len(digests), found):
                one = self.read(digests[at])
                if one is not None:
                    yield (at,), (one,)
            return
        if rest := rest_of(len(digests), found):
            for at, data in self.loose.read_many([digests[at] for at in rest]):
                yield (rest[at],), (data,)

    def packed_lists(self, digests: Sequence[bytes]) -> Iterator[tuple[Sequence[int], Sequence[bytes]]]:
        """Do `read_lists` for what packs give in bulk. Large, loose, damaged and missing objects are left out."""
        return self.packed.read_lists(digests, leave_out)

    def check_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        durability: Durability,
        raws: Sequence[BytesLike] | None = None,
    ) -> list[Copy]:
        answers = self.packed.check_copies(digests, trust, durability, raws)
        return ask_for_rest(answers, digests, partial(self.loose.check_copies, trust=trust, durability=durability))

    # Inserting.

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn the file system's refusal to write the container into `ReadOnlyContainer`.

        The error of a full disk that names no file gets the container's path.
        """
        try:
            yield
        except OSError as error:
            self._refuse(error)
            raise

    def _refuse(self, error: OSError) -> None:
        """Raise the error that `writing` turns this one into, if any. Give the error of a full disk a path."""
        if means_full(error) and error.filename is None:
            error.filename = self._root
        if error.errno in locks.UNSUPPORTED:
            raise ReadOnlyContainer(self._root, NO_LOCKS) from error
        refused = error.errno in REFUSED
        ours = str(error.filename or "").startswith(self._root)
        if ours and error.errno == errno.ENOENT:
            self.packed.original.check()
        if refused and ours and not isinstance(error, RsdosError):
            raise ReadOnlyContainer(self._root, error.strerror or str(error)) from error

    @property
    def loose_writer(self) -> LooseInsert:
        """The inserter of many loose objects. The first use makes it; programs that only read never do."""
        writer = self._loose_writer
        if writer is None:
            # Two threads may each make one at the first use. These share everything that must be shared.
            packed = partial(self.packed.check_copies, durability=self.packed.durability)
            writer = self._loose_writer = self.loose.writer(packed)
        return writer

    def _known(
        self, digests: Sequence[bytes], trust: Trust, /, raws: Sequence[BytesLike] | None = None
    ) -> Sequence[Copy]:
        """Return the copies of objects that are to be packed. The writer makes packed copies durable if necessary."""
        answers = self.packed.own_copies(digests, trust, raws)
        durability = self.packed.durability
        return ask_for_rest(answers, digests, partial(self.loose.check_copies, trust=trust, durability=durability))

    def insert(self, source: Source, *, to: Place | str = Place.LOOSE) -> str:
        """Store one object, in a file of its own unless ``to`` says otherwise. Return its key once it is durable."""
        if to is not Place.LOOSE:
            return self.insert_many((source,), to=to)[0]
        # The short way for a small object with a raw file, the most frequent insert.
        try:
            data = source if type(source) is bytes and len(source) <= FRAME_SIZE else take(source)
            if isinstance(data, bytes) and self.loose.is_raw:
                digest = self.hash.digest_of(data)
                key = digest.hex()
                publisher = self.loose.publisher
                target = publisher.path_of(key)
                # If anything is odd, or gone by the end, the object takes the longer way below.
                if os.access(target, os.F_OK):
                    is_there = publisher.use_copy(data, target)
                elif self.packed.may_have(digest):
                    is_there = self._has_packed(digest, data)
                else:
                    is_there = publisher.insert(data, target)
                if is_there:
                    return key
            return self.loose_writer.insert_many((data,))[0]
        except OSError as error:
            self._refuse(error)
            raise

    def _has_packed(self, digest: bytes, data: bytes) -> bool:
        """Return whether an object has a good and durable copy in a pack, which was not deleted while it was read.

        These are steps 1, 6 and 7 of `rsdos.stores.loose.insert` for one object. After all steps that take time the
        version is still the latest, so the lookup was the last one.
        """
        version = self.packed.version()
        copies = self.packed.check_copies((digest,), Trust.VERIFY, self.packed.durability, (data,))
        self.loose.publisher.refuse_another()
        return copies[0] is Copy.GOOD and self.packed.is_latest(version)

    def insert_many(
        self,
        sources: Iterable[Source],
        *,
        to: Place | str = Place.PACKED,
        compress: CompressMode | str = CompressMode.AUTO,
        trust: Trust | str = Trust.VERIFY,
        kind: PackKind = PackKind.PLAIN,
    ) -> list[str]:
        """Store many objects, in a pack unless ``to`` says otherwise. Return their keys in order.

        See `rsdos.stores.batch.insert_many` and `LooseInsert.insert_many`; ``compress`` and ``trust`` are for packs.
        Of another ``kind`` than plain the objects are stored for snapshots, in packs alone: a loose copy is none for
        them, because removing a file is no commit.
        """
        with self.writing():
            place, mode, trusted = choice(Place, to), choice(CompressMode, compress), choice(Trust, trust)
            if place is Place.LOOSE:
                if kind is not PackKind.PLAIN:
                    raise InvalidOption("what snapshots need is stored in packs, not loose")
                return self.loose_writer.insert_many(sources)
            encoding = Encoding(mode, self.packed.compression)
            known = self._known if lifetime.takes_loose(kind) else None
            return batch.insert_many(sources, self.packed.writer(known, trust=trusted, kind=kind), encoding)

    def collect_garbage(self) -> Reclaimed:
        """See `PackMaintenance.collect_garbage`. A copy in either store counts as safe."""
        return self.packed.maintenance.collect_garbage(partial(self.check_copies, durability=Durability.FULL))

    # The whole.

    def _loose_keys(self) -> Iterator[list[str]]:
        """Yield the keys of loose objects, in lists of bounded size: larger ones than those of a directory."""
        keys = iter(self.loose)
        while chunk := list(islice(keys, CHUNK)):
            yield chunk

    def _not_packed(self, keys: Sequence[str]) -> list[str]:
        """Return the keys that are not among the listed ones of the packs."""
        present = self.packed.contains_many(self.hash.parse_keys(keys), PackKind.HELD)
        return [key for key, packed in zip(keys, present, strict=True) if not packed]

    def key_lists(self) -> Iterator[Sequence[str]]:
        seen: set[str] = set()
        yield from self._only_loose(seen)
        for keys in self.packed.key_lists():
            yield [key for key in keys if key not in seen] if seen else keys

    def meta_lists(self) -> Iterator[Sequence[ObjectMeta | DamagedObject]]:
        seen: set[str] = set()
        for keys in self._only_loose(seen):
            yield self.loose.metas_of(keys)
        for metas in self.packed.meta_lists():
            yield [meta for meta in metas if meta.key not in seen] if seen else metas

    def meta_columns(self) -> Iterator[MetaColumns]:
        seen: set[str] = set()
        for keys in self._only_loose(seen):
            yield MetaColumns.of(self.loose.metas_of(keys))
        if not seen:
            yield from self.packed.meta_columns()
            return
        for metas in self.packed.meta_lists():
            yield MetaColumns.of([meta for meta in metas if meta.key not in seen])

    def _only_loose(self, seen: set[str]) -> Iterator[list[str]]:
        """Yield the keys of loose objects that are not packed, and add them to ``seen``.

        They come first: one that is packed and cleaned in between is found among the packed ones. This set keeps it
        from being yielded twice: 150 bytes for each.
        """
        self.refresh()
        for chunk in self._loose_keys():
            keys = chunk
            with suppress(DamagedContainer):  # It is raised after the packed ones.
                keys = self._not_packed(chunk)
            seen.update(keys)
            yield keys

    def with_prefix(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, each once."""
        # Loose first, as in `__iter__`.
        loose = set(self.loose.with_prefix(prefix))
        yield from loose
        yield from (key for key in self.packed.with_prefix(prefix) if key not in loose)

    def __len__(self) -> int:
        # Count again if packs changed during the count. If they always do, no count is more right than another.
        packed = loose = 0
        for _ in range(3):
            self.refresh()
            version = self.version()  # Taken before both counts: packing and cleaning between them changes it.
            packed = self.packed.count()
            loose = sum(len(self._not_packed(keys)) for keys in self._loose_keys())
            if self.is_latest(version):
                break
        return packed + loose


def leave_out(digest: bytes) -> None:
    """Return None for an object that cannot be read in bulk."""
