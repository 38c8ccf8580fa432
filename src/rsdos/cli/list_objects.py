"""``rsdos list``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import click

from rsdos.cli.options import pass_session
from rsdos.cli.render import echo_error, echo_lines
from rsdos.cli.session import Session
from rsdos.errors import DamagedContainer, DamagedObject
from rsdos.model import Codec, ObjectMeta, Place
from rsdos.standard import BLOCK

if TYPE_CHECKING:
    from rsdos.stores.base import Store


@click.command("list")
@click.option("--loose", "where", flag_value="loose", help="List only objects that have a loose file.")
@click.option("--packed", "where", flag_value="packed", help="List only packed objects.")
@click.option("-l", "--long", "long", is_flag=True, help="Print size, length, codec and place as well.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line.")
@pass_session
def command(session: Session, where: str | None, long: bool, as_json: bool) -> int:
    """List the keys of all objects, in no particular order.

    What snapshots need beside the contents of files (pages, snapshots, names) is not listed.
    If a part of the container is damaged, the objects that can be found are listed, and the exit code is 1.

    \b
    Example: rsdos list --long | sort -k2 -n | tail
    """
    engine = session.container().engine
    stores: dict[str | None, Store] = {"loose": engine.loose, "packed": engine.packed, None: engine.objects}
    try:
        return _list(stores[where], long, as_json)
    except DamagedContainer as error:
        echo_error(f"rsdos: error: {error}; not all objects are listed (see: rsdos validate)")
        return 1


def _list(store: Store, long: bool, as_json: bool) -> int:
    if not long:
        form = '{"key": "%s"}' if as_json else "%s"
        for keys in store.key_lists():
            echo_lines(list(map(form.__mod__, keys)) if as_json else keys)
        return 0
    failed = 0
    for errors in _echo_documents(store) if as_json else _echo_rows(store):
        for error in errors:
            failed = 1
            echo_error(f"rsdos: error: {error}")
    return failed


def _echo_rows(store: Store) -> Iterator[Sequence[DamagedObject]]:
    """Print objects, and yield the errors of others. One ``%`` for a block takes 0.65 us a row, one for each 1.2."""
    for columns in store.meta_columns():
        place, keys, sizes, lengths, codecs, errors = columns
        form = f"%s %12d %12d %-5s {_place(place)}\n"
        if keys:
            step = max(BLOCK // len(form % (keys[0], max(sizes), max(lengths), "")), 1)
            values = chain.from_iterable(zip(keys, sizes, lengths, map(_CODECS.__getitem__, codecs), strict=True))
            while block := tuple(islice(values, 4 * step)):
                sys.stdout.write(form * (len(block) // 4) % block)
        yield errors


def _echo_documents(store: Store) -> Iterator[Sequence[DamagedObject]]:
    for metas in store.meta_lists():
        echo_lines([_json_line(meta) for meta in metas if not isinstance(meta, DamagedObject)])
        yield [meta for meta in metas if isinstance(meta, DamagedObject)]


def _json_line(meta: ObjectMeta) -> str:
    """Return the document that `render.echo_json` prints, which takes four times as long."""
    key, place, size, length, codec, extent = meta
    where = "null"
    if extent:
        pack_id, offset, stored = extent
        where = f'{{"pack_id": {pack_id}, "offset": {offset}, "length": {stored}}}'
    return (
        f'{{"key": "{key}", "place": "{_place(place)}", "size": {size}, "length": {length},'
        f' "codec": "{_CODECS[codec]}", "extent": {where}}}'
    )


_CODECS = tuple(codec.name.lower() for codec in Codec)  # By number: an enumeration's hash takes 0.2 us.


def _place(place: Place) -> str:
    return "packed" if place is Place.PACKED else "loose"
