"""``rsdos undo``."""

from __future__ import annotations

import click

from rsdos.cli.options import pass_session_to_write
from rsdos.cli.render import echo, echo_json
from rsdos.cli.session import Session


@click.command()
@click.option("--dry-run", is_flag=True, help="Only print what would be undone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@pass_session_to_write
def command(session: Session, dry_run: bool, as_json: bool) -> None:
    """Undo the last change of the names: a save, import, tag, branch, transfer, pull, forget or undo.

    A second `undo` brings back what the first undid. Only names change. Objects that a gc has deleted do not come back.

    \b
    Example: rsdos undo --dry-run
    """
    from rsdos.maintenance import undo

    engine = session.container().engine
    plan = undo.plan(engine)
    outcome = plan if dry_run else undo.execute(engine, plan)
    if as_json:
        members = {name: getattr(plan.operation, name) for name in ("verb", "names", "time", "by")}
        rows = {"forgotten": outcome.forgotten, "kept": (), "restored": outcome.restored}
        echo_json({**rows, "operation": members}, indent=2)
        return
    operation = plan.operation
    what = f"{operation.verb} of {', '.join(operation.names)}" if operation.names else operation.verb
    back = [str(row) for row in outcome.restored]
    gone = [str(row) for row in outcome.forgotten]
    rest = f"; back: {', '.join(back)}" if back else ""
    rest += f"; gone: {', '.join(gone)}" if gone else ""
    echo(f"[info] {'Would undo' if dry_run else 'Undid'} the {what}{rest}")
