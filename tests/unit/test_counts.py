"""Arithmetic of counts, and that a pack's entry keeps them apart."""

from __future__ import annotations

from rsdos.index.pack_entry import PackEntry
from rsdos.model import Counts


def test_counts_add_and_subtract_member_by_member() -> None:
    assert Counts(1, 20, 300) + Counts(1, 1, 1) == Counts(2, 21, 301)
    assert Counts(1, 20, 300) - Counts(1, 1, 1) == Counts(0, 19, 299)
    assert Counts.sum([Counts(1, 2, 3), Counts(10, 20, 30), Counts()]) == Counts(11, 22, 33)
    assert Counts.sum([]) == Counts()


def test_counts_are_kept_between_zero_and_a_most() -> None:
    assert Counts(-1, 5, 50).within(Counts(3, 4, 60)) == Counts(0, 4, 50)


def test_an_entry_takes_its_totals_and_its_dead_from_counts() -> None:
    entry = PackEntry(7, 4096, 64, True).counting(Counts(3, 30, 300), Counts(1, 10, 100))
    assert entry == PackEntry(7, 4096, 64, True, 3, 30, 300, 1, 10, 100)
    assert (entry.total, entry.dead, entry.live) == (Counts(3, 30, 300), Counts(1, 10, 100), Counts(2, 20, 200))
