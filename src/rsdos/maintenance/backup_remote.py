"""Backup to another machine, through rsync. Options → plan → execute → report: the first two as for a local one."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from time import monotonic

from rsdos import fsio, locks
from rsdos.config import read_config
from rsdos.engine import Engine
from rsdos.errors import Busy, DamagedContainer, InvalidOption, NotAContainer
from rsdos.interfaces import Progress
from rsdos.maintenance.backup import BackupOptions, BackupPlan, BackupReport
from rsdos.maintenance.fill import stage
from rsdos.maintenance.generations import LOCK, names_among, next_name, refuse_another
from rsdos.maintenance.mirror import MARKED
from rsdos.maintenance.note import LastBackup, write_note
from rsdos.maintenance.remote import Remote, Transferred
from rsdos.model import WhenBusy
from rsdos.progress import SILENCE
from rsdos.sharing import make_directories
from rsdos.stores import Piece

_LIVE = "live-backup"
_LAST = "last-backup"
_NEW_LAST = ".last-backup.new"
_DYING = ".deleting-"
_MOST_CONFIG = 1 << 20
_STEP = 1 << 20


def _link_to(name: str) -> str:
    """A script that lets the link lead to another generation, at once where ``mv`` knows ``-T``.

    ``ln -f`` alone would leave its own name of the new link for ever, killed before it renames it.
    """
    return f"rm -f {_NEW_LAST}; ln -s {name} {_NEW_LAST}; mv -T {_NEW_LAST} {_LAST} || ln -sfn {name} {_LAST}"


@dataclass(frozen=True, slots=True)
class Ways:
    """The programs that lead to the other machine."""

    rsync: str = "rsync"
    shell: str = "ssh"


def plan(engine: Engine, options: BackupOptions, ways: Ways) -> BackupPlan:
    """Count the files, and look at what is there. Raises what `backup.plan` does."""
    if options.keep < 0:
        raise InvalidOption(f"keep is 0 or more, not {options.keep}")
    remote = Remote(options.destination, ways.rsync, ways.shell)
    names = _names(remote)
    _check(engine, remote, names)
    loose = list(map(fsio.length_of, engine.loose.names.paths()))
    sums = engine.packed.sums()
    length = sum(loose) + sum(pack.length for pack in sums.packs) + sums.index_length
    previous = names[-1] if names and options.link else None
    return BackupPlan(options, len(loose) + len(sums.packs), length, previous, _is_there(remote, _LIVE))


def _is_there(remote: Remote, name: str) -> bool:
    return bool(remote.run(f"if [ -d {name} ]; then echo yes; fi").strip())


def _names(remote: Remote) -> list[str]:
    """The finished generations there."""
    found = remote.run('for f in backup_*/config.json; do if [ -f "$f" ]; then echo "$f"; fi; done')
    return names_among(map(os.path.dirname, found.splitlines()))


def _check(engine: Engine, remote: Remote, names: Sequence[str]) -> None:
    for path in (f"{names[-1]}/config.json" if names else "", f"{_LIVE}/config.json", f"{_LIVE}/{MARKED}"):
        config = remote.run(f"if [ -f {path} ]; then cat {path}; fi") if path else ""
        if config:
            with tempfile.NamedTemporaryFile() as file, suppress(NotAContainer, DamagedContainer):
                file.write(config.encode())
                file.flush()
                refuse_another(remote.place, read_config(file.name).container_id, engine.config.container_id)


def execute(engine: Engine, plan: BackupPlan, ways: Ways, progress: Progress = SILENCE) -> BackupReport:
    """Back up, in the order of a local backup, with what did not change linked there.

    The sizes of what was sent are compared, and with ``verify`` its SHA-256, which the other machine's ``sha256sum``
    tells. Killed at any moment, the next run goes on. Raises what `backup.execute` does, and OSError when rsync or the
    remote shell fail.
    """
    begun = monotonic()
    remote = Remote(plan.options.destination, ways.rsync, ways.shell)
    with suppress(OSError):
        engine.layout.make(engine.layout.locks)
    path = engine.layout.backup_lock
    lock = locks.acquire(path) if engine.when_busy is WhenBusy.WAIT else locks.try_acquire(path)
    if lock is None:
        raise Busy(remote.place, locks.holder(path))
    holder = f"a backup, process {os.getpid()} on {os.uname().nodename}"
    # The first lock keeps a second backup of this container out, wherever to; the other one other machines' to there.
    with lock, remote.locked(LOCK, holder, engine.when_busy), tempfile.TemporaryDirectory() as stage:
        lock.describe(holder)
        names = _names(remote)
        _check(engine, remote, names)
        run = _Run(engine, remote, stage, names[-1] if names and plan.options.link else None)
        progress.start("Copying", plan.length, "bytes")
        try:
            with engine.reading():
                unreadable = run.copy(progress)
            wrong = run.verify() if plan.options.verify else []
        finally:
            progress.finish()
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
        seconds=monotonic() - begun,
    )


class _Run:
    """One backup. ``stage`` is a local directory for what has to be copied here first: the index, and little else."""

    def __init__(self, engine: Engine, remote: Remote, stage: str, previous: str | None) -> None:
        self._engine = engine
        self._root = engine.layout.root
        self._remote = remote
        self._stage = stage
        self._config = fsio.read_file(engine.layout.config, _MOST_CONFIG)
        # Not "../": rsync 3.2.7 as patched by Debian does not read a base whose path has that in it (code 23).
        self._link = [f"--link-dest={remote.run('pwd').removesuffix(chr(10))}/{previous}"] if previous else []
        self.is_linked = previous is not None
        self.files = self.length = self.sent = self.written = 0
        self._pieces: list[Piece] = []
        self._index: list[Piece] = []

    def copy(self, progress: Progress) -> list[str]:
        """Send everything, in the order of `Mirror`; returns the files that are missing or cut short."""
        self._prune()
        before = self.length
        self._count(self._remote.send(self._root, _LIVE, self._link, self._loose_names()))
        progress.advance(self.length - before)
        with self._engine.packed.pin(self._stage) as pin:
            for piece in pin.pieces:
                if piece.fd >= 0:
                    stage(piece, self._stage)
            self._pieces = list(pin.pieces)
            self._index = [Piece(name, fsio.length_of(os.path.join(self._stage, name))) for name in pin.index]
            # What an earlier run has left of the index goes with this.
            packs = os.path.basename(self._engine.layout.packed)
            # By content: rsync takes two indices of one size and one second for the same.
            options = ["--delete", "--checksum", "--exclude=/loose", f"--exclude=/{packs}", *self._link]
            self._count(self._remote.send(self._stage, _LIVE, options))
            names = [piece.name for piece in pin.pieces if piece.fd < 0]
            self._count(self._remote.send(self._root, _LIVE, self._link, names))
        self.files += len(pin.pieces) + len(pin.index)
        self.length += sum(piece.length for piece in pin.pieces)
        progress.advance(sum(piece.length for piece in pin.pieces))
        return self._short()

    def _count(self, sent: Transferred) -> None:
        self.sent += sent.files
        self.written += sent.written

    def _prune(self) -> None:
        """Make the directories; of what an earlier run has left, remove what the container does not have any more.

        Before the loose files are listed: what is packed from then on may not go.
        """
        for directory in self._engine.layout.directories:
            make_directories(os.path.join(self._stage, os.path.relpath(directory, self._root)))
        fsio.write_file(os.path.join(self._stage, MARKED), self._config)
        self._remote.run(f"rm -rf {_DYING}*; mkdir -p {_LIVE}; rm -f {_LIVE}/config.json")
        # The configuration's other name says first of all whose this is.
        self._remote.send(self._stage, _LIVE, [])
        for directory in (self._engine.layout.loose, self._engine.layout.packed):
            options = ["--delete", "--existing", "--ignore-existing"]
            self._remote.send(directory, f"{_LIVE}/{os.path.basename(directory)}", options)

    def _loose_names(self) -> Iterator[str]:
        for path in self._engine.loose.names.paths():
            with suppress(FileNotFoundError):
                self.length += os.stat(path, follow_symlinks=False).st_size
                self.files += 1
                yield os.path.relpath(path, self._root)

    def _short(self) -> list[str]:
        """The pieces that are not there as far as they are needed."""
        script = 'while read name; do if [ -f "$name" ]; then wc -c < "$name"; else echo -1; fi; done'
        answers = self._ask(script, [piece.name for piece in self._pieces])
        return [piece.name for piece, answer in zip(self._pieces, answers, strict=True) if int(answer) < piece.length]

    def verify(self) -> list[str]:
        """The files of which the other machine has other bytes than this one."""
        script = 'while read length name; do head -c $length "$name" | sha256sum | cut -c 1-64; done'
        pieces = [(piece.name, piece.length) for piece in [*self._index, *self._pieces]]
        # What was packed meanwhile cannot be compared any more; its packed copy is.
        loose = [(name, fsio.length_of(os.path.join(self._root, name))) for name in self._loose_names_only()]
        wanted = [(name, length, self._hash(name, length)) for name, length in [*pieces, *loose]]
        there = [(name, length, digest) for name, length, digest in wanted if digest]
        answers = self._ask(script, [f"{length} {name}" for name, length, _ in there])
        return [name for (name, _, digest), answer in zip(there, answers, strict=True) if answer.strip() != digest]

    def _loose_names_only(self) -> list[str]:
        found = self._remote.run(f"cd {_LIVE}; find loose -type f")
        return found.splitlines()

    def _hash(self, name: str, length: int) -> str:
        """The SHA-256 of the beginning of a file here; "" when it is gone."""
        staged = os.path.join(self._stage, name)
        hasher = sha256()
        try:
            fd = fsio.open_for_reading(staged if os.path.exists(staged) else os.path.join(self._root, name))
        except OSError:
            return ""
        try:
            for at in range(0, length, _STEP):
                hasher.update(fsio.read_at(fd, at, min(_STEP, length - at)))
        finally:
            os.close(fd)
        return hasher.hexdigest()

    def _ask(self, script: str, lines: Sequence[str]) -> list[str]:
        """The answers, a line each, of a script that reads lines there; so many at a time as a command line takes."""
        answers: list[str] = []
        for at in range(0, len(lines), 500):
            some = "\n".join(lines[at : at + 500])
            answers += self._remote.run(f"cd {_LIVE}; printf '%s\\n' {shlex.quote(some)} | {script}").splitlines()
        return answers

    def finish(self, names: Sequence[str], keep: int) -> tuple[str, tuple[str, ...]]:
        """Make the live one a generation, and delete the old ones; returns the names of both."""
        if fsio.read_file(self._engine.layout.config, _MOST_CONFIG) != self._config:
            raise Busy(self._root, "a migration, which has made another container of it")
        name = next_name(names)
        # Nothing says whether that machine has synced what rsync wrote, until this.
        self._remote.run(f"sync; mv {_LIVE}/{MARKED} {_LIVE}/config.json; mv {_LIVE} {name}; {_link_to(name)}; sync")
        old = tuple([*names, name][: -(keep + 1)])
        for gone in old:
            # Half of a generation must not be taken for one, whichever of its names a power loss leaves.
            self._remote.run(f"mv {gone} {_DYING}{gone}; sync; rm -rf {_DYING}{gone}")
        return name, old
