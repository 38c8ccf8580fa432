"""Carry: objects from one container into the packs of another. What migration and transfer are made of.

The stored bytes go over as they are where the other container can store them so; every object is decoded and hashed on
the way, whatever becomes of its stored bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError, ObjectNotFound
from rsdos.model import FRAME_SIZE, Codec, Compression, CompressMode
from rsdos.stores.batch import BatchWriter
from rsdos.stores.encoding import Encoding
from rsdos.stores.findings import VerifiedObject
from rsdos.stores.packs import PackStore
from rsdos.streams.plain import hashed
from rsdos.streams.sources import in_frames

_GROUP = 1 << 13
"""Objects that are read, hashed and appended together, at most; 8 MiB of them raw is what a bulk read holds."""

_LIST = 1 << 15
"""Objects that are committed together: one sync for as many."""


@dataclass(frozen=True, slots=True)
class StoredFormPolicy:
    """The form in which objects are stored where they go to.

    ``codecs`` are taken over as they are. What comes in another is encoded by ``packed`` if it was compressed, and by
    ``raw`` if it was not.
    """

    codecs: frozenset[Codec]
    packed: Encoding
    raw: Encoding

    @classmethod
    def kept(cls, packs: PackStore, compression: Compression) -> StoredFormPolicy:
        """As it is, wherever ``packs`` can store it so; else, if it was compressed, by ``compression`` or zlib."""
        if compression.codec is Codec.RAW:
            compression = Compression(Codec.ZLIB, 1)
        return cls(packs.codecs, Encoding(CompressMode.AUTO, compression), Encoding(CompressMode.KEEP, compression))

    @classmethod
    def encoded(cls, compression: Compression) -> StoredFormPolicy:
        """All anew."""
        encoding = Encoding(CompressMode.AUTO, compression)
        return cls(frozenset(), encoding, encoding)


@dataclass(slots=True)
class CopyStats:
    """What was carried so far. ``size`` is raw bytes; ``damaged`` says what is wrong with each object that is."""

    objects: int = 0
    size: int = 0
    known: int = 0
    copied: int = 0
    """Of the objects, those of which the stored bytes were copied as they were."""
    damaged: dict[str, str] = field(default_factory=dict)
    rescued: list[str] = field(default_factory=list)
    """The keys of those of which the first copy is damaged, and another is not."""
    missing: list[str] = field(default_factory=list)
    """The keys of those that were there when they were listed, and are not any more: deleted by somebody, or lost."""


class ObjectCopier:
    """Carries objects of ``source`` through one appender of another container. One thread."""

    def __init__(self, source: Engine, appender: BatchWriter, form: StoredFormPolicy, carried: CopyStats) -> None:
        self._source = source
        self._appender = appender
        self._form = form
        self.carried = carried
        self.believed: list[bytes] = []
        """What the target had already when it was asked: who acknowledges these looks once more, behind the commit."""

    def copy(self, digests: Sequence[bytes]) -> int:
        """Append those objects that the target does not have; returns their raw bytes. Commits nothing.

        Both containers have the same hash. A damaged or missing object is noted, and the rest goes on.
        """
        unknown = self._appender.unknown(digests)
        self.carried.known += len(digests) - len(unknown)
        todo = [digests[at] for at in unknown]
        self.believed += set(digests).difference(todo)
        before = self.carried.size
        rest = self._carry_whole(todo)
        packed = self._source.packed
        if rest and not packed.is_latest(packed.version()):
            # Many may have been packed, or moved to another pack, since they were listed.
            packed.refresh()
            rest = self._carry_whole(rest)
        for digest in rest:
            self._carry_one(digest)
        return self.carried.size - before

    def _carry_whole(self, digests: Sequence[bytes]) -> list[bytes]:
        """Append what can be read in bulk; returns the others."""
        rest = set(digests)
        wholes = self._source.packed.read_verified_many(digests)
        while group := list(islice(wholes, _GROUP)):
            rest.difference_update(whole.digest for whole in group)
            self._append(group)
        return [digest for digest in digests if digest in rest]

    def _append(self, group: list[VerifiedObject]) -> None:
        taken = [whole for whole in group if whole.codec in self._form.codecs]
        self._append_all(taken, [whole.stored for whole in taken], [whole.codec or 0 for whole in taken])
        self.carried.copied += len(taken)
        for is_raw, encoding in ((True, self._form.raw), (False, self._form.packed)):
            fresh = [w for w in group if w.codec not in self._form.codecs and (w.codec is Codec.RAW) == is_raw]
            if not fresh:
                continue
            self._append_all(fresh, *encoding.encode_many([whole.raw for whole in fresh]))

    def _append_all(self, wholes: list[VerifiedObject], stored: Sequence[bytes], codecs: Sequence[int]) -> None:
        if wholes:
            sizes = [len(whole.raw) for whole in wholes]
            self._appender.append([whole.digest for whole in wholes], stored, codecs, sizes)
            self._count(len(wholes), sum(sizes))

    def _count(self, objects: int, size: int) -> None:
        self.carried.objects += objects
        self.carried.size += size

    def _carry_one(self, digest: bytes) -> None:
        """One that is large, loose, damaged, gone, or has moved since it was listed: until that is stable."""
        objects, key = self._source.objects, digest.hex()
        try:
            meta = objects.meta(key)
            encoding = self._form.raw if meta.codec is Codec.RAW else self._form.packed
            if meta.size > FRAME_SIZE:
                parts = hashed(objects.parts(key), digest, objects.hash)
                self._appender.add_frames(in_frames(parts), encoding)
            else:
                data = b"".join(hashed(iter((objects.lookup(self._small, key),)), digest, objects.hash))
                self._appender.append([digest], *encoding.encode_many([data]), [len(data)])
        except ObjectNotFound:
            self.carried.missing.append(key)
        except (DamagedObject, DamagedContainer, DecodeError) as error:
            reason = error.reason if isinstance(error, DamagedObject) else str(error)
            self.carried.damaged[key] = reason
        else:
            self._count(1, meta.size)

    def _small(self, digest: bytes) -> bytes | None:
        """The packed copy, or else the loose one; None when neither is in sight. Raises `DamagedObject`."""
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
            self.carried.rescued.append(digest.hex())
        return data


def in_storage_order(engine: Engine) -> Iterator[list[bytes]]:
    """All objects that are there at the first, each once: the packed ones pack by pack, and then the others.

    In lists of bounded size; 100 bytes for each loose object beside that.
    """
    # Loose first: what is packed and cleaned after that is among the packed ones, or it is looked for there.
    loose: set[bytes] = set()
    for some in engine.loose.names.digest_lists():
        loose.update(some)
    for pack in engine.packed.listed():
        for digests in pack.digests:
            loose.difference_update(digests)
            yield from _lists_of(digests)
    yield from _lists_of(sorted(loose))


def _lists_of(digests: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(digests), _LIST):
        yield digests[at : at + _LIST]
