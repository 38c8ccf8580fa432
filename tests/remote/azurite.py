"""Azurite, Microsoft's own emulator of Azure's blobs: started on loopback where it is installed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

from tests.patience import HANG

ROOT = Path(__file__).parents[2]
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key of every Azurite, from its documentation."""


class Azurite(NamedTuple):
    """A running one."""

    endpoint: str

    def make_container(self) -> str:
        """Make a container of Azure, and return its name."""
        name, date, version = f"c{uuid.uuid4().hex}", formatdate(usegmt=True), "2021-12-02"
        about = f"x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        text = "PUT" + 12 * "\n" + about
        signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
        headers = {"x-ms-date": date, "x-ms-version": version, "Content-Length": "0"}
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
        url = f"{self.endpoint}/{name}?restype=container"
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)):
            return name


def found() -> str | None:
    """Return the program; None if it is not installed."""
    return shutil.which("azurite-blob") or shutil.which(
        "azurite-blob", path=str(ROOT / ".azurite" / "node_modules" / ".bin")
    )


@contextmanager
def running(directory: Path) -> Iterator[Azurite]:
    """Start one that keeps its data in a directory, and end it."""
    program = found()
    assert program is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "--disableTelemetry", "--silent", "--skipApiVersionCheck"]
    command += ["--location", str(directory), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with (directory / "azurite.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        end = time.monotonic() + HANG
        while process.poll() is None and time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        assert process.poll() is None, (directory / "azurite.log").read_text()
        yield Azurite(f"http://127.0.0.1:{port}/{ACCOUNT}")
    finally:
        process.kill()
        process.wait()
