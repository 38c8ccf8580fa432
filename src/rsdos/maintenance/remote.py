"""A directory on another machine, which rsync and a shell there are the ways to."""

from __future__ import annotations

import errno
import re
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rsdos.errors import InvalidOption

_DESTINATION = re.compile(r"([^-/:\s][^/:\s]*):(.+)").fullmatch
_VANISHED = 24
"""What rsync ends with when a file went while it was at work."""

_STATISTIC = r"^{}: ([\d,.' ]+)"


@dataclass(frozen=True, slots=True)
class Transferred:
    """What one run of rsync sent: so many ``files``, and ``written`` bytes that were not there."""

    files: int
    written: int


class Remote:
    """The directory ``place``, ``[user@]host:path``. Every method raises OSError when a program fails."""

    def __init__(self, place: str, rsync: str = "rsync", shell: str = "ssh") -> None:
        match = _DESTINATION(place)
        if match is None:
            raise InvalidOption(f"{place}: not of the form [user@]host:path")
        self.place = place
        self._host, self._path = match[1], match[2].rstrip("/") or "/"
        self._rsync, self._shell = rsync, shell

    def run(self, script: str) -> str:
        """What a shell script prints that runs there, in the directory, which is made if it is not there."""
        path = shlex.quote(self._path)
        whole = f"exec sh -c {shlex.quote(f'set -e; mkdir -p {path}; cd {path}; {script}')}"
        return self._call([*shlex.split(self._shell), self._host, whole], None)

    def send(self, source: str, name: str, options: Sequence[str], files: Iterable[str] | None = None) -> Transferred:
        """Copy what is in ``source``, or the ``files`` of it, to the directory ``name`` there. A vanished one is none.

        A file that grows meanwhile is sent as it was at some moment.
        """
        listed = [] if files is None else ["--files-from=-", "--from0", "--ignore-missing-args"]
        command = [self._rsync, "--archive", "--stats", "--protect-args", "--rsh", self._shell, *options, *listed]
        names = None if files is None else "\0".join(files)
        output = self._call([*command, f"{source}/", f"{self._host}:{self._path}/{name}/"], names, (0, _VANISHED))
        return Transferred(
            _statistic("Number of regular files transferred", output), _statistic("Literal data", output)
        )

    def _call(self, command: Sequence[str], stdin: str | None, good: Sequence[int] = (0,)) -> str:
        done = subprocess.run(command, input=stdin or "", capture_output=True, text=True, check=False)
        if done.returncode not in good:
            lines = done.stderr.strip().splitlines() or ["it said nothing"]
            reason = f"{command[0]} ended with code {done.returncode}: {lines[0]}"
            raise OSError(errno.EIO, reason, self.place)
        return done.stdout


def is_remote(place: str) -> bool:
    """Whether this is ``host:path``, and no path: as rsync and scp tell them."""
    return ":" in place.partition("/")[0]


def _statistic(name: str, output: str) -> int:
    match = re.search(_STATISTIC.format(name), output, re.MULTILINE)
    return int(re.sub(r"\D", "", match[1]) or 0) if match else 0
