"""`make bench-packs`: it commits to a container of so many packs, and its part of the page judges the figures."""

from __future__ import annotations

from pathlib import Path

from benchmarks.packs import PacksResults, PacksRow, measure, packs_section
from tests.helpers import manifest_of


def test_a_container_has_so_many_packs_in_tables_and_takes_commits(tmp_path: Path) -> None:
    row = measure(tmp_path / "store", 600, inserts=3, changes=4)
    assert row.packs == 600 and 0 < row.insert <= row.longest_insert and 0 < row.change <= row.longest_change
    packs = manifest_of(tmp_path / "store").packs
    assert packs.tables.count == 600 and len(packs) == 601
    assert packs.sums().dead.objects == 4


def test_the_page_judges_the_slower_median_and_the_longest_commit() -> None:
    rows = [PacksRow(10, 1, 90, 1, 90, 1), PacksRow(10_000, 3, 21, 4, 19, 1), PacksRow(100_000, 3, 4, 51, 60, 1)]
    page = "\n".join(packs_section(PacksResults({}, rows)))
    assert "| 10 | 1 ms (90) | 1 ms (90) | 1 ms |" in page and "with 10 packs" not in page
    assert "| a commit with 10,000 packs: the slower median | 4 ms (≤ 20) | reached |" in page
    assert "| a commit with 10,000 packs: the longest | 21 ms (≤ 20) | MISSED |" in page
    assert "| a commit with 100,000 packs: the slower median | 51 ms (≤ 50) | MISSED |" in page
