"""``rsdos show``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from rsdos.cli.options import pass_session
from rsdos.cli.render import echo, echo_json, one_line
from rsdos.cli.session import Session
from rsdos.figures import count, figure, human

if TYPE_CHECKING:
    from rsdos.facade.snapshot import Snapshot


@click.command()
@click.argument("ref")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with sizes in bytes.")
@pass_session
def command(session: Session, ref: str, as_json: bool) -> None:
    """Show a snapshot: its record, its totals, and the names that it has.

    REF is NAME (the newest version), NAME@3, NAME@2026-11-26 (the newest version of that day or before), a TAG, or a
    snapshot's key or its first 6 characters or more.

    \b
    Example: rsdos show flowers@1
    """
    from rsdos.trees.documents import RECORD_TYPE
    from rsdos.trees.record import VERSION

    snapshots = session.container().snapshots
    snapshot = snapshots[ref]
    names = snapshots.names_of(snapshot)
    totals = snapshot.stored()
    record = snapshot.record
    if as_json:
        members = {"type": RECORD_TYPE, "version": VERSION}
        members |= {name: getattr(record, name) for name in record.__dataclass_fields__}
        members["attributes"] = sorted(snapshot.attributes)
        named = [{"name": name, "version": version} for name, version in names if version is not None]
        tags = [name for name, version in names if version is None]
        counts = {"objects": totals.objects, "size": record.size, "pages": totals.pages}
        echo_json({"snapshot": snapshot.key, **members, "names": named, "tags": tags, **counts}, indent=2)
        return
    lines = {
        "Snapshot": snapshot.key,
        "Names": ", ".join(name if version is None else f"{name}@{version}" for name, version in names),
        "Tree": record.tree,
        "Time": record.time,
        "Author": record.author,
        "Parents": ", ".join(record.parents),
        "Derived from": ", ".join(record.derived_from),
        "Entries": f"{count(record.entries, 'entry', 'entries')}, {count(record.files, 'file')}, {human(record.size)}",
        "Objects": f"{count(totals.objects, 'object')}, {count(totals.pages, 'page')}",
        "Attributes": ", ".join(sorted(snapshot.attributes)),
        "Skipped": _skipped(snapshot),
        "Metadata": json.dumps(dict(record.metadata)) if record.metadata else "",
    }
    for name, text in lines.items():
        if text:
            echo(f"{name} = {one_line(text)}")
    if record.message:
        echo("\n" + "\n".join(f"    {one_line(line)}" for line in record.message.split("\n")))


def _skipped(snapshot: Snapshot) -> str:
    return ", ".join(f"{figure(number)} {name}" for name, number in snapshot.record.skipped.items() if number)
