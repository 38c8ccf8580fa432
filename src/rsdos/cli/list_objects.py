"""``rsdos list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rsdos.cli.options import pass_session
from rsdos.cli.render import echo, echo_error, echo_json
from rsdos.cli.session import Session
from rsdos.errors import DamagedContainer, DamagedObject, ObjectNotFound

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
    failed = 0
    for key in store:
        if not long:
            echo_json({"key": key}) if as_json else echo(key)
            continue
        try:
            meta = store.meta(key)
        except ObjectNotFound:
            continue  # It was deleted since it was listed.
        except DamagedObject as error:
            failed = 1
            echo_error(f"rsdos: error: {error}")
            continue
        if as_json:
            echo_json(meta)
        else:
            echo(f"{key} {meta.size:>12} {meta.length:>12} {meta.codec.name.lower():<4} {meta.place.value}")
    return failed
