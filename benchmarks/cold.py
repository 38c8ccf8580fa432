"""Reads that have to wait: nothing in the system's cache, a medium of 2 ms a request, little memory, and the peers.

``python -m benchmarks.cold`` needs 6 GB of disk; FUSE, cgroups and root for all of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.cold_cache import may_drop_all
from benchmarks.cold_index import measure_index
from benchmarks.cold_media import measure_media
from benchmarks.cold_report import cold_section
from benchmarks.cold_results import ColdResults
from benchmarks.cold_sides import SIDES, NotMade, measure_side
from benchmarks.measure import ROOT
from benchmarks.results import describe_machine

_COUNT = 1_000_000


def main() -> None:
    """Measure; print the tables, and write the figures where that is asked for."""
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    results = ColdResults(describe_machine(options.work), options.count, may_drop_all())
    with tempfile.TemporaryDirectory(prefix="rsdos-cold-", dir=options.work) as directory:
        place = Path(directory)
        with _emptied(place):
            results.media = measure_media(place)
        with _emptied(place):
            results.index = measure_index(place)
        for name in SIDES:
            with _emptied(place):
                try:
                    results.sides[name] = measure_side(name, place, options.count, options.peers)
                except NotMade as error:
                    results.missing[name] = str(error)
    print("\n".join(cold_section(results)))
    if options.json:
        options.json.write_text(json.dumps(asdict(results), indent=1) + "\n")


@contextmanager
def _emptied(directory: Path) -> Iterator[None]:
    """Have nothing in a directory after a block."""
    yield
    shutil.rmtree(directory)
    directory.mkdir()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.cold", description=__doc__)
    parser.add_argument("--count", type=int, default=_COUNT, help="Objects of 1 KB in each of the peers.")
    parser.add_argument("--work", type=Path, default=ROOT / ".bench", help="Where the containers are.")
    parser.add_argument(
        "--peers", type=Path, default=ROOT / ".venv-peers", help="The virtual environment of the peers."
    )
    parser.add_argument("--json", type=Path, help="Write all figures to this file.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
