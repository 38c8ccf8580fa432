"""The door to Dask: workers that are processes of their own, and one that is killed in the middle.

`test_dask.py` runs these in a process of their own: Dask changes how that logs and pickles. The container is the one at
the URL in $RSDOS_TEST_URL, if that is set.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rsdos import Container, InvalidOption
from rsdos.ingest.files import StoredFile
from rsdos.integrations.dask_executor import dask_executor
from tests.data import key_of

pytestmark = pytest.mark.filterwarnings("default")  # Those of its libraries are not ours.

_SCHEDULER = """
import asyncio
from distributed import Scheduler
async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard_address=None) as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()
asyncio.run(main())
"""
_WORKER = """
import asyncio, sys
from distributed import Worker
async def main():
    async with Worker(sys.argv[1], nthreads=1, dashboard=False, local_directory=sys.argv[2]) as worker:
        print(worker.address, flush=True)
        await worker.finished()
asyncio.run(main())
"""


def _start(code: str, *arguments: str | Path) -> tuple[subprocess.Popen[str], str]:
    """Start a program, and return it with the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


Cluster = tuple[str, list[subprocess.Popen[str]]]
"""The address of a scheduler, and its workers."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The address of a scheduler, and its two workers."""
    scheduler, address = _start(_SCHEDULER)
    workers = [_start(_WORKER, address, tmp_path / f"worker-{number}")[0] for number in range(2)]
    try:
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Container]:
    """A container that all workers see."""
    url = os.environ.get("RSDOS_TEST_URL", "")
    with Container.create(url or tmp_path / "container") as made:
        yield made


def test_a_tree_is_added_by_two_workers_of_which_one_is_killed(
    cluster: Cluster, shared: Container, tmp_path: Path
) -> None:
    address, workers = cluster
    tree = tmp_path / "tree"
    tree.mkdir()
    expected = {}
    for number in range(300):
        content = b"%d" % number * (number + 1)
        (tree / f"{number}.txt").write_bytes(content)
        expected[str(tree / f"{number}.txt")] = key_of(content)
    killed: list[int] = []
    told: dict[str, str] = {}

    def tell(files: Sequence[StoredFile]) -> None:
        told.update((file.path, file.key) for file in files)
        if not killed:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch, dask_executor(address) as executor:
        patch.setattr("rsdos.ingest.executor.MOST_CHUNK", 10)  # Thirty parts.
        report = shared.add_tree(tree, jobs=executor, tell=tell)
        assert shared.validate("full", jobs=executor).is_good
        assert shared.repack("zstd:3", jobs=executor).objects == len(set(expected.values()))
    assert killed and report.files == 300 and told == expected
    assert sorted(shared) == sorted(set(expected.values()))


def test_a_worker_of_another_release_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsdos.integrations.dask_executor.__version__", "9.9")
    with pytest.raises(InvalidOption, match=r"tcp://.* has rsdos .*, and this is 9\.9"), dask_executor(cluster[0]):
        pass


def test_the_command_line(cluster: Cluster, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(200):
        (tree / f"{number}.txt").write_bytes(b"%d" % number)

    def rsdos(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "rsdos", "-p", str(tmp_path / "c"), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    rsdos("init")
    assert rsdos("add-files", "-r", tree, "--dask", cluster[0]).count("\n") == 200
    assert "nothing is damaged" in rsdos("validate", "--full", "--dask", cluster[0])
    assert "Repacked 1 pack" in rsdos("optimize", "repack", "--compression", "zstd", "--dask", cluster[0])
