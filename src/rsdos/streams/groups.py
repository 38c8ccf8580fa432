"""Small objects in groups, as a bulk insert wants them.

What is done for each object is done for some of them at a time, `_TOGETHER`, before the next are touched: a look at an
object that has left the processor's caches costs 0.15 us, and taking, measuring and hashing are five.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Self, cast

from rsdos.hashing import HashType, JoinedDigests
from rsdos.model import FRAME_SIZE, Source
from rsdos.streams.sources import Frames, take

_TOGETHER = 256
"""Objects that are looked at together: of 1 KB, they and what is made of them stay in a core's caches."""

_TOGETHER_BYTES = 1 << 18
"""Bytes of objects that are hashed together, about."""


class Group:
    """Objects of at most one frame each, as columns; grows by `add`."""

    __slots__ = ("_hash", "keys", "payloads", "size", "sizes")

    def __init__(self, hash_type: HashType) -> None:
        self._hash = hash_type
        self.payloads: list[bytes] = []
        self.keys: list[str] = []
        self.sizes = array("Q")
        self.size = 0
        """Bytes of all."""

    @classmethod
    def of(cls, hash_type: HashType, payloads: Sequence[bytes]) -> Self:
        """A group of a few objects."""
        group = cls(hash_type)
        group.add(payloads, list(map(len, payloads)))
        return group

    def __len__(self) -> int:
        return len(self.payloads)

    def add(self, payloads: Sequence[bytes], sizes: list[int]) -> None:
        """Append objects, of which the sizes are known; hashes them."""
        self.payloads += payloads
        self.sizes.extend(sizes)
        self.size += sum(sizes)
        self.keys += self._hash.keys_of(payloads)

    def digests(self) -> JoinedDigests:
        """The digest of each."""
        return self._hash.spelled_by(self.keys)


def grouped(
    sources: Iterable[Source], room: Callable[[], int], most: int, hash_type: HashType
) -> Iterator[Group | Frames]:
    """What `take` makes of each source, in order: small objects in groups, hashed, a larger one by itself.

    A group ends when it has ``most`` objects or ``room()`` bytes, asked when it begins, or more by the last of them.
    """
    group, limit = Group(hash_type), room()
    if isinstance(sources, (list, tuple)):
        # They are in memory already, so that looking at many ahead costs nothing: 4 times as fast as one by one.
        at = 0
        while _add_plain(group, sources, at, limit, most):
            yield group
            at += len(group)
            group, limit = Group(hash_type), room()
        sources = islice(sources, at, None)
    part: list[bytes] = []
    size = 0
    # Of the part, as many as may come before it is looked at: whatever is done here is done for each object.
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
                if group:
                    yield group
                yield data
            group, limit = Group(hash_type), room()
        elif group.size >= limit or len(group) >= most:
            yield group
            group, limit = Group(hash_type), room()
        most_size, most_count = min(limit - group.size, _TOGETHER_BYTES), min(most - len(group), _TOGETHER)
    group.add(part, list(map(len, part)))
    if group:
        yield group


def _add_plain(group: Group, sources: Sequence[Source], at: int, room: int, most: int) -> bool:
    """Add the next sources as they are, up to the first of them that are not all small bytes; whether there are any."""
    while group.size < room and len(group) < most:
        start = at + len(group)
        part = sources[start : start + min(_TOGETHER, most - len(group))]
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
    return bool(group)
