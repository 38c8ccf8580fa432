"""``rsdos branch``."""

from __future__ import annotations

import click

from rsdos.cli.options import pass_session_to_write
from rsdos.cli.render import echo
from rsdos.cli.session import Session


@click.command()
@click.argument("name")
@click.argument("ref")
@pass_session_to_write
def command(session: Session, name: str, ref: str) -> None:
    """Begin the branch NAME with the snapshot REF as its first version.

    \b
    Example: rsdos branch flowers-cleaned flowers@3
    """
    snapshot = session.container().snapshots.branch(name, ref)
    echo(f"[info] {name}@1 is {snapshot.key[:8]}")
