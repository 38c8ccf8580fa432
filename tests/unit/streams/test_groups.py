"""Groups: what comes out is what went in, in order and hashed, and no group is larger than was asked for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from rsdos.hashing import SHA1, SHA256, HashType
from rsdos.model import FRAME_SIZE, Source
from rsdos.streams.groups import Group, grouped
from rsdos.streams.sources import Frames

_LARGE = FRAME_SIZE + 1

sizes = st.lists(st.one_of(st.integers(0, 9), st.integers(0, 9), st.sampled_from((3000, FRAME_SIZE, _LARGE))))


def _bytes_of(group: Group | Frames) -> list[bytes]:
    return group.payloads if isinstance(group, Group) else [b"".join(map(bytes, group))]


@given(
    sizes=sizes,
    copies=st.sampled_from((1, 1, 700)),
    room=st.integers(1, 5000),
    most=st.integers(1, 600),
    kind=st.sampled_from(("list", "tuple", "iterator", "buffers", "mixed")),
    hash_type=st.sampled_from((SHA256, SHA1)),
)
def test_groups_are_the_sources_in_order(
    sizes: list[int], copies: int, room: int, most: int, kind: str, hash_type: HashType
) -> None:
    few = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    objects = few + [data for data in few if len(data) < 10] * (copies - 1)
    groups = [(group, _bytes_of(group)) for group in grouped(_as(kind, objects), lambda: room, most, hash_type)]
    assert [data for _, payloads in groups for data in payloads] == objects
    for group, payloads in groups:
        if isinstance(group, Group):
            assert 0 < len(payloads) <= most
            assert group.size == sum(group.sizes) and list(group.sizes) == list(map(len, payloads))
            assert group.size - len(payloads[-1]) < room
            assert group.keys == [hashlib.new(hash_type.name, data).hexdigest() for data in payloads]
            assert list(hash_type.spelled_by(group.keys)) == list(map(bytes.fromhex, group.keys))
        else:
            assert len(payloads[0]) > FRAME_SIZE


def _as(kind: str, objects: Sequence[bytes]) -> Iterable[Source]:
    if kind in ("list", "tuple"):
        return list(objects) if kind == "list" else tuple(objects)
    if kind == "iterator":
        return iter(objects)
    if kind == "buffers":
        return [memoryview(data) for data in objects]
    return [io.BytesIO(data) if at % 3 else data for at, data in enumerate(objects)]


def test_room_is_asked_for_each_group() -> None:
    rooms = iter((2, 5, 1, 100, 100))
    groups = grouped([b"x"] * 20, lambda: next(rooms), 50, SHA256)
    lengths = [len(group) for group in groups if isinstance(group, Group)]
    assert lengths == [2, 5, 1, 12]
