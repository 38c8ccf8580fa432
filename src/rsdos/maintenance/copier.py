"""Copies objects from one container into the packs of another, for transfers and migrations.

Stored bytes are copied unchanged where the target supports their codec. Every object is decoded and hashed on the way,
whether its stored bytes are copied or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from rsdos.codecs.dictionary import Dictionary
from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, ObjectNotFound
from rsdos.model import FIRST_DICTIONARY, FRAME_SIZE, BytesLike, Codec, Compression, CompressMode, Stored
from rsdos.stores.batch import BatchWriter
from rsdos.stores.encoding import Encoding, Forms
from rsdos.stores.findings import VerifiedObject
from rsdos.stores.packs import PackStore
from rsdos.streams.plain import hashed
from rsdos.streams.sources import in_frames

_GROUP = 1 << 13
"""Objects that are read, hashed and appended together, at most. A bulk read holds 8 MiB of raw bytes."""

_LIST = 1 << 15
"""Objects that are committed together, with one sync."""


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
        """Whether frames are copied unchanged: the target has those of all codecs, mixed ones included."""
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
    copied: int = 0
    """The number of ``objects`` whose stored bytes were copied unchanged."""
    damaged: dict[str, str] = field(default_factory=dict)
    rescued: list[str] = field(default_factory=list)
    """The keys of objects whose first copy is damaged, and that were read from another one."""
    missing: list[str] = field(default_factory=list)
    """The keys of objects that were listed, and were gone when they were to be copied: deleted, or lost."""


class ObjectCopier:
    """Copies objects of ``source`` through a batch writer of another container. One thread."""

    def __init__(self, source: Engine, writer: BatchWriter, form: StoredFormPolicy, stats: CopyStats) -> None:
        self._source = source
        self._writer = writer
        self._form = form
        self.stats = stats
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
            # Many may have been packed or repacked since they were listed.
            packed.refresh()
            rest = self._copy_in_bulk(rest)
        for digest in rest:
            self._copy_one(digest)
        return self.stats.size - before

    def _copy_in_bulk(self, digests: Sequence[bytes]) -> list[bytes]:
        """Append the objects that can be read in bulk. Return the others."""
        rest = set(digests)
        wholes = self._source.packed.read_verified_many(digests)
        while group := list(islice(wholes, _GROUP)):
            rest.difference_update(whole.digest for whole in group)
            self._append(group)
        return [digest for digest in digests if digest in rest]

    def _append(self, group: list[VerifiedObject]) -> None:
        taken, raw, packed = self._sorted(group)
        if taken:
            self._writer.append(
                [whole.digest for whole in taken], _forms_of(taken), [len(whole.raw) for whole in taken]
            )
            self.stats.copied += len(taken)
        for fresh, encoding in ((raw, self._form.raw), (packed, self._form.packed)):
            if fresh:
                digests, payloads = [whole.digest for whole in fresh], [whole.raw for whole in fresh]
                self._writer.append_payloads(digests, payloads, encoding)
        self._count(len(group), sum(len(whole.raw) for whole in group))

    def _sorted(
        self, group: list[VerifiedObject]
    ) -> tuple[list[VerifiedObject], list[VerifiedObject], list[VerifiedObject]]:
        """Return the objects whose stored bytes are copied unchanged, other raw ones, and other compressed ones."""
        saved: dict[Dictionary, int] = {}
        for whole in group:
            if whole.dictionary is not None:
                saved[whole.dictionary] = saved.get(whole.dictionary, 0) + len(whole.raw) - len(whole.stored)
        refused = {dictionary for dictionary, size in saved.items() if not self._writer.takes(dictionary, size)}
        taken: list[VerifiedObject] = []
        raw: list[VerifiedObject] = []
        packed: list[VerifiedObject] = []
        for whole in group:
            if whole.codec in self._form.codecs and whole.dictionary not in refused:
                taken.append(whole)
            else:
                (raw if whole.codec is Codec.RAW else packed).append(whole)
        return taken, raw, packed

    def _count(self, objects: int, size: int) -> None:
        self.stats.objects += objects
        self.stats.size += size

    def _copy_one(self, digest: bytes) -> None:
        """Copy one object that is large, loose, damaged, deleted, or moved since it was listed."""
        objects, key = self._source.objects, digest.hex()
        try:
            meta = objects.meta(key)
            encoding = self._form.raw if meta.codec is Codec.RAW else self._form.packed
            stored = self._frames(digest) if meta.size > FRAME_SIZE else None
            if stored is not None:
                if not self._writer.add_stored(digest, *stored):
                    self.stats.known += 1
                    self.believed.append(digest)
                    return
                self.stats.copied += 1
            elif meta.size > FRAME_SIZE:
                parts = hashed(objects.parts(key), digest, objects.hash)
                self._writer.add_frames(in_frames(parts), encoding)
            else:
                data = b"".join(hashed(iter((objects.lookup(self._small, key),)), digest, objects.hash))
                self._writer.append_payloads([digest], [data], encoding)
        except ObjectNotFound:
            self.stats.missing.append(key)
        except (DamagedObject, DamagedContainer, DecodeError) as error:
            reason = error.reason if isinstance(error, DamagedObject) else str(error)
            self.stats.damaged[key] = reason
        else:
            self._count(1, meta.size)

    def _frames(self, digest: bytes) -> tuple[Stored, Iterator[BytesLike]] | None:
        """Return the stored form and bytes of a large packed object, if they are to be copied unchanged."""
        return self._source.packed.stored_frames(digest) if self._form.takes_frames else None

    def _small(self, digest: bytes) -> bytes | None:
        """Return the bytes of the packed or the loose copy; None when no copy is visible. Raise `DamagedObject`."""
        damage: DamagedObject | None = None
        try:
            data = self._source.packed.read(digest)
        except DamagedObject as error:
            damage, data = error, None
        if data is None:
            data = self._source.loose.read(digest)
        if damage and data is None:
            raise damage
        if damage:
            self.stats.rescued.append(digest.hex())
        return data


def _forms_of(wholes: Sequence[VerifiedObject]) -> Forms:
    """Return the stored forms as they are, with the dictionaries that they need."""
    needed = dict.fromkeys(whole.dictionary for whole in wholes if whole.dictionary is not None)
    codecs = {dictionary: FIRST_DICTIONARY + at for at, dictionary in enumerate(needed)}
    return Forms(
        [whole.stored for whole in wholes],
        [codecs[whole.dictionary] if whole.dictionary is not None else whole.codec or Codec.RAW for whole in wholes],
        list(needed),
    )


def in_storage_order(engine: Engine) -> Iterator[list[bytes]]:
    """Yield the objects that exist at the beginning, each once: the packed ones pack by pack, then the loose ones.

    The lists have a bounded size. Memory: 100 bytes for each loose object.
    """
    # List the loose objects first: an object that is packed and cleaned after that is listed among the packed ones.
    loose: set[bytes] = set()
    for some in engine.loose.names.digest_lists():
        loose.update(some)
    for pack in engine.packed.inspection.listed():
        for digests in pack.digests:
            loose.difference_update(digests)
            yield from _lists_of(digests)
    yield from _lists_of(sorted(loose))


def _lists_of(digests: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(digests), _LIST):
        yield digests[at : at + _LIST]
