"""What happens around a container: the clock is set back, the directory goes."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from rsdos import Container, Place, RsdosError
from rsdos.maintenance import optimize
from tests.crash.operation import BASE, NEW
from tests.helpers import assert_holds


def _everything(container: Container) -> None:
    container.insert_many(NEW.values())
    container.insert_many(NEW.values(), to=Place.LOOSE)
    container.delete(list(NEW)[:2])
    optimize.execute(container.engine, optimize.plan(container.engine, optimize.OptimizeOptions()))


@pytest.mark.parametrize("version", [1, 2])
def test_the_clock_is_set_back(version: int, tmp_path: Path) -> None:
    """All that is there is from the future, then."""
    with Container.create(tmp_path / "container", container_version=version) as container:
        container.insert_many(BASE.values())
        container.insert_many(NEW.values(), to=Place.LOOSE)
    future = time.time() + 10 * 365 * 24 * 3600
    for path in container.path.rglob("*"):
        os.utime(path, (future, future))
    with Container(container.path) as again:
        _everything(again)
        assert_holds(again, BASE | dict(list(NEW.items())[2:]))


@pytest.mark.parametrize("version", [1, 2])
def test_the_directory_is_removed(version: int, tmp_path: Path) -> None:
    """Under an open container: every verb says so, and none makes half of a container anew."""
    with Container.create(tmp_path / "container", container_version=version) as container:
        keys = container.insert_many(BASE.values())
        container.insert_many(NEW.values(), to=Place.LOOSE)
        shutil.rmtree(container.path)
        for verb in (
            lambda: container.insert(b"x"),
            lambda: container.insert_many([b"x"]),
            lambda: container.delete(keys),
            container.pack_all_loose,
            container.repack,
        ):
            with pytest.raises((RsdosError, OSError)):
                verb()
        with pytest.raises((RsdosError, OSError)):
            Container(container.path).extract(keys[0])
    assert not (container.path / "config.json").exists()


@pytest.mark.parametrize("version", [1, 2])
def test_empty_directories_were_not_copied(version: int, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container", container_version=version) as container:
        container.insert_many(BASE.values())
    for name in ("sandbox", "loose", "duplicates"):
        if (container.path / name).is_dir():
            (container.path / name).rmdir()
    with Container(container.path) as again:
        assert_holds(again, BASE)
        _everything(again)
        assert_holds(again, BASE | dict(list(NEW.items())[2:]))
