"""``rsdos forget``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from rsdos.cli.options import pass_session_to_write, quiet_option
from rsdos.cli.render import echo, echo_json
from rsdos.cli.session import Session
from rsdos.figures import count

if TYPE_CHECKING:
    from rsdos.maintenance.forget import ForgetPlan, ForgetReport, NamedVersion

_keep = click.IntRange(min=0)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME[@N]...")
@click.option("--keep-last", type=_keep, default=0, metavar="N", help="Keep the newest N versions.")
@click.option("--keep-daily", type=_keep, default=0, metavar="N", help="Keep the newest version of each of N days.")
@click.option("--keep-weekly", type=_keep, default=0, metavar="N", help="Keep the newest version of each of N weeks.")
@click.option("--keep-monthly", type=_keep, default=0, metavar="N", help="Keep the newest version of each of N months.")
@click.option("--keep-within", metavar="TIME", help="Keep versions up to so much older than the newest: 90d, 1y6m.")
@click.option("--yes", is_flag=True, help="Forget all versions of a NAME without a policy.")
@click.option("--dry-run", is_flag=True, help="Only print what would be forgotten, and what would be kept and why.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@quiet_option
@pass_session_to_write
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    names: tuple[str, ...],
    keep_last: int,
    keep_daily: int,
    keep_weekly: int,
    keep_monthly: int,
    keep_within: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Take versions out of the names: NAME@N, a tag, or those of NAME that no --keep option keeps.

    Tagged versions, and the newest one of a branch that a policy is for, are always kept. Nothing is deleted: `rsdos
    undo` brings the versions back until `rsdos gc` deletes what no other version needs.

    \b
    Example: rsdos forget flowers --keep-last 3 --keep-monthly 12 --dry-run
    """
    from rsdos.maintenance import forget
    from rsdos.trees.policy import Policy, parse_within

    within = None if keep_within is None else parse_within(keep_within)
    policy = Policy(keep_last, keep_daily, keep_weekly, keep_monthly, within)
    engine = session.container().engine
    if not policy and not yes:
        _want_yes(session, names)
    plan = forget.plan(engine, forget.ForgetOptions(names, policy or None))
    outcome: ForgetPlan | ForgetReport = plan if dry_run else forget.execute(engine, plan)
    if as_json:
        echo_json({"forgotten": outcome.forgotten, "kept": outcome.kept}, indent=2)
    elif dry_run:
        for verb, rows in (("forget", outcome.forgotten), ("keep", outcome.kept)):
            for row in rows:
                echo(f"{verb:<8}{row}  {row.snapshot[:8]}  {row.reason}".rstrip())
    elif not quiet:
        echo(f"[info] {_sentence(outcome.forgotten)}")


def _want_yes(session: Session, names: Iterable[str]) -> None:
    """Raise `click.UsageError` if all versions of a branch would be forgotten."""
    branches = session.container().snapshots.branches()
    for name in names:
        if name in branches:
            raise click.UsageError(
                f"this forgets {_all(len(branches[name]))} of {name}: name some ({name}@N), keep some "
                "(--keep-last 3), or give --yes"
            )


def _all(versions: int) -> str:
    return f"all {count(versions, 'version')}" if versions > 1 else "the only version"


def _sentence(rows: Iterable[NamedVersion]) -> str:
    labels = [str(row) for row in rows]
    if not labels:
        return "Nothing to forget"
    shown = ", ".join(labels[:_SHOWN]) + (f" and {count(len(labels) - _SHOWN, 'other')}" if labels[_SHOWN:] else "")
    return f"Forgot {shown} (undo brings {'it' if len(labels) == 1 else 'them'} back until gc)"


_SHOWN = 5
"""The most versions that are named in the sentence."""
