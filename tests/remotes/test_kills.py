"""A push that is killed at a random moment, again and again: the next one continues, and nothing is half there.

There is no journal: the difference finds what was committed. The share in this suite is bounded; the environment
variable ``RSDOS_KILLS`` sets another number of kills, here and on Ceph (``test_on_ceph.py``).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import CompressMode, Container
from rsdos.storage.url import open_storage
from tests.data import noise, text
from tests.helpers import ROOT
from tests.patience import HANG
from tests.remotes.opening import again
from tests.snapshots.saving import save

KILLS = int(os.environ.get("RSDOS_KILLS", "4"))
"""Kills in this suite: 0.5 s each, most of it the start of a process."""

PUSH = """
import sys
from rsdos import Container

container = Container(sys.argv[1])
container.engine
print("begins", flush=True)
container.remotes.push(pack_size=200_000)
print("ends", flush=True)
"""


def push(here: Path) -> subprocess.Popen[str]:
    """A process that pushes, and has begun to."""
    process = subprocess.Popen([sys.executable, "-c", PUSH, str(here)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


@pytest.fixture(params=["version 2", "version 3"])
def there(request: pytest.FixtureRequest, tmp_path: Path, here: Container) -> Container:
    """The remote, in a directory of its own: of version 2, or of version 3 behind a URL."""
    if request.param == "version 2":
        here.remotes.add("origin", tmp_path / "there")
        return Container.create(tmp_path / "there")
    url = f"file://{tmp_path}/there"
    here.remotes.add("origin", url)
    return Container.create(open_storage(url), container_version=3)


def test_a_push_that_is_killed_at_any_moment_is_continued_by_the_next(here: Container, there: Container) -> None:
    seeds = random.Random(7)
    files = {f"file-{at}": noise(2000, 5000 + at) for at in range(50)}
    written = 0
    killed = 0
    while killed < KILLS:
        # New objects in each round, so that each push has work to do.
        here.insert_many([noise(20_000, written + at) for at in range(60)], compress=CompressMode.NO)
        here.insert_many([text(3000, written + at) for at in range(200)])
        here.insert(b"loose %d" % written)
        save(here.engine, "flowers", files | {"round": b"%d" % written})
        written += 1000
        process = push(here.path)
        try:
            process.wait(seeds.random() * 0.15)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        killed += process.wait(HANG) == -signal.SIGKILL
        process.stdout.close()  # type: ignore[union-attr]
        # What is there is whole, at every moment.
        report = again(there).validate("full")
        assert not (report.damaged or report.damaged_files)
    last = push(here.path)
    assert last.wait(HANG) == 0
    last.stdout.close()  # type: ignore[union-attr]
    report = again(there).validate("full")
    assert report.is_finished and not (report.damaged or report.damaged_files)
    assert set(Container(here.path)) == set(again(there))
    ours, theirs = Container(here.path).snapshots["flowers"], again(there).snapshots["flowers"]
    assert ours.key == theirs.key
    assert Container(here.path).remotes.compare().is_same
