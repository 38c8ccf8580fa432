"""``rsdos push``."""

from __future__ import annotations

import click

from rsdos.cli.options import CommonOptions, pass_session, report_options
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
from rsdos.cli.types import Size


@click.command()
@name_argument
@selection_options
@limit_option
@click.option("--pack-size", type=Size(), help="Size of new packs. A bare number is MiB.  [default: the remote's]")
@click.option(
    "--jobs", "uploads", type=click.IntRange(min=1), default=4, show_default=True, help="Packs that are sent at once."
)
@report_options
@pass_session
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    name: str,
    keys: tuple[str, ...],
    listed: str | None,
    prefix: str,
    limit: int | None,
    pack_size: int | None,
    uploads: int,
    run: CommonOptions,
) -> int:
    """Send to the remote NAME the objects that it lacks, with all branches and tags.

    Without NAME it is origin, or the only remote. With KEYs, --from-file or --prefix only these objects are sent, and
    no names. A name that means something else there is refused.

    Objects are sent as they are stored, after a check of their checksums. Damaged ones are listed and left out, and the
    exit code is 1. Deletes are not sent, and objects that the remote has deleted are sent again. After an interruption
    run it again: each 64 packs are committed, and not sent again. --dry-run counts packs, requests and bytes.

    \b
    Example: rsdos push --dry-run && rsdos push --bwlimit 5MB
    """
    from rsdos.maintenance.remotes import push
    from rsdos.maintenance.remotes.connect import connected
    from rsdos.maintenance.remotes.copying import RemoteOptions

    container = session.container()
    options = RemoteOptions(selected(container, keys, listed, prefix), limit, pack_size, uploads)
    with connected(container.engine, name, options.packing) as there:
        plan = push.plan(container.engine, there, options)
        if run.dry_run:
            show_estimate(run, push.estimate(container.engine, there, plan), "push")
            return 0
        with telling_what_is_done(), run.bar() as bar:
            report = push.execute(container.engine, there, plan, bar)
    return show_report(run, report, "Pushed")
