"""Options that several commands of snapshots have: what is said about a version, and how a directory is read."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from rsdos.cli.parameter import Parameter
from rsdos.cli.session import Session

if TYPE_CHECKING:
    from rsdos.worktree.options import Description

_Command = Callable[..., Any]

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
"""The environment variable of reproducible builds: seconds since 1970 to use as the time."""


class Metadata(Parameter):
    """``KEY=JSON``."""

    name = "key=json"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not KEY=JSON", param, ctx)
        try:
            return name, json.loads(text)
        except RecursionError:
            self.fail(f"the JSON of {name!r} is nested too deep", param, ctx)
        except ValueError:
            self.fail(f"""{text!r} is not JSON; a text needs quotes: '{name}="{text}"'""", param, ctx)


class TimeOption(Parameter):
    """``2026-11-26``, ``2026-11-26T17:30:00Z``, as seconds since 1970."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-26 or 2026-11-26T17:30:00Z (UTC)", param, ctx)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _together(*options: _Command) -> _Command:
    def decorate(function: _Command) -> _Command:
        return functools.reduce(lambda command, option: option(command), reversed(options), function)

    return decorate


description_options = _together(
    click.option("-m", "--message", default="", metavar="TEXT", help="What to say about the version."),
    click.option(
        "--meta",
        "metadata",
        multiple=True,
        type=Metadata(),
        metavar="KEY=JSON",
        help="""Keep this with the version: --meta 'licence="CC0"'. May be given more than once.""",
    ),
    click.option(
        "--derived-from",
        multiple=True,
        metavar="REF",
        help="A snapshot that the content was computed from, here or (by its key) in another container.",
    ),
    click.option("--author", metavar="A", help="Who made it. Default: user@host."),
    click.option("--time", "moment", type=TimeOption(), help=f"When it was made. Default: ${EPOCH_VARIABLE}, or now."),
)

kept_options = _together(
    click.option("--times", is_flag=True, help="Keep the times of files, too."),
    click.option("--modes", is_flag=True, help="Keep all permission bits, not only the x bit."),
)

scan_options = _together(
    click.option(
        "--exclude",
        "patterns",
        multiple=True,
        metavar="GLOB",
        help="Leave out what matches, as in a .gitignore. May be given more than once.",
    ),
    click.option("--one-file-system", is_flag=True, help="Leave out what is on other file systems."),
    click.option("--keep-going", is_flag=True, help="Leave out what cannot be read; the exit code is 1 all the same."),
    click.option("--rehash", is_flag=True, help="Read every file, also those that seem unchanged."),
)


def described(
    session: Session,
    name: str,
    message: str,
    metadata: tuple[tuple[str, Any], ...],
    derived_from: tuple[str, ...],
    author: str | None,
    moment: float | None,
) -> Description:
    """Return what the user says about a version."""
    from rsdos.trees.documents import utc_text
    from rsdos.worktree.options import Description

    snapshots = session.container().snapshots
    time = "" if moment is None else utc_text(moment)
    if moment is None and (epoch := os.environ.get(EPOCH_VARIABLE)):
        if not epoch.isascii() or not epoch.isdigit():
            raise click.UsageError(f"${EPOCH_VARIABLE} is not a number of seconds: {epoch!r}")
        time = utc_text(int(epoch))
    origins = tuple(snapshots.find(ref) for ref in derived_from)
    return Description(name, message, _user() if author is None else author, time, dict(metadata), origins)


def _user() -> str:
    import pwd
    import socket

    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # As in many a container of Docker.
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


def state_directory() -> str:
    """Return where the times of files are remembered if the container cannot be written."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(cache, "rsdos")
