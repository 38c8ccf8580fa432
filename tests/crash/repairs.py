"""Repairs of objects that are killed before each of their calls: `python repairs.py DIR`; prints the number of points.

Not one of `operations.OPERATIONS`: what it starts from cannot all be read.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from rsdos import Container, DamagedObject, ObjectNotFound
from rsdos.maintenance.check import validate
from rsdos.maintenance.repair import objects as repair_objects
from rsdos.stores.findings import Depth
from tests.crash.calls import Fault, intercepted
from tests.crash.operation import BASE, NEW
from tests.data import key_of
from tests.helpers import flip

EVERY = int(os.environ.get("EVERY", "4"))
"""Which calls: with EVERY=1 in the environment all of them."""

HELPLESS = {key_of(data): data for data in (b"beyond help, packed", b"beyond help, loose")}
"""No source has them."""


def prepare(path: Path, source: Path, version: int) -> None:
    with Container.create(source) as container:
        container.insert_many(NEW.values())
    with Container.create(path, container_version=version) as container:
        container.insert_many([*BASE.values(), *NEW.values(), b"beyond help, packed"])
        loose = container.insert(b"beyond help, loose")
        flip(Path(container.engine.layout.loose_file(loose)), 3)
        for key in [*NEW, key_of(b"beyond help, packed")]:
            extent = container.meta(key).extent
            assert extent is not None
            flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset)


def repair(path: Path, source: Path) -> None:
    with Container(path) as container, Container(source) as there:
        options = repair_objects.RepairObjectsOptions(
            [there.engine], beyond_help=repair_objects.Unrepairable.QUARANTINE
        )
        repair_objects.execute(container.engine, repair_objects.plan(container.engine, options))


def check(path: Path, *, is_done: bool) -> None:
    with Container(path) as container:
        for key, data in BASE.items():
            assert container.extract(key) == data
        for key, data in NEW.items():
            try:
                assert container.extract(key) == data
            except DamagedObject:
                assert not is_done
        for key, data in HELPLESS.items():
            try:
                raise AssertionError(f"{container.extract(key)!r} came back")
            except DamagedObject:
                assert not is_done
            except ObjectNotFound:
                # What is not in the container any more is in quarantine, but for the bits that were flipped.
                kept = [file.read_bytes() for file in path.glob(f"quarantine/*/{key}.*")]
                assert any(len(one) == len(data) and one[8:] == data[8:] for one in kept)
        if is_done:
            engine = container.engine
            options = validate.ValidateOptions(Depth.FULL)
            assert validate.execute(engine, validate.plan(engine, options)).is_good
            assert sorted(container) == sorted([*BASE, *NEW])


def main(directory: str, version: str) -> None:
    root = Path(directory)
    template, source, path = root / "template", root / "source", root / "container"
    prepare(template, source, int(version))
    number, died = 1 - EVERY, True
    while died:
        number += EVERY
        shutil.copytree(template, path)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with intercepted(Fault("kill", number)):
                    repair(path, source)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        died = os.WIFSIGNALED(status)
        assert died or status == 0
        try:
            check(path, is_done=not died)
            repair(path, source)
            check(path, is_done=True)
        except BaseException as error:
            error.add_note(f"at call {number}")
            raise
        shutil.rmtree(path)
    print(number - 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
