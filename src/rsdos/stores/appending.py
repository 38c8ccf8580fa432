"""What appending to packs has in common, whatever the container version."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from rsdos.hashing import HashType, JoinedDigests, spelled
from rsdos.model import BytesLike, Copy, Stored
from rsdos.stores.encoding import Encoding
from rsdos.streams.groups import Group

MOST_ENTRIES = 1 << 18
"""Entries in one batch: 200 bytes each until it is committed, 50 MB."""

MOST_BATCH = 1 << 30
"""Stored bytes in one batch: what a writer that is killed has to do again, at most."""

MOST_HITS = 8 << 20
"""Raw bytes of duplicates that are kept until it is known that they were not deleted meanwhile."""

Look = Callable[[Sequence[bytes]], Sequence[Copy]]
"""Which of some objects the container has already, in a copy that is good and as durable as it should be."""


class PackAppender(ABC):
    """One writer's way into the packs; a context manager, one thread.

    Objects are appended, and committed together: `commit` has to be called before the block ends. When the block
    raises, everything since the last commit is undone and the space given back; the appender accepts nothing more.
    """

    def __init__(self, hash_type: HashType, look: Look) -> None:
        self._hash = hash_type
        self._look = look
        self._batch: set[str] = set()
        """The keys of what is in the batch."""
        self._damaged: set[bytes] = set()
        """Of what is in the batch, that of which the container has a damaged copy."""
        self._hits: dict[bytes, bytes] = {}
        """Objects that the container had when they came: they are written after all if they are deleted by now."""
        self._hits_size = 0
        self._hits_encoding: Encoding | None = None
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
        at = self.unknown(digests)
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

    # The hits of step 3.

    def _remember(self, hits: Mapping[bytes, bytes], encoding: Encoding) -> None:
        """Keep what the container has until it is known that nobody deleted it meanwhile."""
        self._hits.update(hits)
        self._hits_encoding = encoding
        self._hits_size += sum(map(len, hits.values()))
        if self._hits_size > MOST_HITS:
            self._settle_hits()

    @abstractmethod
    def _absent(self, digests: Sequence[bytes]) -> list[bytes]:
        """Those of the objects that are not packed, by the newest state of the index."""

    def _lost_hits(self, absent: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those of the absent hits that are not in the other store either."""
        # One that came again is in the batch by now.
        absent = [digest for digest in absent if digest.hex() not in self._batch]
        copies = zip(absent, self._look(absent) if absent else (), strict=True)
        return {digest: self._hits[digest] for digest, copy in copies if copy is not Copy.GOOD}

    def _settle_hits(self) -> None:
        """Append the hits that were deleted meanwhile, and forget the others: they were there when this looked."""
        if self._hits:
            lost, encoding = self._lost_hits(self._absent(list(self._hits))), self._hits_encoding
            self._hits, self._hits_size = {}, 0
            if lost:
                assert encoding is not None
                self._append_all(lost, encoding)

    @abstractmethod
    def add_frames(self, source: Iterator[BytesLike], encoding: Encoding) -> bytes:
        """Append one object of more than one frame, and take it back if the container has it; returns its digest.

        It is taken back as well when ``source`` raises; the appender stays usable then. One that is there is not
        looked for again at the commit, as smaller ones are: that it was there a moment ago has to do.
        """

    @abstractmethod
    def add_stored(self, digest: bytes, stored: Stored, parts: Iterable[BytesLike]) -> None:
        """Append one object in a stored form that is there already, unless the container has it.

        ``parts`` are its stored bytes, which the caller has verified.
        """

    def unknown(self, digests: Sequence[bytes]) -> Sequence[int]:
        """The positions of the digests that nobody has, ascending, the first of each digest."""
        # 3. Look for duplicates: in this batch, in the index, in the other store.
        keys = spelled(digests)
        at: Sequence[int] = range(len(digests))
        if len(set(keys)) < len(keys) or not self._batch.isdisjoint(keys):
            first = dict(zip(reversed(keys), reversed(at), strict=True))
            at = sorted(first[key] for key in first if key not in self._batch)
            digests = [digests[i] for i in at]
        answers = self._look(digests) if digests else []
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

    @abstractmethod
    def commit(self) -> None:
        """Make what was appended visible to all, and durable. Then, and only then, may its keys be acknowledged."""
