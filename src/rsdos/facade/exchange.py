"""Operations between a container and directories, backups and other containers, as methods of `rsdos.Container`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from rsdos.config import VERSION
from rsdos.facade.keywords import refuse_mistyped
from rsdos.facade.part import FacadePart, engine_of
from rsdos.model import CompressMode, Place, choice
from rsdos.progress import SILENCE

if TYPE_CHECKING:
    from rsdos.engine.workers import Jobs
    from rsdos.ingest.add import AddReport
    from rsdos.ingest.files import ChunkResult, StoredFile
    from rsdos.ingest.walk import Walk
    from rsdos.maintenance import transfer
    from rsdos.maintenance.backup import backup, restore
    from rsdos.maintenance.migrate import migrate
    from rsdos.maintenance.remotes.copying import RemoteReport
    from rsdos.maintenance.remotes.fetch import FetchReport
    from rsdos.protocols import Progress
    from rsdos.storage.url import OptionValue


class Exchange(FacadePart):
    """The operations that move data in and out of a container in bulk. ``progress`` is as for `Maintenance`."""

    def add_files(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        to: Place | Literal["auto", "loose", "packed"] = "auto",
        compress: CompressMode | str = CompressMode.AUTO,
        jobs: Jobs = 1,
        tell: Callable[[Sequence[StoredFile]], None] | None = None,
        progress: Progress = SILENCE,
    ) -> AddReport:
        """Store files, each as one object. Names are not stored: ``tell`` receives the path and the key of each.

        Examples:
            >>> files = []
            >>> container.add_files(["a.txt", "b.txt"], tell=files.extend)
            >>> files[0].path, files[0].key, files[0].size

        A file that cannot be read is refused, and so is a directory; the others are stored. After an error or an
        interruption repeat the call: files that are stored already are read, but not written again.

        Args:
            paths: the files.
            to: "loose" or "packed"; "auto": to a pack for 100 files or more.
            compress: whether to compress files in packs: "yes", "no", or "auto": if they become clearly smaller.
            jobs: processes that store at the same time, each in a pack of its own, if there are 100 files or more.
                None: as many as the machine has cores, 4 at most, for 16,384 files or more that go to packs. Processes
                that cannot be forked import the program again: put its actions behind ``if __name__ == "__main__"``.
                Or an executor (`concurrent.futures.Executor`, that of Dask for example), whose processes have this
                release of rsdos, and see the same files and the same container.
            tell: receives stored files when they are durable: up to 16,384 files or 256 MiB in packs, up to 256 loose
                files. Without ``jobs`` they come in the order of ``paths``.
            progress: receives the progress, in raw bytes.

        Returns:
            The number of stored files, their raw bytes, and the files that were refused or skipped.

        Raises:
            InvalidOption: also for a ``jobs`` below 1.
            ReadOnlyContainer: the container cannot be written.
            WorkerDied: one of several processes was killed.
            OSError: the container's disk is full, for example.
        """
        from rsdos.ingest.walk import Directories, Walk, size_of

        names: Iterable[str] = (os.fspath(path) for path in paths)
        total = None
        if progress is not SILENCE:
            names = list(names)
            total = size_of(names)
        walk = Walk(self.engine.directory)
        walk.add(names, Directories.REFUSE)
        return self._add(walk, to, compress, jobs, tell, progress, total)

    def add_tree(
        self,
        directory: str | os.PathLike[str],
        *,
        exclude: Iterable[str] = (),
        to: Place | Literal["auto", "loose", "packed"] = "auto",
        compress: CompressMode | str = CompressMode.AUTO,
        jobs: Jobs = 1,
        tell: Callable[[Sequence[StoredFile]], None] | None = None,
        progress: Progress = SILENCE,
    ) -> AddReport:
        """Store all regular files below a directory. See `add_files` for everything else.

        Symbolic links and special files below it are skipped, and so is the container itself.

        Args:
            directory: where to begin. A symbolic link to a directory is followed.
            exclude: patterns of names to leave out, as in a .gitignore: ``*.tmp``, ``build/``, ``/data/raw``,
                ``**/cache/*``. ``!keep.tmp`` includes again what an earlier pattern leaves out.
            to: as for `add_files`.
            compress: as for `add_files`.
            jobs: as for `add_files`.
            tell: as for `add_files`.
            progress: as for `add_files`.

        Returns:
            As `add_files`.

        Raises:
            OSError: as `add_files`.
        """
        from rsdos.ingest.walk import Directories, Walk

        walk = Walk(self.engine.directory, exclude)
        walk.add((os.fspath(directory),), Directories.DESCEND)
        return self._add(walk, to, compress, jobs, tell, progress)

    def _add(
        self,
        walk: Walk,
        to: Place | str,
        compress: CompressMode | str,
        jobs: Jobs,
        tell: Callable[[Sequence[StoredFile]], None] | None,
        progress: Progress,
        total: int | None = None,
    ) -> AddReport:
        from rsdos.ingest.add import AddOptions, add_walk

        def tell_files(chunk: ChunkResult) -> None:
            if tell is not None and chunk.objects:
                tell(chunk.files())

        options = AddOptions(None if to == "auto" else choice(Place, to), choice(CompressMode, compress), jobs)
        return add_walk(self.engine, walk, options, progress, tell_files, total)

    def transfer_from(
        self,
        source: FacadePart | str | os.PathLike[str],
        keys: Iterable[str] | None = None,
        *,
        refs: Iterable[str] = (),
        name: str = "",
        compression: str | None = None,
        compress: CompressMode | str = CompressMode.YES,
        tell: Callable[[Sequence[str], Sequence[str]], None] | None = None,
        progress: Progress = SILENCE,
    ) -> transfer.TransferReport:
        """Copy objects from another container, of any version and hash, into the packs of this one.

        Every object is hashed on the way. Objects that this container has already are not copied. Readers, writers and
        maintenance of both containers are not blocked. After a kill the next run continues.

        Args:
            source: the other container, or its path.
            keys: the keys of the objects, as they are there; None: all, with all branches and tags.
            refs: instead of all: branches, versions and tags, with what they lead to.
            name: the name that the one of ``refs`` gets here.
            compression: compress everything again: "zstd", "zlib+6", "none" and so on. None: copy stored bytes
                unchanged, if this container can store them.
            compress: which objects get that compression: "yes": all, also those that inserts left raw; "auto": those
                that become clearly smaller, as by an insert.
            tell: receives the keys there and the keys here of objects that are durable here. They differ between
                containers of different hashes.
            progress: receives the progress, in objects.

        Returns:
            The number of copied objects, and the keys of objects that could not be copied: damaged, or deleted before.

        Raises:
            ObjectNotFound: one of ``keys`` is not there.
            RefNotFound: one of ``refs`` is not there.
            RefExists: a name is here, and means something else.
            InvalidOption: both are the same container, or this one could not store that compression.
            ReadOnlyContainer: the container cannot be written.
        """
        from rsdos.maintenance import transfer

        with engine_of(source) as there:
            mode = choice(CompressMode, compress)
            options = transfer.TransferOptions(keys, compression, mode, tuple(refs), name)
            plan = transfer.plan(self.engine, there, options)
            return transfer.execute(self.engine, plan, progress, tell or (lambda theirs, ours: None))

    @staticmethod
    def clone(
        url: str | os.PathLike[str],
        directory: str | os.PathLike[str],
        *,
        name: str = "origin",
        limit: int | None = None,
        progress: Progress = SILENCE,
        **options: OptionValue,
    ) -> RemoteReport:
        """Make a container on this machine with all objects and names of another one, which becomes its remote.

        Every object is hashed on the way. After a kill or an error the same call continues. The ``options`` go with the
        URL.

        Args:
            url: the other container: ``s3://…`` and so on, or the path of one of version 2.
            directory: a directory that is missing or empty, or that of a clone that was begun.
            name: the name of the remote.
            limit: bytes per second; None: as many as the line takes.
            progress: receives the progress, in stored bytes.

        Returns:
            The counts of what was brought, and the keys of damaged objects, which were left out.

        Raises:
            ContainerExists: ``directory`` is another container, or not empty.
            NotAContainer: there is no container at the URL.
        """
        from rsdos.maintenance.remotes import clone

        refuse_mistyped(Exchange.clone, options, url="://" in os.fspath(url))
        given = clone.CloneOptions(os.fspath(url), os.fspath(directory), options, name, limit)
        return clone.clone(given, progress)

    @staticmethod
    def clone_lazily(
        url: str | os.PathLike[str],
        directory: str | os.PathLike[str],
        *,
        name: str = "origin",
        **options: OptionValue,
    ) -> FetchReport:
        """Make a container on this machine with all names of another one, and without objects.

        Each object is read from the other container when it is needed, and then kept here. Without a connection, what
        is here is read, and `RemoteUnavailable` is raised for the rest. Listing and counting, and maintenance, see what
        is here. `Container.remotes.pull` brings all. The ``options`` go with the URL.

        Args:
            url: as for `clone`.
            directory: a directory that is missing or empty, or that of a clone that was begun.
            name: the name of the remote.

        Returns:
            The newest state of the remote.

        Raises:
            ContainerExists: ``directory`` is another container, or not empty.
            NotAContainer: there is no container at the URL.
        """
        from rsdos.maintenance.remotes.clone import CloneOptions
        from rsdos.maintenance.remotes.lazy import clone_lazily

        refuse_mistyped(Exchange.clone_lazily, options, url="://" in os.fspath(url))
        return clone_lazily(CloneOptions(os.fspath(url), os.fspath(directory), options, name))

    def migrate(
        self,
        to: int = VERSION,
        destination: str | os.PathLike[str] | None = None,
        *,
        compression: str | None = None,
        compress: CompressMode | str = CompressMode.YES,
        snapshots: Literal["bring", "leave behind"] = "bring",
        progress: Progress = SILENCE,
    ) -> migrate.MigrateReport:
        """Convert this container to another version, in place or as a new container.

        Every object is hashed on the way. Until the last step, one rename, other programs can use the container. After
        a kill the next run continues. In place, it needs the extra disk space of one pack, and other programs should
        not keep the container open across the last step.

        Args:
            to: the container version; 1 is that of disk-objectstore.
            destination: the directory of the new container; None: in place.
            compression: compress everything again: "zstd", "zlib+6", "none" and so on. None: copy stored bytes
                unchanged, if the other version can store them.
            compress: which objects get that compression: "yes": all, also those that inserts left raw; "auto": those
                that become clearly smaller, as by an insert.
            snapshots: "leave behind": move only what was inserted by key, to version 1 for example, which can have no
                snapshots. In place, the rest is gone then.
            progress: receives the progress.

        Returns:
            The number of moved objects, and the keys of objects that are damaged or missing.

        Raises:
            Busy: another operation is running.
            ContainerExists: ``destination`` is another container.
            InvalidOption: the container cannot become one of that version.
        """
        from rsdos.maintenance import transfer
        from rsdos.maintenance.migrate import migrate

        directory = None if destination is None else os.fspath(destination)
        left = choice(transfer.SnapshotPolicy, snapshots)
        options = migrate.MigrateOptions(to, directory, compression, choice(CompressMode, compress), left)
        try:
            return migrate.execute(self.engine, migrate.plan(self.engine, options), progress)
        finally:
            if destination is None:
                self._forget()

    def backup(
        self,
        destination: str | os.PathLike[str],
        *,
        keep: int = 1,
        verify: bool = False,
        link: bool = True,
        rsync: str = "rsync",
        shell: str = "ssh",
        silence: float = 600.0,
        progress: Progress = SILENCE,
    ) -> backup.BackupReport:
        """Copy the container beside its earlier backups, while it is in use.

        Each backup is a whole container. After a kill the next run continues; older backups are not changed. Readers,
        writers and maintenance are not blocked.

        Args:
            destination: the directory of all backups; ``[user@]host:path`` is on another machine.
            keep: how many older backups to keep.
            verify: read and hash every object of the new backup.
            link: link files that did not change since the last backup; False copies all files.
            rsync: the program that copies to another machine.
            shell: the program that runs commands there.
            silence: seconds without a sign of life after which another machine is given up.
            progress: receives the progress, in stored bytes.

        Returns:
            The path and the counts of the new backup, and damaged files and objects, which were copied as they are.

        Raises:
            Busy: another backup to the same place is running.
            ContainerExists: backups of another container are there.
            DamagedContainer: the newest manifest is damaged.
            InvalidOption: ``keep`` is below 0, or the place is inside the container.
            NotOurs: a foreign file or directory is in the place of the unfinished backup.
            OSError: also when rsync or the shell fails.
        """
        from rsdos.maintenance.backup import backup, remote
        from rsdos.maintenance.backup.rsync import is_remote

        options = backup.BackupOptions(os.fspath(destination), keep, verify, link)
        if not is_remote(options.destination):
            return backup.execute(self.engine, backup.plan(self.engine, options), progress)
        programs = remote.RemotePrograms(rsync, shell, silence)
        return remote.execute(self.engine, remote.plan(self.engine, options, programs), programs, progress)

    @staticmethod
    def restore(
        backup: str | os.PathLike[str],
        destination: str | os.PathLike[str],
        *,
        verify: bool = False,
        owner: tuple[int, int] | None = None,
        progress: Progress = SILENCE,
    ) -> restore.RestoreReport:
        """Make a container from a backup. It shares no files with the backup.

        The configuration is written last. After a kill there is no container yet, and the next run continues.

        Args:
            backup: one backup, or the directory of all: the newest then.
            destination: the directory of the new container.
            verify: read and hash every restored object.
            owner: the numbers of the user and the group that own the new files, which needs root; None: the backup's.
            progress: receives the progress, in stored bytes.

        Returns:
            The counts of what was restored, and damaged files and objects.

        Raises:
            ContainerExists: ``destination`` is a container, or another directory that is not empty.
            InvalidOption: ``destination`` is inside the backup, or inside another container.
            NotAContainer: there is no backup.
        """
        from rsdos.maintenance.backup import restore

        options = restore.RestoreOptions(os.fspath(backup), os.fspath(destination), verify, owner)
        return restore.execute(restore.plan(options), progress)
