"""The newest manifests go missing, after every operation: nothing is missing with them, and nobody writes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer
from rsdos.maintenance import optimize
from rsdos.maintenance.repair import index as repair_index
from tests.crash.operations import OPERATIONS
from tests.helpers import ABSENT, assert_no_leftovers, tree

_NAMES = [
    name
    for name in OPERATIONS
    # Of the others the target is of version 1, or has one manifest only: a new container, and every copy of one.
    if not name.startswith(("v1: ", "transfer 2 to 1", "migrate 2 to 1", "init", "backup", "restore"))
]

WRITERS: dict[str, Callable[[Container], object]] = {
    "insert": lambda container: container.insert_many([b"more"]),
    "pack": lambda container: container.pack_all_loose(),
    "clean": lambda container: container.clean_storage(),
    "delete": lambda container: container.delete(list(container)),
    "repack": lambda container: container.repack("zlib+9"),
    "optimize": lambda container: optimize.execute(
        container.engine, optimize.plan(container.engine, optimize.OptimizeOptions())
    ),
    "note": lambda container: container.engine.packed.maintenance.note("anything", 1),
}


@pytest.mark.parametrize("name", _NAMES)
def test_the_failure_is_reported_and_nothing_is_lost(name: str, in_memory: Path) -> None:
    operation = OPERATIONS[name]
    template = in_memory / "template"
    operation.prepare(template)
    operation.run(template, lambda key: None)
    manifests = sorted((template / operation.target / "index").glob("manifest-*"))
    for kept in {1, len(manifests) - 1} - {0}:
        root = in_memory / f"{kept} kept"
        shutil.copytree(template, root, symlinks=True)
        path = root / operation.target
        for manifest in manifests[kept:]:
            (path / "index" / manifest.name).unlink()
        before = tree(path / "packed")
        for doing, write in WRITERS.items():
            if doing == "repack" and "nothing is left" in name:
                continue
            with Container(path) as container, pytest.raises(DamagedContainer, match="committed last, and is missing"):
                write(container)
        assert tree(path / "packed") == before
        for is_repaired in (False, True):
            if is_repaired:
                _repair(path)
                for doing, write in WRITERS.items():
                    if doing != "delete":
                        write(Container(path))
                assert_no_leftovers(path)
            with Container(path) as container:
                assert dict(container.extract_many(operation.wanted)) == operation.wanted
                assert "trees" in name or set(container) >= set(operation.wanted)  # Pages are not listed.
                assert not any(container.has_many([ABSENT, *operation.gone]))


def _repair(path: Path) -> None:
    engine = Container(path).engine
    report = repair_index.execute(engine, repair_index.plan(engine))
    assert report.is_changed and report.is_good
