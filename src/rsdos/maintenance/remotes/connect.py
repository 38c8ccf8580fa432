"""Opening a remote, and comparing its state with the one that was seen before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass

from rsdos.engine.engine import Engine
from rsdos.engine.keeping import IndexInClone
from rsdos.errors import InvalidOption, NotAContainer, RemoteChanged, RemoteDiverged, RemoteWentBack, log_warning
from rsdos.maintenance.remotes.table import Remote, Seen, find_remote, note_seen
from rsdos.model import Durability
from rsdos.root import NamedBy, no_container
from rsdos.storage.counted import CountingStorage, Requests
from rsdos.storage.url import is_url, open_storage
from rsdos.stores.head import Head
from rsdos.stores.packs import Packing

_ADOPT = "nothing is read or written before `rsdos remote adopt` (docs/remote.md)"


@dataclass(frozen=True, slots=True)
class RemoteConnection:
    """An open remote: its entry in the table, its engine, and its newest state when it was opened."""

    remote: Remote
    engine: Engine
    head: Head
    counter: CountingStorage | None

    @property
    def requests(self) -> Requests:
        """The requests that were made through this connection; none, of a container in a directory."""
        return self.counter.requests if self.counter else Requests()


MakePacking = Callable[[Packing], Packing]


def _own(packing: Packing) -> Packing:
    return packing


@contextmanager
def connected(engine: Engine, name: str = "", packing: MakePacking = _own) -> Iterator[RemoteConnection]:
    """Open a remote of a container for the length of a block, if its state follows from the one that was seen before.

    ``packing`` returns how packs are made that are written through this connection, given the remote's own way. Raise
    `RemoteChanged`, `RemoteWentBack` or `RemoteDiverged` if the state does not follow, `InvalidOption` for an unknown
    name or a remote of version 1, and the errors of opening a container.
    """
    with open_remote(find_remote(engine, name), engine, packing) as there:
        if there.engine.layout.root == engine.layout.root:
            raise InvalidOption(f"{there.remote.name}: this is the container itself")
        compare_seen(there.remote, there.head, there.engine.packed.commit_of)
        yield there


@contextmanager
def open_remote(remote: Remote, near: Engine | None = None, packing: MakePacking = _own) -> Iterator[RemoteConnection]:
    """Open a remote for the length of a block, whatever state was seen before.

    ``near`` is the container on this machine that keeps the files of the remote's index, if there is one.
    """
    counter = CountingStorage(open_storage(remote.url, remote.options)) if is_url(remote.url) else None
    with closing(counter) if counter else nullcontext():
        # Also in a directory: objects that another machine relies on are as durable as those behind a URL.
        keeping = IndexInClone(near) if near and counter else None
        engine = _opened(remote, counter, keeping)
        with closing(engine):
            # Of this process alone: a pack is full when its writer says so.
            made = packing(Packing(engine.config.pack_size_target))
            engine.config = engine.config.changed(pack_size_target=made.target)
            engine.packed.packing = made
            seen = remote.seen.number if remote.seen else 0
            yield RemoteConnection(remote, engine, engine.packed.head(seen), counter)


def _opened(remote: Remote, counter: CountingStorage | None, keeping: IndexInClone | None) -> Engine:
    try:
        return Engine(counter.root if counter else remote.url, Durability.FULL, storage=counter, keeping=keeping)
    except NotAContainer as error:
        if remote.seen is None:
            is_directory = counter is None or counter.traits.files
            raise no_container(str(error.path), is_directory=is_directory, by=NamedBy.OTHER) from None
        # A new container there would be another one, which `compare_seen` refuses.
        advice = "a container was there before: mount it, or add its new place under another name"
        raise NotAContainer(error.path, error.reason, advice) from error


def note_head(engine: Engine, there: RemoteConnection, head: Head) -> None:
    """Note the newest state of a remote that was seen. A container that cannot be written notes nothing."""
    try:
        note_seen(engine, there.remote.name, head)
    except OSError as error:
        log_warning("%s: what was seen of it could not be noted: %s", there.remote.name, error)


def compare_seen(remote: Remote, head: Head, commit_of: Callable[[int], str | None]) -> None:
    """Raise unless a remote is in the state that was seen last, or in one that follows from it.

    ``commit_of`` returns the name of the commit of an older number, None if that cannot be known any more.
    """
    seen = remote.seen
    if seen is None:
        return
    if seen.container_id != head.container_id:
        reason = f"another container is there now, {head.container_id}, where {seen.container_id} was; {_ADOPT}"
        raise RemoteChanged(remote.url, reason)
    if head.number < seen.number:
        reason = (
            f"its newest commit is {head.number}, and was {seen.number}: it was set back to an older state; {_ADOPT}"
        )
        raise RemoteWentBack(remote.url, reason)
    commit = _commit_in(seen, head, commit_of)
    if commit is not None and commit != seen.commit:
        reason = f"its commit {seen.number} is another one than was seen: it was set back, and written since; {_ADOPT}"
        raise RemoteDiverged(remote.url, reason)


def _commit_in(seen: Seen, head: Head, commit_of: Callable[[int], str | None]) -> str | None:
    """Return the name of the commit of the number that was seen; None if it is not known on one of both sides."""
    if not seen.commit or not head.commit:
        return None
    known = dict(head.history) | {head.number: head.commit}
    return known.get(seen.number) or commit_of(seen.number)
