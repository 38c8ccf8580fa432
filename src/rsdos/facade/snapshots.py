"""The snapshots of a container: `rsdos.Container.snapshots`.

Each operation is imported by the call that needs it, as in `rsdos.facade.maintenance`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rsdos.errors import InvalidOption
from rsdos.facade.working_directories import WorkingDirectories
from rsdos.progress import SILENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rsdos.facade.draft import Draft
    from rsdos.facade.snapshot import Snapshot
    from rsdos.maintenance.forget import ForgetReport
    from rsdos.maintenance.gc import GcReport
    from rsdos.maintenance.undo import UndoReport
    from rsdos.protocols import Progress
    from rsdos.trees.policy import Policy


class Snapshots(WorkingDirectories):
    """The snapshots of a container by their names. Any thread; every call reads the newest refs.

    A *ref* is ``NAME`` (the newest version of a branch), ``NAME@3``, ``NAME@2026-11-26`` (the newest version of
    that day or before), a tag, or the key of a snapshot. What publishes (`save`, `edit`, `import_archive`, `tag`,
    `branch`, `forget`, `undo`) is one commit, and durable when the call returns, whatever the durability of the
    container. The same calls by other processes are not blocked, and none is lost. After a crash at any moment the refs
    are those before the call or those after it.

    Every method may raise `RefNotFound`, `InvalidName` and, for damage, `DamagedTree`, `DamagedContainer` and
    `DamagedObject`; what publishes also `ReadOnlyContainer`, and `InvalidOption` in a container of version 1.

    Examples:
        >>> snapshots = container.snapshots
        >>> snapshots.save("flowers", "flowers/", message="first delivery")
        >>> (snapshots["flowers"] / "labels.csv").read_text()
    """

    def edit(self, name: str, *, base: Snapshot | str | None = None) -> Draft:
        """Return a draft of the next version of a branch: files are put, copied, renamed and removed in it.

        Examples:
            >>> with snapshots.edit("flowers") as draft:
            ...     draft["train/new.jpg"] = b"..."
            ...     del draft["old.csv"]
            ...     draft.message = "one more"

        Leaving the block commits, an exception commits nothing. The work is that of what changes, whatever the size of
        the tree. See `Draft`.

        Args:
            name: the branch. It is made if it is not there.
            base: the snapshot to begin with; None: the newest version of the branch, or an empty tree. The next version
                has the branch's newest one as its parent all the same.
        """
        from rsdos.facade.draft import Draft

        return Draft(self._container, name, None if base is None else self._text(base))

    def forget(self, *names: str | Policy, policy: Policy | None = None) -> ForgetReport:
        """Take versions of branches, or tags, out of the refs. `gc` then deletes what no other version needs.

        Until then `undo` brings them back. Tagged versions, and the newest of a branch that a policy is for, are kept.

        Examples:
            >>> snapshots.forget("flowers@1", "v0.9")
            >>> snapshots.forget("flowers", Policy(last=5))

        Args:
            names: ``NAME@N``, tags, and branches: with all versions, or those that the policy does not keep. The last
                one may be the policy.
            policy: which versions of the branches to keep.

        Returns:
            The versions that were forgotten, and those that were kept, with the reasons.
        """
        from rsdos.maintenance import forget

        engine = self._container.engine
        return forget.execute(engine, forget.plan(engine, forget.ForgetOptions(*_with_policy(names, policy))))

    def undo(self) -> UndoReport:
        """Undo the last operation on the refs, as a new operation: a second `undo` brings back what the first undid.

        Versions whose objects a gc has deleted are refused by name.
        """
        from rsdos.maintenance import undo

        engine = self._container.engine
        return undo.execute(engine, undo.plan(engine))

    def gc(self, *, progress: Progress = SILENCE) -> GcReport:
        """Delete the objects that were stored for snapshots alone, and that no snapshot of the refs needs any more.

        What was inserted by key stays. Saves that are running keep what they have stored. Readers, writers and saves
        are not blocked. `repack` gives the space back.

        Args:
            progress: receives the progress, in objects.

        Raises:
            Busy: other maintenance is running.
        """
        from rsdos.maintenance import gc

        engine = self._container.engine
        return gc.execute(engine, gc.plan(engine), progress)


def _with_policy(given: Sequence[object], policy: object) -> tuple[list[str], Policy | None]:
    """Return the names and the policy of a `Snapshots.forget`. Raise `InvalidOption` for any other type."""
    from rsdos.trees.policy import Policy

    if policy is None and given and isinstance(given[-1], Policy):
        given, policy = given[:-1], given[-1]
    if policy is not None and not isinstance(policy, Policy):
        raise InvalidOption(f"policy is a Policy, such as Policy(last=5), not {policy!r:.40}")
    for name in given:
        if not isinstance(name, str):
            raise InvalidOption(f"a name to forget is a string, not {name!r:.40}; one Policy comes behind the names")
    return list(map(str, given)), policy
