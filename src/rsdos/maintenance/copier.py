"""Copies objects from one container into the packs of another, for transfers and migrations.

Stored bytes are copied unchanged where the target supports their codec. An `ObjectCopier` decodes and hashes every
object on the way, whether its stored bytes are copied or not; an `IntactCopier` compares checksums where it can.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from rsdos.codecs.dictionary import Dictionary
from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, ObjectNotFound
from rsdos.model import FIRST_DICTIONARY, FRAME_SIZE, BytesLike, Codec, Compression, CompressMode, PackKind, Stored
from rsdos.stores.batch import BatchWriter
from rsdos.stores.encoding import Encoding, Forms
from rsdos.stores.findings import IntactObject, VerifiedObject
from rsdos.stores.packs import PackStore
from rsdos.streams.plain import hashed
from rsdos.streams.sources import in_frames

_GROUP = 1 << 13
"""The most objects that are appended together."""

GROUP_SIZE = 8 << 20
"""Raw bytes from which on objects are appended together. A bulk read holds as many."""

_LIST = 1 << 15
"""Objects that are committed together, with one sync."""


_Whole = TypeVar("_Whole", VerifiedObject, IntactObject)


@dataclass(frozen=True, slots=True)
class StoredFormPolicy:
    """The stored form that objects get in the target container.

    Stored bytes in one of ``codecs`` are copied unchanged. Other objects are encoded: with ``packed`` if they were
    compressed, with ``raw`` if they were not.
    """

    codecs: frozenset[Codec]
    packed: Encoding
    raw: Encoding

    @classmethod
    def kept(cls, packs: PackStore, compression: Compression) -> StoredFormPolicy:
        """Return a policy that copies stored bytes unchanged where ``packs`` supports the codec.

        Otherwise it recompresses what was compressed, with ``compression`` or zlib:1.
        """
        if compression.codec is Codec.RAW:
            compression = Compression(Codec.ZLIB, 1)
        return cls(packs.codecs, Encoding(CompressMode.AUTO, compression), Encoding(CompressMode.KEEP, compression))

    @property
    def takes_frames(self) -> bool:
        """Whether frames are copied unchanged: the target supports frames of all codecs, mixed ones included."""
        return Codec.MIXED in self.codecs

    @classmethod
    def encoded(cls, encoding: Encoding) -> StoredFormPolicy:
        """Return a policy that encodes every object anew."""
        return cls(frozenset(), encoding, encoding)


@dataclass(slots=True)
class CopyStats:
    """Counts of the objects copied so far. ``size`` is raw bytes; ``damaged`` has the reason for each damaged key."""

    objects: int = 0
    size: int = 0
    known: int = 0
    length: int = 0
    """The stored bytes of these objects as they were copied; the raw bytes of those that were encoded anew."""
    copied: int = 0
    """The number of ``objects`` whose stored bytes were copied unchanged."""
    damaged: dict[str, str] = field(default_factory=dict)
    rescued: list[str] = field(default_factory=list)
    """The keys of objects whose first copy is damaged, and that were read from another one."""
    missing: list[str] = field(default_factory=list)
    """The keys of objects that were listed, and were gone when they were to be copied: deleted, or lost."""


class SourceDamage(Exception):
    """An object cannot be read in the source of a copy. It is never raised for an error of the target."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@contextmanager
def reading_source() -> Iterator[None]:
    """Raise `SourceDamage` for damage that is found in a block, which reads the source and nothing else."""
    try:
        yield
    except (DamagedObject, DamagedContainer, DecodeError) as error:
        raise SourceDamage(error.reason if isinstance(error, DamagedObject) else str(error)) from error


def of_source(parts: Iterable[BytesLike]) -> Iterator[BytesLike]:
    """Yield parts that are read from the source. Raise the errors of `reading_source`."""
    with reading_source():
        yield from parts


def _no_limit(length: int) -> None:
    """Wait for nothing."""


class ObjectCopier:
    """Copies objects of ``source`` through a batch writer of another container. One thread."""

    def __init__(self, source: Engine, writer: BatchWriter, form: StoredFormPolicy, stats: CopyStats) -> None:
        self._source = source
        self._writer = writer
        self._form = form
        self.stats = stats
        self.pace: Callable[[int], None] = _no_limit
        """Called with the number of bytes that are appended next. It may wait."""
        self.group_size = GROUP_SIZE
        """Raw bytes from which on small objects are appended together."""
        self.believed: list[bytes] = []
        """The objects that the target had at the lookup. They are looked up once more after the commit, before they are
        acknowledged."""

    def copy(self, digests: Sequence[bytes]) -> int:
        """Append the objects that the target does not have. Return the number of their raw bytes.

        Nothing is committed. Both containers use the same hash. Damaged and missing objects are counted and skipped.
        """
        unknown = self._writer.unknown(digests)
        self.stats.known += len(digests) - len(unknown)
        todo = [digests[at] for at in unknown]
        self.believed += set(digests).difference(todo)
        before = self.stats.size
        rest = self._copy_in_bulk(todo)
        packed = self._source.packed
        if rest and not packed.is_latest(packed.version()):
            # Objects may have been packed or repacked since they were listed.
            packed.refresh()
            rest = self._copy_in_bulk(rest)
        for digest in rest:
            self._copy_one(digest)
        return self.stats.size - before

    def _copy_in_bulk(self, digests: Sequence[bytes]) -> list[bytes]:
        """Append the objects that can be read in bulk. Return the others."""
        rest = set(digests)
        for group in _grouped(self._source.packed.read_verified_many(digests), self.group_size):
            rest.difference_update(whole.digest for whole in group)
            self._append(group)
        return [digest for digest in digests if digest in rest]

    def _append(self, group: list[VerifiedObject]) -> None:
        taken, others = self._split(group)
        self._take(taken)
        raw = [whole for whole in others if whole.codec is Codec.RAW]
        packed = [whole for whole in others if whole.codec is not Codec.RAW]
        for fresh, encoding in ((raw, self._form.raw), (packed, self._form.packed)):
            if fresh:
                digests, payloads = [whole.digest for whole in fresh], [whole.raw for whole in fresh]
                size = sum(map(len, payloads))
                self.pace(size)
                self._writer.append_payloads(digests, payloads, encoding)
                self._count(len(fresh), size, size)

    def _take(self, taken: Sequence[_Whole]) -> None:
        """Append objects whose stored bytes are copied unchanged."""
        if taken:
            sizes, length = [whole.size for whole in taken], sum(len(whole.stored) for whole in taken)
            self.pace(length)
            self._writer.append([whole.digest for whole in taken], _forms_of(taken), sizes)
            self.stats.copied += len(taken)
            self._count(len(taken), sum(sizes), length)

    def _split(self, group: list[_Whole]) -> tuple[list[_Whole], list[_Whole]]:
        """Return the objects whose stored bytes are copied unchanged, and the others."""
        saved: dict[Dictionary, int] = {}
        for whole in group:
            if whole.dictionary is not None:
                saved[whole.dictionary] = saved.get(whole.dictionary, 0) + whole.size - len(whole.stored)
        refused = {dictionary for dictionary, size in saved.items() if not self._writer.takes(dictionary, size)}
        taken: list[_Whole] = []
        others: list[_Whole] = []
        for whole in group:
            is_taken = whole.codec in self._form.codecs and whole.dictionary not in refused
            (taken if is_taken else others).append(whole)
        return taken, others

    def _count(self, objects: int, size: int, length: int) -> None:
        self.stats.objects += objects
        self.stats.size += size
        self.stats.length += length

    def _paced(self, parts: Iterator[BytesLike]) -> Iterator[BytesLike]:
        for part in parts:
            self.pace(len(part))
            yield part

    def _copy_one(self, digest: bytes) -> None:
        """Copy one object that is large, loose, damaged, deleted, or moved since it was listed."""
        objects, key = self._source.objects, digest.hex()
        try:
            with reading_source():
                meta = objects.meta(key)
                stored = self._frames(digest) if meta.size > FRAME_SIZE else None
                parts = objects.parts(key) if meta.size > FRAME_SIZE and stored is None else None
            encoding = self._form.raw if meta.codec is Codec.RAW else self._form.packed
            if stored is not None:
                self._add_stored(digest, stored[0], of_source(stored[1]))
                return
            elif parts is not None:
                whole = of_source(hashed(parts, digest, objects.hash))
                self._writer.add_frames(in_frames(self._paced(whole)), encoding)
            else:
                with reading_source():
                    data = b"".join(hashed(iter((objects.lookup(self._small, key),)), digest, objects.hash))
                self.pace(len(data))
                self._writer.append_payloads([digest], [data], encoding)
        except ObjectNotFound:
            self.stats.missing.append(key)
        except SourceDamage as error:
            self.stats.damaged[key] = error.reason
        else:
            self._count(1, meta.size, meta.size)

    def _add_stored(self, digest: bytes, stored: Stored, parts: Iterator[BytesLike]) -> None:
        """Append a large object in its stored form, unless the target has it by now."""
        if self._writer.add_stored(digest, stored, self._paced(parts)):
            self.stats.copied += 1
            self._count(1, stored.size, stored.length)
        else:
            self.stats.known += 1
            self.believed.append(digest)

    def _frames(self, digest: bytes) -> tuple[Stored, Iterator[BytesLike]] | None:
        """Return the stored form and bytes of a large packed object, if they are to be copied unchanged."""
        return self._source.packed.stored_frames(digest) if self._form.takes_frames else None

    def _small(self, digest: bytes) -> bytes | None:
        """Return the bytes of the packed or the loose copy; None when no copy is visible. Raise `DamagedObject`.

        A lazy clone asks its remote last, with one request for each object.
        """
        damage: DamagedObject | None = None
        try:
            data = self._source.packed.read(digest)
        except DamagedObject as error:
            damage, data = error, None
        if data is None:
            data = self._source.loose.read(digest)
        if data is None and self._source.is_lazy:
            data = self._source.objects.read(digest)
        if damage and data is None:
            raise damage
        if damage:
            self.stats.rescued.append(digest.hex())
        return data


class IntactCopier(ObjectCopier):
    """Copies stored bytes that have the checksum they were written with, without decoding them.

    Objects that must be encoded anew, and damaged and loose objects, are read and hashed.
    """

    def _copy_in_bulk(self, digests: Sequence[bytes]) -> list[bytes]:
        rest = set(digests)
        for group in _grouped(self._source.packed.read_intact_many(digests), self.group_size):
            taken, _ = self._split(group)
            rest.difference_update(whole.digest for whole in taken)
            self._take(taken)
        return super()._copy_in_bulk([digest for digest in digests if digest in rest])

    def _copy_one(self, digest: bytes) -> None:
        try:
            found = self._source.packed.intact_frames(digest) if self._form.takes_frames else None
            if found is not None:
                self._add_stored(digest, found[0], _sound(found[1]))
                return
        except DecodeError:
            pass  # Another copy may be good; if not, it is reported.
        super()._copy_one(digest)


def _sound(parts: Iterator[BytesLike]) -> Iterator[BytesLike]:
    """Yield the parts. Raise `DecodeError` for an error of this copy that another copy may not have."""
    try:
        yield from parts
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENOENT):
            raise
        raise DecodeError(str(error)) from error


def _grouped(wholes: Iterator[_Whole], most: int) -> Iterator[list[_Whole]]:
    """Yield the objects in lists of about ``most`` raw bytes, and at most `_GROUP` objects."""
    group: list[_Whole] = []
    size = 0
    for whole in wholes:
        group.append(whole)
        size += whole.size
        if size >= most or len(group) == _GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _forms_of(wholes: Sequence[VerifiedObject | IntactObject]) -> Forms:
    """Return the stored forms, unchanged, with the dictionaries that they need."""
    needed = dict.fromkeys(whole.dictionary for whole in wholes if whole.dictionary is not None)
    codecs = {dictionary: FIRST_DICTIONARY + at for at, dictionary in enumerate(needed)}
    return Forms(
        [whole.stored for whole in wholes],
        [codecs[whole.dictionary] if whole.dictionary is not None else whole.codec or Codec.RAW for whole in wholes],
        list(needed),
    )


def in_storage_order(engine: Engine) -> Iterator[list[bytes]]:
    """Yield the objects that were inserted by key, each once: the packed ones pack by pack, then the loose ones.

    The lists have a bounded size. Memory: 100 bytes for each loose object.
    """
    # List the loose objects first: an object that is packed and cleaned after that is listed among the packed ones.
    loose: set[bytes] = set()
    for some in engine.loose.names.digest_lists():
        loose.update(some)
    for pack in engine.packed.inspection.listed(PackKind.PLAIN):
        for digests in pack.digests:
            loose.difference_update(digests)
            yield from _lists_of(digests)
    yield from _lists_of(sorted(loose))


def _lists_of(digests: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(digests), _LIST):
        yield digests[at : at + _LIST]
