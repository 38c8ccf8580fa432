"""Every step of every commit protocol, broken off: by death, by an error, half-way through a write.

The steps are numbered in the code (`rsdos.stores.appender`, `rsdos.index.history`, `rsdos.stores.loose`,
`rsdos.maintenance.pack`); a sweep over all calls meets each of them.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.crash.operations import OPERATIONS
from tests.helpers import run_python

_SWEEP = "import sys; from tests.crash.sweep import main; main(*sys.argv[1:])"


def _sweep(operation: str, mode: str | int, directory: Path) -> int:
    return int(run_python(_SWEEP, operation, mode, directory))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_before_each_call(operation: str, tmp_path: Path) -> None:
    assert _sweep(operation, "kill", tmp_path) >= OPERATIONS[operation].least


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_half_way_through_each_write(operation: str, tmp_path: Path) -> None:
    assert _sweep(operation, "torn", tmp_path) >= OPERATIONS[operation].writes


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_write_is_short(operation: str, tmp_path: Path) -> None:
    assert _sweep(operation, "short", tmp_path) >= OPERATIONS[operation].writes


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_call_fails(operation: str, tmp_path: Path) -> None:
    assert _sweep(operation, errno.EIO, tmp_path) >= OPERATIONS[operation].least


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_disk_is_full_from_each_call_on(operation: str, tmp_path: Path) -> None:
    assert _sweep(operation, -errno.ENOSPC, tmp_path) >= OPERATIONS[operation].least
