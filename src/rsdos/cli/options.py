"""The options of every long command: ``--dry-run``, ``--json``, ``--wait``, ``--stats``; and printing its outcome."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from rsdos.cli.progress_bar import Bar
from rsdos.cli.render import echo, echo_error, echo_json, name
from rsdos.cli.session import Session
from rsdos.figures import count, figure, human

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine


STATS = "Print objects/s, bytes/s and peak memory to stderr at the end. With --json the document has peak_memory too."


quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print only errors and warnings, and no progress.")

compress_option = click.option(
    "--compress",
    type=click.Choice(["yes", "auto"]),
    default="yes",
    show_default=True,
    help="With --compression: yes compresses all objects, auto those that become clearly smaller.",
)


class CommonOptions(NamedTuple):
    """The options that the user has given."""

    dry_run: bool
    as_json: bool
    wait: bool
    quiet: bool
    stats: bool

    def bar(self) -> Bar:
        """Return a progress bar."""
        return Bar(quiet=self.quiet)

    def engine(self, session: Session) -> Engine:
        """Open the container for maintenance."""
        from rsdos.model import WhenBusy

        engine = session.container().engine
        engine.when_busy = WhenBusy.WAIT if self.wait else WhenBusy.RAISE
        return engine

    def show(self, outcome: object, sentence: str) -> None:
        """Print a plan or a report, as one JSON document or as a sentence."""
        if self.as_json:
            more: dict[str, object] = {"peak_memory": _peak_memory()} if self.stats else {}
            echo_json(outcome, indent=2, more=more)
        else:
            self.tell(sentence)

    def tell(self, sentence: str) -> None:
        """Print a sentence, unless ``--quiet`` was given."""
        if not self.quiet:
            echo(f"[info] {sentence}")

    def show_stats(self, objects: int, size: int, seconds: float) -> None:
        """With ``--stats``, print speed and peak memory to stderr."""
        if self.stats:
            show_stats(objects, size, seconds)


def show_stats(objects: int, size: int, seconds: float) -> None:
    """Print speed to stderr, and the peak memory of this process or of one that it started."""
    rate = objects / seconds if seconds else 0.0
    speed = human(int(size / seconds)) if seconds else "0 B"
    echo_error(
        f"[stats] {count(objects, 'object')}, {human(size)} in {seconds:.2f} s: "
        f"{figure(round(rate))} objects/s, {speed}/s; peak memory {human(_peak_memory())}"
    )


def _peak_memory() -> int:
    """Return the most bytes that were resident at one time in one process, mapped files included."""
    import resource
    import sys

    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak if sys.platform == "darwin" else peak * 1024


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, as its argument ``run``."""
    wait = click.option("--wait", is_flag=True, help="Wait while other maintenance is running.")
    return wait(report_options(function))


def report_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that needs no lock of maintenance these options but ``--wait``, as its argument ``run``."""
    dry_run = click.option("--dry-run", is_flag=True, help="Only print what would be done.")
    return dry_run(outcome_options(function))


def outcome_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--json``, ``--quiet`` and ``--stats``, as its argument ``run``."""

    @click.option("--json", "as_json", is_flag=True, help="Print the plan or the report as one JSON document.")
    @quiet_option
    @click.option("--stats", is_flag=True, help=STATS)
    @functools.wraps(function)
    def command(
        *arguments: Any,
        as_json: bool,
        quiet: bool,
        stats: bool,
        dry_run: bool = False,
        wait: bool = False,
        **options: Any,
    ) -> Any:
        return function(*arguments, run=CommonOptions(dry_run, as_json, wait, quiet, stats), **options)

    return command


pass_session = click.make_pass_decorator(Session)
"""Gives a command its `Session`."""


def pass_session_to_write(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that changes what is stored its `Session`. Warn if the container is a backup."""

    @functools.wraps(function)
    def command(session: Session, *arguments: Any, **options: Any) -> Any:
        warn_of_backup(session.path)
        return function(session, *arguments, **options)

    return pass_session(command)


def warn_of_backup(path: str) -> None:
    """Print a warning to stderr if a container that is about to be changed is a backup."""
    from rsdos.root import is_backup

    if is_backup(path):
        echo_error(
            f"rsdos: warning: {name(path)}: is a backup: later backups will not have the changes made here; "
            "`rsdos restore` makes a container of it"
        )


class CommandWanted(click.UsageError):
    """A group was called without a command. Its help is printed."""

    def __init__(self, ctx: click.Context) -> None:
        super().__init__("a command is missing", ctx)
        self.help = ctx.get_help()


def want_command(ctx: click.Context) -> None:
    """Raise `CommandWanted` if a group was called without a command."""
    if ctx.invoked_subcommand is None:
        raise CommandWanted(ctx)


def is_path_given(ctx: click.Context) -> bool:
    """Return whether -p on the command line names the container. It is no argument of the command then."""
    return ctx.find_root().get_parameter_source("path") is ParameterSource.COMMANDLINE


def first_path(ctx: click.Context, session: Session, arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the path of the container, which is the first of ``arguments``, and the other arguments.

    With -p, and without arguments, the path is the session's.
    """
    if is_path_given(ctx) or not arguments:
        return session.path, arguments
    return arguments[0], arguments[1:]
