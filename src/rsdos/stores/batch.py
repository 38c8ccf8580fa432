"""Inserting into packs, whatever the container version: duplicates, and the limits of a batch."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from rsdos.errors import Busy
from rsdos.hashing import HashType, JoinedDigests, spell_digests
from rsdos.model import BytesLike, Copy, Source, Stored, Trust
from rsdos.stores import order
from rsdos.stores.base import KnownCheck
from rsdos.stores.encoding import Encoding, Forms
from rsdos.streams.groups import Group, grouped
from rsdos.streams.sources import in_frames

if TYPE_CHECKING:
    from rsdos.codecs.dictionary import Dictionary

BUFFER = 8 << 20
"""Raw bytes of small objects that a bulk insert holds at a time."""

GROUP = 1 << 13
"""Objects that are hashed, compressed and written together; beyond it the calls around them no longer show."""

MOST_ENTRIES = 1 << 18
"""Entries in one batch: 200 bytes each until it is committed, 50 MB."""

MOST_BATCH = 1 << 30
"""Stored bytes in one batch: what a writer that is killed has to do again, at most."""

MOST_DUPLICATES = 8 << 20
"""Raw bytes of small duplicates that are kept until their last look; with more than that it comes at once."""


class Large(NamedTuple):
    """An object of more than a frame, written in full behind all else in the pack."""

    digest: bytes
    start: int
    stored: Stored
    crc: int


class Duplicates:
    """Objects that the container has already, kept until the last look at the copies that they lean on."""

    def __init__(self) -> None:
        self.small: dict[bytes, bytes] = {}
        """The raw bytes of those of at most a frame, by digest."""
        self.size = 0
        self.large: Large | None = None
        """One of more than a frame: its bytes wait at the end of the pack."""

    def __bool__(self) -> bool:
        return bool(self.small) or self.large is not None

    def digests(self) -> list[bytes]:
        """The digest of each."""
        return [*self.small, *([self.large.digest] if self.large else ())]

    def add(self, small: Mapping[bytes, bytes]) -> None:
        """Keep these small ones too."""
        self.small.update(small)
        self.size += sum(map(len, small.values()))

    def keep(self, small: dict[bytes, bytes]) -> None:
        """Keep these small ones, and no others."""
        self.small = small
        self.size = sum(map(len, small.values()))

    def take_large(self) -> Large | None:
        """Return the large one, and keep it no longer."""
        large, self.large = self.large, None
        return large


class Absent(NamedTuple):
    """The duplicates that are not packed; and of those that are, the ones whose copy a power loss may take."""

    digests: Sequence[bytes]
    unsafe: Collection[bytes] = ()


class OpenBatch(Protocol):
    """What one writer has appended to a pack and not committed yet, in the way of one container version. One thread.

    When the block of the context manager raises, everything since the last commit is undone, its space is given back,
    and all else raises `WriterPoisoned`.
    """

    keys: set[str]
    """The keys of what is in the batch."""
    damaged: set[bytes]
    """The objects in the batch of which the container has a damaged copy."""
    pack_ids: list[int]
    """The packs that objects were committed to, ascending."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def room(self) -> int:
        """Stored bytes until the pack has reached its target; at least 1. Opens none."""

    def begin(self) -> None:
        """Do what comes before a look for duplicates."""

    def open(self) -> int:
        """Lock a pack, where none is locked, for the next object; return its room."""

    @property
    def is_full(self) -> bool:
        """Whether the batch, or its pack, has reached its limit."""

    def dictionary_for(self, payloads: Sequence[bytes], encoding: Encoding) -> Dictionary | None:
        """Return the dictionary to compress some objects with; None for none. `begin` was called before."""

    def takes(self, dictionary: Dictionary, saved: int) -> bool:
        """Return whether forms that need a dictionary are better put as they are than encoded anew.

        They are ``saved`` bytes shorter than the raw objects: that pays where the pack has the dictionary already, or
        where it is worth writing. `begin` was called before.
        """

    def put(self, digests: Sequence[bytes], forms: Forms, sizes: Sequence[int]) -> None:
        """Write objects, and record them in the batch."""

    def put_large(self, large: Large) -> None:
        """Record in the batch what was written last."""

    def write_large(self, source: Iterator[BytesLike], encoding: Encoding) -> Large:
        """Write an object of more than one frame, and do not record it; when ``source`` raises, take it back."""

    def write_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> Large:
        """Write an object in a stored form that is there already, and do not record it."""

    def rewind(self, offset: int) -> None:
        """Forget what was written from ``offset`` on."""

    def absent(self, digests: Sequence[bytes]) -> Absent:
        """Return which of the objects are not packed, by the newest state of the index."""

    def settle(self, digests: Sequence[bytes]) -> Absent:
        """`absent`, with the packed copies as durable as they should be. Nothing is in the batch."""

    def commit(self, duplicates: Duplicates) -> None:
        """Commit the batch, and give the duplicates that are packed their last look within the commit.

        See `settle_packed`.
        """


def settle_packed(batch: OpenBatch, duplicates: Duplicates, absent: Collection[bytes]) -> None:
    """Give the duplicates of a batch their last look within its commit, given those that are not packed.

    Nobody else commits. Small ones that are not packed are looked for elsewhere once all is committed, which takes
    time; a large one is recorded, since its bytes cannot wait for that.
    """
    duplicates.keep({digest: data for digest, data in duplicates.small.items() if digest in absent})
    _end_large(batch, duplicates, absent)


def _end_large(batch: OpenBatch, duplicates: Duplicates, lost: Collection[bytes]) -> None:
    """Record the large duplicate if it is lost, and take its bytes back otherwise."""
    large = duplicates.take_large()
    if large and large.digest in lost:
        batch.put_large(large)
    elif large:
        batch.rewind(large.start)


class BatchWriter:
    """One writer's way into the packs; a context manager. One thread.

    Objects are appended, and committed together: `commit` has to be called before the block ends. When the block
    raises, everything since the last commit is undone and the space given back; the writer accepts nothing more.

    What the container has already, a **duplicate**, is not recorded, but kept until the last look at the copy that it
    leans on (`rsdos.stores.order`); one that was deleted by then is recorded after all. That look comes at the commit,
    within the lock or the transaction of it, and for a loose copy behind it; sooner, when 8 MiB of small ones are kept,
    and for a large one, whose bytes wait in the pack, when anything else is to be written behind it.
    """

    def __init__(self, batch: OpenBatch, hash_type: HashType, known: KnownCheck, trust: Trust) -> None:
        self.hash = hash_type
        self._batch = batch
        self._known = known
        self._trust = trust
        self._duplicates = Duplicates()
        self._encoding: Encoding | None = None
        """How the small duplicates are to be stored if they have to be."""

    def __enter__(self) -> Self:
        self._batch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert kind or not self._batch.keys, "a writer's block ended without a commit"
        self._batch.__exit__(kind, error, trace)

    @property
    def pack_ids(self) -> Sequence[int]:
        """The packs that objects of this writer went to, ascending."""
        return self._batch.pack_ids

    def group_size(self) -> int:
        """Return the raw bytes after which a group of small objects ends."""
        return min(BUFFER, self._batch.room)

    # Small objects.

    def add_many(self, payloads: Sequence[bytes], encoding: Encoding) -> JoinedDigests:
        """`add_group` of a few objects, of at most one frame each; return all digests."""
        group = Group.of(self.hash, payloads)
        self.add_group(group, encoding)
        return group.digests()

    def add_group(self, group: Group, encoding: Encoding) -> None:
        """Append the objects that the container does not have."""
        payloads, digests = group.payloads, group.digests()
        at = self.unknown(digests, payloads)
        if at and len(at) == len(payloads):
            self.append(digests, self._encode(payloads, encoding), group.sizes)
        elif payloads:
            fresh = {digests[i]: payloads[i] for i in at}
            objects = zip(digests, group.keys, payloads, strict=True)
            keys = self._batch.keys
            known = {digest: data for digest, key, data in objects if digest not in fresh and key not in keys}
            if fresh:
                self.append_payloads(list(fresh), list(fresh.values()), encoding)
            self._remember(known, encoding)

    def unknown(self, digests: Sequence[bytes], raws: Sequence[BytesLike] | None = None) -> Sequence[int]:
        """Return the positions of the digests that nobody has, ascending, the first of each digest.

        ``raws`` are the bytes of the objects, where the caller has them.
        """
        self._batch.begin()
        # 3. Look for duplicates: in this batch, in the index, in the other store.
        keys = spell_digests(digests)
        at: Sequence[int] = range(len(keys))
        if len(set(keys)) < len(keys) or not self._batch.keys.isdisjoint(keys):
            first = dict(zip(reversed(keys), reversed(at), strict=True))
            at = sorted(first[key] for key in first if key not in self._batch.keys)
            digests = [digests[i] for i in at]
            raws = raws and [raws[i] for i in at]
        answers = self._known(digests, self._trust, raws=raws) if at else []
        if answers.count(Copy.MISSING) == len(answers):
            return at
        self._batch.damaged.update(digests[i] for i, copy in enumerate(answers) if copy is Copy.DAMAGED)
        return [i for i, copy in zip(at, answers, strict=True) if copy is not Copy.GOOD]

    def _encode(self, payloads: Sequence[bytes], encoding: Encoding) -> Forms:
        return encoding.encode_many(payloads, self._batch.dictionary_for(payloads, encoding))

    def append_payloads(self, digests: Sequence[bytes], payloads: Sequence[bytes], encoding: Encoding) -> None:
        """Encode objects of at most one frame each, which `unknown` has named, and append them."""
        self.append(digests, self._encode(payloads, encoding), array("Q", map(len, payloads)))

    def takes(self, dictionary: Dictionary, saved: int) -> bool:
        """Return whether `append` should get forms that need a dictionary; see `OpenBatch.takes`."""
        return self._batch.takes(dictionary, saved)

    def append(self, digests: Sequence[bytes], forms: Forms, sizes: Sequence[int]) -> None:
        """Append objects of at most one frame each, which `unknown` has named, in their stored form.

        The object that brings a pack to its target is the last one in it; what is behind goes to the next.
        """
        # 4. Write. A version 2 batch gets its segment and footer when it is full or ends.
        stored = forms.stored
        if sum(map(len, stored)) <= self._batch.open():
            self._put(digests, forms, sizes)
            return
        begin = 0
        while begin < len(stored):
            end, room = begin, self._batch.open()
            while end < len(stored) and room > 0:
                room -= len(stored[end])
                end += 1
            self._put(digests[begin:end], forms.part(begin, end), sizes[begin:end])
            begin = end

    def _put(self, digests: Sequence[bytes], forms: Forms, sizes: Sequence[int]) -> None:
        self._settle_large()
        self._batch.put(digests, forms, sizes)
        if self._batch.is_full:
            self.commit()

    # Large objects.

    def add_frames(self, source: Iterator[BytesLike], encoding: Encoding) -> bytes:
        """Append one object of more than one frame, unless the container has it; return its digest.

        It is taken back when ``source`` raises; the writer stays usable then.
        """
        self._settle_large()
        # 4. Before 3: the digest is known only when all is written.
        large = self._batch.write_large(source, encoding)
        if self.unknown([large.digest]):
            self._put_large(large)
        elif large.digest.hex() in self._batch.keys:
            self._batch.rewind(large.start)
        else:
            self._duplicates.large = large
        return large.digest

    def add_parts(self, parts: Iterable[BytesLike], encoding: Encoding) -> bytes:
        """Append one object of any size, unless the container has it; return its digest.

        An error that ``parts`` raises goes to the caller. Nothing of the object is stored then, and the writer stays
        usable.
        """
        frames = in_frames(parts)
        first = next(frames, b"")
        second = next(frames, None)
        if second is not None:
            return self.add_frames(chain((first, second), frames), encoding)
        (digest,) = self.add_many([bytes(first)], encoding)
        return digest

    def add_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> bool:
        """Append one object in a stored form that is there already, unless the container has it; return whether.

        ``parts`` are its stored bytes, which the caller has verified. It is taken back when they raise, and the writer
        stays usable.
        """
        if not self.unknown([digest]):
            return False
        self._settle_large()
        self._put_large(self._batch.write_stored(digest, stored, parts))
        return True

    def _put_large(self, large: Large) -> None:
        self._batch.put_large(large)
        if self._batch.is_full:
            self.commit()

    # The last look at duplicates.

    def _remember(self, small: Mapping[bytes, bytes], encoding: Encoding) -> None:
        self._encoding = encoding
        self._duplicates.add(small)
        if self._duplicates.size > MOST_DUPLICATES:
            self._settle_now()

    def _settle_large(self) -> None:
        """See to it that nothing is written behind a large duplicate."""
        if self._duplicates.large:
            self._settle_now()

    def _settle_now(self) -> None:
        """Give the duplicates their last look by the newest state, and keep none of them."""
        if digests := self._duplicates.digests():
            self._settle(self._batch.absent(digests))

    def _settle(self, absent: Absent) -> None:
        """Record the duplicates that are nowhere any more, and forget the others. Commits nothing."""
        # One that came again is in the batch by now.
        digests = [digest for digest in (*absent.digests, *absent.unsafe) if digest.hex() not in self._batch.keys]
        copies = zip(digests, self._known(digests, self._trust) if digests else (), strict=True)
        there = {digest for digest, copy in copies if copy is Copy.GOOD and digest not in absent.unsafe}
        lost = order.lost(digests, there)
        small = {digest: self._duplicates.small[digest] for digest in lost if digest in self._duplicates.small}
        self._duplicates.keep({})
        _end_large(self._batch, self._duplicates, lost)
        if small:
            assert self._encoding is not None
            payloads = list(small.values())
            self._batch.put(list(small), self._encode(payloads, self._encoding), array("Q", map(len, payloads)))

    def commit(self) -> None:
        """Make what was appended visible to all, and durable. Then, and only then, may its keys be acknowledged.

        Raises `Busy` when duplicates are deleted again and again as soon as they were recorded.
        """
        for _ in range(order.MOST_ROUNDS):
            small = self._duplicates.small
            if self._batch.keys:
                self._batch.commit(self._duplicates)
            else:
                absent = self._batch.settle(self._duplicates.digests())
                if self._duplicates:
                    self._settle(absent)
            if self._batch.keys:
                # What is in the batch by now was lost. Its commit takes time: the others are looked for behind it.
                keys = self._batch.keys
                self._duplicates.keep({digest: data for digest, data in small.items() if digest.hex() not in keys})
            elif not self._duplicates:
                return
        raise Busy("what was to be stored", "others, which delete it whenever it was")


def insert_many(sources: Iterable[Source], writer: BatchWriter, encoding: Encoding) -> list[str]:
    """Append many objects to packs; return their keys in the order given, once all are durable. Closes the writer.

    One sync for every 262,144 objects or GiB. Memory: 8 MiB of small objects at a time (twice that while they are
    compressed), three frames of one that is larger, and 200 bytes for every object of the batch. When it raises, what
    an earlier batch of the call committed stays, and the rest has left nothing behind.
    """
    keys: list[str] = []
    with writer:
        for group in grouped(sources, writer.group_size, GROUP, writer.hash):
            if isinstance(group, Group):
                writer.add_group(group, encoding)
                keys += group.keys
            else:
                with group:
                    keys.append(writer.add_frames(group, encoding).hex())
        writer.commit()
    # 7. Only now are the keys returned.
    return keys
