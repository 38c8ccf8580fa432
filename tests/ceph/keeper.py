"""A Ceph in a process of its own, the keeper: it is started once, and used by many programs.

A file tells where it is; the keeper makes it when the Ceph is ready, and removes it when it ends. The keeper ends when
it is told so, or when the process ends that it is bound to; its daemons end with it, also when it is killed.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ceph.cluster import Ceph
from tests.ceph.daemons import PAUSE, Failed, tail
from tests.ceph.endpoint import Endpoint
from tests.patience import HANG

ROOT = Path(__file__).resolve().parents[2]

_started: list[subprocess.Popen[bytes]] = []
"""The keepers that this process has started, so that none is reported as forgotten: they go on without it."""


def start(place: Path, bound_to: int | None = None) -> Endpoint:
    """Return the Ceph that the file ``place`` tells of; start it if none runs. Raise `Failed`.

    ``bound_to``: the id of the process with whose end it ends. Several processes may call this at once: one Ceph is
    made.
    """
    with _locked(place):
        if running(place) is not None:
            return Endpoint.load(place)
        place.unlink(missing_ok=True)
        log = place.with_suffix(".log")
        bound = [] if bound_to is None else [str(bound_to)]
        with log.open("wb") as output:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.ceph", "keep", str(place), *bound],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _started.append(keeper)
        while not place.exists():
            if keeper.poll() is not None:
                raise Failed(f"Ceph could not be started:\n{tail(log)}")
            time.sleep(PAUSE)
        _pid_file(place).write_text(str(keeper.pid))
        return Endpoint.load(place)


def running(place: Path) -> int | None:
    """Return the id of the keeper's process; None if it does not run."""
    try:
        pid = int(_pid_file(place).read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(place) in command.split(b"\0") and place.exists() else None


def stop(place: Path) -> bool:
    """Stop the Ceph, and wait until it is gone. Return whether one ran."""
    with _locked(place):
        pid = running(place)
        if pid is not None:
            handle = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                select.select([handle], [], [], HANG)
            finally:
                os.close(handle)
        for path in (place, _pid_file(place), place.with_suffix(".log")):
            path.unlink(missing_ok=True)
        return pid is not None


def keep(place: Path, bound_to: int | None) -> None:
    """Be the keeper: start a Ceph, tell of it in the file, and wait for the end."""
    watched = [] if bound_to is None else [os.pidfd_open(bound_to)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with Ceph() as ceph:
        try:
            ceph.endpoint.save(place)
            select.select(watched, [], [])
        finally:
            place.unlink(missing_ok=True)


def _pid_file(place: Path) -> Path:
    return place.with_suffix(".pid")


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold the lock of a place. The lock's file stays."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
