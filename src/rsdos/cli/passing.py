"""What commands get from click: the session, where paths are taken from, and groups that show what is in them."""

from __future__ import annotations

import click
from click.core import ParameterSource

from rsdos.cli.session import Session

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
