"""Single calls on the container that `benchmarks.datasets` made: ``benchmarks.datasets_calls STORE FILES``."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.datasets_data import file_path
from rsdos import Container
from rsdos.model import PackKind
from rsdos.trees.diff import diff_trees
from rsdos.trees.reach import keys_of

_INDEX_BYTES = 66
"""Of an object, once the index is merged."""


def main() -> None:
    """Print the figures as JSON."""
    store, files = sys.argv[1], int(sys.argv[2])
    with Container(store) as container:
        snapshots = container.snapshots
        chance = random.Random(3)
        paths = [str(file_path(Path(), chance.randrange(files))) for _ in range(200)]
        directories = [str(Path(path).parent) for path in paths]
        old, new = snapshots["data@1"], snapshots["data@2"]
        counts = container.engine.packed.maintenance.stats().counts(PackKind.TREES)

        def diff() -> None:
            list(diff_trees(snapshots["data@1"].reader, snapshots["data@2"].reader))

        def mark() -> None:
            for _ in keys_of([bytes.fromhex(old.tree), bytes.fromhex(new.tree)], old.reader.pages.read_pages):
                pass

        figures = {
            "files": files,
            "diff_ms": 1e3 * min(_cpu(diff) for _ in range(5)),
            "listing_ms": 1e3 * _each(directories[:50], lambda path: len(list(old.listing(path)))),
            "entry_us": 1e6 * _each(paths, old.entry),
            "tree_bytes": (counts.length + _INDEX_BYTES * counts.objects) / old.entries,
            "mark_seconds": min(_cpu(mark) for _ in range(2)),
        }
    print(json.dumps(figures))


def _cpu(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _each(paths: list[str], call: Callable[[str], object]) -> float:
    """The processor time of a call, on average."""
    return _cpu(lambda: [call(path) for path in paths]) / len(paths)


if __name__ == "__main__":
    main()
