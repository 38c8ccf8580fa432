"""Maintenance of a container, as methods of `rsdos.Container`.

Each operation is imported by the call that needs it: all of them together are 30 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rsdos.facade.part import FacadePart, engine_of
from rsdos.model import CompressMode, choice
from rsdos.progress import SILENCE
from rsdos.stores.stats import MIN_DEAD

if TYPE_CHECKING:
    import os

    from rsdos.engine.workers import Jobs
    from rsdos.maintenance import clean, collect, inspect, merge, optimize, pack, repack, retain, status
    from rsdos.maintenance.check import validate
    from rsdos.maintenance.doctor.diagnosis import Diagnosis
    from rsdos.maintenance.repair import index as repair_index
    from rsdos.maintenance.repair import objects as repair_objects
    from rsdos.maintenance.repair.refs import LostNames
    from rsdos.model import ObjectMeta
    from rsdos.protocols import Progress
    from rsdos.stores.findings import Depth
    from rsdos.stores.stats import PackedStats


class Maintenance(FacadePart):
    """The operations on a whole container.

    One operation at a time works on a container. A second one raises `Busy` or waits, as ``when_busy`` of
    `rsdos.Container` says. Readers and writers are not blocked. An operation that is killed loses no object, and the
    next run continues. Every operation that changes the container may also raise `ReadOnlyContainer`,
    `ContainerReplaced`, `NotAContainer` and OSError.

    ``progress`` is called from the thread that runs the operation; see `rsdos.Progress`.
    """

    def status(self) -> status.StatusReport:
        """Count the objects and bytes of the container, without reading an object.

        Returns:
            Figures, where ``size`` is raw bytes and ``length`` is stored bytes, and the maintenance that is due.

        Raises:
            OSError: a system call failed.
        """
        from rsdos.maintenance import status

        return status.status(self.engine)

    def doctor(self) -> Diagnosis:
        """Say what is wrong around the container: versions, file system, space, locks, clock, index, backup.

        Change nothing, and read no object. A container that cannot be opened, or is not there, is an answer. At a URL
        there is no file system to ask about: `Container.remotes` can measure a store.

        Returns:
            An answer for each question, with a verdict, and advice.

        Raises:
            OSError: a system call failed that has nothing to do with the container.
        """
        from rsdos.maintenance.doctor.doctor import examine, examine_storage

        place = self._place()
        return examine(*place) if isinstance(place, tuple) else examine_storage(place, lambda: self.engine)

    def optimize(self, *, budget: float | None = None, progress: Progress = SILENCE) -> optimize.OptimizeReport:
        """Do `clean`, `pack`, `repack` and `merge`, as far as there is anything to do.

        Args:
            budget: seconds after which no further step is begun; None: no limit.
            progress: receives the progress.

        Returns:
            The report of each step; None for a step that was not begun.

        Raises:
            Busy: another operation is running.
        """
        from rsdos.maintenance import optimize

        plan = optimize.plan(self.engine, optimize.OptimizeOptions(seconds=budget))
        return optimize.execute(self.engine, plan, progress)

    def pack(
        self,
        compress: CompressMode | str = CompressMode.AUTO,
        *,
        clean: bool = True,
        progress: Progress = SILENCE,
    ) -> pack.PackReport:
        """Move all loose objects into packs.

        A loose file is removed only after its packed copy was synced, committed, read back and hashed.

        Args:
            compress: "yes"; "no"; "keep": the form that each has; "auto": compress objects that become clearly smaller.
            clean: remove the loose files of objects that are safely packed.
            progress: receives the progress, in bytes.

        Returns:
            The counts of packed objects, and the keys of damaged loose objects, which are not changed.

        Raises:
            Busy: another operation is running.
            InvalidOption: the programs that must read the container could not read that form.
        """
        from rsdos.maintenance import pack

        return pack.pack_all(self.engine, pack.PackOptions(choice(CompressMode, compress), clean), progress)

    def clean(self, *, progress: Progress = SILENCE) -> clean.CleanReport:
        """Remove the loose files of objects that are safely packed, and leftovers of dead writers.

        Args:
            progress: receives the progress, in objects.

        Returns:
            The counts of removed files, and the keys of objects whose loose files are kept, because the packed copy is
            damaged.

        Raises:
            Busy: another operation is running.
        """
        from rsdos.maintenance import clean

        return clean.execute(self.engine, clean.plan(self.engine), progress)

    def repack(
        self,
        compression: str = "keep",
        *,
        compress: CompressMode | str = CompressMode.YES,
        min_dead: float = MIN_DEAD,
        pack_id: int | None = None,
        jobs: Jobs = 1,
        progress: Progress = SILENCE,
    ) -> repack.RepackReport:
        """Rewrite packs without their dead bytes, or in another compression.

        One pack at a time: the extra space on disk is that of one pack. A pack that a long reader still needs (a
        backup, an open `extract_many`) is removed by the next run.

        Args:
            compression: "keep" copies stored bytes as they are, and gives small compressed objects a new dictionary
                where that saves a tenth; "none", "zstd", "zstd:+3", "zlib+1" and so on decode and encode every object
                of every pack.
            compress: which objects get that compression: "yes": all, also those that inserts left raw; "auto": those
                that become clearly smaller, as by an insert.
            min_dead: rewrite only packs with at least this share of dead stored bytes, from 0 to 1.
            pack_id: rewrite only this pack, whatever share of it is dead.
            jobs: processes that rewrite packs at the same time, or an executor, as for `validate`. The extra space on
                disk is that of so many packs.
            progress: receives the progress, in stored bytes.

        Returns:
            The packs that were rewritten or skipped, and the keys of damaged objects, which are copied as they are.

        Raises:
            Busy: another operation is running.
            InvalidOption: there is no such pack, or programs that must read the container could not read the result.
        """
        from rsdos.maintenance import repack

        mode = choice(CompressMode, compress)
        plan = repack.plan(self.engine, repack.RepackOptions(compression, min_dead, pack_id, mode, jobs=jobs))
        return repack.execute(self.engine, plan, progress)

    def collect(
        self, *, grace: float = 24 * 3600, keep: float = 7 * 24 * 3600, progress: Progress = SILENCE
    ) -> collect.CollectReport:
        """Remove what is dead from object storage: what repacks and merges have replaced, what dead writers have left.

        `optimize` does it too. Any number of machines may do this at the same time, beside readers and writers.

        Args:
            grace: seconds of the store after which a writer that has not committed is dead.
            keep: seconds of the store by which readers may be behind.
            progress: receives the objects that are looked at.

        Returns:
            The numbers of what was removed.

        Raises:
            InvalidOption: the container is not on object storage.
        """
        from rsdos.maintenance import collect
        from rsdos.stores.remote.collect import CollectOptions

        return collect.execute(self.engine, collect.plan(self.engine, CollectOptions(grace, keep)), progress)

    def merge(self, *, progress: Progress = SILENCE) -> merge.MergeReport:
        """Merge the segments of the index, so that a lookup searches one.

        Others can insert while it runs: the table is written beside their commits. Deletes wait, as for any
        maintenance. It needs the space of the index once more.

        Args:
            progress: receives the beginning and the end.

        Returns:
            The number of segments before and after.

        Raises:
            Busy: another operation is running.
        """
        from rsdos.maintenance import merge

        return merge.execute(self.engine, merge.plan(self.engine), progress)

    def delete(self, keys: Iterable[str], *, progress: Progress = SILENCE) -> list[str]:
        """Delete objects for good.

        The bytes of packed objects become dead bytes, which `repack` frees.

        Args:
            keys: the keys of the objects.
            progress: receives the progress, in objects.

        Returns:
            The keys of the objects that were there.

        Raises:
            Busy: another operation is running.
            InvalidKey: before anything is deleted.
        """
        from rsdos.maintenance import delete

        deleted: list[str] = []
        plan = delete.plan(self.engine, delete.DeleteOptions(list(keys)))
        delete.execute(self.engine, plan, progress, lambda gone, missing: deleted.extend(gone))
        return deleted

    def retain(self, keys: Iterable[str], *, progress: Progress = SILENCE) -> retain.RetainReport:
        """Delete all objects except those named: garbage collection.

        Objects that are inserted after the call began are kept. Inserting an object that the container has already does
        not keep it: put it on the list.

        Args:
            keys: the keys of the objects to keep. They take no memory.
            progress: receives the progress, in objects.

        Returns:
            The number of deleted objects.

        Raises:
            Busy: another operation is running.
            InvalidKey: before anything is deleted.
            InvalidOption: ``keys`` is empty: that would delete everything.
        """
        from rsdos.maintenance import retain

        plan = retain.plan(self.engine, retain.RetainOptions(keys))
        return retain.execute(self.engine, plan, progress)

    def validate(
        self,
        depth: Depth | str = "quick",
        *,
        share: float = 1.0,
        resume: bool = False,
        budget: float | None = None,
        jobs: Jobs = 1,
        progress: Progress = SILENCE,
    ) -> validate.ValidateReport:
        """Check the index, the packs and the loose objects.

        The call writes nothing but its position and, at the end, its outcome, which `status` reports.

        Args:
            depth: "quick" checks structure, sizes and the CRC-32 of stored bytes; "full" decodes and hashes every
                object. Containers of version 1 have no CRC-32: there only "full" reads objects.
            share: check only this share of all keys, above 0 and at most 1; the same keys every time.
            resume: continue a run of the same kind that ended early.
            budget: seconds after which no further object is begun; None: no limit.
            jobs: processes that check at the same time. A ``jobs`` above 1 is for large containers, and needs a
                program that other processes can import; see `add_tree`. Or an executor, as for `add_files`.
            progress: receives the progress, in bytes of the packs.

        Returns:
            The damage; ``is_good`` is True if there is none, ``is_finished`` if everything was checked.

        Raises:
            InvalidOption: a wrong share or ``jobs``; or the run to resume was of another kind.
            WorkerDied: one of several processes was killed.
        """
        from rsdos.maintenance.check import validate

        options = validate.ValidateOptions(choice(validate.Depth, depth), share, resume, budget, jobs)
        return validate.execute(self.engine, validate.plan(self.engine, options), progress)

    def repair_index(
        self, *, lost_names: LostNames | str = "keep", progress: Progress = SILENCE
    ) -> repair_index.RepairIndexReport:
        """Rebuild a damaged index from the packs, and move the objects of damaged packs to other packs.

        Deletes are honoured. Replaced files go to ``quarantine/`` in the container. Without damage nothing is changed.
        Repair the index before the objects.

        Args:
            lost_names: what to do if the list of all branches and tags is lost. "keep" its place: `repair_objects` may
                bring it back from a backup, and until then nothing is saved or collected. "older": take the newest one
                that can be read; the next gc deletes everything that only the lost one led to.
            progress: receives the beginning and the end.

        Returns:
            What was changed, the keys of objects whose bytes are lost, and whether names are lost.

        Raises:
            Busy: another operation is running.
            DamagedContainer: the index cannot be rebuilt: packs of version 1 do not describe themselves.
            InvalidOption: a migration was not finished.
        """
        from rsdos.maintenance.repair import index as repair_index
        from rsdos.maintenance.repair.refs import LostNames

        options = repair_index.RepairIndexOptions(choice(LostNames, lost_names))
        return repair_index.execute(self.engine, repair_index.plan(self.engine, options), progress)

    def repair_objects(
        self,
        sources: Iterable[FacadePart | str | os.PathLike[str]] = (),
        *,
        depth: Depth | str = "full",
        unrepairable: repair_objects.Unrepairable | str = "keep",
        progress: Progress = SILENCE,
    ) -> repair_objects.RepairObjectsReport:
        """Validate everything, and replace each damaged object by a good copy.

        Args:
            sources: containers, or their paths, that may have good copies, in the order in which they are asked:
                of any version, with the same hash; a backup is one. The container's own other copy comes first.
            depth: how to find damage; see `validate`.
            unrepairable: what to do with damaged objects without a good copy: "keep" them for a run with another
                source, or move their bytes to ``quarantine/`` ("quarantine").
            progress: receives the progress.

        Returns:
            The objects that were repaired, and those that were not.

        Raises:
            Busy: another operation is running.
            InvalidOption: a source has another hash or is the container itself; or objects would go to quarantine
                while the index is damaged.
        """
        from rsdos.maintenance.repair import objects as repair_objects
        from rsdos.stores.findings import Depth

        checked, kind = choice(Depth, depth), choice(repair_objects.Unrepairable, unrepairable)
        with ExitStack() as stack:
            engines = [stack.enter_context(engine_of(source)) for source in sources]
            options = repair_objects.RepairObjectsOptions(engines, checked, kind)
            plan = repair_objects.plan(self.engine, options, progress)
            return repair_objects.execute(self.engine, plan, progress)

    def inspect_loose(self) -> Iterator[ObjectMeta]:
        """Yield size, length and codec of each loose object, in no particular order."""
        from rsdos.maintenance import inspect

        return inspect.inspect_loose(self.engine)

    def inspect_packed(self) -> PackedStats:
        """Return the packs of the newest manifest, counted. Raises `DamagedContainer`."""
        from rsdos.maintenance import inspect

        return inspect.inspect_packed(self.engine)

    def inspect_pack(self, pack_id: int) -> inspect.PackView:
        """Return the batches of a pack, read from the pack file. Raises `InvalidOption` when there is no such pack."""
        from rsdos.maintenance import inspect

        return inspect.inspect_pack(self.engine, pack_id)

    def inspect_object(self, key: str) -> inspect.ObjectView:
        """Return every copy of an object; reads use the first. Raises `ObjectNotFound`, `InvalidKey`."""
        from rsdos.maintenance import inspect

        return inspect.inspect_object(self.engine, key)
