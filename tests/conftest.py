"""Fixtures for all tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rsdos import Container

# No deadlines: a machine may be ten times slower, or stop for a while. In CI the same examples in every run, so that a
# commit is not failed by what it did not change; new ones elsewhere.
settings.register_profile(
    "rsdos", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("rsdos")


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """A new container with all defaults."""
    with Container.create(tmp_path / "container") as made:
        yield made


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, where there is such: what is asked of a disk is what it is told, not what it does."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        yield Path(directory)
