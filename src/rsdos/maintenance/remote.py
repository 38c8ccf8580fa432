"""A directory on another machine, which rsync and a shell there are the ways to."""

from __future__ import annotations

import errno
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rsdos.errors import Busy, InvalidOption
from rsdos.model import WhenBusy

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
        return self._call(self._command(script), None)

    def _command(self, script: str) -> list[str]:
        path = shlex.quote(self._path)
        whole = f"exec sh -c {shlex.quote(f'set -e; mkdir -p {path}; cd {path}; {script}')}"
        return [*shlex.split(self._shell), self._host, whole]

    @contextmanager
    def locked(self, name: str, holder: str, when_busy: WhenBusy) -> Iterator[None]:
        """Hold the lock on a file of the directory there, for as long as this lasts and this process lives.

        It is a ``flock``, which that machine's flock(1) takes and keeps while the shell's input is open, so that no
        death leaves it behind. Where there is no such program nothing is held. Raises `Busy`, OSError.
        """
        keep = f"echo {shlex.quote(holder)} > {name}; echo held; exec cat"
        no_wait = "-n" if when_busy is WhenBusy.RAISE else ""
        lock = f"flock {no_wait} {name} sh -c {shlex.quote(keep)} || {{ echo busy; cat {name}; }}"
        command = self._command(f"if command -v flock > /dev/null; then {lock}; else echo none; exec cat; fi")
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as shell:
            assert shell.stdin and shell.stdout and shell.stderr
            answer = shell.stdout.readline().strip()
            if answer in ("held", "none"):
                try:
                    yield
                finally:
                    # The end of its input is what gives the lock back; there may be nobody any more to be told.
                    with suppress(BrokenPipeError):
                        shell.stdin.close()
                return
            # Not `communicate`, which passes over what is in the buffer of the first line.
            output, errors = shell.stdout.read(), shell.stderr.read()
        if answer == "busy":
            raise Busy(self.place, output.strip())
        raise self._failed(command, shell.returncode, errors)

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
            raise self._failed(command, done.returncode, done.stderr)
        return done.stdout

    def _failed(self, command: Sequence[str], code: int, errors: str) -> OSError:
        lines = errors.strip().splitlines() or ["it said nothing"]
        return OSError(errno.EIO, f"{command[0]} ended with code {code}: {lines[0]}", self.place)


def is_remote(place: str) -> bool:
    """Whether this is ``host:path``, and no path: as rsync and scp tell them."""
    return ":" in place.partition("/")[0]


def _statistic(name: str, output: str) -> int:
    match = re.search(_STATISTIC.format(name), output, re.MULTILINE)
    return int(re.sub(r"\D", "", match[1]) or 0) if match else 0
