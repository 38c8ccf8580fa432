"""Commits in containers of many packs: ``python -m benchmarks.packs``. Only this rsdos; a minute.

Only the rows of the packs exist: a commit reads and writes no other pack, and 100,000 packs of 64 MiB are 6 TB.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.measure import ROOT
from benchmarks.report import verdict
from benchmarks.results import describe_machine
from rsdos import Container, Durability
from rsdos.index.committing import Commits
from rsdos.index.manifest import Manifest
from rsdos.index.pack_entry import PackEntry
from rsdos.index.table_files import MOST_CHANGED
from rsdos.model import Counts
from rsdos.stores.packed.store import PackedStore

SIZES = (10, 10_000, 100_000)
"""Packs. The first is for comparison."""

BOUNDS = {10_000: 20, 100_000: 50}
"""Milliseconds of a commit, at most."""

_INSERTS = 200
_CHANGES = 2 * MOST_CHANGED + 100
"""Commits that change a pack each. Where there are packs enough, rows are folded into tables twice."""

_OBJECTS = Counts(20_000, 64 << 20, 60 << 20)
_LENGTH = 64 << 20


@dataclass(frozen=True, slots=True)
class PacksRow:
    """What commits took in a container of so many packs: the median and the longest, in milliseconds.

    ``insert`` are those of `insert_many` with one object, ``change`` those that change any one pack.
    """

    packs: int
    insert: float
    longest_insert: float
    change: float
    longest_change: float
    processor: float
    """Processor time of a commit of either kind, the mean."""

    @property
    def longest(self) -> float:
        """The longest of all."""
        return max(self.longest_insert, self.longest_change)


@dataclass(frozen=True, slots=True)
class PacksResults:
    """The figures of one run."""

    machine: dict[str, str]
    rows: list[PacksRow]


def read_packs(path: Path) -> PacksResults:
    """What a run has written."""
    stored = json.loads(path.read_text())
    return PacksResults(stored["machine"], [PacksRow(**row) for row in stored["rows"]])


def packs_section(results: PacksResults) -> Iterator[str]:
    """Yield the part of docs/performance.md."""
    yield "## Commits with many packs\n"
    yield (
        "`make bench-packs` makes containers of which only the rows of the packs exist, and commits with full "
        f"durability: {_INSERTS} times `insert_many` of one object, then {_CHANGES:,} commits that each change a pack "
        f"anywhere. With more than {MOST_CHANGED} packs, some of these fold rows into tables: they are the longest.\n"
    )
    yield from (f"- {name}: {value}" for name, value in results.machine.items())
    yield "\n| packs | insert of one, median (longest) | change, median (longest) | processor time, mean |"
    yield "|---|---|---|---|"
    for row in results.rows:
        yield (
            f"| {row.packs:,} | {row.insert:.3g} ms ({row.longest_insert:.3g}) "
            f"| {row.change:.3g} ms ({row.longest_change:.3g}) | {row.processor:.3g} ms |"
        )
    yield "\n| what | figure | |\n|---|---|---|"
    for row in results.rows:
        if bound := BOUNDS.get(row.packs):
            for name, figure in (("the slower median", max(row.insert, row.change)), ("the longest", row.longest)):
                yield (
                    f"| a commit with {row.packs:,} packs: {name} | {figure:.3g} ms (≤ {bound}) "
                    f"| {verdict(figure <= bound)} |"
                )
    yield ""


def measure(path: Path, packs: int, inserts: int = _INSERTS, changes: int = _CHANGES) -> PacksRow:
    """Make a container of so many packs, and commit to it."""
    with Container.create(path, durability=Durability.FULL) as container:
        log = _commits(container)
        log.commit(lambda manifest: _with_rows(manifest, packs), Durability.FULL)
        container.insert_many([b"the first brings imports, and a pack to append to"])
        chance = random.Random(packs)
        busy = time.process_time()
        inserted = [_milliseconds(partial(container.insert_many, [b"%d" % number])) for number in range(inserts)]
        changed = []
        for _ in range(changes):
            change = partial(_with_dead, chance.randrange(1, packs + 1))
            changed.append(_milliseconds(partial(log.commit, change, Durability.FULL)))
        busy = 1000 * (time.process_time() - busy) / (inserts + changes)
        assert len(log.newest().packs) == packs + 1
    return PacksRow(packs, median(inserted), max(inserted), median(changed), max(changed), busy)


def _commits(container: Container) -> Commits:
    store = container.engine.packed
    assert isinstance(store, PackedStore)
    return store.index.commits


def _with_rows(manifest: Manifest, packs: int) -> Manifest:
    rows = (PackEntry(number, _LENGTH, _LENGTH, True, *_OBJECTS) for number in range(1, packs + 1))
    return manifest.with_packs(rows)._replace(next_pack_id=packs + 1)


def _with_dead(pack_id: int, manifest: Manifest) -> Manifest:
    pack = manifest.packs.find(pack_id)
    assert pack is not None
    return manifest.with_pack(pack.with_dead(Counts(1, 3000, 2900)))


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)


def main() -> None:
    """Measure; print the part of the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.packs", description=__doc__)
    parser.add_argument("--packs", type=int, nargs="*", default=SIZES, help="Measure with so many.")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="Where the containers are.")
    parser.add_argument("--json", type=Path, help="Write the figures to this file.")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    results = PacksResults(describe_machine(work), [])
    for packs in options.packs:
        place = Path(tempfile.mkdtemp(dir=work, prefix="packs-"))
        gc.collect()
        try:
            results.rows.append(measure(place / "store", packs))
        finally:
            shutil.rmtree(place)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(asdict(results), indent=1) + "\n")
    print("\n".join(packs_section(results)))


if __name__ == "__main__":
    main()
