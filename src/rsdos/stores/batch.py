"""What appending to packs has in common, whatever the container version."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from rsdos.errors import Busy
from rsdos.hashing import HashType, JoinedDigests, spell_digests
from rsdos.model import BytesLike, Copy, Stored
from rsdos.stores import order
from rsdos.stores.encoding import Encoding
from rsdos.streams.groups import Group
from rsdos.streams.sources import in_frames

MOST_ENTRIES = 1 << 18
"""Entries in one batch: 200 bytes each until it is committed, 50 MB."""

MOST_BATCH = 1 << 30
"""Stored bytes in one batch: what a writer that is killed has to do again, at most."""

MOST_HITS = 8 << 20
"""Raw bytes of small duplicates that are kept until their last look: one more, and it comes at once."""


class KnownCheck(Protocol):
    """Which of some objects the container has already, in a copy that is good and as durable as it should be."""

    def __call__(self, digests: Sequence[bytes], /, *, raws: Sequence[BytesLike] | None = None) -> Sequence[Copy]:
        """``raws``: their bytes, where the caller has them."""


class Large(NamedTuple):
    """A duplicate of more than a frame, written in full behind all else in the pack until its last look."""

    digest: bytes
    start: int
    stored: Stored
    crc: int


class BatchWriter(ABC):
    """One writer's way into the packs; a context manager, one thread.

    Objects are appended, and committed together: `commit` has to be called before the block ends. When the block
    raises, everything since the last commit is undone and the space given back; the appender accepts nothing more.

    What the container has already, a **duplicate**, is not recorded, but kept until the last look at the copy that it
    leans on (`rsdos.stores.order`); one that was deleted by then is recorded after all. That look comes at the commit,
    within the lock or the transaction of it, and for a loose copy behind it; sooner, when 8 MiB of small ones are kept,
    and for a large one, of which the bytes wait in the pack, when anything else is to be written behind it.
    """

    def __init__(self, hash_type: HashType, look: KnownCheck) -> None:
        self._hash = hash_type
        self._look = look
        self._batch: set[str] = set()
        """The keys of what is in the batch."""
        self._damaged: set[bytes] = set()
        """Of what is in the batch, that of which the container has a damaged copy."""
        self._hits: dict[bytes, bytes] = {}
        """The small duplicates, with their raw bytes."""
        self._hits_size = 0
        self._hits_encoding: Encoding | None = None
        self._large: Large | None = None
        self.pack_ids: list[int] = []
        """The packs that objects of this appender went to, ascending."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    @abstractmethod
    def room(self) -> int:
        """Stored bytes until the pack has reached its target; at least 1."""

    def add_many(self, payloads: Sequence[bytes], encoding: Encoding) -> JoinedDigests:
        """`add_group` of a few objects, of at most one frame each; returns all digests."""
        group = Group.of(self._hash, payloads)
        self.add_group(group, encoding)
        return group.digests()

    def add_group(self, group: Group, encoding: Encoding) -> None:
        """Append the objects that the container does not have."""
        payloads, digests = group.payloads, group.digests()
        at = self.unknown(digests, payloads)
        if at and len(at) == len(digests):
            self.append(digests, *encoding.encode_many(payloads), group.sizes)
        elif digests:
            fresh = {digests[i]: payloads[i] for i in at}
            objects = zip(digests, group.keys, payloads, strict=True)
            hits = {digest: data for digest, key, data in objects if digest not in fresh and key not in self._batch}
            self._append_all(fresh, encoding)
            self._remember(hits, encoding)

    def _append_all(self, objects: Mapping[bytes, bytes], encoding: Encoding) -> None:
        if objects:
            payloads = list(objects.values())
            self.append(list(objects), *encoding.encode_many(payloads), array("Q", map(len, payloads)))

    # The duplicates of step 3.

    def _remember(self, hits: Mapping[bytes, bytes], encoding: Encoding) -> None:
        self._hits.update(hits)
        self._hits_encoding = encoding
        self._hits_size += sum(map(len, hits.values()))
        if self._hits_size > MOST_HITS:
            self._settle_now()

    def _remember_large(self, large: Large) -> None:
        """Leave what was written last where it is, unless it is in this batch."""
        if large.digest.hex() in self._batch:
            self._rewind(large.start)
        else:
            self._large = large

    def _leant_on(self) -> list[bytes]:
        """The duplicates that have not had their last look."""
        return [*self._hits, *([self._large.digest] if self._large else ())]

    def _settle_now(self) -> None:
        """The last look at the duplicates, by the newest state: what is gone is recorded, the others are forgotten."""
        if duplicates := self._leant_on():
            self._settle(self._absent(duplicates))

    def _settle_large(self) -> None:
        """See to it that nothing is written behind a large duplicate."""
        if self._large:
            self._settle_now()

    def _settle(self, absent: Sequence[bytes], unsafe: Collection[bytes] = ()) -> None:
        """The last look, given those that are not packed; of those that are ``unsafe`` a power loss may take the copy.

        Commits nothing, whatever there is to record.
        """
        # One that came again is in the batch by now.
        absent = [digest for digest in absent if digest.hex() not in self._batch]
        copies = zip(absent, self._look(absent) if absent else (), strict=True)
        there = {digest for digest, copy in copies if copy is Copy.GOOD and digest not in unsafe}
        lost = order.lost(absent, there)
        hits, encoding = self._hits, self._hits_encoding
        self._hits, self._hits_size = {}, 0
        self._end_large(lost)
        if payloads := {digest: hits[digest] for digest in lost if digest in hits}:
            assert encoding is not None
            data = list(payloads.values())
            self._put(list(payloads), *encoding.encode_many(data), array("Q", map(len, data)))

    def _settle_packed(self, absent: Collection[bytes]) -> None:
        """The last look within a commit, given those that are not packed: nobody else commits.

        Small ones that are not are looked for elsewhere once all is committed, which takes time; a large one is
        recorded, since its bytes cannot wait for that.
        """
        self._hits = {digest: data for digest, data in self._hits.items() if digest in absent}
        self._hits_size = sum(map(len, self._hits.values()))
        self._end_large(absent)

    def _end_large(self, lost: Collection[bytes]) -> None:
        large, self._large = self._large, None
        if large and large.digest in lost:
            self._put_large(large)
        elif large:
            self._rewind(large.start)

    @abstractmethod
    def _absent(self, digests: Sequence[bytes]) -> list[bytes]:
        """Those of the objects that are not packed, by the newest state of the index."""

    @abstractmethod
    def _put(
        self, digests: Sequence[bytes], stored: Sequence[bytes], codecs: Sequence[int], sizes: Sequence[int]
    ) -> None:
        """Write objects and record them in the batch."""

    @abstractmethod
    def _put_large(self, large: Large) -> None:
        """Record in the batch what stands at the end of the pack."""

    @abstractmethod
    def _rewind(self, offset: int) -> None:
        """Forget what was written from ``offset`` on."""

    @abstractmethod
    def add_frames(self, source: Iterator[BytesLike], encoding: Encoding) -> bytes:
        """Append one object of more than one frame, and take it back if the container has it; returns its digest.

        It is taken back as well when ``source`` raises; the appender stays usable then.
        """

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

    @abstractmethod
    def add_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> None:
        """Append one object in a stored form that is there already, unless the container has it.

        ``parts`` are its stored bytes, which the caller has verified.
        """

    def unknown(self, digests: Sequence[bytes], raws: Sequence[BytesLike] | None = None) -> Sequence[int]:
        """The positions of the digests that nobody has, ascending, the first of each digest.

        ``raws`` are the bytes of the objects, where the caller has them.
        """
        # 3. Look for duplicates: in this batch, in the index, in the other store.
        keys = spell_digests(digests)
        at: Sequence[int] = range(len(digests))
        if len(set(keys)) < len(keys) or not self._batch.isdisjoint(keys):
            first = dict(zip(reversed(keys), reversed(at), strict=True))
            at = sorted(first[key] for key in first if key not in self._batch)
            digests = [digests[i] for i in at]
            raws = raws and [raws[i] for i in at]
        answers = self._look(digests, raws=raws) if digests else []
        if answers.count(Copy.MISSING) == len(digests):
            return at
        self._damaged.update(digests[i] for i, copy in enumerate(answers) if copy is Copy.DAMAGED)
        return [i for i, copy in zip(at, answers, strict=True) if copy is not Copy.GOOD]

    def append(
        self, digests: Sequence[bytes], stored: Sequence[bytes], codecs: Sequence[int], sizes: Sequence[int]
    ) -> None:
        """Append objects of at most one frame each, which `unknown` has named, in their stored form.

        The object that brings a pack to its target is the last one in it; what is behind goes to the next.
        """
        self._open()
        if sum(map(len, stored)) <= self.room:
            self._append(digests, stored, codecs, sizes)
            return
        begin = 0
        while begin < len(stored):
            self._open()
            end, room = begin, self.room
            while end < len(stored) and room > 0:
                room -= len(stored[end])
                end += 1
            self._append(digests[begin:end], stored[begin:end], codecs[begin:end], sizes[begin:end])
            begin = end

    @abstractmethod
    def _open(self) -> object:
        """The pack that the next object goes to, locked; `room` is of it."""

    @abstractmethod
    def _append(
        self, digests: Sequence[bytes], stored: Sequence[bytes], codecs: Sequence[int], sizes: Sequence[int]
    ) -> None:
        """Append objects to that pack; commits when it is full."""

    def commit(self) -> None:
        """Make what was appended visible to all, and durable. Then, and only then, may its keys be acknowledged.

        Raises `Busy` when duplicates are deleted again and again as soon as they were recorded.
        """
        for _ in range(order.MOST_ROUNDS):
            duplicates = self._hits
            self._commit()
            if self._count:
                # What is in the batch by now was lost. Its commit takes time: the others are looked for behind it.
                others = {digest: data for digest, data in duplicates.items() if digest.hex() not in self._batch}
                self._hits, self._hits_size = others, sum(map(len, others.values()))
            elif not self._leant_on():
                return
        raise Busy("what was to be stored", "others, which delete it whenever it was")

    @abstractmethod
    def _commit(self) -> None:
        """Commit the batch, and give the duplicates that are packed their last look within the commit.

        If nothing is in it, see to it that what the duplicates lean on is as durable as it should be, and give all of
        them their last look; what is lost is in the batch then.
        """

    @property
    @abstractmethod
    def _count(self) -> int:
        """Objects in the batch."""
