"""Every step of every commit protocol, broken off: by death, power loss, an error, half-way through a write.

The steps are numbered in the code (`rsdos.stores.packed.writer`, `rsdos.index.commits`, `rsdos.stores.loose.insert`,
`rsdos.maintenance.pack`); a sweep over all calls meets each of them. Here a share of the calls; `make crash` takes all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.crash import shim
from tests.crash.operations import OPERATIONS
from tests.crash.run import Rig

pytestmark = pytest.mark.skipif(not shim.CAN_BUILD, reason="needs gcc and Linux for the shim of the C library")

SHARE = ("kill:40", "torn:40", "short:90", "EIO:90", "ENOSPC:90", "EINTR:150", "EMFILE:90", "fsync:40", "power:80:1")
"""One of so many calls of each kind, and the last. Behind each loss of power are four states of the disk."""


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    memory = Path("/dev/shm")
    with (
        TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory,
        Rig("rsdos", Path(directory)) as rig,
    ):
        yield rig


@pytest.mark.parametrize("name", OPERATIONS)
def test_broken_off(name: str, rig: Rig) -> None:
    operation = OPERATIONS[name]
    missing = [program for program in operation.programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    results = rig.break_off(name, SHARE)
    assert not [example for result in results.values() for example in result.examples.values()]
    # Fewer, and the shim would be blind.
    assert results["kill"].calls >= operation.least
    assert results["torn"].calls >= operation.writes
    assert all(result.points for result in results.values())


# What is not synced is lost there; not so where another copy has been on the disk for long, or nothing can be lost.
@pytest.mark.parametrize(
    "name", ["insert packed", "insert loose", "pack", "repack", "v1: insert packed", "v1: pack", "v1: insert loose"]
)
def test_the_rig_is_not_blind(name: str, rig: Rig) -> None:
    result = rig.break_off(name, ["unsynced:5:1"])["unsynced"]
    assert {"lost", "unreadable"} & result.bad.keys()
