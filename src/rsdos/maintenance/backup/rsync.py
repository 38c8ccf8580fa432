"""A directory on another machine, used through rsync and a remote shell."""

from __future__ import annotations

import _thread
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
"""The exit code of rsync when a file vanished while it ran."""

_STATISTIC = r"^{}: ([\d,.' ]+)"

_LAST_LINES = 3
"""Lines of a program's error output that are reported: a banner comes first, the cause last."""

SILENCE = 600.0
"""Seconds without any output after which a run gives up. Hashing a file of 4 GiB takes 200."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """The result of one run of rsync: ``files`` of ``length`` bytes, ``written`` bytes of them over the network."""

    files: int
    length: int
    written: int


class OtherMachine:
    """The directory ``place``, in the form ``[user@]host:path``. Every method raises OSError when a program fails.

    The other machine expands ``~`` in the path. After ``silence`` seconds without any output it is given up. The login
    shell there may be any and may print anything: all scripts are run by ``sh``.
    """

    def __init__(self, place: str, rsync: str = "rsync", shell: str = "ssh", silence: float = SILENCE) -> None:
        match = _DESTINATION(place)
        if match is None:
            raise InvalidOption(f"{place}: does not have the form [user@]host:path")
        self.place = place
        self._host, self._given = match[1], match[2].rstrip("/") or "/"
        self._rsync, self._shell, self._silence = rsync, shell, silence
        self._found: str | None = None

    @property
    def path(self) -> str:
        """The absolute path on the other machine."""
        if self._found is None:
            # Not the given path: rsync does not expand "~" in a path that it protects.
            self._found = self.run("pwd").removesuffix("\n")
        return self._found

    def run(self, script: str, lines: Iterable[str] = ()) -> str:
        """Run a shell script in the directory, which is made if it is missing. Return its output.

        The script reads the ``lines``. It contains no line break: csh cannot quote one.
        """
        mark = secrets.token_hex(8)
        command = self._command(f"echo {mark}; {script}")
        output = self._call(command, "".join(f"{line}\n" for line in lines), silence=self._silence)
        # The output before the mark is the login shell's.
        _, found, answer = output.partition(f"{mark}\n")
        if not found:
            raise OSError(errno.EIO, f"no answer from its sh; the output is {output[-200:]!r}", self.place)
        return answer

    def _command(self, script: str) -> list[str]:
        path = _quoted(self._given)
        whole = f"exec sh -c {shlex.quote(f'set -e; mkdir -p {path}; cd {path}; {script}')}"
        return [*shlex.split(self._shell), self._host, whole]

    @contextmanager
    def locked(self, name: str, holder: str, when_busy: WhenBusy) -> Iterator[None]:
        """Hold the lock on a file of the directory, until the block ends or this process dies.

        It is a ``flock`` that flock(1) on the other machine takes, and holds while the shell's input is open: no death
        of a process leaves it behind. Without that program no lock is held. Raise `Busy`, OSError.
        """
        mark = secrets.token_hex(8)
        keep = f"echo {shlex.quote(holder)} > {name}; echo {mark} held; exec cat"
        no_wait = "-n" if when_busy is WhenBusy.RAISE else ""
        lock = f"flock {no_wait} {name} sh -c {shlex.quote(keep)} || {{ echo {mark} busy; cat {name}; }}"
        none = f"echo {mark} none; exec cat"
        command = self._command(f"if command -v flock > /dev/null; then echo {mark} begun; {lock}; else {none}; fi")
        with running(command) as shell:
            assert shell.stdin
            # A child that is forked now would keep the pipe open, and with it the lock.
            keeping = Working(map(os.dup, (shell.stdin.fileno(),)))
            shell.stdin.close()
            talk = _Talk(shell)
            try:
                answer = talk.line(mark, self._silence)
                if answer == "begun":
                    # Wait for the lock without a limit.
                    answer = talk.line(mark, self._silence if when_busy is WhenBusy.RAISE else None)
                if answer in ("held", "none"):
                    yield
                    return
                rest = talk.rest(self._silence)
            except _Silent:
                shell.kill()
                raise self._silent() from None
            finally:
                # The end of its input releases the lock.
                keeping.close()
                self._end(shell)
        if answer == "busy":
            raise Busy(self.place, rest.decode(errors="replace").strip())
        raise self._failed(command, shell.returncode, talk.errors.decode(errors="replace"))

    def send(self, source: str, name: str, options: Sequence[str], files: Iterable[str] | None = None) -> Transferred:
        """Copy all files in ``source``, or only ``files``, to the directory ``name`` on the other machine.

        Files that vanish are skipped, and links are not copied. A file that grows is sent as it was at some moment.
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
        with running(command) as process:
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
        """Wait for a shell whose input has ended, for ``silence`` seconds. A forked child cannot wait for it."""
        assert shell.stdout and shell.stderr
        shell.stdout.close()
        shell.stderr.close()
        try:
            shell.wait(self._silence)
        except subprocess.TimeoutExpired:
            shell.kill()

    def _silent(self) -> _Silent:
        return _Silent(errno.ETIMEDOUT, f"no output for {self._silence:g} s", self.place)

    def _failed(self, command: Sequence[str], code: int, errors: str) -> OSError:
        lines = errors.strip().splitlines()[-_LAST_LINES:] or ["without any output"]
        return OSError(errno.EIO, f"{command[0]} ended with code {code}: {'; '.join(lines)}", self.place)


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program with pipes to it. Wait for its end after the block. An exception ends the program at once.

    A thread starts it: handlers of signals run in the main thread, and one that raised in the middle of `Popen` would
    leave some of the pipes open (`make storm` met it). Raise what `subprocess.Popen` does.
    """
    starter = _Starter(command)
    try:
        starter.start()
        starter.wait()
        if starter.error is not None:
            raise starter.error
        assert starter.process is not None
        with starter.process:
            yield starter.process
    except BaseException:
        starter.abandon()
        raise


class _Starter:
    """Starts one program in a thread.

    It is no `threading.Thread`: one whose start or join is interrupted passes for stopped while it runs.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._is_begun = False
        self._working = _thread.allocate_lock()
        self._working.acquire()
        self.process: subprocess.Popen[bytes] | None = None
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin. Raise RuntimeError where no thread can be had."""
        self._is_begun = True  # Before: the handler of a signal may run as the next call ends.
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:
            self._is_begun = False
            raise

    def _run(self) -> None:
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe)
        except Exception as error:  # noqa: BLE001  it is raised where the program is wanted
            self.error = error
        finally:
            self._working.release()

    def wait(self) -> None:
        """Wait until the program has started, or could not be."""
        with self._working:
            pass

    def abandon(self) -> None:
        """End the program, once it has started."""
        if self._is_begun:
            self.wait()
        if self.process is not None:
            with self.process as process:
                process.kill()


class _Silent(TimeoutError):
    """The other machine gave no output. A class of its own, because a user's callback may raise TimeoutError."""


class _Talk:
    """Reads and writes the pipes of a process at once, so that none is ever full. Raises `_Silent` after a timeout."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes | None = None) -> None:
        """Without ``stdin`` the input of the process is not used."""
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
        """Return the text after the mark in the next line that has it; "" at the end of the output."""
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
        """Return all output until the process closes it."""
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
        """Close the input of the process, which ends it."""
        with suppress(BrokenPipeError):
            self._in.close()


def is_remote(place: str) -> bool:
    """Return whether this is ``host:path`` and not a path, by the rule of rsync and scp."""
    return ":" in place.partition("/")[0]


def _quoted(path: str) -> str:
    """Quote a path for a shell, so that it expands a ``~`` at the beginning and nothing else."""
    home = _HOME(path)
    if home is None:
        return shlex.quote(path)
    return home[1] if not home[2] else f"{home[1]}/{shlex.quote(home[2])}"


def _statistic(name: str, output: str) -> int:
    match = re.search(_STATISTIC.format(name), output, re.MULTILINE)
    return int(re.sub(r"\D", "", match[1]) or 0) if match else 0
