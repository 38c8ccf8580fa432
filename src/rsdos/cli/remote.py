"""``rsdos remote``: the names that a container has for others."""

from __future__ import annotations

import importlib
from contextlib import closing
from typing import TYPE_CHECKING

import click

from rsdos.cli.group import CommandGroup
from rsdos.cli.options import pass_session, want_command
from rsdos.cli.render import echo, echo_error, echo_json, one_line
from rsdos.cli.session import Session

if TYPE_CHECKING:
    from rsdos.maintenance.remotes.table import Seen

_ELSEWHERE: dict[str, str] = {"probe": "remote_probe"}
"""Commands of modules of their own, by their names."""


class _RemoteCommands(CommandGroup):
    """Imports the commands of other modules when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        found = importlib.import_module(f"rsdos.cli.{_ELSEWHERE[cmd_name]}").command
        assert isinstance(found, click.Command)
        return found


@click.group(cls=_RemoteCommands, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Name other containers, on object storage or on a disk, for `push`, `pull`, `fetch` and `status --remote`.

    \b
    Example: rsdos remote add origin s3://lab/data --option endpoint=https://rgw.example.org
    """
    want_command(ctx)


@command.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the URL, such as endpoint.")
@click.option("--endpoint", help="The same as --option endpoint=URL.")
@pass_session
def add_command(session: Session, name: str, url: str, options: tuple[str, ...], endpoint: str | None) -> None:
    """Give the name NAME to the container at URL, a URL or the path of a container of version 2.

    No request is made. A path where no container is yet is added with a warning: make one there with `rsdos init PATH`,
    or mount its disk, and `rsdos push NAME` fills it. Credentials are never written down: they come from the
    environment, the profile files or the machine's role. The names are in remotes.json, which can be shared.

    \b
    Example: rsdos remote add disk /mnt/usb/container
    """
    from rsdos.maintenance.remotes.manage import add

    # Not by `Container.remotes`, which logs the warning.
    with closing(session.engine()) as engine:
        added = add(engine, name, url, options_of(options, endpoint))
    if added.missing:
        echo_error(f"rsdos: warning: {one_line(added.missing)}")
    echo(f"[info] Added {added.name}: {one_line(added.url)}")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@pass_session
def list_command(session: Session, as_json: bool) -> None:
    """List the remotes, with the number of the newest commit that was seen of each.

    \b
    Example: rsdos remote list
    """
    for remote in session.container().remotes.list():
        if as_json:
            echo_json(remote)
        else:
            options = "".join(f" {key}={value}" for key, value in sorted(remote.options.items()))
            lazy = " (lazy)" if remote.lazy else ""
            echo(one_line(f"{remote.name} {remote.url}{options} {_state(remote.seen)}{lazy}"))


@command.command("remove")
@click.argument("name")
@pass_session
def remove_command(session: Session, name: str) -> None:
    """Forget the remote NAME. Nothing in it is changed.

    \b
    Example: rsdos remote remove disk
    """
    session.container().remotes.remove(name)
    echo(f"[info] Removed {name}")


@command.command("adopt")
@click.argument("name", required=False, default="")
@pass_session
def adopt_command(session: Session, name: str) -> None:
    """Accept the present state of the remote NAME, although it does not follow from the state that was seen before.

    For a remote that was restored from an older backup, or made anew. The next push sends what the remote has lost and
    this container has. The rest is lost: first look for another copy, and make sure that no other store answers at the
    URL by mistake.

    \b
    Example: rsdos remote adopt origin && rsdos push origin
    """
    report = session.container().remotes.adopt(name)
    echo(f"[info] Adopted {report.remote}: {_state(report.now)}, where it was {_state(report.before)}")


def options_of(options: tuple[str, ...], endpoint: str | None = None) -> dict[str, str]:
    """Return the options that go with a URL. Raise `click.UsageError` for one without a value, and one given twice."""
    given = [*options, *([f"endpoint={endpoint}"] if endpoint is not None else [])]
    found: dict[str, str] = {}
    for option in given:
        key, sign, value = option.partition("=")
        if not sign or key in found:
            raise click.UsageError(f"--option is KEY=VALUE, each KEY once; not {key!r}")
        found[key] = value
    return found


def _state(seen: Seen | None) -> str:
    return f"commit {seen.number} of {seen.container_id[:8]}" if seen else "never seen"
