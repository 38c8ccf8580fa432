"""``rsdos inspect``."""

from __future__ import annotations

import click

from rsdos.cli.group import CommandGroup
from rsdos.cli.object_names import object_key
from rsdos.cli.options import pass_session, want_command
from rsdos.cli.render import echo, echo_json
from rsdos.cli.session import Session
from rsdos.figures import count, figure, human
from rsdos.model import PackKind

_STORED_FOR = {"key": "inserted by key", "snapshots": "held by snapshots"}

_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON. For loose objects, one document a line."
)


@click.group(cls=CommandGroup, invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show the inside of a container: loose objects, packs, one pack, or one object.

    \b
    Example: rsdos inspect object 0f3a91
    """
    want_command(ctx)


@command.command("loose")
@_json_option
@pass_session
def loose_command(session: Session, as_json: bool) -> None:
    """List the loose objects: key, size, length, codec.

    \b
    Example: rsdos inspect loose
    """
    for meta in session.container().inspect_loose():
        if as_json:
            echo_json(meta)
        else:
            echo(f"{meta.key} {meta.size:>12} {meta.length:>12} {meta.codec.name.lower()}")


@command.command("packed")
@_json_option
@pass_session
def packed_command(session: Session, as_json: bool) -> None:
    """List the packs of the newest manifest.

    \b
    Example: rsdos inspect packed --json
    """
    view = session.container().inspect_packed()
    if as_json:
        echo_json(view, indent=2)
        return
    echo(f"manifest {view.manifest}, {count(view.segments, 'live segment')}")
    for pack in view.packs:
        echo(
            f"pack {pack.id}: {count(pack.objects, 'object')}, {human(pack.size)} raw, {human(pack.stored)} stored, "
            f"{figure(pack.dead_objects)} dead ({human(pack.dead_stored)}), {human(pack.length)} committed, "
            f"{human(pack.synced)} synced{', sealed' if pack.sealed else ''}{_kind(pack.kind)}"
        )


@command.command("pack")
@click.argument("number", type=click.IntRange(min=1))
@_json_option
@pass_session
def inspect_pack_command(session: Session, number: int, as_json: bool) -> None:
    """List the batches of one pack, read from the pack file.

    \b
    Example: rsdos inspect pack 1
    """
    view = session.container().inspect_pack(number)
    if as_json:
        echo_json(view, indent=2)
        return
    committed = "in no manifest" if view.entry is None else f"{figure(view.entry.length)} of them committed"
    echo(f"{view.path}: {count(view.length, 'byte')}, {committed}")
    for batch in view.batches:
        echo(
            f"batch at {batch.start}: {count(batch.entries, 'entry', 'entries')}, "
            f"payloads {batch.start} to {batch.segment_offset}, "
            f"segment {count(batch.segment_length, 'byte')}, footer at {batch.footer_offset}"
        )
    for start, end in view.uncovered:
        echo(f"bytes {start} to {end} belong to no batch")


@command.command("object")
@click.argument("key")
@_json_option
@pass_session
def object_command(session: Session, key: str, as_json: bool) -> None:
    """List every copy of one object, and why the object is stored: inserted by its key, held by snapshots, or both.

    KEY may be a unique beginning of 6 characters or more, or REF:PATH.

    \b
    Example: rsdos inspect object 0f3a91
    """
    container = session.container()
    view = container.inspect_object(object_key(container, key))
    if as_json:
        echo_json(view, indent=2)
        return
    echo(f"{view.key} {' and '.join(map(_STORED_FOR.__getitem__, view.stored_for))}")
    for copy, dictionary, kind in zip(view.copies, view.dictionaries, view.kinds, strict=True):
        place = copy.place.value
        if copy.extent is not None:
            place = f"pack {copy.extent.pack_id}, byte {copy.extent.offset}{_kind(kind)}"
        codec = copy.codec.name.lower() + (f" with dictionary {dictionary}" if dictionary else "")
        echo(f"  {place}: {count(copy.size, 'byte')} raw, {figure(copy.length)} stored, {codec}")


def _kind(kind: PackKind | None) -> str:
    """Return the words for the kind of a pack; "" for a plain one."""
    return f", {kind.name.lower()}" if kind else ""
