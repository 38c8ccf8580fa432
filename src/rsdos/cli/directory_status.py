"""The output of ``rsdos status DIR``."""

from __future__ import annotations

from rsdos.cli.changes import ChangeForm, ChangeOutput
from rsdos.cli.left_out import tell_special, tell_unreadable
from rsdos.cli.progress_bar import Bar
from rsdos.cli.render import echo
from rsdos.cli.session import Session
from rsdos.cli.snapshot_options import state_directory
from rsdos.facade.differences import difference_of
from rsdos.figures import figure


def show_directory(
    session: Session, directory: str, ref: str, rehash: bool, keep_going: bool, as_json: bool
) -> tuple[int, int]:
    """Print what differs. Return how many differences there are, and how many entries could not be read."""
    output = ChangeOutput(ChangeForm.JSON if as_json else ChangeForm.LINES)
    snapshots = session.container().snapshots
    with (
        Bar() as bar,
        snapshots.status(
            directory, ref, rehash=rehash, keep_going=keep_going, state_directory=state_directory(), progress=bar
        ) as status,
    ):
        output.show(difference_of(change) for change in status)
        summary, against = status.summary, status.reference
    if as_json:
        output.finish({"snapshot": status.snapshot, "unchanged": summary.unchanged, "read": summary.read})
    else:
        what = output.summary() if output.number else "no differences"
        read = f"{figure(summary.read)} read" if summary.read else "none read"
        echo(f"[info] against {against}: {what}; {figure(summary.unchanged)} unchanged, {read}")
    tell_unreadable(directory, status.unreadable)
    tell_special(directory, status.special, status.first_special)
    return output.number, len(status.unreadable)
