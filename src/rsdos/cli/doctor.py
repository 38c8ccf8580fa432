"""``rsdos doctor``."""

from __future__ import annotations

import click

from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.options import pass_session
from rsdos.cli.render import echo, echo_json, one_line
from rsdos.cli.session import Session


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with lengths in bytes.")
@pass_session
def command(session: Session, as_json: bool) -> int:
    """Check the surroundings of the container: versions, file system, space, locks, clock, index, backup.

    Nothing is changed, and no object is read (validate does that). The exit code is 1 if anything fails or is damaged.

    \b
    Example: rsdos doctor --json
    """
    diagnosis = session.container().doctor()
    if as_json:
        echo_json(diagnosis, indent=2)
    else:
        echo(f"[doctor] {one_line(diagnosis.path)}")
        for answer in diagnosis.answers:
            advice = f" ({answer.advice})" if answer.advice else ""
            echo(one_line(f"{answer.verdict.value:8}{answer.name}: {answer.message}{advice}"))
    return FAILED if diagnosis.faults else DONE
