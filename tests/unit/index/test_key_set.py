"""Membership by the first 8 bytes of a key: "yes" is the safe answer, "no" is always right."""

from __future__ import annotations

import hashlib

from rsdos.index.key_set import KeySet

DIGESTS = [hashlib.sha256(b"%d" % number).digest() for number in range(1000)]


def test_members_are_never_missed_and_others_come_in_their_order() -> None:
    known = KeySet([DIGESTS[::2][:100], DIGESTS[::2][100:]])
    assert len(known) == 500
    assert known.without(DIGESTS) == DIGESTS[1::2]
    assert known.without(list(reversed(DIGESTS))) == DIGESTS[1::2][::-1]


def test_an_empty_set_has_no_members_and_no_digests_are_no_question() -> None:
    assert KeySet([]).without(DIGESTS[:3]) == DIGESTS[:3]
    assert KeySet([DIGESTS[:2]]).without([]) == []


def test_a_key_with_the_first_8_bytes_of_a_member_counts_as_one() -> None:
    known = KeySet([DIGESTS[:1]])
    assert known.without([DIGESTS[0][:8] + bytes(24), DIGESTS[0][:7] + bytes(25)]) == [DIGESTS[0][:7] + bytes(25)]


def test_keys_of_sha_1_are_20_bytes() -> None:
    digests = [hashlib.sha1(b"%d" % number).digest() for number in range(10)]
    assert KeySet([digests[:5]]).without(digests) == digests[5:]
