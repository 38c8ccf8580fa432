"""``rsdos status``."""

from __future__ import annotations

import click

from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.options import pass_session
from rsdos.cli.render import echo_error
from rsdos.cli.session import Session
from rsdos.cli.types import Share


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with sizes in bytes.")
@click.option("--check", is_flag=True, help="For monitoring: exit with 1 if something needs attention.")
@click.option(
    "--max-loose",
    type=click.IntRange(min=0),
    default=100_000,
    show_default=True,
    help="With --check: more loose objects than this need `optimize`.",
)
@click.option(
    "--max-dead",
    type=Share(),
    default="50%",
    show_default=True,
    help="With --check: a larger share of dead bytes in the packs needs `optimize`.",
)
@pass_session
def command(session: Session, as_json: bool, check: bool, max_loose: int, max_dead: float) -> int:
    """Count objects and bytes.

    "Packs" is about packed objects and their raw size, "Pack Files" about the files and their size on disk. No object
    is read: see validate.

    With --check everything that needs attention is named on standard error: damage that status sees, damage that the
    last validation or backup has found, and maintenance that is due beyond the limits.

    \b
    Example: rsdos status --check --max-loose 10000 || mail -s "look after the container" me < /dev/null
    """
    from rsdos.cli.show_status import attention, show

    report = show(session, as_json)
    found = attention(report, max_loose, max_dead) if check else []
    for reason in found:
        echo_error(f"rsdos: error: {reason}")
    return FAILED if found else DONE
