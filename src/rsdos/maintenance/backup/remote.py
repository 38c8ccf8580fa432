"""Backup to another machine, through rsync. Options → plan → execute → report, with the classes of a local backup."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from rsdos.engine.engine import Engine
from rsdos.errors import Busy, InvalidOption
from rsdos.maintenance.backup.backup import BackupOptions, BackupPlan, BackupReport, warn_of_lazy
from rsdos.maintenance.backup.copy_file import stage_file
from rsdos.maintenance.backup.generations import next_name
from rsdos.maintenance.backup.last_backup import LastBackup, write_note
from rsdos.maintenance.backup.remote_generations import RemoteGenerations
from rsdos.maintenance.backup.rsync import SILENCE as SILENCE_LIMIT
from rsdos.maintenance.backup.rsync import OtherMachine
from rsdos.maintenance.copies import CONFIG, LIVE, LOCK, MARK, MARKED, MOST_CONFIG, Rights, backup_mark
from rsdos.model import WhenBusy
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.storage import locks, posix
from rsdos.storage.directory import temporary_directory
from rsdos.storage.permissions import make_directories
from rsdos.stores.findings import FilePrefix

_STEP = 1 << 20


@dataclass(frozen=True, slots=True)
class RemotePrograms:
    """The programs that connect to the other machine."""

    rsync: str = "rsync"
    shell: str = "ssh"
    silence: float = SILENCE_LIMIT
    """Seconds without any output after which the backup gives up."""


def plan(engine: Engine, options: BackupOptions, ways: RemotePrograms) -> BackupPlan:
    """Count the files to back up, and check the destination.

    Args:
        engine: the open container.
        options: a `BackupOptions`; the destination is ``[user@]host:path``.
        ways: the programs to use.

    Returns:
        The number of files and bytes, and the generation to link to.

    Raises:
        InvalidOption: ``keep`` is negative, or the destination has another form.
        ContainerExists: the destination has backups of another container.
        NotOurs: something else is in the place of the unfinished backup.
        OSError: rsync or the remote shell failed.
    """
    engine.need_files("backup")
    if options.keep < 0:
        raise InvalidOption(f"keep is 0 or more, not {options.keep}")
    there = RemoteGenerations(OtherMachine(options.destination, ways.rsync, ways.shell, ways.silence))
    names = there.names()
    there.check(names, engine.config.container_id)
    loose = list(map(posix.length_of, engine.loose.names.paths()))
    sums = engine.packed.maintenance.stats()
    length = sum(loose) + sum(pack.length for pack in sums.packs) + sums.index_length
    previous = names[-1] if names and options.link else None
    return BackupPlan(options, len(loose) + len(sums.packs), length, previous, there.is_begun())


def execute(engine: Engine, plan: BackupPlan, ways: RemotePrograms, progress: Progress = SILENCE) -> BackupReport:
    """Back up in the order of a local backup. Unchanged files are linked on the other machine.

    The lengths of all files are compared afterwards, and with ``verify`` their SHA-256, which ``sha256sum`` computes on
    the other machine. A run that is killed at any moment is continued by the next run.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        ways: the programs to use.
        progress: receives bytes.

    Returns:
        The new generation and its counts.

    Raises:
        Busy: another backup of this container or to this destination is running.
        ContainerExists: the destination has backups of another container.
        NotOurs: something else is in the place of the unfinished backup.
        DamagedContainer: the newest manifest is damaged.
        OSError: rsync, the remote shell or a system call failed.
    """
    watch = Stopwatch()
    warn_of_lazy(engine)
    remote = OtherMachine(plan.options.destination, ways.rsync, ways.shell, ways.silence)
    with suppress(OSError):
        engine.layout.make(engine.layout.locks)
    path = engine.layout.backup_lock
    lock = locks.acquire(path) if engine.when_busy is WhenBusy.WAIT else locks.try_acquire(path)
    if lock is None:
        raise Busy(remote.place, locks.holder(path))
    holder = f"a backup, process {os.getpid()} on {os.uname().nodename}"
    # The first lock excludes other backups of this container, the second one other machines' backups to the place.
    with lock, remote.locked(LOCK, holder, engine.when_busy), temporary_directory() as stage:
        lock.describe(holder)
        there = RemoteGenerations(remote)
        names = there.names()
        there.check(names, engine.config.container_id)
        run = _RemoteBackup(engine, remote, stage, names[-1] if names and plan.options.link else None)
        with step(progress, "Copying", plan.length, "bytes"), engine.protect_packs():
            unreadable = run.copy(progress)
            renewed, wrong = run.verify() if plan.options.verify else ([], [])
        generation, deleted = run.finish(names, plan.options.keep)
    place = f"{remote.place.rstrip('/')}/{generation}"
    verified = not wrong if plan.options.verify else None
    write_note(engine.layout, LastBackup(datetime.now(UTC).isoformat(timespec="seconds"), place, verified))
    return BackupReport(
        place,
        run.files,
        run.length,
        run.files - run.sent if run.is_linked else 0,
        run.written,
        deleted,
        (*unreadable, *wrong),
        run.files if plan.options.verify else 0,
        renewed=tuple(renewed),
        linked_length=run.length - run.sent_length if run.is_linked else 0,
        seconds=watch.seconds,
    )


class _RemoteBackup:
    """One backup. ``stage`` is a local directory for files that are copied before they are sent: mainly the index."""

    def __init__(self, engine: Engine, remote: OtherMachine, stage: str, previous: str | None) -> None:
        self._engine = engine
        self._root = engine.layout.root
        self._remote = remote
        self._there = RemoteGenerations(remote)
        self._stage = stage
        self._config = posix.read_file(engine.layout.config, MOST_CONFIG)
        # Not "../": rsync 3.2.7 as patched by Debian does not read a base whose path has that in it (code 23).
        self._link = [f"--link-dest={remote.path}/{previous}"] if previous else []
        self._rights = _rights(Rights.like(self._root))
        self.is_linked = previous is not None
        self.files = self.length = self.sent = self.sent_length = self.written = 0
        self._pieces: list[FilePrefix] = []
        self._index: list[FilePrefix] = []

    def copy(self, progress: Progress) -> list[str]:
        """Send all files, in the order of `Mirror`. Return the names of those that are missing or too short."""
        self._begin()
        before = self.length
        self._send(self._root, self._loose_names())
        progress.advance(self.length - before)
        with self._engine.packed.maintenance.checkpoint(self._stage) as pin:
            for piece in pin.pieces:
                if piece.fd >= 0:
                    stage_file(piece, self._stage)
            self._pieces = list(pin.pieces)
            self._index = [FilePrefix(name, posix.length_of(os.path.join(self._stage, name))) for name in pin.index]
            # Remove the index files of an earlier run.
            wanted = {CONFIG, MARKED, MARK, *pin.index, *(piece.name for piece in pin.pieces)}
            self._there.remove_others(lambda path: path in wanted or self._is_loose(path))
            # Compare contents: for rsync, two index files of one size and one second are the same.
            self._send(self._stage, None, "--checksum")
            self._send(self._root, [piece.name for piece in pin.pieces if piece.fd < 0])
        self.files += len(pin.pieces) + len(pin.index)
        self.length += sum(piece.length for piece in pin.pieces)
        progress.advance(sum(piece.length for piece in pin.pieces))
        return self._short()

    def _send(self, source: str, names: Iterable[str] | None, *options: str) -> None:
        sent = self._remote.send(source, LIVE, [*self._rights, *options, *self._link], names)
        self.sent += sent.files
        self.sent_length += sent.length
        self.written += sent.written

    def _is_loose(self, path: str) -> bool:
        return path.startswith(f"{os.path.basename(self._engine.layout.loose)}/")

    def _begin(self) -> None:
        """Make the directories, and remove files of an earlier run that the container does not have any more.

        This comes before the loose files are listed: objects that are packed after that are still sent as loose files.
        """
        for directory in self._engine.layout.directories:
            make_directories(os.path.join(self._stage, self._engine.layout.relative(directory)))
        posix.write_file(os.path.join(self._stage, MARKED), self._config)
        mark = backup_mark(self._engine.config.container_id)
        posix.write_file(os.path.join(self._stage, MARK), mark)
        self._there.collect_garbage()
        # First the mark, then the configuration: they say whose directory this is.
        self._there.begin(mark)
        self._remote.send(self._stage, LIVE, self._rights)
        loose = {self._engine.layout.relative(path) for path in self._engine.loose.names.paths()}
        self._there.remove_others(lambda path: path in loose or not self._is_loose(path))

    def _loose_names(self) -> Iterator[str]:
        for path in self._engine.loose.names.paths():
            with suppress(FileNotFoundError):
                self.length += os.stat(path, follow_symlinks=False).st_size
                self.files += 1
                yield self._engine.layout.relative(path)

    def _short(self) -> list[str]:
        """Return the names of pieces that are missing or too short on the other machine."""
        script = 'while read -r name; do if [ -f "$name" ]; then wc -c < "$name"; else echo -1; fi; done'
        answers = self._ask(script, [piece.name for piece in self._pieces])
        return [piece.name for piece, answer in zip(self._pieces, answers, strict=True) if int(answer) < piece.length]

    def verify(self) -> tuple[list[str], list[str]]:
        """Compare the bytes of all files, and send those that differ again, without links.

        Return the files that were renewed, and those that still differ.
        """
        loose = [name for name in self._there.files() if self._is_loose(name)]
        pieces = [(piece.name, piece.length) for piece in [*self._index, *self._pieces]]
        # A loose file that was packed since then cannot be compared any more; its packed copy can.
        wanted = [*pieces, *((name, posix.length_of(os.path.join(self._root, name))) for name in loose)]
        wrong = self._wrong(wanted)
        if not wrong:
            return [], []
        self._there.remove(wrong)
        staged = {name for name in wrong if os.path.exists(os.path.join(self._stage, name))}
        for source, names in ((self._stage, staged), (self._root, set(wrong) - staged)):
            if names:
                self.written += self._remote.send(source, LIVE, self._rights, sorted(names)).written
        still = self._wrong([(name, length) for name, length in wanted if name in set(wrong)])
        return sorted(set(wrong) - set(still)), still

    def _wrong(self, wanted: Sequence[tuple[str, int]]) -> list[str]:
        """Return the names of files that have other bytes on the other machine."""
        script = 'while read -r length name; do head -c $length "$name" | sha256sum | cut -c 1-64; done'
        hashed = [(name, length, self._hash(name, length)) for name, length in wanted]
        there = [(name, length, digest) for name, length, digest in hashed if digest]
        answers = self._ask(script, [f"{length} {name}" for name, length, _ in there])
        return [name for (name, _, digest), answer in zip(there, answers, strict=True) if answer.strip() != digest]

    def _hash(self, name: str, length: int) -> str:
        """Return the SHA-256 of the first ``length`` bytes of a local file; "" when it is gone."""
        staged = os.path.join(self._stage, name)
        hasher = sha256()
        try:
            file = posix.open_for_reading(staged if os.path.exists(staged) else os.path.join(self._root, name))
        except OSError:
            return ""
        with file as fd:
            for at in range(0, length, _STEP):
                hasher.update(posix.read_at(fd, at, min(_STEP, length - at)))
        return hasher.hexdigest()

    def _ask(self, script: str, lines: Sequence[str]) -> list[str]:
        """Run a script that reads lines on the other machine. Return its output, a line for each."""
        return self._remote.run(f"cd {LIVE}; {script}", lines).splitlines() if lines else []

    def finish(self, names: Sequence[str], keep: int) -> tuple[str, tuple[str, ...]]:
        """Make the unfinished backup a generation, and delete old ones. Return the names of both."""
        if posix.read_file(self._engine.layout.config, MOST_CONFIG) != self._config:
            raise Busy(self._root, "a migration, which has made another container of it")
        name = next_name(names)
        self._there.finish(name)
        return name, self._there.prune(names, keep)


def _rights(rights: Rights) -> list[str]:
    """Return rsync's options for modes and owners. Without root, rsync ignores the owner."""
    modes = ["--perms", f"--chmod=D{rights.directory:o},F{rights.file:o}"]
    if os.geteuid():
        return modes
    return [*modes, "--owner", "--group", "--numeric-ids", f"--chown={rights.user}:{rights.group}"]
