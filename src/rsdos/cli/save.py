"""``rsdos save``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rsdos.cli.exit_codes import FAILED
from rsdos.cli.left_out import tell_special, tell_unreadable
from rsdos.cli.options import CommonOptions, pass_session_to_write, report_options
from rsdos.cli.process import say
from rsdos.cli.render import echo_error
from rsdos.cli.session import Session
from rsdos.cli.snapshot_options import (
    described,
    description_options,
    kept_options,
    scan_options,
    state_directory,
)
from rsdos.errors import RefMoved
from rsdos.figures import count, figure, human

if TYPE_CHECKING:
    from rsdos.worktree.save import SaveReport


@click.command()
@click.argument("name")
@click.argument("directory", metavar="DIR", type=click.Path())
@description_options
@kept_options
@click.option("--at", default="", metavar="SUBDIR", help="Save DIR as this directory of the tree, and keep the rest.")
@scan_options
@click.option("--portable", is_flag=True, help="Refuse names that differ only in case, or that other systems forbid.")
@click.option("--force", is_flag=True, help="Save even if NAME has a newer version than the one DIR came from.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    help="Processes that read and store. Default: as many as there are cores, 4 at most, for 16,384 files or more "
    "to be read.",
)
@report_options
@pass_session_to_write
def command(  # noqa: PLR0913, PLR0917  one for each option
    session: Session,
    name: str,
    directory: str,
    message: str,
    metadata: tuple[tuple[str, Any], ...],
    derived_from: tuple[str, ...],
    author: str | None,
    moment: float | None,
    times: bool,
    modes: bool,
    at: str,
    patterns: tuple[str, ...],
    one_file_system: bool,
    keep_going: bool,
    rehash: bool,
    portable: bool,
    force: bool,
    jobs: int | None,
    run: CommonOptions,
) -> int:
    """Save the directory DIR, with all names, as the next version of NAME. The first save makes NAME.

    Names, contents, directories, links and the x bit are kept; times and the other modes with --times and --modes.
    Owners, ACLs and extended attributes are not. Files that have not changed since the last save are not read. DIR
    stays as it is. FIFOs, sockets and devices are passed over, and so is what .rsdosignore files in DIR name.

    If a file cannot be read, nothing is saved, and the exit code is 1; with --keep-going the others are saved. After an
    interruption run the same command again: what is stored already is not written again.

    \b
    Example: rsdos save flowers ./flowers -m "first delivery"
    """
    from rsdos.trees.entry import Attributes
    from rsdos.worktree import options
    from rsdos.worktree.plan_save import plan_save
    from rsdos.worktree.save import save

    engine = session.container().engine
    attributes = (Attributes.TIMES if times else Attributes.NONE) | (Attributes.MODES if modes else Attributes.NONE)
    wanted = options.SaveOptions(
        described(session, name, message, metadata, derived_from, author, moment),
        directory,
        at,
        attributes,
        options.ScanOptions(
            patterns,
            options.Unreadable.LEAVE_OUT if keep_going else options.Unreadable.STOP,
            options.Mounts.STAY if one_file_system else options.Mounts.CROSS,
            options.NameRule.PORTABLE if portable else options.NameRule.ANY,
        ),
        options.Rehash.ALL if rehash else options.Rehash.CHANGED,
        options.WhenMoved.OVERRIDE if force else options.WhenMoved.REFUSE,
        jobs,
        state_directory(),
    )
    try:
        with run.bar() as bar:
            report = (plan_save if run.dry_run else save)(engine, wanted, bar)
    except RefMoved as error:
        say(f"{error}{_hint(error.snapshot, directory)}")
        return FAILED
    return show_saved(report, run, directory)


def _hint(snapshot: str, directory: str) -> str:
    """Return what to do after a `RefMoved`: the snapshot is stored, and no name leads to it."""
    kept = f"; {snapshot[:8]} has what {directory} is now, until gc" if snapshot else ""
    return f"{kept}; --force makes it the next version all the same"


def show_saved(report: SaveReport, run: CommonOptions, directory: str = "") -> int:
    """Print what was saved, and return the exit code."""
    if run.as_json:
        members = {name: getattr(report, name) for name in SAVED}
        run.show(members, "")
    else:
        run.tell(_sentence(report, run.dry_run))
    if report.is_part and not report.unchanged:
        echo_error("rsdos: note: this is a checkout of a part: the new version has the other parts unchanged")
    if report.dropped and not report.unchanged:
        kept = [str(flag.name).lower() for flag in report.dropped]
        options = " ".join(f"--{name}" for name in kept)
        echo_error(f"rsdos: note: the version before kept {' and '.join(kept)} of files, this one does not: {options}")
    tell_unreadable(directory, report.unreadable)
    if report.unreadable:
        echo_error("rsdos: note: what could not be read is not in the new version, even if the one before had it")
    tell_special(directory, report.skipped.special, report.special)
    run.show_stats(report.files, report.size, report.seconds)
    return 1 if report.unreadable else 0


SAVED = (
    "snapshot", "tree", "name", "version", "parent", "changed", "files", "size", "stored", "skipped", "unchanged",
    "seconds",
)  # fmt: skip


def _sentence(report: SaveReport, dry_run: bool) -> str:
    total = f"{count(report.files, 'file')}, {human(report.size)}"
    label = f"{report.name}@{report.version}" + (f" {report.snapshot[:8]}" if report.snapshot else "")
    if report.unchanged:
        return f"{label}: nothing changed; {total}, in {report.seconds:.1f} s"
    changed = ", ".join(f"{figure(getattr(report.changed, kind))} {kind}" for kind in ("modified", "added", "removed"))
    what = changed if report.parent else total
    if dry_run:
        return f"Would save {label}: {what}; {total}"
    stored = f"{count(report.stored.objects, 'new object')}, {count(report.stored.pages, 'page')}"
    return f"{label}: {what}; {stored}, in {report.seconds:.1f} s"
