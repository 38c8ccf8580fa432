"""Snapshots and directories: save, check out, compare; and archives."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from rsdos.facade.snapshot_names import SnapshotNames
from rsdos.model import choice
from rsdos.progress import SILENCE

if TYPE_CHECKING:
    from rsdos.facade.snapshot import Snapshot
    from rsdos.protocols import Progress
    from rsdos.trees.entry import Attributes
    from rsdos.worktree.archive_export import ExportReport
    from rsdos.worktree.checkout import CheckoutReport
    from rsdos.worktree.options import Description, ScanOptions
    from rsdos.worktree.save import SaveReport
    from rsdos.worktree.status import Status


class WorkingDirectories(SnapshotNames):
    """The operations between snapshots and directories. ``progress`` is as for `Maintenance`."""

    def save(  # noqa: PLR0913  one for each option of the command
        self,
        name: str,
        directory: str | os.PathLike[str],
        *,
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        derived_from: Iterable[Snapshot | str] = (),
        author: str = "",
        time: datetime | None = None,
        at: str = "",
        times: bool = False,
        modes: bool = False,
        exclude: Iterable[str] = (),
        one_file_system: bool = False,
        portable: bool = False,
        keep_going: bool = False,
        rehash: bool = False,
        force: bool = False,
        jobs: int | None = 1,
        state_directory: str | None = None,
        progress: Progress = SILENCE,
    ) -> SaveReport:
        """Save a directory as the next version of a branch. The first save makes the branch.

        Files that are as they were when the directory was last saved or checked out are not read, unless they changed
        less than 2 s before. The directory stays as it is. A directory that equals the newest version makes no
        version: the report says ``unchanged``. After a kill repeat the call: what is stored already is not written
        again. A directory that changes while it is saved gives a snapshot of no single moment: each file is whole.

        Args:
            name: the branch.
            directory: the directory. A link to one is followed; links in it are saved as links.
            message: what to say about this version.
            metadata: a JSON object to keep with it.
            derived_from: snapshots, here or in other containers, that the content was computed from.
            author: the author of the version; "": none is recorded.
            time: when; None: now.
            at: save the directory as this directory of the branch's tree, and keep the rest of the tree; "": what was
                checked out, or the whole tree.
            times: keep the times of files. A tree with times has another key.
            modes: keep the nine permission bits, likewise. The x bit of the owner is always kept.
            exclude: patterns of names to leave out, as in a .gitignore; files .rsdosignore in the tree have more.
            one_file_system: leave out what is on other file systems.
            portable: refuse names that other systems cannot have, and names that differ only in case.
            keep_going: leave out what cannot be read; the report and the snapshot say so.
            rehash: read every file.
            force: make the version although the directory was checked out from another one than the newest.
            jobs: processes that read and store at the same time; None: as many as the machine has cores, 4 at most.
            state_directory: where to remember the files' times if the container cannot be written.
            progress: receives the progress, in raw bytes.

        Returns:
            The keys and counts of the new version, and what was left out.

        Raises:
            RefMoved: another process saved to the branch first, or the directory is of an older version. The snapshot
                is stored: ``snapshot`` of the error is its key.
            RefExists: ``name`` is a tag.
            SourceChanged: a file changed each of three times that it was read. There is no snapshot.
            UnreadableSource: a file or directory cannot be read. There is no snapshot.
        """
        from rsdos.worktree import options
        from rsdos.worktree.save import save

        wanted = options.SaveOptions(
            self._description(name, message, metadata, derived_from, author, time),
            os.fspath(directory),
            at,
            _attributes(times, modes),
            _scan(exclude, one_file_system, keep_going, portable),
            options.Rehash.ALL if rehash else options.Rehash.CHANGED,
            options.WhenMoved.OVERRIDE if force else options.WhenMoved.REFUSE,
            jobs,
            state_directory,
        )
        return save(self._container.engine, wanted, progress)

    def status(
        self,
        directory: str | os.PathLike[str],
        ref: str = "",
        *,
        exclude: Iterable[str] = (),
        one_file_system: bool = False,
        keep_going: bool = False,
        rehash: bool = False,
        state_directory: str | None = None,
        progress: Progress = SILENCE,
    ) -> Status:
        """Compare a directory with a snapshot, by default with that which it was saved as or checked out from.

        Examples:
            >>> with snapshots.status("flowers/") as status:
            ...     for change in status: change.path, change.kind
            >>> status.summary

        Only files whose size or times differ from those remembered are read.

        Args:
            directory: the directory.
            ref: the snapshot, or ``REF:PATH``.
            exclude: as for `save`.
            one_file_system: as for `save`.
            keep_going: pass over what cannot be read.
            rehash: read every file.
            state_directory: as for `save`.
            progress: as for `save`.

        Returns:
            An iterator over the changes, in tree order, with paths as bytes; a context manager. When it is at its end,
            ``summary`` has the counts.

        Raises:
            InvalidOption: there is no ``ref``, and the directory was never saved or checked out.
        """
        from rsdos.worktree.options import Rehash, StatusOptions
        from rsdos.worktree.status import read_status

        name, path = self.split(ref) if ref else ("", None)
        scan = _scan(exclude, one_file_system, keep_going)
        trust = Rehash.ALL if rehash else Rehash.CHANGED
        wanted = StatusOptions(os.fspath(directory), name, path or "", scan, trust, state_directory)
        return read_status(self._container.engine, wanted, progress)

    def checkout(  # noqa: PLR0913  one for each option of the command
        self,
        ref: Snapshot | str,
        directory: str | os.PathLike[str],
        *,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        force: bool = False,
        delete: bool = False,
        links: Literal["all", "inside", "none"] = "all",
        sparse: bool = False,
        keep_going: bool = False,
        jobs: int | None = 1,
        state_directory: str | None = None,
        progress: Progress = SILENCE,
    ) -> CheckoutReport:
        """Make a directory have what a snapshot has.

        Files that are there and equal are left alone. What differs is replaced if it is as it was saved or checked
        out; everything else in the way is a conflict, and nothing at all is written. Each file is verified, and appears
        whole or not at all. After a kill repeat the call. No link is written through.

        Args:
            ref: the snapshot, or ``REF:PATH`` for a directory in it.
            directory: the directory. It is made if it is not there; its parent must be.
            include: patterns of paths, as in a .gitignore; only these are written.
            exclude: patterns of paths that are not.
            force: overwrite what is in the way.
            delete: remove what the snapshot does not have.
            links: symbolic links: "all" as they are; "inside": refuse those that lead out of the directory; "none".
            sparse: make runs of zeros holes.
            keep_going: write what can be written when objects or pages are damaged.
            jobs: processes that write files at the same time; None: as many as the machine has cores, 4 at most, for
                8,192 files to write or more.
            state_directory: where to remember the files' times if the container cannot be written.
            progress: receives the progress, in raw bytes.

        Returns:
            What was written, removed and kept, and what failed.

        Raises:
            Conflicts: the ``paths`` are in the way. Nothing was written.
            Busy: another checkout into this directory is running.
            RefNotFound: there is no such snapshot; or it was forgotten and collected during the call.
            WorkerDied: a process that wrote files has died. Repeat the call.
        """
        from rsdos.worktree.checkout import CheckoutOptions, checkout
        from rsdos.worktree.checkout_files import Holes, OnDamage
        from rsdos.worktree.checkout_links import TreeLinks
        from rsdos.worktree.checkout_rules import Obstacles, Unknown

        name, path = self.split(ref)
        wanted = CheckoutOptions(
            name,
            os.fspath(directory),
            os.fsencode(path or ""),
            tuple(include),
            tuple(exclude),
            Obstacles.OVERWRITE if force else Obstacles.REFUSE,
            Unknown.DELETE if delete else Unknown.KEEP,
            choice(TreeLinks, links),
            Holes.MAKE if sparse else Holes.FILL,
            OnDamage.CONTINUE if keep_going else OnDamage.STOP,
            state_directory,
            jobs,
        )
        return checkout(self._container.engine, wanted, progress)

    def export(
        self,
        ref: Snapshot | str,
        target: BinaryIO,
        *,
        format: Literal["tar", "list"] = "tar",
        times: bool = False,
        keep_going: bool = False,
        progress: Progress = SILENCE,
    ) -> ExportReport:
        """Write a snapshot to a stream. The same tree gives the same bytes, unless ``times`` is given.

        Args:
            ref: the snapshot, or ``REF:PATH`` for a directory in it.
            target: a binary stream. What it has got before an error is no whole archive.
            format: "tar": an archive; "list": a JSON document a line with path, key and size of each file.
            times: in an archive: the times of files if the tree has them, else that of the snapshot.
            keep_going: leave out what is damaged.
            progress: receives the progress, in raw bytes.

        Returns:
            The counts of what was written, and what was left out.
        """
        from rsdos.worktree.archive_export import ExportFormat, ExportOptions, ExportTimes, export
        from rsdos.worktree.checkout_files import OnDamage

        name, path = self.split(ref)
        wanted = ExportOptions(
            name,
            os.fsencode(path or ""),
            choice(ExportFormat, format),
            ExportTimes.KEPT if times else ExportTimes.ZERO,
            OnDamage.CONTINUE if keep_going else OnDamage.STOP,
        )
        return export(self._container.engine, wanted, target, progress)

    def import_archive(  # noqa: PLR0913  one for each option of the command
        self,
        name: str,
        source: BinaryIO,
        *,
        format: Literal["tar", "zip", "list"] = "tar",
        message: str = "",
        metadata: Mapping[str, Any] | None = None,
        derived_from: Iterable[Snapshot | str] = (),
        author: str = "",
        time: datetime | None = None,
        times: bool = False,
        modes: bool = False,
        progress: Progress = SILENCE,
    ) -> SaveReport:
        """Save what an archive holds as the next version of a branch, without unpacking it to files.

        A kill, or an archive that is damaged, makes no version.

        Args:
            name: the branch.
            source: a binary stream; for a zip it must be seekable.
            format: "tar" (also compressed), "zip", or "list": the lines of `export`, or of ``rsdos add-files --json``.
            message: as for `save`.
            metadata: as for `save`.
            derived_from: as for `save`.
            author: as for `save`.
            time: as for `save`.
            times: as for `save`.
            modes: as for `save`.
            progress: receives the progress, in raw bytes.

        Returns:
            As `save`.

        Raises:
            InvalidName: a member leads out of the archive's own directory, or has another name that no tree can have.
            UnreadableSource: the stream is no such archive, or a damaged one.
            ObjectNotFound: the container has no object of a key of the list.
            RefMoved: another process saved to the branch first.
        """
        from rsdos.worktree.archive_import import ImportFormat, ImportOptions, import_archive

        description = self._description(name, message, metadata, derived_from, author, time)
        wanted = ImportOptions(description, choice(ImportFormat, format), _attributes(times, modes))
        return import_archive(self._container.engine, wanted, source, progress)

    def _description(
        self,
        name: str,
        message: str,
        metadata: Mapping[str, Any] | None,
        derived_from: Iterable[Snapshot | str],
        author: str,
        time: datetime | None,
    ) -> Description:
        from rsdos.trees.documents import utc_text
        from rsdos.worktree.options import Description

        # The key of another container's snapshot resolves to itself.
        origins = tuple(self._refs().find(self._text(origin)) for origin in derived_from)
        if time is not None and time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        moment = "" if time is None else utc_text(time.timestamp())
        return Description(name, message, author, moment, dict(metadata or {}), origins)


def _scan(exclude: Iterable[str], one_file_system: bool, keep_going: bool, portable: bool = False) -> ScanOptions:
    from rsdos.worktree import options

    return options.ScanOptions(
        tuple(exclude),
        options.Unreadable.LEAVE_OUT if keep_going else options.Unreadable.STOP,
        options.Mounts.STAY if one_file_system else options.Mounts.CROSS,
        options.NameRule.PORTABLE if portable else options.NameRule.ANY,
    )


def _attributes(times: bool, modes: bool) -> Attributes:
    from rsdos.trees.entry import Attributes

    return (Attributes.TIMES if times else Attributes.NONE) | (Attributes.MODES if modes else Attributes.NONE)
