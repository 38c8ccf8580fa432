"""The how-tos: their commands are typed, and print what the page shows. `/data` and so on are below tmp_path."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container
from tests.data import noise
from tests.helpers import ROOT
from tests.pages import blocks, play, steps, told
from tests.test_documents import console
from tests.warm import warm

HOW_TO = ROOT / "docs" / "how-to"
ROOTS = ("/data", "/backups", "/mnt/new")
NEEDS = {"move.md": "rsync"}
"""Programs that a page wants, and that are not everywhere."""

DOORS = {"git-annex.md"}
"""Pages that tests/integrations/test_examples.py types."""

FILES = {
    "flowers/labels.csv": b"rose,1\n",
    "flowers/train/rose/1.jpg": b"a rose",
    "photos/rome/1.jpg": noise(600_000, 1),
    "photos/rome/2.jpg": noise(650_000, 2),
    "photos/best/1.jpg": noise(600_000, 1),
    "received/a.jpg": noise(650_000, 2),
}


def world(directory: Path) -> None:
    """Make what the pages are about: directories below /data, and the container /data/store with one of them."""
    for name, data in FILES.items():
        path = directory / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for root in ROOTS:
        (directory / root[1:]).mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "docs" / "rescue.py", directory)
    with Container.create(directory / "data" / "store") as container:
        container.snapshots.save("flowers", directory / "data" / "flowers", jobs=1)


def damage(directory: Path) -> None:
    """Back the container up, and flip a byte of one of its objects."""
    with Container(directory / "data" / "store") as container:
        container.backup(directory / "backups" / "store")
    (pack,) = (path for path in (directory / "data/store/packed").iterdir() if b"a rose" in path.read_bytes())
    data = pack.read_bytes()
    pack.write_bytes(data.replace(b"a rose", b"a nose", 1))


@pytest.mark.parametrize("page", sorted(path.name for path in HOW_TO.iterdir() if path.name not in DOORS))
def test_a_how_to_prints_what_it_shows(page: str, tmp_path: Path) -> None:
    if page in NEEDS and shutil.which(NEEDS[page]) is None:
        pytest.skip(f"{NEEDS[page]} is not installed")
    world(tmp_path)
    if page == "recover.md":
        damage(tmp_path)
    listed = steps((HOW_TO / page).read_text())
    assert listed
    differing = play(listed, tmp_path, console(), ROOTS, warm())
    assert not differing, told(differing)


def units(directory: Path) -> list[Path]:
    """Write the unit files of the page on maintenance, with this Python's program in the place of the user's."""
    text = (HOW_TO / "maintenance.md").read_text()
    names = re.findall(r"user/(rsdos\.\w+)`", text)
    program = directory / "rsdos"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m rsdos "$@"\n')
    program.chmod(0o755)
    files = []
    for name, unit in zip(names, blocks(text, "ini"), strict=True):
        (directory / name).write_text(unit.replace("%h/.local/bin/rsdos", str(program)))
        files.append(directory / name)
    return files


def test_the_timer_of_systemd_is_one(tmp_path: Path) -> None:
    """By systemd itself where it is installed; and its files have the sections that it asks for."""
    service, timer = units(tmp_path)
    for file, sections in ((service, ["Unit", "Service"]), (timer, ["Unit", "Timer", "Install"])):
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read(file)
        assert parser.sections() == sections
    program = shutil.which("systemd-analyze")
    if program is None:
        return
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    arguments = [program, "--user", "verify", str(service), str(timer)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "rsdos" not in done.stderr, done.stderr


def nightly() -> list[str]:
    """The commands of the unit and of the crontab, as a shell takes them."""
    text = (HOW_TO / "maintenance.md").read_text()
    commands = re.findall(r"^ExecStart=%h/\.local/bin/(.*)$|^\d+ \d+ \* \* \*  (.*)$", text, re.MULTILINE)
    return [unit or cron for unit, cron in commands]


def test_what_runs_at_night_runs(tmp_path: Path) -> None:
    """And says nothing: what cron sees is mailed. A night is all of the unit's commands, then all of the crontab's."""
    world(tmp_path)
    commands = nightly()
    assert len(commands) == 8
    script = "\n".join([f'rsdos() {{ {sys.executable} -m rsdos "$@"; }}', *commands[:3], *commands[4:]])
    script = script.replace("/backups", f"{tmp_path}/backups")
    environment = console() | {"RSDOS_PATH": str(tmp_path / "data" / "store")}
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list((tmp_path / "backups" / "store").glob("backup_*"))) == 2
