"""Backup to another machine: shells that talk, that are no POSIX ones, that say nothing, and what is said of them."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.maintenance.backup import remote
from rsdos.maintenance.backup.backup import BackupOptions, BackupReport
from rsdos.maintenance.backup.generations import Generations
from rsdos.maintenance.backup.rsync import OtherMachine
from rsdos.maintenance.copies import LOCK
from rsdos.model import WhenBusy
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from tests.data import key_of, noise
from tests.helpers import assert_holds

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")

OBJECTS = {key_of(data): data for data in (b"", noise(3000, 1), noise(9000, 2))}


@pytest.fixture
def store(tmp_path: Path) -> Container:
    container = Container.create(tmp_path / "store")
    container.insert_many(OBJECTS.values())
    return container


def shell(tmp_path: Path, script: str) -> str:
    """A remote shell: what it is told to run is ``$command``."""
    path = tmp_path / "shell"
    path.write_text(f'#!/bin/sh\n[ "$1" = -l ] && shift 2\nshift\ncommand="$*"\n{script}\n')
    path.chmod(0o755)
    return str(path)


def run(
    container: Container,
    place: str,
    way: str,
    silence: float = 600,
    progress: Progress = SILENCE,
    **options: bool,
) -> BackupReport:
    ways = remote.RemotePrograms(shell=way, silence=silence)
    wanted = BackupOptions(place, **options)
    return remote.execute(container.engine, remote.plan(container.engine, wanted, ways), ways, progress)


QUIET_FOR_RSYNC = (
    'case "$command" in rsync*) ;; *) echo "Welcome!"; echo "You have mail.";; esac\nexec sh -c "$command"'
)


def test_a_login_shell_that_prints_something(store: Container, tmp_path: Path) -> None:
    way = shell(tmp_path, QUIET_FOR_RSYNC)
    assert run(store, f"me@there:{tmp_path / 'backups'}", way, verify=True).is_good
    assert_holds(Container(tmp_path / "backups" / "last-backup"), OBJECTS)
    # Also while the lock is somebody else's.
    with OtherMachine(f"there:{tmp_path / 'backups'}", shell=way).locked(LOCK, "me", WhenBusy.RAISE):
        pass


def test_a_shell_that_rsync_cannot_work_with_is_named(store: Container, tmp_path: Path) -> None:
    way = shell(tmp_path, 'echo "Welcome!"\nexec sh -c "$command"')
    with pytest.raises(OSError, match="rsync ended with code"):
        run(store, f"there:{tmp_path / 'backups'}", way)


def test_remote_scripts_have_no_line_break(store: Container, tmp_path: Path) -> None:
    """In what csh quotes there is none: "Unmatched '"."""
    way = shell(tmp_path, 'case "$command" in *"\n"*) echo "Unmatched \'." >&2; exit 1;; esac\nexec sh -c "$command"')
    assert run(store, f"there:{tmp_path / 'backups'}", way, verify=True).is_good
    assert run(store, f"there:{tmp_path / 'backups'}", way, verify=True).is_good


def test_the_cause_is_reported_after_a_banner(store: Container, tmp_path: Path) -> None:
    banner = "\n".join(f"echo 'banner, line {number}' >&2" for number in range(20))
    way = shell(tmp_path, f"{banner}\necho 'Permission denied (publickey).' >&2\nexit 255")
    with pytest.raises(OSError, match=r"Permission denied \(publickey\)"):
        run(store, f"there:{tmp_path / 'backups'}", way)


def test_a_home_is_expanded_by_the_other_machine(
    store: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home of it"
    home.mkdir()
    monkeypatch.chdir(tmp_path)
    way = shell(tmp_path, f"HOME='{home}'; export HOME; cd; exec sh -c \"$command\"")
    for _ in range(2):
        assert run(store, "there:~/back ups/of $it", way, verify=True).is_good
    assert len(Generations(str(home / "back ups" / "of $it")).names()) == 2
    assert os.listdir(home) == ["back ups"]
    assert not (tmp_path / "~").exists()


def test_one_that_closes_without_an_answer(store: Container, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no answer"):
        run(store, f"there:{tmp_path / 'backups'}", shell(tmp_path, "exit 0"))
    with pytest.raises(OSError, match="ended with code 7"):
        run(store, f"there:{tmp_path / 'backups'}", shell(tmp_path, "exit 7"))


@pytest.mark.parametrize("said", ["", "echo Welcome", "echo Welcome >&2"])
def test_one_that_never_answers_is_given_up(store: Container, tmp_path: Path, said: str) -> None:

    way = shell(tmp_path, f"{said}\nexec tail -f /dev/null")
    with pytest.raises(OSError, match="no output for"):
        run(store, f"there:{tmp_path / 'backups'}", way, silence=0.01)
    remote = OtherMachine(f"there:{tmp_path / 'backups'}", shell=way, silence=0.01)
    with pytest.raises(OSError, match="no output for"), remote.locked(LOCK, "me", WhenBusy.RAISE):
        pass


class Told:
    """A progress that does something once, when the first bytes were sent."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do: Callable[[], None] | None = do

    def start(self, description: str, total: int | None, unit: str) -> None: ...

    def advance(self, amount: int) -> None:
        do, self._do = self._do, None
        if do:
            do()

    def finish(self) -> None: ...


PLAIN = 'exec sh -c "$command"'


def test_a_timeout_of_the_users_own_is_not_taken_for_the_other_machines_silence(
    store: Container, tmp_path: Path
) -> None:
    error = TimeoutError("of mine")

    def give_up() -> None:
        raise error

    with pytest.raises(TimeoutError) as caught:
        run(store, f"there:{tmp_path / 'backups'}", shell(tmp_path, PLAIN), progress=Told(give_up))
    assert caught.value is error
    assert run(store, f"there:{tmp_path / 'backups'}", shell(tmp_path, PLAIN)).is_good


def ways_out() -> set[int]:
    """The pipes that this process can write to, by inode."""
    found = set()
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):  # That of the listing itself.
            status = os.fstat(int(name))
            if stat.S_ISFIFO(status.st_mode) and fcntl.fcntl(int(name), fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                found.add(status.st_ino)
    return found


def test_a_forked_child_does_not_hold_the_remote_lock(store: Container, tmp_path: Path) -> None:
    """The lock lasts as long as somebody can write to the shell: the backup would wait for the child to end."""
    before = ways_out()
    kept: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(len(ways_out() - before))
        kept.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    assert run(store, f"there:{tmp_path / 'backups'}", shell(tmp_path, PLAIN), progress=Told(fork)).is_good
    assert kept == [0]


def test_a_shell_that_does_not_end_with_its_input_is_given_up(tmp_path: Path) -> None:
    way = shell(tmp_path, 'sh -c "$command"\nexec tail -f /dev/null')
    remote = OtherMachine(f"there:{tmp_path / 'backups'}", shell=way)
    with remote.locked(LOCK, "me", WhenBusy.RAISE):
        remote._silence = 0.01
