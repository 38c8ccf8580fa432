"""``rsdos log``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from rsdos.cli.options import pass_session
from rsdos.cli.paths import echo_all, json_line
from rsdos.cli.render import one_line
from rsdos.cli.session import Session
from rsdos.figures import count, human

if TYPE_CHECKING:
    from rsdos.facade.history import LoggedOperation, LoggedVersion


@click.command()
@click.argument("name", required=False)
@click.option("-n", "limit", type=click.IntRange(min=0), metavar="N", help="Print N lines at most.")
@click.option("--operations", is_flag=True, help="List what was done to the names: saves, tags, forgets, undos.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@pass_session
def command(session: Session, name: str | None, limit: int | None, operations: bool, as_json: bool) -> None:
    """List the versions of NAME, the newest first; or all names with their newest version, then the tags.

    With NAME@N the list begins with that version. --operations lists at least the last 100: a gc removes older ones.

    \b
    Example: rsdos log flowers -n 10
    """
    snapshots = session.container().snapshots
    if operations:
        if name is not None:
            raise click.UsageError("--operations is about all names: give no NAME")
        done = snapshots.operations(limit=limit)
        echo_all(map(_operation_json if as_json else _operation_line, done))
        return
    found = snapshots.log(name, limit=limit)
    echo_all(map(_json, found) if as_json else _lines(found))


def _lines(found: Iterator[LoggedVersion]) -> Iterator[str]:
    for version in found:
        record = version.snapshot.record
        tags = [tag for tag in version.tags if tag != version.label]
        first, _, _ = record.message.partition("\n")
        parts = [
            version.label,
            version.snapshot.key[:8],
            record.time,
            f"{count(record.files, 'file')}, {human(record.size)}",
            *([f"[{', '.join(tags)}]"] if tags else []),
            *([one_line(first)] if first else []),
        ]
        yield "  ".join(parts)


def _json(version: LoggedVersion) -> str:
    record = version.snapshot.record
    document = {"name": version.name, "version": version.version, "snapshot": version.snapshot.key}
    for member in ("tree", "time", "author", "message", "files", "size"):
        document[member] = getattr(record, member)
    return json_line({**document, "parents": list(record.parents), "tags": list(version.tags)})


def _operation_line(done: LoggedOperation) -> str:
    return one_line(f"{done.number}  {done.time:%Y-%m-%dT%H:%M:%SZ}  {done.verb}  {', '.join(done.names)}  {done.by}")


def _operation_json(done: LoggedOperation) -> str:
    return json_line(
        {
            "number": done.number,
            "verb": done.verb,
            "names": list(done.names),
            "time": f"{done.time:%Y-%m-%dT%H:%M:%SZ}",
            "by": done.by,
            "refs": done.refs,
        }
    )
