"""Publishing refs: steps 5 and 6 of a save, and the whole of every other operation on refs (docs/concurrency.md).

1. take a save lock (`rsdos.engine.save_lock`); 2. to 4. read the refs, look the objects up, store those that are
missing (`rsdos.worktree.save`); 5. write the pages, the snapshot and the next refs document as one batch of a pack of
trees; 6. under the lock on commits compare epoch and refs with those of the newest manifest, and commit a manifest that
names the new document. 6a. If others have deleted, look all objects up again, store what is gone, and go to 5. 6b. If
others have published, make the next refs from theirs, and go to 5. 7. Only now does the caller say the key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rsdos.engine.engine import Engine
from rsdos.errors import Busy, DamagedObject, DamagedTree, ObjectNotFound
from rsdos.model import PackKind, Place
from rsdos.stores.lifetime import Live
from rsdos.stores.publisher import Outdated
from rsdos.trees.refs import Refs
from rsdos.trees.refs_document import decode_refs, encode_refs

MOST_ROUNDS = 100
"""Times that others may publish or delete while one operation tries to. Each time takes a commit of another process."""


class NewestRefs(NamedTuple):
    """The newest refs, and what publishers and deleters compare of the manifest that names them."""

    refs: Refs
    live: Live


def read_refs(engine: Engine) -> tuple[Refs, int]:
    """Return the newest refs of a container, and its epoch. They are empty if it has no snapshots.

    Raise `DamagedTree` or `DamagedContainer` if the newest refs document or manifest cannot be read: nothing is
    published, deleted or collected then before a repair.
    """
    refs, live = newest_refs(engine)
    return refs, live.epoch


def newest_refs(engine: Engine) -> NewestRefs:
    """Do `read_refs`, and return what to compare when something is deleted or published."""
    live = engine.packed.live()
    for _ in range(MOST_ROUNDS):
        try:
            return NewestRefs(read_document(engine, live.refs), live)
        except ObjectNotFound:
            # A hundred documents later gc takes one.
            before, live = live, engine.packed.live()
            if before.refs == live.refs:
                raise DamagedTree(live.refs, "the list of all branches and tags is missing") from None
    raise Busy(engine.layout.root, "others, which publish all the time")


def read_document(engine: Engine, key: str) -> Refs:
    """Return the refs of one document of this container; those of "" are empty.

    Raise `ObjectNotFound`; `DamagedTree` if it is damaged, or no refs document of this container.
    """
    if not key:
        return Refs(engine.config.container_id)
    try:
        refs = decode_refs(engine.here.extract(key), key)
    except DamagedObject as error:
        raise DamagedTree(key, error.reason) from error
    if refs.container_id != engine.config.container_id:
        raise DamagedTree(key, f"these are the refs of another container, {refs.container_id:.40}")
    return refs


def nothing_to_check() -> None:
    """Check nothing: every snapshot of the next refs is one of those that they are made from."""


def publish(
    engine: Engine,
    epoch: int,
    make: Callable[[Refs], Refs],
    recheck: Callable[[], None] = nothing_to_check,
    objects: Sequence[bytes] = (),
) -> Refs:
    """Publish the refs that ``make`` makes from the newest ones, and return them. Always durable.

    Other operations on refs, inserts and reads are not blocked. A call that is killed at any moment has published the
    refs or not; what it has stored is collected by gc.

    Args:
        engine: the open container.
        epoch: that of the container before the snapshots of the new refs were looked up.
        make: returns the next refs, made from the newest. It is called again when others have published; what it raises
            goes to the caller, after ``objects`` were stored.
        recheck: called when others have deleted since ``epoch``: looks every object of the snapshots up in the packs,
            stores again what is gone, or raises.
        objects: pages and snapshots, to be stored in the batch of the refs document.

    Returns:
        The published refs.

    Raises:
        InvalidOption: the container has version 1, which has no snapshots.
        DamagedTree: the newest refs document is damaged.
        Busy: others publish or delete all the time.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    publisher = engine.packed.publisher
    with engine.objects.writing():
        for _ in range(MOST_ROUNDS):
            before = newest_refs(engine)
            try:
                made = make(before.refs)
            except BaseException:
                if objects:
                    engine.objects.insert_many(objects, to=Place.PACKED, kind=PackKind.TREES)
                raise
            refs = made.after(before.refs, before.live.refs)
            document = encode_refs(refs)
            try:
                # 5 and 6.
                publisher.publish((*objects, document), Live(before.live.refs, epoch))
            except Outdated as error:
                if error.newest.epoch != epoch:
                    # 6a. The epoch is that of a manifest from before the lookup, which so sees all that was deleted.
                    epoch = error.newest.epoch
                    recheck()
            else:
                return refs
    raise Busy(engine.layout.root, "others, which publish or delete all the time")
