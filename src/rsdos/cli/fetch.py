"""``rsdos fetch``."""

from __future__ import annotations

import click

from rsdos.cli.options import CommonOptions, outcome_options, pass_session
from rsdos.cli.remote_options import name_argument
from rsdos.cli.session import Session
from rsdos.figures import count


@click.command()
@name_argument
@outcome_options
@pass_session
def command(session: Session, name: str, run: CommonOptions) -> None:
    """Learn the newest state of the remote NAME, without its objects.

    \b
    Example: rsdos fetch && rsdos status --remote
    """
    report = session.container().remotes.fetch(name)
    news = f"commit {report.number}, {count(report.objects, 'object')}"
    since = "nothing new" if report.seen == report.number else f"it was commit {report.seen} before"
    run.show(report, f"{report.remote}: {news}; {since if report.seen else 'never seen before'}")
