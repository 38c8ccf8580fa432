"""``rsdos pull``."""

from __future__ import annotations

import click

from rsdos.cli.options import CommonOptions, pass_session_to_write, report_options
from rsdos.cli.remote_options import (
    limit_option,
    name_argument,
    selected,
    selection_options,
    show_estimate,
    show_report,
    telling_what_is_done,
)
from rsdos.cli.session import Session


@click.command()
@name_argument
@selection_options
@limit_option
@report_options
@pass_session_to_write
def command(
    session: Session,
    name: str,
    keys: tuple[str, ...],
    listed: str | None,
    prefix: str,
    limit: int | None,
    run: CommonOptions,
) -> int:
    """Bring the objects of the remote NAME that are missing here, with all branches and tags.

    Without NAME it is origin, or the only remote. With KEYs (whole ones), --from-file or --prefix only these objects
    are copied, and no names. A name that means something else here is refused.

    Every object is hashed on the way. Damaged ones are listed and left out, and the exit code is 1. After an
    interruption run it again.

    \b
    Example: rsdos pull origin
    """
    from rsdos.maintenance.remotes import pull
    from rsdos.maintenance.remotes.connect import connected
    from rsdos.maintenance.remotes.copying import RemoteOptions

    engine = session.container().engine
    options = RemoteOptions(selected(None, keys, listed, prefix), limit)
    with connected(engine, name) as there:
        plan = pull.plan(engine, there, options)
        if run.dry_run:
            show_estimate(run, pull.estimate(there, plan), "pull")
            return 0
        with telling_what_is_done(), run.bar() as bar:
            report = pull.execute(engine, there, plan, bar)
    return show_report(run, report, "Pulled")
