"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rsdos import Container
from tests.ceph.fixtures import (
    bucket,
    ceph,
    own_ceph,
    proxied,
    s3,
    s3_environment,
    stranger,
    swift,
    swift_s3,
)

__all__ = ["bucket", "ceph", "own_ceph", "proxied", "s3", "s3_environment", "stranger", "swift", "swift_s3"]

# No deadlines: a machine may be ten times slower, or stop for a while. In CI the same examples in every run, so that a
# commit is not failed by what it did not change; new ones elsewhere.
settings.register_profile(
    "rsdos", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("rsdos")

_MADE = pytest.StashKey[str]()
"""The directory for all temporary directories of this run, until it is removed."""


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a temporary directory of its own.

    Every run clears what earlier ones have left in pytest's own, and fails where anything is still mounted there.
    """
    # No test writes to the user's cache of remotes.
    os.environ["XDG_CACHE_HOME"] = os.path.join(config.option.basetemp or tempfile.gettempdir(), "rsdos-test-cache")
    is_worker = hasattr(config, "workerinput")
    if not is_worker and not config.option.basetemp:
        config.stash[_MADE] = config.option.basetemp = tempfile.mkdtemp(prefix="rsdos-tests-")


def pytest_collection_finish() -> None:
    """Take what the tests themselves are out of the garbage collector.

    Many tests collect, or fork. A collection takes as long as there are objects: of a million, 1.2 s.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: pytest.ExitCode, config: pytest.Config
) -> None:
    """Say where the directories of failed tests are: those are kept."""
    if exitstatus == pytest.ExitCode.TESTS_FAILED and _MADE in config.stash:
        terminalreporter.write_line(f"The directories of failed tests are in {config.stash[_MADE]}")
        del config.stash[_MADE]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the temporary directory, unless a test failed or has left anything mounted in it."""
    made = config.stash.get(_MADE, None)
    if made and not _has_mounts(made):
        shutil.rmtree(made, ignore_errors=True)


def _has_mounts(directory: str) -> bool:
    with suppress(FileNotFoundError), open("/proc/self/mounts") as mounts:
        return any(line.split(" ")[1].startswith(f"{directory}/") for line in mounts)
    return False


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
