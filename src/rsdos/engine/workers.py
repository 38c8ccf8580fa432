"""Workers: processes that work for this one, each with an engine of its own on the same container."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from rsdos.errors import InvalidOption, RsdosError, WorkerDied
from rsdos.storage.signals import uninterrupted

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from rsdos.engine.engine import Engine
    from rsdos.storage.signals import SignalMask

_TOO_MANY = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors of a system that allows no more processes, or no more memory or descriptors for them."""

_NO_MEMORY = MemoryError("a worker has no memory left: fewer jobs take less")

MOST_JOBS = 4
"""Processes that are used by default, at most. More of them wait for the disk and for each other's commits."""

Serve: TypeAlias = "Callable[[Engine, Connection], None]"
"""The work of a worker: it receives its tasks from the pipe, and sends its results. It can be sent to a process."""

Jobs: TypeAlias = "int | Executor | None"
"""Processes of this machine; or an executor, whose processes may be on others; None: as many as there are cores."""


def jobs_of(jobs: Jobs) -> Jobs:
    """Return ``jobs``. Raise `InvalidOption` unless it is a number from 1, an executor or None."""
    if jobs is None or (isinstance(jobs, int) and jobs >= 1):
        return jobs
    from concurrent.futures import Executor

    if isinstance(jobs, Executor):
        return jobs
    raise InvalidOption(f"jobs is 1 or more, or an executor, not {jobs!r:.40}")


def default_jobs() -> int:
    """Return how many processes to use on this machine."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, MOST_JOBS)


class WorkerProcesses:
    """Some processes that do the same work. A context manager; one thread.

    A worker depends on its end of a pipe: it ends when this process ends, however that happens.
    """

    shortage = ""
    """Says why fewer workers were started than asked for; "" if that is not so."""

    def __init__(self, engine: Engine, jobs: int, serve: Serve) -> None:
        """Start at most ``jobs`` workers when the block begins; fewer, or none, where the system allows no more."""
        self._engine = engine
        self._jobs = jobs
        self._serve = serve
        self.pipes: list[Connection] = []
        """The pipes to the workers that have not ended their work."""
        self._processes: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Self:
        try:
            while len(self.pipes) < self._jobs:
                may_fork = self._engine.directory is not None  # Not with connections to a remote.
                with uninterrupted() as mask:  # An interrupt in the start of a worker would leak its pipes.
                    pipe, process = _start(self._engine.opener(), self._serve, list(self.pipes), may_fork, mask)
                    self.pipes.append(pipe)
                    self._processes[pipe] = process
        except BaseException as error:
            if not isinstance(error, OSError) or error.errno not in _TOO_MANY:
                self._close()
                raise
            self.shortage = f"{len(self.pipes)} of {self._jobs} workers could be started: {error.strerror}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        """Let the workers end, and wait for it: one that has no pipe any more ends with the part that it reads."""
        for pipe in self.pipes:
            pipe.close()
        for process in self._processes.values():
            process.join()  # Only then the system knows how much memory it took.
            process.close()
        self._processes.clear()

    def send(self, pipe: Connection, message: object) -> None:
        """Send a message to a worker. If it has ended without reading it, raise its error, or `WorkerDied`."""
        with suppress(BrokenPipeError, ConnectionResetError):
            pipe.send(message)
            return
        while self.receive(pipe) is not None:
            pass
        raise self._died(pipe)

    def receive(self, pipe: Connection) -> Any:
        """Return the next message of a worker; None when it has ended its work. Raise its error, or `WorkerDied`."""
        try:
            message = pipe.recv()
        except (EOFError, OSError):  # An OSError without a number if it was killed in the middle of a message.
            raise self._died(pipe) from None
        if isinstance(message, Exception):
            raise message
        if message is None:
            self.pipes.remove(pipe)
            pipe.close()
        return message

    def _died(self, pipe: Connection) -> WorkerDied:
        """Return the error for a worker that has ended without a word."""
        import signal

        pipe.close()  # One that lives nevertheless ends with the part that it reads.
        process = self._processes[pipe]
        process.join()
        code = process.exitcode or 0
        how = f"exit status {code}" if code >= 0 else signal.strsignal(-code) or f"signal {-code}"
        return WorkerDied(f"a worker has died ({how}): fewer jobs take less memory")


def wait_for(pipes: Sequence[Connection]) -> list[Connection]:
    """Return those of the pipes that have a message, at least one, in their order."""
    from multiprocessing.connection import wait

    ready = wait(pipes)
    return [pipe for pipe in pipes if pipe in ready]


def _start(
    opener: Callable[[], Engine], serve: Serve, others: list[Connection], may_fork: bool, mask: SignalMask
) -> tuple[Connection, BaseProcess]:
    """Start a worker; return this process's end of its pipe, and the process. ``others`` are the pipes so far.

    The worker lets the signals of ``mask`` wait.
    """
    import multiprocessing

    # A fork starts in 2 ms instead of 150, because it has imported everything already. But it would inherit the locks
    # of other threads, so there must be no other thread, not even one of numpy's BLAS: the command line starts none.
    forks = may_fork and _is_alone()
    context = multiprocessing.get_context("fork") if forks else multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    inherited = [mine, *others] if forks else []
    process = context.Process(target=_work, args=(theirs, inherited, opener, serve, mask), daemon=True)
    process.start()
    theirs.close()
    return mine, process


def _is_alone() -> bool:
    """Return whether this process has one thread, as the system counts them. False where it does not tell."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _work(
    pipe: Connection, inherited: Sequence[Connection], opener: Callable[[], Engine], serve: Serve, mask: SignalMask
) -> None:
    """Work, until there is nothing more to do or the pipe is closed."""
    import signal

    for end in inherited:
        end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that this one works for.
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        try:
            with closing(opener()) as engine:
                serve(engine, pipe)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return  # The process that this one works for has ended, or has failed.
        except Exception as error:  # noqa: BLE001  the other process raises it
            try:
                pipe.send(portable(error))
            except MemoryError:
                pipe.send(_NO_MEMORY)
        pipe.send(None)
    except (BrokenPipeError, ConnectionResetError):
        return


def portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process. Classes of other packages may not survive a pickle."""
    import traceback

    trace = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError):
        error = MemoryError(*_NO_MEMORY.args)
    elif not isinstance(error, RsdosError) and type(error).__module__ != "builtins":
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.__cause__ = error.__context__ = error.__traceback__ = None
    error.add_note(f"In a worker:\n{trace}")
    return error
