"""Directories for tests of working directories, and what the snapshots of them have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rsdos import Container
from rsdos.engine.publish import read_refs
from rsdos.engine.snapshots import StoredPages, read_record
from rsdos.trees.entry import EntryKind, TreeEntry
from rsdos.trees.tree import Tree
from rsdos.worktree.options import Description, SaveOptions, ScanOptions, StatusOptions
from rsdos.worktree.rows import ROW_BYTES, SETTLED
from rsdos.worktree.save import SaveReport, save
from rsdos.worktree.state import read_state, write_state
from rsdos.worktree.status import StatusSummary, read_status


def write(top: Path, files: dict[str, bytes]) -> None:
    """Make or replace files; names that end with a slash are directories."""
    for name, data in files.items():
        path = top / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(data)


def saved(container: Container, directory: Path, name: str = "flowers", **options: Any) -> SaveReport:
    """Save a directory. Options of the scan and the description go where they belong."""
    scan = {key: options.pop(key) for key in ("exclude", "unreadable", "mounts", "names") if key in options}
    words = {key: options.pop(key) for key in ("message", "metadata", "author", "time") if key in options}
    description = Description(name, **words)
    return save(container.engine, SaveOptions(description, directory, scan=ScanOptions(**scan), **options))


def entries_of(container: Container, ref: str) -> dict[bytes, TreeEntry]:
    """The entries of a snapshot, by path."""
    refs, _ = read_refs(container.engine)
    tree = Tree(bytes.fromhex(read_record(container.engine, refs.find(ref)).tree), StoredPages(container.engine))
    return {entry.path: entry for listing in tree.walk() for entry in listing.entries()}


def content_of(container: Container, ref: str) -> dict[str, object]:
    """What each path of a snapshot is: the bytes of a file, the target of a link, None for a directory."""
    found: dict[str, object] = {}
    for path, entry in entries_of(container, ref).items():
        name = os.fsdecode(path)
        if entry.kind is EntryKind.DIRECTORY:
            found[name] = None
        elif entry.kind is EntryKind.LINK:
            found[name] = f"-> {os.fsdecode(entry.target)}"
        else:
            found[name] = container.extract(entry.key.hex())
            assert entry.size == len(container.extract(entry.key.hex()))
    return found


def content_on_disk(top: Path) -> dict[str, object]:
    """The same of a directory on the disk."""
    found: dict[str, object] = {}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = Path(directory, name)
            inside = str(path.relative_to(top))
            if path.is_symlink():
                found[inside] = f"-> {os.readlink(path)}"
            else:
                found[inside] = None if path.is_dir() else path.read_bytes()
    return found


def status_of(container: Container, directory: Path, reference: str = "", **options: Any) -> dict[str, str]:
    """The kind of change of each path."""
    return status_and_summary(container, directory, reference, **options)[0]


def status_and_summary(
    container: Container, directory: Path, reference: str = "", **options: Any
) -> tuple[dict[str, str], StatusSummary]:
    """The kind of change of each path, and the summary."""
    with read_status(container.engine, StatusOptions(directory, reference, **options)) as status:
        changes = {os.fsdecode(change.path): change.kind for change in status}
        return changes, status.summary


def settle(container: Container, top: Path) -> None:
    """Make the state trust the entries as they are: as if two seconds had passed since the last change."""
    state = read_state(container.engine, top)
    assert state is not None
    with state:
        rows = bytearray(state.rows(0, state.count))
        rows[36::ROW_BYTES] = bytes([SETTLED]) * state.count
        write_state(container.engine, top, state.head, [bytes(rows)])
