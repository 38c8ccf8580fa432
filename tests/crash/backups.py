"""Breaks a backup, or a restore, off at each of its state-changing calls in turn, and looks at what is left.

Run as a program, in a process of its own that has one thread, because it forks: see `tests.crash.sweep`. Prints the
number of points.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from rsdos import Container, Place
from rsdos.engine.engine import Engine
from rsdos.maintenance.backup import backup, restore
from rsdos.maintenance.backup.generations import Generations
from rsdos.maintenance.check.verify_all import verify_all
from rsdos.progress import SILENCE
from tests.crash.calls import Fault, intercepted
from tests.data import key_of, noise, text
from tests.helpers import assert_holds

FIRST = {key_of(data): data for data in (b"", noise(3000, 1), text(9000, 2), b"loose 1", noise(5000, 3))}
LATER = {key_of(data): data for data in (b"later", noise(4000, 4), b"loose 2")}

EVERY = int(os.environ.get("EVERY", "4"))
"""Which calls: with EVERY=1 in the environment all of them."""

Contents = dict[str, bytes]


def main(operation: str, mode: str, version: str, directory: str) -> None:
    root = Path(directory)
    _prepare(root / "template", int(version))
    run, check = {"backup": (_backup, _check_backup), "restore": (_restore, _check_restore)}[operation]
    number = 1 - EVERY
    while True:
        number += EVERY
        work = root / "work"
        shutil.copytree(root / "template", work, symlinks=True)
        try:
            was_reached = _die(run, mode, number, work) if mode in ("kill", "torn") else _fail(run, mode, number, work)
            check(work, _tree(root / "template" / "backups"))
        except BaseException as error:
            error.add_note(f"at call {number} of {operation}, mode {mode}")
            raise
        shutil.rmtree(work)
        if not was_reached:
            break
    print(number - 1)


def _prepare(root: Path, version: int) -> None:
    """A container with two backups; one is to go with the next. The second has a pack that has grown since."""
    with Container.create(root / "container", pack_size_target=6000, container_version=version) as container:
        objects = list(FIRST.values())
        container.insert_many(objects[:3])
        container.insert_many(objects[3:], to=Place.LOOSE)
        _backup(root)
        _backup(root)
        container.insert_many(list(LATER.values())[:2])
        container.insert(b"loose 2")


def _backup(root: Path) -> None:
    engine = Engine(str(root / "container"))
    options = backup.BackupOptions(str(root / "backups"))
    assert backup.execute(engine, backup.plan(engine, options)).is_good


def _restore(root: Path) -> None:
    options = restore.RestoreOptions(str(root / "backups"), str(root / "restored"))
    if not (root / "restored" / "config.json").exists():
        assert restore.execute(restore.plan(options)).is_good


def _die(run: Callable[[Path], None], mode: str, number: int, root: Path) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with intercepted(Fault(mode, number)):
                run(root)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert died or status == 0, "it failed of itself"
    return died


def _fail(run: Callable[[Path], None], mode: str, number: int, root: Path) -> bool:
    fault = Fault(mode if mode == "short" else int(mode), number)
    try:
        with intercepted(fault):
            run(root)
    except OSError:
        assert mode != "short", "a short write is not an error"
    return bool(fault.name)


def _tree(root: Path) -> Contents:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("backup_*/**/*")
        if path.is_file() and not path.is_symlink()
    }


def _check_backup(root: Path, before: Contents) -> None:
    generations = Generations(str(root / "backups"))
    newest_before = max(before).split("/")[0]
    now = _tree(root / "backups")
    # The newest of those that were there is as it was, and what is there under such a name is whole.
    assert {name: now.get(name) for name in before if name.startswith(newest_before)} == {
        name: data for name, data in before.items() if name.startswith(newest_before)
    }
    for name in generations.names():
        _check_generation(generations.path(name), name in {path.split("/")[0] for path in before})
    # The same again works at the first attempt, and nothing is left over.
    _backup(root)
    names = generations.names()
    assert sorted(os.listdir(root / "backups")) == sorted([".rsdos-lock", "last-backup", *names])
    assert len(names) == 2
    assert os.readlink(root / "backups" / "last-backup") == names[-1]
    _check_generation(generations.path(names[-1]), False)
    assert_holds(Container(root / "container"), FIRST | LATER)


def _check_generation(path: str, is_old: bool) -> None:
    assert verify_all(path, SILENCE).damaged == ()
    with Container(path) as container:
        assert_holds(container, FIRST if is_old else FIRST | LATER)


def _check_restore(root: Path, before: Contents) -> None:
    if (root / "restored" / "config.json").exists():
        assert_holds(Container(root / "restored"), FIRST)
    _restore(root)
    restored = Container(root / "restored")
    assert_holds(restored, FIRST)
    assert all(file.lstat().st_nlink == 1 for file in (root / "restored").rglob("*") if file.is_file())
    restored.insert_many([b"one more"])
    assert _tree(root / "backups") == before
