"""A directory on another machine, which rsync and a shell there are the ways to."""

from __future__ import annotations

import errno
import os
import re
import secrets
import select
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rsdos.errors import Busy, InvalidOption
from rsdos.model import WhenBusy
from rsdos.storage.descriptors import Working

_DESTINATION = re.compile(r"([^-/:\s][^/:\s]*):(.+)", re.DOTALL).fullmatch
_HOME = re.compile(r"(~[\w.-]*)(?:/(.*))?", re.DOTALL).fullmatch
_VANISHED = 24
"""What rsync ends with when a file went while it was at work."""

_STATISTIC = r"^{}: ([\d,.' ]+)"

_LAST_LINES = 3
"""Of what a program says of its failure: a banner comes first, the cause last."""

SILENCE = 600.0
"""Seconds without a sign of life after which another machine is given up: a file of 4 GiB is hashed in 200."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """What one run of rsync sent: so many ``files`` of ``length`` bytes, and ``written`` bytes that were not there."""

    files: int
    length: int
    written: int


class Remote:
    """The directory ``place``, ``[user@]host:path``. Every method raises OSError when a program fails.

    ``~`` in the path is for the other machine to expand. ``silence``: seconds without a sign of life after which it is
    given up. Its user's login shell may be any, and may print what it likes: what is wanted is run by its ``sh``.
    """

    def __init__(self, place: str, rsync: str = "rsync", shell: str = "ssh", silence: float = SILENCE) -> None:
        match = _DESTINATION(place)
        if match is None:
            raise InvalidOption(f"{place}: not of the form [user@]host:path")
        self.place = place
        self._host, self._given = match[1], match[2].rstrip("/") or "/"
        self._rsync, self._shell, self._silence = rsync, shell, silence
        self._found: str | None = None

    @property
    def path(self) -> str:
        """The absolute path there."""
        if self._found is None:
            # Not what was given: rsync expands no "~" of a name that it protects.
            self._found = self.run("pwd").removesuffix("\n")
        return self._found

    def run(self, script: str, lines: Iterable[str] = ()) -> str:
        """What a shell script prints that runs there, in the directory, which is made if it is not there.

        It reads the ``lines``. No line break in ``script``: csh has none in what it quotes.
        """
        mark = secrets.token_hex(8)
        command = self._command(f"echo {mark}; {script}")
        output = self._call(command, "".join(f"{line}\n" for line in lines), silence=self._silence)
        # What stands before is the login shell's.
        _, found, answer = output.partition(f"{mark}\n")
        if not found:
            raise OSError(errno.EIO, f"no answer from its sh, but {output[-200:]!r}", self.place)
        return answer

    def _command(self, script: str) -> list[str]:
        path = _quoted(self._given)
        whole = f"exec sh -c {shlex.quote(f'set -e; mkdir -p {path}; cd {path}; {script}')}"
        return [*shlex.split(self._shell), self._host, whole]

    @contextmanager
    def locked(self, name: str, holder: str, when_busy: WhenBusy) -> Iterator[None]:
        """Hold the lock on a file of the directory there, for as long as this lasts and this process lives.

        It is a ``flock``, which that machine's flock(1) takes and keeps while the shell's input is open, so that no
        death leaves it behind. Where there is no such program nothing is held. Raises `Busy`, OSError.
        """
        mark = secrets.token_hex(8)
        keep = f"echo {shlex.quote(holder)} > {name}; echo {mark} held; exec cat"
        no_wait = "-n" if when_busy is WhenBusy.RAISE else ""
        lock = f"flock {no_wait} {name} sh -c {shlex.quote(keep)} || {{ echo {mark} busy; cat {name}; }}"
        none = f"echo {mark} none; exec cat"
        command = self._command(f"if command -v flock > /dev/null; then echo {mark} begun; {lock}; else {none}; fi")
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as shell:
            assert shell.stdin
            # A child that is forked meanwhile would keep it open, and the lock with it.
            keeping = Working(map(os.dup, (shell.stdin.fileno(),)))
            shell.stdin.close()
            talk = _Talk(shell)
            try:
                answer = talk.line(mark, self._silence)
                if answer == "begun":
                    # Who waits for the lock waits as long as it takes.
                    answer = talk.line(mark, self._silence if when_busy is WhenBusy.RAISE else None)
                if answer in ("held", "none"):
                    yield
                    return
                rest = talk.rest(self._silence)
            except _Silent:
                shell.kill()
                raise self._silent() from None
            finally:
                # The end of its input is what gives the lock back.
                keeping.close()
                self._end(shell)
        if answer == "busy":
            raise Busy(self.place, rest.decode(errors="replace").strip())
        raise self._failed(command, shell.returncode, talk.errors.decode(errors="replace"))

    def send(self, source: str, name: str, options: Sequence[str], files: Iterable[str] | None = None) -> Transferred:
        """Copy what is in ``source``, or the ``files`` of it, to the directory ``name`` there. A vanished one is none.

        Links are not copied. A file that grows meanwhile is sent as it was at some moment.
        """
        listed = [] if files is None else ["--files-from=-", "--from0", "--ignore-missing-args"]
        command = [self._rsync, "--recursive", "--times", "--stats", "--protect-args", "--rsh", self._shell]
        command += [f"--timeout={max(int(self._silence), 1)}", *options, *listed]
        names = "" if files is None else "\0".join(files)
        target = f"{self._host}:{self.path}/{name}/"
        output = self._call([*command, f"{source}/", target], names, good=(0, _VANISHED))
        return Transferred(
            _statistic("Number of regular files transferred", output),
            _statistic("Total transferred file size", output),
            _statistic("Literal data", output),
        )

    def _call(
        self, command: Sequence[str], stdin: str, good: Sequence[int] = (0,), silence: float | None = None
    ) -> str:
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            talk = _Talk(process, stdin.encode(errors="surrogateescape"))
            try:
                output = talk.rest(silence)
            except _Silent:
                process.kill()
                raise self._silent() from None
            except BaseException:
                process.kill()
                raise
            finally:
                talk.close()
        if process.returncode not in good:
            raise self._failed(command, process.returncode, talk.errors.decode(errors="replace"))
        return output.decode(errors="surrogateescape")

    def _end(self, shell: subprocess.Popen[bytes]) -> None:
        """Wait for a shell whose input has ended, as long as for any sign of life. In a forked child it is not ours."""
        assert shell.stdout and shell.stderr
        shell.stdout.close()
        shell.stderr.close()
        try:
            shell.wait(self._silence)
        except subprocess.TimeoutExpired:
            shell.kill()

    def _silent(self) -> _Silent:
        return _Silent(errno.ETIMEDOUT, f"no sign of life for {self._silence:g} s", self.place)

    def _failed(self, command: Sequence[str], code: int, errors: str) -> OSError:
        lines = errors.strip().splitlines()[-_LAST_LINES:] or ["it said nothing"]
        return OSError(errno.EIO, f"{command[0]} ended with code {code}: {'; '.join(lines)}", self.place)


class _Silent(TimeoutError):
    """Another machine gave no sign of life: told from a TimeoutError of a user's callback."""


class _Talk:
    """Both ways to a process, so that none of them is ever full. Raises `_Silent` when it says nothing for too long."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes | None = None) -> None:
        """Without ``stdin`` its input is not touched."""
        assert process.stdin and process.stdout and process.stderr
        self._process = process
        self._out, self._err = process.stdout.fileno(), process.stderr.fileno()
        self._in = process.stdin
        self._todo = memoryview(stdin or b"")
        self._got = bytearray()
        self._open = {self._out, self._err}
        self.errors = b""
        if stdin is not None:
            os.set_blocking(self._in.fileno(), False)
        if stdin is not None and not self._todo:
            self._in.close()

    def line(self, mark: str, silence: float | None) -> str:
        """What stands behind the mark in the next line that begins with it; "" at the end of its output."""
        begin = f"{mark} ".encode()
        while True:
            while (end := self._got.find(b"\n")) >= 0:
                line, self._got = bytes(self._got[:end]), self._got[end + 1 :]
                if begin in line:
                    return line.partition(begin)[2].decode().strip()
            if self._out not in self._open:
                return ""
            self._step(silence)

    def rest(self, silence: float | None) -> bytes:
        """All that comes until the process closes its output."""
        while self._open:
            self._step(silence)
        return bytes(self._got)

    def _step(self, silence: float | None) -> None:
        writing = [self._in] if self._todo else []
        ready, writable, _ = select.select(list(self._open), writing, [], silence)
        if not ready and not writable:
            raise _Silent
        for fd in ready:
            data = os.read(fd, 1 << 16)
            if not data:
                self._open.discard(fd)
            elif fd == self._out:
                self._got += data
            else:
                self.errors = (self.errors + data)[-(1 << 16) :]
        if writable:
            try:
                self._todo = self._todo[os.write(self._in.fileno(), self._todo[: 1 << 16]) :]
            except BlockingIOError:
                return
            except BrokenPipeError:
                self._todo = memoryview(b"")
            if not self._todo:
                with suppress(BrokenPipeError):
                    self._in.close()

    def close(self) -> None:
        """Give the pipes back; the process ends by that."""
        with suppress(BrokenPipeError):
            self._in.close()


def is_remote(place: str) -> bool:
    """Whether this is ``host:path``, and no path: as rsync and scp tell them."""
    return ":" in place.partition("/")[0]


def _quoted(path: str) -> str:
    """A path for a shell, of which that expands a ``~`` at the beginning and nothing else."""
    home = _HOME(path)
    if home is None:
        return shlex.quote(path)
    return home[1] if not home[2] else f"{home[1]}/{shlex.quote(home[2])}"


def _statistic(name: str, output: str) -> int:
    match = re.search(_STATISTIC.format(name), output, re.MULTILINE)
    return int(re.sub(r"\D", "", match[1]) or 0) if match else 0
