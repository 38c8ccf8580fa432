"""What every long command has: ``--dry-run``, ``--json``, ``--wait``, ``--stats``, and how its outcome is shown."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rsdos.cli.progress_bar import Bar
from rsdos.cli.render import count, echo, echo_error, echo_json, human
from rsdos.cli.session import Session

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine


STATS = "Objects/s, bytes/s and peak memory at the end, on stderr; with --json peak_memory stands there too."


quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings alone, and no progress.")


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """The options that the user gave."""

    dry_run: bool
    as_json: bool
    wait: bool
    quiet: bool
    stats: bool

    def bar(self) -> Bar:
        """Shows how far it is."""
        return Bar(quiet=self.quiet)

    def engine(self, session: Session) -> Engine:
        """The open container, for maintenance."""
        from rsdos.model import WhenBusy

        engine = session.container().engine
        engine.when_busy = WhenBusy.WAIT if self.wait else WhenBusy.RAISE
        return engine

    def show(self, outcome: object, sentence: str) -> None:
        """Print a plan or a report: as one JSON document, or as a sentence."""
        if self.as_json:
            more: dict[str, object] = {"peak_memory": _peak_memory()} if self.stats else {}
            echo_json(outcome, indent=2, more=more)
        else:
            self.tell(sentence)

    def tell(self, sentence: str) -> None:
        """Print a sentence, for people."""
        if not self.quiet:
            echo(f"[info] {sentence}")

    def show_stats(self, objects: int, size: int, seconds: float) -> None:
        """With ``--stats``, on stderr: how fast it went, and the most memory that it took."""
        if self.stats:
            show_stats(objects, size, seconds)


def show_stats(objects: int, size: int, seconds: float) -> None:
    """On stderr: how fast it went, and the most memory that this process took, or one that it started."""
    rate = objects / seconds if seconds else 0.0
    speed = human(int(size / seconds)) if seconds else "0 B"
    echo_error(
        f"[stats] {count(objects, 'object')}, {human(size)} in {seconds:.2f} s: {rate:.0f} objects/s, {speed}/s; "
        f"peak memory {human(_peak_memory())}"
    )


def _peak_memory() -> int:
    """The most bytes that were resident at one time, mapped files among them, in the process that had the most."""
    import resource
    import sys

    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak if sys.platform == "darwin" else peak * 1024


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command those options, as its argument ``run``."""

    @click.option("--dry-run", is_flag=True, help="Only say what there is to do.")
    @click.option("--json", "as_json", is_flag=True, help="The plan or the report as one JSON document.")
    @click.option("--wait", is_flag=True, help="Wait while another maintenance run is at work.")
    @quiet_option
    @click.option("--stats", is_flag=True, help=STATS)
    @functools.wraps(function)
    def command(
        *arguments: Any, dry_run: bool, as_json: bool, wait: bool, quiet: bool, stats: bool, **options: Any
    ) -> Any:
        return function(*arguments, run=CommonOptions(dry_run, as_json, wait, quiet, stats), **options)

    return command


pass_session = click.make_pass_decorator(Session)
"""How a command gets its session."""


class CommandWanted(click.UsageError):
    """A group was called without a command: its help is shown."""

    def __init__(self, ctx: click.Context) -> None:
        super().__init__("a command is missing", ctx)
        self.help = ctx.get_help()


def want_command(ctx: click.Context) -> None:
    """Raise `CommandWanted` when a group was called without one of its commands."""
    if ctx.invoked_subcommand is None:
        raise CommandWanted(ctx)


def is_path_given(ctx: click.Context) -> bool:
    """Whether the command line itself names the container, by -p: it is no argument of the command then."""
    return ctx.find_root().get_parameter_source("path") is ParameterSource.COMMANDLINE


def first_path(ctx: click.Context, session: Session, arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The container that a command works on, and the rest of its ``arguments``, of which it is the first.

    With -p it is none of them; without any it is that of $RSDOS_PATH, or ./container.
    """
    if is_path_given(ctx) or not arguments:
        return session.path, arguments
    return arguments[0], arguments[1:]
