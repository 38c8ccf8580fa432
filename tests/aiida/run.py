"""AiiDA on the drop-in, from end to end: the life of a profile, on a container of version 1 and on one of version 2.

Run by ``make aiida``, in a virtual environment with aiida-core and the drop-in. Each step is what a user types; the
contents of all nodes are compared after each.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.pages import blocks, play, steps, told

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


class Profile:
    """An AiiDA profile on ``core.sqlite_dos``, and what a user does with it."""

    def __init__(self, place: Path, name: str) -> None:
        self.name = name
        self.storage = place / name
        self.container = self.storage / "container"
        self._environment = {**os.environ, "AIIDA_PATH": str(place), "PATH": f"{BIN}:{os.environ['PATH']}"}

    def run(self, *command: str | Path) -> str:
        """Run a program; returns its stdout. Ends the whole run when it fails."""
        begun = time.monotonic()
        done = subprocess.run(list(map(str, command)), env=self._environment, capture_output=True, text=True)
        print(f"{time.monotonic() - begun:7.1f} s  {' '.join(Path(str(part)).name for part in command)}", flush=True)
        if done.returncode:
            raise SystemExit(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def verdi(self, *arguments: str | Path) -> str:
        return self.run(BIN / "verdi", "-p", self.name, *arguments)

    def script(self, *arguments: str | Path) -> str:
        return self.run(sys.executable, HERE / "nodes.py", self.name, *arguments)

    def setup(self) -> None:
        command = "profile setup core.sqlite_dos -n --email user@example.org --first-name A --last-name B"
        options = ("--institution", "C", "--broker", "none", "--profile-name", self.name, "--filepath", self.storage)
        self.run(BIN / "verdi", *command.split(), *options)

    def check(self) -> None:
        """All files of all nodes are what they were made of."""
        self.script("check")

    def counts(self) -> dict[str, int]:
        """AiiDA's own count of objects: packed, loose, pack_files."""
        counts: dict[str, int] = json.loads(self.script("count"))
        return counts

    def expect(self, **counts: int) -> None:
        found = self.counts()
        if any(found[name] != count for name, count in counts.items()):
            raise SystemExit(f"expected {counts}, found {found}")

    def version(self) -> int:
        version: int = json.loads((self.container / "config.json").read_text())["container_version"]
        return version


def live(profile: Profile, place: Path, nodes: int) -> None:
    """What users do with a profile."""
    profile.verdi("storage", "info", "--detailed")
    profile.check()
    profile.verdi("storage", "maintain", "--force")
    profile.expect(loose=0)
    profile.check()
    profile.verdi("storage", "maintain", "--full", "--compress", "--force")
    profile.check()
    back_up_and_restore(profile, place)
    archive(profile, place)
    packed = profile.counts()["packed"]
    profile.script("delete", str(nodes // 2))
    profile.verdi("storage", "maintain", "--full", "--force")
    profile.check()
    if not profile.counts()["packed"] < packed:
        raise SystemExit("the objects of deleted nodes are still there")


def back_up_and_restore(profile: Profile, place: Path) -> None:
    backups = place / f"backups of {profile.name}"
    for _ in range(2):
        profile.verdi("storage", "backup", backups)
    shutil.rmtree(profile.storage)
    shutil.copytree(backups / "last-backup", profile.storage, symlinks=True)
    profile.check()


def archive(profile: Profile, place: Path) -> None:
    """Into a second profile; exporting leaves no loose copies behind, as it does with the original."""
    before = profile.counts()
    file = place / f"{profile.name}.aiida"
    profile.verdi("archive", "create", "--all", file)
    profile.expect(**before)
    second = Profile(place, f"{profile.name}-second")
    second.setup()
    second.verdi("archive", "import", file)
    second.check()
    second.verdi("storage", "maintain", "--force")
    second.check()


def follow_the_page(profile: Profile, other: Profile) -> None:
    """The commands of docs/aiida.md, but for those that install and measure; another profile is the default one."""
    page = HERE.parents[1] / "docs" / "aiida.md"
    (block,) = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    commands = [line for line in block.splitlines() if not line.startswith(("pip ", "make "))]
    back = next(at for at, line in enumerate(commands) if line.startswith("rsdos") and "--to 1" in line)
    naming = [line.replace("my-profile", profile.name) for line in commands]
    before = other.version()
    profile.run("sh", "-ec", "\n".join(naming[:back]))
    if (profile.version(), other.version()) != (2, before):
        raise SystemExit("another profile was migrated than the one that was named")
    profile.check()
    settings = [line for line in naming[:back] if "=" in line.split()[0]]
    profile.run("sh", "-ec", "\n".join([*settings, naming[back]]))
    if profile.version() != 1:
        raise SystemExit("it was not migrated back")
    profile.check()


def type_the_tutorial(place: Path) -> None:
    """All that docs/tutorials/aiida.md shows, but for the installation; its scripts are as they are there."""
    begun = time.monotonic()
    text = (HERE.parents[1] / "docs" / "tutorials" / "aiida.md").read_text()
    for name, script in zip(("store.py", "check.py"), blocks(text, "python"), strict=True):
        (place / name).write_text(script)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    differing = play(steps(text), place, environment)
    if differing:
        raise SystemExit(told(differing))
    print(f"{time.monotonic() - begun:7.1f} s  the tutorial", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1500)
    nodes: int = parser.parse_args().nodes
    # AiiDA commits each node: a file system in memory spares the test minutes of waiting for the disk.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        place = Path(directory)
        first = Profile(place, "first")
        first.setup()
        first.script("fill", str(nodes))
        if first.version() != 1:
            raise SystemExit("the drop-in makes containers of version 1")
        if "+rsdos." not in first.run(BIN / "dostore", "--version"):
            raise SystemExit("this is not the drop-in")
        first.run(BIN / "dostore", "-p", first.container, "validate")
        live(first, place, nodes)

        second = Profile(place, "migrated")
        second.setup()
        second.script("fill", str(nodes))
        second.verdi("storage", "maintain", "--force")
        second.script("fill", str(nodes // 4))
        second.run(BIN / "rsdos", "migrate", second.container)
        if second.version() != 2:
            raise SystemExit("it was not migrated")
        live(second, place, nodes)
        second.run(BIN / "rsdos", "migrate", second.container, "--to", "1")
        second.check()
        follow_the_page(first, second)
        example = second.run(sys.executable, HERE.parents[1] / "examples" / "aiida_session.py", second.name)
        if not re.search(r"energy = -1\.0\nloose objects: 0\npacked objects: \d+\ngood\n", example):
            raise SystemExit(f"the example printed\n{example}")
        (place / "tutorial").mkdir()
        type_the_tutorial(place / "tutorial")
    print("AiiDA: all steps done, all contents right")


if __name__ == "__main__":
    main()
