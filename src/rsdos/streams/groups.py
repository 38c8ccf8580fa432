"""Groups of small objects for bulk inserts.

Each step (taking, measuring, hashing) is done for `_TOGETHER` objects at a time: touching an object that has left the
processor's caches costs 0.15 us, and there are five such steps.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Self, cast

from rsdos.hashing import HashType
from rsdos.model import FRAME_SIZE, Source
from rsdos.streams.sources import Frames, take

_TOGETHER = 256
"""Objects that are processed together: of 1 KB, they and their results stay in a core's caches."""

_TOGETHER_BYTES = 1 << 18
"""Bytes of objects that are hashed together, roughly."""


class Group:
    """Objects of at most one frame each, as columns, to which `add` appends."""

    __slots__ = ("_hash", "keys", "payloads", "size", "sizes")

    def __init__(self, hash_type: HashType) -> None:
        self._hash = hash_type
        self.payloads: list[bytes] = []
        self.keys: list[str] = []
        self.sizes = array("Q")
        self.size = 0
        """The raw bytes of all objects."""

    @classmethod
    def of(cls, hash_type: HashType, payloads: Sequence[bytes]) -> Self:
        """Return a group of a few objects."""
        group = cls(hash_type)
        group.add(payloads, list(map(len, payloads)))
        return group

    def __len__(self) -> int:
        return len(self.payloads)

    def add(self, payloads: Sequence[bytes], sizes: list[int]) -> None:
        """Append objects of the given sizes, and hash them."""
        self.payloads += payloads
        self.sizes.extend(sizes)
        self.size += sum(sizes)
        self.keys += self._hash.keys_of(payloads)


def grouped(
    sources: Iterable[Source], room: Callable[[], int], most: int, hash_type: HashType
) -> Iterator[Group | Frames]:
    """Yield the sources in order, as `take` reads them: small objects in hashed groups, a larger object by itself.

    A group ends with the object that brings it to ``most`` objects or to ``room()`` bytes. ``room`` is called when the
    group begins.
    """
    group, limit = Group(hash_type), room()
    if isinstance(sources, (list, tuple)):
        # The sources are in memory already: processing many at once is 4 times as fast as one by one.
        at = 0
        while _add_plain(group, sources, at, limit, most):
            yield group
            at += len(group.payloads)
            if at == len(sources):
                return
            group, limit = Group(hash_type), room()
        sources = islice(sources, at, None)
    part: list[bytes] = []
    size = 0
    # The limits of a part. They keep the work in this loop, which runs for each object, small.
    most_size, most_count = min(limit, _TOGETHER_BYTES), min(most, _TOGETHER)
    for source in sources:
        data = source if type(source) is bytes and len(source) <= FRAME_SIZE else take(source)
        if isinstance(data, bytes):
            part.append(data)
            size += len(data)
            if size < most_size and len(part) < most_count:
                continue
        group.add(part, list(map(len, part)))
        part, size = [], 0
        if isinstance(data, Frames):
            with data:
                if group.payloads:
                    yield group
                yield data
            group, limit = Group(hash_type), room()
        elif group.size >= limit or len(group.payloads) >= most:
            yield group
            group, limit = Group(hash_type), room()
        most_size, most_count = min(limit - group.size, _TOGETHER_BYTES), min(most - len(group.payloads), _TOGETHER)
    if part:
        group.add(part, list(map(len, part)))
    if group.payloads:
        yield group


def _add_plain(group: Group, sources: Sequence[Source], at: int, room: int, most: int) -> bool:
    """Add the next sources, as far as they are small bytes objects. Return whether the group has any."""
    while group.size < room and len(group.payloads) < most:
        start = at + len(group.payloads)
        part = sources[start : start + min(_TOGETHER, most - len(group.payloads))]
        if set(map(type, part)) != {bytes}:
            break
        plain = cast(Sequence[bytes], part)
        sizes = list(map(len, plain))
        if max(sizes) > FRAME_SIZE:
            break
        if group.size + sum(sizes) >= room:
            count = bisect_left(list(accumulate(sizes)), room - group.size) + 1
            plain, sizes = plain[:count], sizes[:count]
        group.add(plain, sizes)
    return bool(group.payloads)
