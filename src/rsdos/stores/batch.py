"""Inserting into packs, for both container versions: duplicates, and the limits of a batch."""

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
"""Objects that are compressed and written together. More objects at a time would not be faster."""

_LOOKED_UP = 1 << 15
"""Objects that are looked up together: each table costs a group its calls of numpy. An insert of 4 million objects of
100 B is 8 % faster than with 8,192, and one beside 100 million 11 %."""

MOST_ENTRIES = 1 << 18
"""Entries in one batch: 200 bytes each until it is committed, 50 MB."""

MOST_BATCH = 1 << 30
"""Stored bytes in one batch: a writer that is killed repeats no more than that."""

MOST_DUPLICATES = 8 << 20
"""Raw bytes of small duplicates that wait for their last lookup. When there are more, the lookup is made at once."""


class Large(NamedTuple):
    """An object of more than a frame that was written in full at the end of the pack, and not recorded yet."""

    digest: bytes
    start: int
    stored: Stored
    crc: int


class Duplicates:
    """Objects that the container has already. Their bytes are kept until the last lookup of the copies they rely on."""

    def __init__(self) -> None:
        self.small: dict[bytes, bytes] = {}
        """The raw bytes of the objects of at most a frame, by digest."""
        self.size = 0
        self.large: Large | None = None
        """An object of more than a frame. Its bytes are at the end of the pack."""

    def __bool__(self) -> bool:
        return bool(self.small) or self.large is not None

    def digests(self) -> list[bytes]:
        """Return the digest of each."""
        return [*self.small, *([self.large.digest] if self.large else ())]

    def add(self, small: Mapping[bytes, bytes]) -> None:
        """Keep more small objects."""
        self.small.update(small)
        self.size += sum(map(len, small.values()))

    def keep(self, small: dict[bytes, bytes]) -> None:
        """Keep these small objects, and forget the other small ones."""
        self.small = small
        self.size = sum(map(len, small.values()))

    def keep_some(self, digests: Collection[bytes]) -> None:
        """Forget the small objects that are not among these."""
        self.keep({digest: data for digest, data in self.small.items() if digest in digests})

    def take_large(self) -> Large | None:
        """Return the large object, and forget it."""
        large, self.large = self.large, None
        return large


class Absent(NamedTuple):
    """The duplicates that are not packed, and (``unsafe``) those whose packed copy a power loss may take."""

    digests: Sequence[bytes]
    unsafe: Collection[bytes] = ()


class OpenBatch(Protocol):
    """The objects that one writer has appended to packs and not committed yet. One class per version. One thread.

    When the block of the context manager raises, everything since the last commit is undone and its space is given
    back. Every later call raises `WriterPoisoned`.
    """

    keys: set[str]
    """The keys of the objects in the batch."""
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
        """Stored bytes until the pack has reached its target; at least 1. This opens no pack."""

    def begin(self) -> None:
        """Prepare a lookup of duplicates."""

    def open(self) -> int:
        """Lock a pack for the next object, unless one is locked. Return its `room`."""

    @property
    def is_full(self) -> bool:
        """Whether the batch, or its pack, has reached its limit."""

    def dictionary_for(self, payloads: Sequence[bytes], encoding: Encoding) -> Dictionary | None:
        """Return the dictionary to compress some objects with; None for none.

        ``encoding`` can use one. Call `begin` first.
        """

    def takes(self, dictionary: Dictionary, saved: int) -> bool:
        """Return whether forms that need a dictionary are better written unchanged than encoded anew.

        The forms are ``saved`` bytes shorter than the raw objects. That pays if the pack has the dictionary already,
        or if it is worth writing there. `begin` was called before.
        """

    def put(self, digests: Sequence[bytes], forms: Forms, sizes: Sequence[int]) -> None:
        """Write objects, and record them in the batch."""

    def put_large(self, large: Large) -> None:
        """Record the large object that was written last."""

    def write_large(self, source: Iterator[BytesLike], encoding: Encoding) -> Large:
        """Write an object of more than one frame without recording it. When ``source`` raises, remove it again."""

    def write_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> Large:
        """Write an object that is encoded already, without recording it."""

    def rewind(self, offset: int) -> None:
        """Forget what was written from ``offset`` on."""

    def absent(self, digests: Sequence[bytes]) -> Absent:
        """Return which of the objects are not packed, by the newest state of the index."""

    def settle(self, digests: Sequence[bytes]) -> Absent:
        """Do `absent`, after making the packed copies as durable as the writer promises. The batch is empty."""

    def commit(self, duplicates: Duplicates) -> None:
        """Commit the batch. The last lookup of packed duplicates comes within the commit; see `settle_packed`."""


def settle_packed(batch: OpenBatch, duplicates: Duplicates, absent: Collection[bytes]) -> None:
    """Settle the duplicates of a batch within its commit, while no other process commits. ``absent`` are not packed.

    Small duplicates that are not packed are looked up in the other store after the commit, because that takes time. A
    large duplicate that is not packed is recorded at once, because its bytes are at the end of the pack.
    """
    duplicates.keep_some(absent)
    end_large(batch, duplicates, absent)


def end_large(batch: OpenBatch, duplicates: Duplicates, lost: Collection[bytes]) -> None:
    """Record the large duplicate if it is lost. Otherwise remove its bytes."""
    large = duplicates.take_large()
    if large and large.digest in lost:
        batch.put_large(large)
    elif large:
        batch.rewind(large.start)


class BatchWriter:
    """Appends objects to packs, and commits them together. A context manager. One thread.

    `commit` must be called before the block ends. When the block raises, everything since the last commit is undone and
    the space given back; the writer accepts nothing more.

    A **duplicate**, an object that the container has already, is not recorded. Its bytes are kept until the last lookup
    of the copy that it relies on (`rsdos.stores.order`). If that copy was deleted by then, the duplicate is recorded.

    The last lookup comes within the lock or the transaction of the commit, and for loose copies after the commit. It
    comes sooner in two cases: when 8 MiB of small duplicates are kept, and before anything is written after a large
    duplicate, whose bytes are at the end of the pack.
    """

    def __init__(self, batch: OpenBatch, hash_type: HashType, known: KnownCheck, trust: Trust) -> None:
        self.hash = hash_type
        self._batch = batch
        self._known = known
        self._trust = trust
        self._duplicates = Duplicates()
        self.committed = 0
        """The number of objects that were committed."""
        self._encoding: Encoding | None = None
        """How the small duplicates are stored if their copies are gone."""

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
        """The packs that this writer has committed objects to, ascending."""
        return self._batch.pack_ids

    def group_size(self) -> int:
        """Return the raw bytes after which a group of small objects ends."""
        return min(BUFFER, self._batch.room)

    # Small objects.

    def add_many(self, payloads: Sequence[bytes], encoding: Encoding) -> JoinedDigests:
        """Append a few objects of at most one frame each, as `add_group` does. Return all digests."""
        return self.add_group(Group.of(self.hash, payloads), encoding)

    def add_group(self, group: Group, encoding: Encoding) -> JoinedDigests:
        """Append the objects that the container does not have. Return all digests."""
        payloads, digests = group.payloads, self.hash.spelled_by(group.keys)
        at = self.unknown(digests, payloads)
        if at and len(at) == len(payloads):
            self._append_in_parts(digests, payloads, group.sizes, encoding)
        elif payloads:
            fresh = {digests[i]: payloads[i] for i in at}
            objects = zip(digests, group.keys, payloads, strict=True)
            keys = self._batch.keys
            known = {digest: data for digest, key, data in objects if digest not in fresh and key not in keys}
            if fresh:
                self.append_payloads(list(fresh), list(fresh.values()), encoding)
            self._remember(known, encoding)
        return digests

    def unknown(self, digests: Sequence[bytes], raws: Sequence[BytesLike] | None = None) -> Sequence[int]:
        """Return the positions of the digests that neither the batch nor the container has, ascending, each once.

        ``raws`` are the bytes of the objects, if the caller has them.
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
        dictionary = self._batch.dictionary_for(payloads, encoding) if encoding.can_use_dictionaries else None
        return encoding.encode_many(payloads, dictionary)

    def append_payloads(self, digests: Sequence[bytes], payloads: Sequence[bytes], encoding: Encoding) -> None:
        """Encode objects of at most one frame each, which `unknown` has named, and append them."""
        self._append_in_parts(digests, payloads, array("Q", map(len, payloads)), encoding)

    def _append_in_parts(
        self, digests: Sequence[bytes], payloads: Sequence[bytes], sizes: Sequence[int], encoding: Encoding
    ) -> None:
        parts = -(-len(payloads) // GROUP)
        if parts <= 1:
            self.append(digests, self._encode(payloads, encoding), sizes)
            return
        for number in range(parts):  # Of the same length: how well a small part compresses tells little.
            part = slice(len(payloads) * number // parts, len(payloads) * (number + 1) // parts)
            self.append(digests[part], self._encode(payloads[part], encoding), sizes[part])

    def takes(self, dictionary: Dictionary, saved: int) -> bool:
        """Return whether `append` should get forms that need a dictionary; see `OpenBatch.takes`."""
        return self._batch.takes(dictionary, saved)

    def append(self, digests: Sequence[bytes], forms: Forms, sizes: Sequence[int]) -> None:
        """Append objects of at most one frame each, which `unknown` has named, in their stored form.

        The object that brings a pack to its target is the last in it. The objects after it go to the next pack.
        """
        # 4. Write. A version 2 batch gets its segment and footer when it is full or ends.
        self._settle_large()
        stored = forms.stored
        begin, count = 0, len(stored)
        if sum(map(len, stored)) <= self._batch.open():
            self._batch.put(digests, forms, sizes)
            begin = count
        while begin < count:
            end, room = begin, self._batch.open()
            while end < count and room > 0:
                room -= len(stored[end])
                end += 1
            self._batch.put(digests[begin:end], forms.part(begin, end), sizes[begin:end])
            begin = end
            if begin < count and self._batch.is_full:
                self.commit()
        if self._batch.is_full:
            self.commit()

    # Large objects.

    def add_frames(self, source: Iterator[BytesLike], encoding: Encoding) -> bytes:
        """Append one object of more than one frame, unless the container has it. Return its digest.

        When ``source`` raises, the object is removed again, and the writer stays usable.
        """
        self._settle_large()
        # 4 comes before 3: the digest is known only when the whole object is written.
        large = self._batch.write_large(source, encoding)
        if self.unknown([large.digest]):
            self._put_large(large)
        elif large.digest.hex() in self._batch.keys:
            self._batch.rewind(large.start)
        else:
            self._duplicates.large = large
        return large.digest

    def add_parts(self, parts: Iterable[BytesLike], encoding: Encoding) -> bytes:
        """Append one object of any size, unless the container has it. Return its digest.

        When ``parts`` raise, nothing of the object is stored, and the writer stays usable.
        """
        frames = in_frames(parts)
        first = next(frames, b"")
        second = next(frames, None)
        if second is not None:
            return self.add_frames(chain((first, second), frames), encoding)
        (digest,) = self.add_many([bytes(first)], encoding)
        return digest

    def add_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> bool:
        """Append one object that is encoded already, unless the container has it. Return whether it was appended.

        ``parts`` are its stored bytes, which the caller has verified. When they raise, the object is removed again, and
        the writer stays usable.
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

    # The last lookup of duplicates.

    def _remember(self, small: Mapping[bytes, bytes], encoding: Encoding) -> None:
        self._encoding = encoding
        self._duplicates.add(small)
        if self._duplicates.size > MOST_DUPLICATES:
            self._settle_now()

    def _settle_large(self) -> None:
        """Settle a large duplicate before anything is written after it."""
        if self._duplicates.large:
            self._settle_now()

    def _settle_now(self) -> None:
        """Settle all duplicates by the newest state of the index."""
        if digests := self._duplicates.digests():
            self._settle(self._batch.absent(digests))

    def _settle(self, absent: Absent) -> None:
        """Record the duplicates that are gone everywhere, and forget the others. Commit nothing."""
        # A duplicate may have been inserted again; then it is in the batch.
        digests = [digest for digest in (*absent.digests, *absent.unsafe) if digest.hex() not in self._batch.keys]
        copies = zip(digests, self._known(digests, self._trust) if digests else (), strict=True)
        there = {digest for digest, copy in copies if copy is Copy.GOOD and digest not in absent.unsafe}
        lost = order.lost(digests, there)
        small = {digest: self._duplicates.small[digest] for digest in lost if digest in self._duplicates.small}
        self._duplicates.keep({})
        end_large(self._batch, self._duplicates, lost)
        if small:
            assert self._encoding is not None
            payloads = list(small.values())
            self._batch.put(list(small), self._encode(payloads, self._encoding), array("Q", map(len, payloads)))

    def commit(self) -> None:
        """Make the appended objects visible and durable. Their keys may be acknowledged only then.

        Raise `Busy` if other processes delete the duplicates again and again, as soon as they are recorded.
        """
        for _ in range(order.MOST_ROUNDS):
            small = self._duplicates.small
            if count := len(self._batch.keys):
                self._batch.commit(self._duplicates)
                self.committed += count
            else:
                absent = self._batch.settle(self._duplicates.digests())
                if self._duplicates:
                    self._settle(absent)
            if self._batch.keys:
                # Lost duplicates are in the batch now. Its commit takes time: look the others up after it.
                keys = self._batch.keys
                self._duplicates.keep({digest: data for digest, data in small.items() if digest.hex() not in keys})
            elif not self._duplicates:
                return
        raise Busy("what was to be stored", "others, which delete it whenever it was")


def insert_many(sources: Iterable[Source], writer: BatchWriter, encoding: Encoding) -> list[str]:
    """Append many objects to packs. Return their keys, in the order given, once all are durable. Close the writer.

    It syncs once for every 262,144 objects or GiB. Memory: 8 MiB of small objects at a time (twice that while they are
    compressed), three frames of a larger object, and 200 bytes for each object of the batch. When it raises, the
    earlier batches of the call stay committed, and the rest leaves nothing behind.
    """
    keys: list[str] = []
    with writer:
        for group in grouped(sources, writer.group_size, _LOOKED_UP, writer.hash):
            if isinstance(group, Group):
                writer.add_group(group, encoding)
                keys += group.keys
            else:
                with group:
                    keys.append(writer.add_frames(group, encoding).hex())
        writer.commit()
    # 7. Only now are the keys returned.
    return keys
