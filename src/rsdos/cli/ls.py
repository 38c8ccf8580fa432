"""``rsdos ls``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from rsdos.cli.options import pass_session
from rsdos.cli.paths import echo_all, echo_null, json_line, path_members
from rsdos.cli.render import one_line
from rsdos.cli.session import Session

if TYPE_CHECKING:
    from rsdos.facade.entry import SnapshotEntry
    from rsdos.facade.snapshot_path import SnapshotPath


@click.command()
@click.argument("name", metavar="REF[:PATH]")
@click.option("-r", "--recursive", is_flag=True, help="List all below, not only the names of one directory.")
@click.option("-l", "--long", "long", is_flag=True, help="Print kind, size and key as well.")
@click.option(
    "-d", "--directories", is_flag=True, help="List only directories, with the files and bytes below each of them."
)
@click.option("-0", "--null", is_flag=True, help="End each name with NUL, and escape nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line, with whole paths.")
@pass_session
def command(
    session: Session, name: str, recursive: bool, long: bool, directories: bool, null: bool, as_json: bool
) -> None:
    """List a directory of a snapshot, or name a file of one.

    Names are relative to PATH. -l shows the target of a link. Characters that a terminal would act on are escaped; -0
    and --json print names unchanged.

    \b
    Example: rsdos ls -r -0 flowers@1:train | xargs -0 -n1 echo
    """
    if as_json and null:
        raise click.UsageError("give either --json, or -0")
    if long and directories:
        raise click.UsageError("give either -d or -l: -d prints totals, -l prints kind, size and key")
    top = session.container().snapshots.path(name)
    if directories:
        _print_totals(top, recursive, null, as_json)
        return
    entries, cut = _entries(top, recursive)
    if as_json:
        echo_all(map(_json, entries))
        return
    spell = _long if long else _short
    if null:
        echo_null(spell(entry, entry.path[cut:]) for entry in entries)
    else:
        echo_all(one_line(spell(entry, entry.path[cut:])) for entry in entries)


def _entries(top: SnapshotPath, recursive: bool) -> tuple[Iterable[SnapshotEntry], int]:
    """Return the entries to list, and the length of the directory's part of each path."""
    found = top.resolve()
    entry = found.entry
    if not entry.is_dir:
        return (entry,), len(entry.path) - len(entry.name)
    snapshot, path = found.snapshot, found.path
    return (snapshot.walk(path) if recursive else snapshot.listing(path)), len(path) + 1 if path else 0


def _short(entry: SnapshotEntry, path: str) -> str:
    return path


def _long(entry: SnapshotEntry, path: str) -> str:
    target = f" -> {entry.target}" if entry.is_link else ""
    return f"{_KINDS[entry.kind]:<10} {entry.size:>12} {entry.key or '-':<64} {path}{target}"


_KINDS = ("file", "executable", "link", "directory")


def _json(entry: SnapshotEntry) -> str:
    document: dict[str, Any] = path_members(entry.path)
    document |= {"kind": _KINDS[entry.kind], "size": entry.size, "key": entry.key or None}
    document |= path_members(entry.target, "target") if entry.is_link else {"target": None}
    document["mtime"] = None if entry.mtime is None else entry.mtime / 1e9
    document["mode"] = None if entry.mode is None else f"{entry.mode:04o}"
    return json_line(document)


def _print_totals(top: SnapshotPath, recursive: bool, null: bool, as_json: bool) -> None:
    found = top.resolve()
    rows = found.snapshot.directory_totals(found.path) if recursive else _children(found)
    if as_json:
        echo_all(
            json_line({**path_members(path), "kind": "directory", "entries": entries, "size": size})
            for path, entries, size in rows
        )
        return
    cut = len(found.path) + 1 if found.path else 0
    texts = (f"{entries:>10} {size:>15} {path[cut:] or '.'}" for path, entries, size in rows)
    if null:
        echo_null(texts)
    else:
        echo_all(map(one_line, texts))


def _children(top: SnapshotPath) -> Iterator[tuple[str, int, int]]:
    """Yield the totals of a directory and of those in it. The inner pages of a tree have them: few pages are read."""
    for path in (top, *(below for below in top.iterdir() if not below.is_symlink() and below.is_dir())):
        entries, size = path.snapshot.reader.totals(os.fsencode(path.path))
        yield path.path, entries, size
