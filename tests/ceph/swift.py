"""OpenStack Swift's s3api from Debian's packages: the store that refuses conditional puts."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.ceph.daemons import Daemon, free_port
from tests.ceph.endpoint import Endpoint

PACKAGES = ("swift-proxy", "swift-account", "swift-container", "swift-object")
PYTHON = "/usr/bin/python3"
"""Debian's own: its packages are not there for any other. -P keeps our swift.py out of the way of its swift."""
SERVER = Path(__file__).with_name("swift_server.py")


def is_installed() -> bool:
    """Return whether all parts of Swift are installed."""
    return all(shutil.which(package + "-server") for package in PACKAGES)


class Swift:
    """A running Swift of one process, with one copy of everything. One thread makes and closes it."""

    def __init__(self) -> None:
        """Start it, which takes about 3 s. Raise `Failed`."""
        self._directory = Path(tempfile.mkdtemp(prefix="rsdos-swift-"))
        port = free_port()
        self.endpoint = Endpoint(f"http://127.0.0.1:{port}", "test:tester", "testing")
        ready = self._directory / "ready"
        arguments = (PYTHON, "-P", str(SERVER), str(self._directory), str(port))
        self._daemon = Daemon(arguments, self._directory / "swift.log")
        try:
            self._daemon.start()
            self._daemon.wait_until(ready.exists)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Kill it and remove its data. Idempotent."""
        self._daemon.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
