"""A set of keys that knows only how they begin."""

from __future__ import annotations

import tracemalloc

import numpy as np

from rsdos.index.digests import PREFIX
from rsdos.index.key_set import KeySet

KEYS = np.sort(np.random.default_rng(1).integers(0, 1 << 63, 1000).astype(PREFIX))


def test_members_are_never_missed_and_nothing_else_is_one() -> None:
    known = KeySet()
    known.add(KEYS[:200:2])
    known.add(KEYS[200::2])
    assert len(known) == 500
    assert known.among(KEYS).tolist() == [True, False] * 500


def test_an_empty_set_has_no_members_and_no_keys_are_no_question() -> None:
    known = KeySet()
    known.add(KEYS[:0])
    assert known.among(KEYS[:3]).tolist() == [False] * 3
    known.add(KEYS[:2])
    assert known.among(KEYS[:0]).tolist() == []


def test_a_set_takes_8_bytes_a_key_and_none_of_the_memory_that_it_was_given() -> None:
    batch = KEYS.copy()
    known = KeySet()
    tracemalloc.start()
    try:
        for _ in range(100):
            known.add(batch)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    batch[:] = 0
    assert len(known) == 100 * len(KEYS)
    assert most < 9 * len(known)
    assert known.among(KEYS).all()
