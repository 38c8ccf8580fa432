"""What the commands that talk to remotes share: options, and the output of plans and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from rsdos.cli.key_file import KeyFile
from rsdos.cli.object_names import object_key
from rsdos.cli.options import CommonOptions
from rsdos.cli.render import echo_error
from rsdos.cli.types import Size
from rsdos.figures import count, figure, human

if TYPE_CHECKING:
    from rsdos.container import Container
    from rsdos.maintenance.remotes.copying import RemoteEstimate, RemoteReport
    from rsdos.maintenance.remotes.difference import KeySelection
    from rsdos.storage.counted import Requests

name_argument = click.argument("name", required=False, default="")

limit_option = click.option(
    "--bwlimit",
    "limit",
    type=Size(),
    help="The most to copy in a second, such as 500kB or 2MiB. A bare number is MiB.",
)


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command KEYs, ``--from-file`` and ``--prefix``."""
    prefix = click.option("--prefix", default="", help="Copy only the objects whose keys begin with this.")
    listed = click.option(
        "--from-file",
        "listed",
        type=click.Path(),
        help="Copy only the objects whose keys are in this file, one a line.",
    )
    return click.argument("keys", nargs=-1, metavar="[KEY]...")(listed(prefix(function)))


def selected(container: Container | None, keys: tuple[str, ...], listed: str | None, prefix: str) -> KeySelection:
    """Return the objects that a command line names.

    A KEY may be the beginning of a key of ``container``. Without a container keys must be whole.
    """
    from rsdos.maintenance.remotes.difference import KeySelection

    if sum((bool(keys), listed is not None, bool(prefix))) > 1:
        raise click.UsageError("give either KEYs, --from-file or --prefix")
    if keys:
        return KeySelection([object_key(container, key) for key in keys] if container else keys)
    return KeySelection(None if listed is None else list(KeyFile(listed)), prefix)


@contextmanager
def telling_what_is_done() -> Iterator[None]:
    """If the block raises, print to stderr what was committed before."""
    try:
        yield
    except BaseException as error:
        for note in getattr(error, "__notes__", ()):
            echo_error(f"rsdos: note: {note}")
        raise


def show_estimate(run: CommonOptions, estimate: RemoteEstimate, verb: str) -> None:
    """Print what a push or a pull would do."""
    names = f"; {', '.join(map(str, estimate.names))}" if estimate.names else ""
    held = f", and {count(estimate.held, 'object')} of snapshots, {human(estimate.held_size)}" if estimate.held else ""
    ways = f"{human(estimate.requests.sent)} sent, {human(estimate.requests.received)} received"
    run.show(
        estimate,
        f"{count(estimate.objects, 'object')} to {verb}, {human(estimate.size)} "
        f"({human(estimate.length)} stored){held}: "
        f"{count(estimate.packs, 'pack')}, about {_requests(estimate.requests)}, {ways}; "
        f"{figure(estimate.known)} there already{names}",
    )


def show_report(run: CommonOptions, report: RemoteReport, verb: str) -> int:
    """Print what a push or a pull has done. Return the exit code."""
    names = f"; new names: {', '.join(map(str, report.names))}" if report.names else ""
    made = f"; {_requests(report.requests)}" if report.requests.total else ""
    run.show(
        report,
        f"{verb} {count(report.objects, 'object')}, {human(report.size)} ({human(report.length)} stored); "
        f"there already: {figure(report.known)}{names}{made}",
    )
    for key, reason in report.damaged:
        echo_error(f"rsdos: error: object {key} is damaged, and was left out: {reason}")
    for key in report.missing:
        echo_error(f"rsdos: error: object {key} was deleted before it could be copied")
    run.show_stats(report.objects, report.size, report.seconds)
    return 1 if report.damaged or report.missing else 0


def _requests(requests: Requests) -> str:
    return (
        f"{count(requests.total, 'request')} ({figure(requests.put)} PUT, "
        f"{figure(requests.get)} GET, {figure(requests.list)} LIST)"
    )
