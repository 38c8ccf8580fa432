"""``rsdos tag``."""

from __future__ import annotations

import click

from rsdos.cli.options import pass_session_to_write
from rsdos.cli.render import echo
from rsdos.cli.session import Session


@click.command()
@click.argument("tag")
@click.argument("ref")
@click.option("--move", is_flag=True, help="Replace a tag of this name.")
@pass_session_to_write
def command(session: Session, tag: str, ref: str, move: bool) -> None:
    """Give the snapshot REF the name TAG, which does not move when the branch gets a new version.

    A version with a tag is kept by every policy of `forget`. `rsdos forget TAG` removes a tag.

    \b
    Example: rsdos tag v1.0 flowers@3
    """
    snapshot = session.container().snapshots.tag(tag, ref, move=move)
    echo(f"[info] Tagged {snapshot.key[:8]} as {tag}")
