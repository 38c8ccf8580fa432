"""The remotes of a container: `rsdos.Container.remotes`.

Each operation is imported by the call that needs it, as in `rsdos.facade.maintenance`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from rsdos.errors import InvalidOption, log_warning
from rsdos.facade.keywords import refuse_mistyped
from rsdos.progress import SILENCE

if TYPE_CHECKING:
    from rsdos.facade.part import FacadePart
    from rsdos.maintenance.probe.report import ProbeReport
    from rsdos.maintenance.remotes.compare import CompareReport
    from rsdos.maintenance.remotes.connect import RemoteConnection
    from rsdos.maintenance.remotes.copying import RemoteOptions, RemoteReport
    from rsdos.maintenance.remotes.fetch import FetchReport
    from rsdos.maintenance.remotes.manage import AddedRemote, AdoptReport
    from rsdos.maintenance.remotes.table import Remote
    from rsdos.protocols import Progress
    from rsdos.storage.url import OptionValue


class RemoteContainers:
    """The other containers that a container has names for. Any thread; every call reads the newest table.

    Where a ``name`` may be left out, "origin" is meant, or the only remote. What talks to a remote compares it with
    what was seen of it before, and may raise `RemoteChanged` (another container is there), `RemoteWentBack` (it was set
    back to an older state) and `RemoteDiverged` (and was written since): nothing is read or written then before
    `adopt`. It may raise `Unavailable` and `Refused` as well. Every method raises `InvalidOption` for a name that is
    not there, and in a container that is in no directory or has version 1.

    Examples:
        >>> container.remotes.add("origin", "s3://lab/data", endpoint="https://rgw.example.org")
        >>> container.remotes.push()
    """

    def __init__(self, container: FacadePart) -> None:
        self._container = container

    def list(self) -> list[Remote]:
        """Return all remotes, by name. No request is made."""
        from rsdos.maintenance.remotes.table import read_remotes

        return [remote for _, remote in sorted(read_remotes(self._container.engine).items())]

    def add(self, name: str, url: str | os.PathLike[str], **options: OptionValue) -> AddedRemote:
        """Give a name to another container. No request is made. Again, it changes nothing.

        A directory without a container is added as well: its disk may not be mounted yet. ``missing`` of the result
        says then what to do, and so does a warning in the log.

        The ``options`` go with the URL (docs/remote.md). They are never a secret: credentials come from the
        environment, the profile files or the machine's role.

        Args:
            name: up to 64 letters, digits, ".", "_" and "-".
            url: ``s3://…`` and so on, or the path of a container of version 2.

        Raises:
            InvalidOption: the name is that of another URL, an option makes no sense, or it is the container itself.
            ReadOnlyContainer: the container cannot be written.
        """
        from rsdos.maintenance.remotes.manage import add

        refuse_mistyped(self.add, options, url="://" in os.fspath(url))
        added = add(self._container.engine, name, url, options)
        if added.missing:
            log_warning("remote %s: %s", added.name, added.missing)
        return added

    def remove(self, name: str) -> None:
        """Forget a remote. Nothing in it is changed."""
        from rsdos.maintenance.remotes.manage import remove_remote

        remove_remote(self._container.engine, name)

    def adopt(self, name: str = "") -> AdoptReport:
        """Accept the present state of a remote, although it does not follow from the state that was seen before.

        The next push sends what the remote has lost and this container still has.
        """
        from rsdos.maintenance.remotes.manage import adopt

        return adopt(self._container.engine, name)

    def probe(self, name: str = "") -> ProbeReport:
        """Measure what the store of a remote can do, by small objects below ``probe/``; keep the answers.

        Raise `InvalidOption` for a remote in a directory.
        """
        from rsdos.maintenance.probe import probing
        from rsdos.maintenance.remotes.table import find_remote, note_probe
        from rsdos.storage.url import is_url, open_storage, parse_url

        engine = self._container.engine
        found = find_remote(engine, name)
        if not is_url(found.url):
            raise InvalidOption(f"{found.name}: it is in a directory, and not in a store behind a URL")
        with closing(open_storage(parse_url(found.url, found.options))) as storage:
            report = probing.execute(storage, probing.plan())
        note_probe(engine, found.name, report.asdict())
        return report

    def push(
        self,
        name: str = "",
        keys: Iterable[str] | None = None,
        *,
        prefix: str = "",
        limit: int | None = None,
        pack_size: int | None = None,
        uploads: int | None = None,
        progress: Progress = SILENCE,
    ) -> RemoteReport:
        """Send the objects that a remote lacks, with all branches and tags.

        Objects are sent as they are stored, after a check of their checksums; damaged ones are reported and left out.
        Deletes are not sent: what the remote has deleted is sent again. After a kill the next push continues.

        Args:
            name: the remote.
            keys: the objects to send; None: all, with all branches and tags.
            prefix: send the objects whose keys begin with this, up to 16 characters.
            limit: bytes per second; None: as many as the line takes.
            pack_size: stored bytes of a new pack; None: the remote's own. With a limit at most five seconds of it.
            uploads: packs that are sent at the same time to a remote behind a URL; each is in memory. None: 4.
            progress: receives the progress, in stored bytes.

        Returns:
            The counts of what was sent, and the keys of damaged objects.

        Raises:
            ObjectNotFound: one of ``keys`` is not here.
            RefExists: a name is there, and means something else.
            ReadOnlyContainer: the remote cannot be written.
        """
        from rsdos.maintenance.remotes import push

        options = _options(keys, prefix, limit, pack_size, uploads)
        with self._connected(name, options) as there:
            plan = push.plan(self._container.engine, there, options)
            return push.execute(self._container.engine, there, plan, progress)

    def pull(
        self,
        name: str = "",
        keys: Iterable[str] | None = None,
        *,
        prefix: str = "",
        limit: int | None = None,
        progress: Progress = SILENCE,
    ) -> RemoteReport:
        """Bring the objects of a remote that are missing here, with all branches and tags. Every object is hashed.

        Args:
            name: the remote.
            keys: the objects to bring; None: all, with all branches and tags.
            prefix: bring the objects whose keys begin with this, up to 16 characters.
            limit: bytes per second; None: as many as the line takes.
            progress: receives the progress, in stored bytes.

        Returns:
            The counts of what was brought, and the keys of damaged objects, which were left out.

        Raises:
            ObjectNotFound: one of ``keys`` is not there.
            RefExists: a name is here, and means something else.
            ReadOnlyContainer: this container cannot be written.
        """
        from rsdos.maintenance.remotes import pull

        options = _options(keys, prefix, limit)
        with self._connected(name) as there:
            plan = pull.plan(self._container.engine, there, options)
            return pull.execute(self._container.engine, there, plan, progress)

    def fetch(self, name: str = "") -> FetchReport:
        """Learn the newest state of a remote, without its objects."""
        from rsdos.maintenance.remotes.fetch import fetch

        with self._connected(name) as there:
            return fetch(self._container.engine, there)

    def compare(self, name: str = "") -> CompareReport:
        """Count the objects and names that are here and in a remote, and those that are in one of both."""
        from rsdos.maintenance.remotes.compare import compare_remote

        with self._connected(name) as there:
            return compare_remote(self._container.engine, there)

    @contextmanager
    def _connected(self, name: str, options: RemoteOptions | None = None) -> Iterator[RemoteConnection]:
        from rsdos.maintenance.remotes.connect import connected
        from rsdos.maintenance.remotes.copying import RemoteOptions

        with connected(self._container.engine, name, (options or RemoteOptions()).packing) as there:
            yield there


def _options(
    keys: Iterable[str] | None,
    prefix: str,
    limit: int | None,
    pack_size: int | None = None,
    uploads: int | None = None,
) -> RemoteOptions:
    from rsdos.maintenance.remotes.copying import RemoteOptions
    from rsdos.maintenance.remotes.difference import KeySelection

    return RemoteOptions(KeySelection(None if keys is None else tuple(keys), prefix), limit, pack_size, uploads)
