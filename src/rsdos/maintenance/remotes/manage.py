"""Adding, removing and adopting remotes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rsdos.engine.engine import Engine
from rsdos.errors import InvalidOption, NotAContainer, RsdosError
from rsdos.maintenance.remotes.connect import open_remote
from rsdos.maintenance.remotes.table import (
    Remote,
    Remotes,
    Seen,
    change_remotes,
    check_remote_name,
    find_remote,
    normal_url,
    seen_of,
)
from rsdos.notebook import ShownAsTable
from rsdos.root import NamedBy, no_container
from rsdos.storage.url import OptionValue, is_url, parse_url


@dataclass(frozen=True, slots=True)
class AdoptReport(ShownAsTable):
    """The state of a remote that was seen ``before`` (None: none), and its state ``now``."""

    remote: str
    before: Seen | None
    now: Seen


@dataclass(frozen=True, slots=True)
class AddedRemote(ShownAsTable):
    """A remote that has its name now."""

    name: str
    url: str
    """The URL, or the absolute path."""
    missing: str
    """What is to be done before a push, because no container is there yet; "" for nothing, and for a URL."""


def add(
    engine: Engine, name: str, url: str | os.PathLike[str], options: Mapping[str, OptionValue] | None = None
) -> AddedRemote:
    """Give a name to another container, and look whether it is there. No request is made.

    Raise what `make_remote` and `add_remote` raise, and `InvalidOption` if it is the container itself.
    """
    remote = make_remote(name, url, options)
    missing = _missing(engine, remote)
    add_remote(engine, remote)
    return AddedRemote(remote.name, remote.url, missing)


def make_remote(
    name: str, url: str | os.PathLike[str], options: Mapping[str, OptionValue] | None = None, *, lazy: bool = False
) -> Remote:
    """Return a remote that is not written down yet.

    Raise `InvalidOption` for a bad name, a URL with a user or password, an unknown option or one that is a secret.
    """
    text = normal_url(url)
    given = dict(options or {})
    if is_url(text):
        parsed = parse_url(text, given)
        return Remote(check_remote_name(name), parsed.url, dict(parsed.options), lazy=lazy)
    if given:
        raise InvalidOption(f"{text}: options are for a URL, and this is a directory")
    return Remote(check_remote_name(name), text, lazy=lazy)


def add_remote(engine: Engine, remote: Remote) -> None:
    """Write a remote down. No request is made. Raise `InvalidOption` if the name is taken by another URL."""

    def change(remotes: dict[str, Remote]) -> Remotes:
        before = remotes.get(remote.name)
        if before is None:
            return remotes | {remote.name: remote}
        if before.url != remote.url or dict(before.options) != dict(remote.options):
            raise InvalidOption(f"{remote.name}: is a remote already, {before.url}; remove it first, or choose a name")
        return remotes

    change_remotes(engine, change)


def _missing(engine: Engine, remote: Remote) -> str:
    """Return `AddedRemote.missing`.

    A disk that is not mounted yet has no container either. Raise `InvalidOption` if it is the container itself.
    """
    if is_url(remote.url):
        return ""
    if os.path.realpath(remote.url) == os.path.realpath(engine.layout.root):
        raise InvalidOption(f"{remote.name}: this is the container itself")
    try:
        Engine(remote.url).close()
    except NotAContainer:
        return str(no_container(remote.url, by=NamedBy.OTHER))
    except (RsdosError, OSError):
        pass  # A push says more of it.
    return ""


def remove_remote(engine: Engine, name: str) -> None:
    """Forget a remote. Nothing in it is changed. Raise `InvalidOption` if there is none of this name."""
    find_remote(engine, check_remote_name(name))
    change_remotes(engine, lambda remotes: {other: remotes[other] for other in remotes if other != name})


def adopt(engine: Engine, name: str = "") -> AdoptReport:
    """Accept the present state of a remote, although it does not follow from the state that was seen before.

    The next push sends again the objects that the remote has lost and this container has. Others are lost.

    Args:
        engine: the open container.
        name: the remote; "": `table.ORIGIN`, or the only one.

    Raises:
        InvalidOption: there is no such remote, or it has version 1.
        NotAContainer: nothing is there any more.
    """
    remote = find_remote(engine, name)
    with open_remote(remote) as there:
        now = seen_of(there.head)

    def change(remotes: dict[str, Remote]) -> Remotes:
        newest = remotes.get(remote.name)
        return remotes if newest is None else remotes | {remote.name: replace(newest, seen=now)}

    change_remotes(engine, change)
    return AdoptReport(remote.name, remote.seen, now)
