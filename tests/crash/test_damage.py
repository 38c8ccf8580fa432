"""Damage of every kind, one at a time: right bytes or an error that says of what, never wrong ones or "missing".

A sample here, the same each time; `make damage` takes a tenth of all, and `SHARE=1` all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.damage import WHOLE_FILES, Sweep
from tests.crash.subject import subject

SHARES = {
    "rsdos": 900,
    "rsdos, large batches": 900,
    "rsdos, dictionaries": 490,
    "rsdos, pack tables": 1000,
    "rsdos, snapshots": 1200,
    "rsdos, version 1": 400,
}
"""One of so many: about 250 damages of each of version 2; 140 of version 1 and of snapshots, which take longer each."""


@pytest.mark.parametrize("name", SHARES)
def test_damaged(name: str, tmp_path: Path) -> None:
    result = Sweep(subject(name), tmp_path).run(SHARES[name], seed=4)
    if name == "rsdos, version 1":
        # SQLite's table has no checksums: a flipped bit of a key's row is met by `validate` alone.
        for verdict in ("missing", "listed"):
            assert result.bad.get(verdict, 0) < result.points // 10
            result.examples.pop(verdict, None)
    assert not result.examples
    assert result.points > 130


# All others: `make damage SHARE=1`.
@pytest.mark.parametrize("name", ["rsdos, dictionaries", "rsdos, pack tables"])
def test_every_file_removed_and_exchanged_for_every_other(in_memory: Path, name: str) -> None:
    """Nothing is missing but the loose object whose own file it is: not even with the newest manifests."""
    result = Sweep(subject(name), in_memory).run(1, 0, WHOLE_FILES)
    assert not result.examples
    assert result.points > 200
