"""A set of keys that knows only how they begin."""

from __future__ import annotations

import hashlib
import tracemalloc

from rsdos.index.key_set import KeySet
from tests.unit.index.fenced_data import digests

DIGESTS = [hashlib.sha256(b"%d" % number).digest() for number in range(1000)]


def test_members_are_never_missed_and_others_come_in_their_order() -> None:
    known = KeySet([b"".join(DIGESTS[:200:2]), b"", *DIGESTS[200::2]])
    assert len(known) == 500
    assert known.without(DIGESTS) == DIGESTS[1::2]
    assert known.without(list(reversed(DIGESTS))) == DIGESTS[1::2][::-1]


def test_an_empty_set_has_no_members_and_no_digests_are_no_question() -> None:
    assert KeySet([]).without(DIGESTS[:3]) == DIGESTS[:3]
    assert KeySet([b""]).without(DIGESTS[:3]) == DIGESTS[:3]
    assert KeySet(DIGESTS[:2]).without([]) == []


def test_a_key_with_the_first_8_bytes_of_a_member_counts_as_one() -> None:
    known = KeySet(DIGESTS[:1])
    assert known.without([DIGESTS[0][:8] + bytes(24), DIGESTS[0][:7] + bytes(25)]) == [DIGESTS[0][:7] + bytes(25)]


def test_a_set_takes_8_bytes_a_key_and_little_more_while_it_is_made() -> None:
    keys = 500_000
    joined = b"".join(digests(keys, 3))
    step = 32 * 1000
    pieces = (joined[at : at + step] for at in range(0, len(joined), step))
    tracemalloc.start()
    try:
        known = KeySet(pieces)
        now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(known) == keys
    assert now < 8.5 * keys
    assert most < 10 * keys
