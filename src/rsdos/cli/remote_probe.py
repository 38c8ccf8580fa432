"""``rsdos remote probe``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from rsdos.cli.exit_codes import DONE, FAILED
from rsdos.cli.options import pass_session
from rsdos.cli.progress_bar import Bar
from rsdos.cli.render import echo, echo_json, one_line
from rsdos.cli.session import Session
from rsdos.cli.url_options import given_options, url_options
from rsdos.figures import count, human

if TYPE_CHECKING:
    from rsdos.maintenance.doctor.diagnosis import Answer
    from rsdos.maintenance.probe.probing import ProbePlan


@click.command()
@click.argument("remote", metavar="[NAME|URL]", required=False, default="")
@url_options
@click.option("--dry-run", is_flag=True, help="Only print what would be sent.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan or the report as one JSON document.")
@pass_session
def command(
    session: Session,
    remote: str,
    option: tuple[tuple[str, str], ...],
    endpoint: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Measure what the store of a remote can do: conditional puts, reading, listing, removing, its clock and speed.

    Writes, races, overwrites, reads, lists and removes small objects below probe/, and 8 MiB in one object. Nothing
    else in the store is read or changed. The answers for a NAME are kept in remotes.json; those for a URL are only
    printed, and need no container. The exit code is 1 if the store, with these credentials, is not safe for many
    writers.

    It cannot find rules of the bucket that expire or archive objects. Such rules destroy a container.

    \b
    Example: rsdos remote probe origin
    Example: rsdos remote probe s3://lab/data --endpoint https://rgw.example.org --json
    """
    from rsdos.errors import InvalidOption
    from rsdos.maintenance.probe import probing
    from rsdos.maintenance.probe.verdicts import judge, judge_place
    from rsdos.maintenance.remotes.table import find_remote, note_probe
    from rsdos.storage.url import is_url, open_storage, parse_url

    engine = None
    if is_url(remote):
        place = parse_url(remote, dict(given_options(option, endpoint)))
    elif option or endpoint is not None:
        raise click.UsageError("--option and --endpoint go with a URL; a NAME has its own")
    else:
        engine = session.container().engine
        found = find_remote(engine, remote)
        remote = found.name
        if not is_url(found.url):
            raise InvalidOption(f"{remote}: it is in a directory, and not in a store behind a URL")
        place = parse_url(found.url, found.options)
    plan = probing.plan()
    if dry_run:
        return _show_plan(plan, place.url, as_json)
    storage = open_storage(place)
    try:
        with Bar(quiet=as_json) as bar:
            report = probing.execute(storage, plan, bar)
    finally:
        storage.close()
    if engine is not None:
        note_probe(engine, remote, report.asdict())
    answers = judge(report) + judge_place(
        place.scheme, place.option("endpoint", os.environ.get("AWS_ENDPOINT_URL", ""))
    )
    if as_json:
        echo_json({**report.asdict(), "answers": answers}, indent=2)
    else:
        _show(place.url, answers)
    return DONE if report.many_writers else FAILED


def _show_plan(plan: ProbePlan, url: str, as_json: bool) -> int:
    if as_json:
        echo_json(plan, indent=2)
    else:
        sent = f"about {count(plan.requests, 'request')}, {human(plan.length)} each way, below {plan.directory}/"
        echo(f"[probe] {one_line(url)}: {sent}")
    return DONE


def _show(url: str, answers: tuple[Answer, ...]) -> None:
    echo(f"[probe] {one_line(url)}")
    for answer in answers:
        advice = f" ({answer.advice})" if answer.advice else ""
        echo(one_line(f"{answer.verdict.value:8}{answer.name}: {answer.message}{advice}"))
