"""Backup, to a directory and to another machine, and restore, as operations that are broken off.

Two backups are there before the one that is broken off, which takes the place of the older: at every moment there are
at least two, and all that have a name are whole. The other machine is this one, behind a stand-in for ssh: with rsync
and all that runs there, one process group, which dies as one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rsdos import Container, Place
from rsdos.engine.engine import Engine
from rsdos.maintenance.backup import backup, remote, restore
from rsdos.maintenance.backup.generations import Generations
from rsdos.maintenance.check.verify_all import verify_all
from rsdos.progress import SILENCE
from tests.crash.operation import BASE, NEW, Ack, Operation
from tests.helpers import SHELL, tree

_LATER = {key: data for key, data in NEW.items() if len(data) < 1 << 20}


def _prepare(path: Path, version: int, *, far: bool = False) -> None:
    path.mkdir()
    shell = path / "shell"
    shell.write_text(SHELL)
    shell.chmod(0o755)
    with Container.create(path / "source", container_version=version, pack_size_target=6000) as container:
        objects = list(BASE.values())
        container.insert_many(objects[:5])
        container.insert_many(objects[5:], to=Place.LOOSE)
    for _ in range(2):
        (_back_up_far if far else _back_up)(path, lambda key: None)
    with Container(path / "source") as container:
        later = list(_LATER.values())
        container.insert_many(later[:2])
        container.insert_many(later[2:], to=Place.LOOSE)


def _back_up(path: Path, ack: Ack) -> None:
    engine = Engine(str(path / "source"))
    options = backup.BackupOptions(str(path / "backups"))
    assert backup.execute(engine, backup.plan(engine, options)).is_good
    _tell(path, ack)


def _back_up_far(path: Path, ack: Ack) -> None:
    engine = Engine(str(path / "source"))
    ways = remote.RemotePrograms(shell=str(path / "shell"))
    options = backup.BackupOptions(f"elsewhere:{path / 'backups'}")
    assert remote.execute(engine, remote.plan(engine, options, ways), ways).is_good
    _tell(path, ack)


def _tell(path: Path, ack: Ack) -> None:
    with Container(path / "source") as container:
        for key in container:
            ack(key)


def _restore(path: Path, ack: Ack) -> None:
    if not (path / "restored" / "config.json").exists():
        options = restore.RestoreOptions(str(path / "backups"), str(path / "restored"))
        assert restore.execute(restore.plan(options)).is_good
    for key in BASE:
        ack(key)


def _check(path: Path, *, least: int = 2) -> None:
    generations = Generations(str(path / "backups"))
    names = generations.names()
    assert len(names) >= least, f"of the backups {names} are left"
    for name in names:
        verified = verify_all(generations.path(name), SILENCE)
        assert not verified.damaged and not verified.reason, f"{name} is not whole: {verified}"
        with Container(generations.path(name)) as container:
            assert set(container) >= set(BASE), f"{name} has not all"


def _settle(path: Path) -> None:
    generations = Generations(str(path / "backups"))
    names = generations.names()
    assert len(names) == 2
    assert set(os.listdir(path / "backups")) <= {".rsdos-lock", "last-backup", *names}
    assert os.readlink(path / "backups" / "last-backup") == names[-1]
    strangers = [name for name in tree(path / "backups") if name.endswith(".new") or "/sandbox/" in name]
    assert not strangers, f"left behind: {strangers}"


def _operations(version: int) -> Mapping[str, Operation]:
    two = {"wanted": BASE | _LATER, "source": "source", "target": "backups/last-backup", "resumes": True}
    return {
        "backup": Operation(
            partial(_prepare, version=version),
            _back_up,
            check=_check,
            settle=_settle,
            least=30,
            **two,  # type: ignore[arg-type]
        ),
        "restore": Operation(
            partial(_prepare, version=version),
            _restore,
            wanted=BASE,
            source="source",
            target="restored",
            resumes=True,
            check=_check,
        ),
        "backup to another machine": Operation(
            partial(_prepare, version=version, far=True),
            _back_up_far,
            check=_check,
            settle=_settle,
            programs=("rsync",),
            # What rsync writes there is not recorded, and its syncs are those of that machine.
            ways=frozenset(("kill", "torn", "EIO", "ENOSPC")),
            least=30,
            **two,  # type: ignore[arg-type]
        ),
    }


OPERATIONS = {**_operations(2), **{f"v1: {name}": operation for name, operation in _operations(1).items()}}
