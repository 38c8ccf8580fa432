"""A lazy clone: a container that reads objects that it lacks from its remote, and keeps them.

1. Make the container, and record the remote as the one that objects are read from. 2. Make the directory for files
of the remote's index: from now on, missing objects are read from the remote. 3. Publish the branches and tags of the
remote, without what they lead to. 4. Note what was seen of the remote. The next call continues one that was killed
between any two of these.
"""

from __future__ import annotations

from dataclasses import replace

from rsdos.engine.engine import Engine
from rsdos.engine.keeping import InClone
from rsdos.engine.publish import publish
from rsdos.engine.save_lock import hold_save_lock
from rsdos.engine.snapshots import this_process
from rsdos.errors import NotAContainer, RemoteUnavailable
from rsdos.maintenance.remotes.clone import CloneOptions, begin_clone
from rsdos.maintenance.remotes.connect import compare_seen, connected
from rsdos.maintenance.remotes.fetch import FetchReport, fetch
from rsdos.maintenance.remotes.manage import make_remote
from rsdos.maintenance.remotes.table import lazy_remote
from rsdos.maintenance.transfer_refs import fresh_names, names_to_bring, with_names
from rsdos.storage.url import is_url, open_storage


def clone_lazily(options: CloneOptions) -> FetchReport:
    """Make a container without objects that reads them from the remote. It has the names of the remote.

    Args:
        options: a `CloneOptions`. Nothing is copied that could be limited.

    Returns:
        The newest state of the remote.

    Raises:
        ContainerExists: the directory is another container, or not empty.
        NotAContainer: there is no container at the URL.
        OSError: a system call or a request failed.
    """
    # 1.
    remote = replace(make_remote(options.name, options.url, options.options), lazy=True)
    engine = begin_clone(remote, options.directory)
    try:
        # 2.
        engine.layout.make(engine.layout.remotes_cache)
        with connected(engine, remote.name) as there:
            # 3.
            _publish_names(engine, there.engine)
            # 4.
            return fetch(engine, there)
    finally:
        engine.close()


def _publish_names(engine: Engine, source: Engine) -> None:
    names = names_to_bring(source, None)
    fresh = fresh_names(engine, names)
    if not fresh:
        return
    snapshots = dict.fromkeys(version.snapshot for version in fresh)
    records = [source.objects.extract(snapshot) for snapshot in snapshots]
    with hold_save_lock(engine) as save:
        by = this_process()
        publish(engine, save.epoch, lambda refs: with_names(refs, names, fresh, by), objects=records)


def open_beyond(clone: Engine) -> Engine | None:
    """Open the remote that a lazy clone reads from, if it has one. Objects that are read there are kept in the clone.

    Raise `RemoteChanged`, `RemoteWentBack` or `RemoteDiverged` if the remote is not what was seen of it, and what
    opening a container raises; `RemoteUnavailable` for a directory where no container is: a share that is not mounted.
    """
    remote = lazy_remote(clone.layout.root)
    if remote is None:
        return None
    storage = open_storage(remote.url, remote.options) if is_url(remote.url) else None
    try:
        engine = Engine(storage.root if storage else remote.url, storage=storage, keeping=InClone(clone))
    except NotAContainer as error:
        raise RemoteUnavailable(remote.url, error.reason) from error
    try:
        head = engine.packed.head(remote.seen.number if remote.seen else 0)
        compare_seen(remote, head, engine.packed.commit_of)
    except BaseException:
        engine.close()
        raise
    return engine
