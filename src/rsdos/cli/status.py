"""``rsdos status``."""

from __future__ import annotations

import click

from rsdos.cli.passing import pass_session
from rsdos.cli.session import Session


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document, sizes in bytes.")
@pass_session
def command(session: Session, as_json: bool) -> None:
    """Count objects and bytes.

    Packs are packed objects and their raw size, Pack Files the files and their size on disk.
    """
    from rsdos.cli.show_status import show

    show(session, as_json)
