"""The command line without the start of Python: a server that has imported rsdos, and forks a process per command.

The tests give thousands of commands. With a start of Python `rsdos validate` took 0.55 s of a processor and
`rsdos status` 0.15 s; by the server they take 0.10 s and 0.06 s. Each is still a process of its own, with the caller's
files, directory and environment. Signals reach only the client: tests of those, and of what a start or an end of Python
does, start Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@cache
def warm() -> tuple[str, ...]:
    """Return the words that start the command line by this process's server, which ends with this process."""
    path = os.path.join(tempfile.mkdtemp(prefix="rsdos-warm-"), "socket")
    # Its standard input ends when this process does, however it ends.
    command = [sys.executable, "-m", "tests.warm.server", path]
    server = subprocess.Popen(command, cwd=HERE.parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    server.stdout.close()
    _servers.append(server)
    return (sys.executable, "-I", "-S", str(HERE / "client.py"), path)


_servers: list[subprocess.Popen[bytes]] = []
"""The server, as long as this process lives."""
