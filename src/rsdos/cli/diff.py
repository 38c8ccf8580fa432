"""``rsdos diff``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from rsdos.cli.changes import ChangeForm, ChangeOutput
from rsdos.cli.exit_codes import DIFFERENT, DONE
from rsdos.cli.options import pass_session
from rsdos.cli.session import Session
from rsdos.cli.snapshot_options import state_directory
from rsdos.errors import InvalidName, RefNotFound

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.facade.differences import Difference


@click.command()
@click.argument("old", metavar="A")
@click.argument("new", metavar="B")
@click.option("--stat", is_flag=True, help="Print sizes, and the totals at the end.")
@click.option("--name-only", is_flag=True, help="Print only the paths.")
@click.option("-0", "--null", is_flag=True, help="End each line with NUL, and escape nothing.")
@click.option("--exit-code", is_flag=True, help="Exit with 3 if there are differences.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line, and a summary as the last.")
@pass_session
def command(
    session: Session, old: str, new: str, stat: bool, name_only: bool, null: bool, exit_code: bool, as_json: bool
) -> int:
    """List the differences from A to B. Each is REF[:PATH]; one of them may be a directory.

    M is modified, A added, D removed, T another kind (a file that became a directory), R renamed: the same content at
    another path. Behind the path is what differs, unless it is only the content: executable, mode, time. A directory is
    named by ./DIR, or by DIR if no REF has that name.

    \b
    Example: rsdos diff flowers@1 flowers --exit-code
    """
    output = ChangeOutput(ChangeForm.of(stat, name_only, null, as_json))
    with session.container() as container:
        output.show(_differences(container, old, new))
    output.finish()
    return DIFFERENT if exit_code and output.number else DONE


def _differences(container: Container, old: str, new: str) -> Iterable[Difference]:
    from rsdos.facade.differences import with_renames

    directories = [_is_directory(container, text) for text in (old, new)]
    if all(directories):
        raise click.UsageError("A and B are both directories, and neither is a snapshot: use `diff -r`")
    if directories[1]:
        return _against(container, new, old)
    if directories[0]:
        return map(_turned, _against(container, old, new))
    return with_renames(container.snapshots.diff(old, new))


def _is_directory(container: Container, text: str) -> bool:
    if text in (".", "..") or text.startswith(("/", "./", "../")):
        return True
    try:
        container.snapshots.path(text)
    except (RefNotFound, InvalidName):
        if os.path.isdir(text):
            return True
        raise
    return False


def _against(container: Container, directory: str, ref: str) -> Iterator[Difference]:
    """Yield what differs from a snapshot to a directory."""
    from rsdos.facade.differences import difference_of

    with container.snapshots.status(directory, ref, state_directory=state_directory()) as status:
        for change in status:
            yield difference_of(change)


def _turned(difference: Difference) -> Difference:
    other = {"added": "removed", "removed": "added"}
    return difference._replace(
        change=other.get(difference.change, difference.change), old=difference.new, new=difference.old
    )
