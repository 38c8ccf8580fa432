"""``remotes.json``: the other containers that this one has names for. It is beside ``config.json``, never inside it.

The file is a document with a checksum (`rsdos.storage.checked_json`). It has URLs, options, and what was seen of each
remote; never a secret. A container without remotes has no such file.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from rsdos import names
from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, InvalidOption, UnsupportedContainer
from rsdos.storage import posix
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.stores.head import Head

ORIGIN = "origin"
"""The name that a clone gives to its source. It is used if no name is given."""

VERSION = 1
"""Of the document."""

_MOST_BYTES = 1 << 20
_MOST_REMOTES = 1 << 10
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_COMMIT = r"[0-9a-f]{0,64}"
_CONTAINER_ID = r"[0-9a-f]{32}"


class Seen(NamedTuple):
    """The newest state of a remote that this container has seen: the number of its manifest, and the commit's name."""

    container_id: str
    number: int
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Remote:
    """A named other container.

    ``url`` is a URL, or the absolute path of a container on a disk. ``options`` go with the URL. ``seen`` is None
    before the first contact. ``lazy`` says that objects which are not here are read from this remote. ``probe`` has the
    answers of `rsdos remote probe`, {} before it has run. ``more`` are members that this release does not know; they
    are kept.
    """

    name: str
    url: str
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seen: Seen | None = None
    lazy: bool = False
    probe: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    more: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)


Remotes = Mapping[str, Remote]
"""Remotes by their names."""


def check_remote_name(name: str) -> str:
    """Return the name. Raise `InvalidOption` for anything but letters, digits, ".", "_" and "-", 64 at most."""
    if not re.fullmatch(_NAME, name):
        raise InvalidOption(f"the name of a remote has up to 64 letters, digits, '.', '_' and '-', not {name!r:.100}")
    return name


def read_remotes(engine: Engine) -> dict[str, Remote]:
    """Return the remotes of a container, by their names.

    Raise `InvalidOption` for a container that is in no directory, `DamagedContainer` if the file is damaged,
    `UnsupportedContainer` if a later release has written it, and OSError.
    """
    engine.need_files("remotes")
    return read_remotes_file(engine.layout.remotes)


def lazy_remote(directory: str) -> Remote | None:
    """Return the remote from which the container in a directory reads objects that it lacks; None if there is none."""
    return next((remote for remote in read_remotes_file(f"{directory}/remotes.json").values() if remote.lazy), None)


def read_remotes_file(path: str) -> dict[str, Remote]:
    """Return the remotes in a file; none if there is no file. Raise as `read_remotes` does."""
    try:
        data = posix.read_file(path, _MOST_BYTES)
    except FileNotFoundError:
        return {}
    try:
        return _decode(path, decode_document(data))
    except ValueError as error:
        raise DamagedContainer(path, f"{error}; move it away, and add the remotes again") from None


def find_remote(engine: Engine, name: str = "") -> Remote:
    """Return a remote by its name. Without a name it is `ORIGIN`, or the only one. Raise `InvalidOption` for none."""
    remotes = read_remotes(engine)
    if not name and ORIGIN not in remotes and len(remotes) == 1:
        return next(iter(remotes.values()))
    found = remotes.get(name or ORIGIN)
    if found is None:
        there = f"there are: {', '.join(sorted(remotes))}" if remotes else "there is none (rsdos remote add NAME URL)"
        raise InvalidOption(f"no remote {name or ORIGIN!r:.100}; {there}")
    return found


def change_remotes(engine: Engine, change: Callable[[dict[str, Remote]], Remotes]) -> None:
    """Replace the remotes of a container by those that ``change`` makes of them. Durable; other changes wait.

    Readers see the old remotes or the new ones. A call that is killed has changed them or not. Raise what
    `read_remotes` raises, `ReadOnlyContainer`, and what ``change`` raises.
    """
    engine.need_files("remotes")
    layout = engine.layout
    with engine.objects.writing():
        layout.make(layout.locks)  # disk-objectstore makes none.
        lock = layout.storage.lock(names.REMOTES_LOCK)
        assert lock is not None
        with lock:
            engine.packed.original.check()
            before = read_remotes(engine)
            after = change(dict(before))
            if after == before:
                return
            data = encode_document({"remotes_version": VERSION, "remotes": {name: _row(after[name]) for name in after}})
            if len(data) > _MOST_BYTES or len(after) > _MOST_REMOTES:
                raise OSError(errno.EFBIG, f"remotes of more than {_MOST_BYTES} bytes", layout.remotes)
            posix.replace_file(layout.remotes, data)
            posix.sync_directory(layout.root)


def note_seen(engine: Engine, name: str, head: Head) -> None:
    """Note the newest state of a remote, unless a newer one of the same container is noted. Durable."""

    def change(remotes: dict[str, Remote]) -> Remotes:
        remote = remotes.get(name)
        if remote is None:
            return remotes
        before = remote.seen
        if before and before.container_id == head.container_id and before.number >= head.number:
            return remotes
        return remotes | {name: replace(remote, seen=seen_of(head))}

    change_remotes(engine, change)


def note_probe(engine: Engine, name: str, answers: Mapping[str, Any]) -> None:
    """Note what a probe has found out about the store of a remote. Durable."""

    def change(remotes: dict[str, Remote]) -> Remotes:
        remote = remotes.get(name)
        return remotes if remote is None else remotes | {name: replace(remote, probe=dict(answers))}

    change_remotes(engine, change)


def seen_of(head: Head) -> Seen:
    """Return the row that notes a state."""
    return Seen(head.container_id, head.number, head.commit)


def normal_url(url: str | os.PathLike[str]) -> str:
    """Return a URL unchanged, and a path as an absolute path."""
    text = os.fspath(url)
    return text if "://" in text else os.path.abspath(text)


def _row(remote: Remote) -> dict[str, Any]:
    row: dict[str, Any] = {**remote.more, "url": remote.url}
    if remote.options:
        row["options"] = dict(remote.options)
    if remote.seen:
        row["seen"] = remote.seen._asdict()
    if remote.lazy:
        row["lazy"] = True
    if remote.probe:
        row["probe"] = dict(remote.probe)
    return row


def _decode(path: str, members: Mapping[str, Any]) -> dict[str, Remote]:
    """Return the remotes of a document. Raise ValueError with the reason, and `UnsupportedContainer`."""
    if members.get("remotes_version") != VERSION:
        reason = f"remotes of version {members.get('remotes_version')!r:.40}, which this rsdos does not know"
        raise UnsupportedContainer(path, reason)
    rows = members.get("remotes")
    if not isinstance(rows, dict) or len(rows) > _MOST_REMOTES:
        raise ValueError("remotes is not an object")
    return {name: _remote(name, row) for name, row in rows.items()}


def _remote(name: str, row: object) -> Remote:
    if not isinstance(row, dict) or not re.fullmatch(_NAME, name):
        raise ValueError(f"no remote: {name!r:.100}")
    row = dict(row)
    url, options = row.pop("url", None), row.pop("options", {})
    seen, lazy, probe = row.pop("seen", None), row.pop("lazy", False), row.pop("probe", {})
    if not isinstance(url, str) or not url or not isinstance(probe, dict) or not isinstance(lazy, bool):
        raise ValueError(f"{name}: its URL or its probe is no such thing")
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise ValueError(f"{name}: its options are not texts")
    return Remote(name, url, options, None if seen is None else _seen(name, seen), lazy, probe, row)


def _seen(name: str, row: object) -> Seen:
    match row:
        case {"container_id": str(container_id), "number": int(number), "commit": str(commit)}:
            is_one = re.fullmatch(_CONTAINER_ID, container_id) and re.fullmatch(_COMMIT, commit)
            if is_one and type(number) is int and 0 < number < 1 << 62:
                return Seen(container_id, number, commit)
    raise ValueError(f"{name}: what was seen of it is no such thing")
