"""Every command that a page shows is one that works. (Its blocks of Python run in `tests/test_documents.py`.)"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rsdos import Container
from tests.helpers import ROOT, child_environment
from tests.warm import warm

PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "drop-in/README.md", "benchmarks/README.md", "examples/README.md")
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]

PROGRAMS = "rsdos|python|pip|make|verdi|dostore"

SPAN = re.compile(rf"`((?:find [^`\n]*\| )?(?:{PROGRAMS}) [^`\n]+)`")
LINE = re.compile(r"^(?:15 3 \* \* \* +)?(rsdos [^\n#>]+)", re.MULTILINE)
INDENTED = re.compile(rf"^    ((?:{PROGRAMS}) [^\n#]+)", re.MULTILINE)

WITH_AIIDA = "needs a profile of AiiDA: tests/aiida"
INSTALLS = "changes the environment that it runs in: tests/install"
STORES = "needs a store and its credentials: tests/ceph"
LASTS = "lasts for minutes or more; that its module is there is looked at"

SHELL = re.compile(r"[|$>]|&&")
"""What only a shell takes."""

LEFT_OUT = {
    "PROFILE=my-profile": WITH_AIIDA,
    "STORAGE=$(python -c 'import sys, aiida; "
    'print(aiida.load_profile(sys.argv[1]).storage_config["filepath"])\' $PROFILE)': WITH_AIIDA,
    "verdi -p $PROFILE storage backup": WITH_AIIDA,
    "verdi -p $PROFILE storage info --detailed": WITH_AIIDA,
    "verdi archive create": WITH_AIIDA,
    "verdi daemon stop": WITH_AIIDA,
    "verdi profile list": WITH_AIIDA,
    "verdi storage backup": WITH_AIIDA,
    "verdi storage maintain": WITH_AIIDA,
    "pip install .": INSTALLS,
    "pip install rsdos": INSTALLS,
    "pip install . && pip install ./drop-in": INSTALLS,
    "pip install ./drop-in": INSTALLS,
    "pip install './drop-in[database]'": INSTALLS,
    "pip install '.[remote]'": INSTALLS,
    "pip install pandas '.[fsspec]'": INSTALLS,
    "pip install 'rsdos[fsspec]'": INSTALLS,
    "pip install --force-reinstall --no-deps disk-objectstore==1.5.0": INSTALLS,
    'python -c "import disk_objectstore; print(disk_objectstore.__version__)"': INSTALLS,
    "python -m rsdos.rescue": "is there where rsdos was installed from a wheel: tests/install",
    "dostore backup": "is disk-objectstore's; that of the drop-in: tests/compat/test_dostore.py",
    "rsdos init s3://lab/data --endpoint https://rgw.example.org": STORES,
    "rsdos -p s3://lab/data cat-file KEY": STORES,
    "rsdos clone --lazy URL DIR": STORES,
    "rsdos -p $name init && rsdos -p $name save $name /usr/$name && "
    "rsdos -p $name remote add origin s3://rsdos/usr": STORES,
    "rsdos remote probe": STORES,
    "rsdos remote probe s3://bucket/prefix": STORES,
    "python -m benchmarks.open_read_close": LASTS,
    "python -m benchmarks.run pack insert-raw --rounds 7": LASTS,
    "python -m tests.crash.run 'dos 1.5.0' 'rsdos 0.1.1'": LASTS,
    'python -m tests.interleave.run --replay "delete + look and insert" --version 2 --seed 8': LASTS,
    "python -m tests.interleave.threads 2 1": LASTS,
}
"""What is shown and not run, each with the reason. Of `make` only the targets are looked at."""


def shown() -> list[str]:
    """The commands, each once: those in the text, and the lines of blocks."""
    found: set[str] = set()
    for page in PAGES:
        text = page.read_text()
        fenced = re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        found.update(match[1] for match in SPAN.finditer(text))
        found.update(match[1] for match in INDENTED.finditer(text))
        for language, block in fenced:
            if language == "sh":
                found.update(line.partition("  #")[0] for line in block.splitlines())
            elif language == "text":
                found.update(match[1] for match in LINE.finditer(block))
    return sorted({command.replace("\\|", "|").strip() for command in found} - {""})


RUN = [command for command in shown() if command not in LEFT_OUT and not command.startswith("make ")]


def test_there_are_commands_to_try() -> None:
    assert len(RUN) > 40


def test_what_is_left_out_is_shown_somewhere() -> None:
    assert not set(LEFT_OUT) - set(shown())


@pytest.mark.parametrize("command", [command for command in shown() if command.startswith("make ")])
def test_what_is_made_is_a_target(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    _, target, *settings = shlex.split(command)
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for setting in settings:
        assert re.search(rf"\b{setting.partition('=')[0]}\b", makefile)


@pytest.mark.parametrize("command", [command for command, reason in LEFT_OUT.items() if reason is LASTS])
def test_a_module_that_would_run_for_long_is_there(command: str) -> None:
    assert find_spec(shlex.split(command)[2])


@pytest.mark.parametrize("command", [command for command in RUN if SHELL.search(command)])
def test_a_command_for_a_shell_works(command: str, tmp_path: Path) -> None:
    """With files beside ./container, and in $STORAGE what AiiDA has."""
    version = 1 if "migrate" in command and "--to" not in command else 2
    storage = tmp_path / "storage"
    for place, number in ((tmp_path / "container", 2), (storage / "container", version)):
        place.parent.mkdir(exist_ok=True)
        with Container.create(place, container_version=number) as container:
            container.insert(b"data", to="packed")
    (tmp_path / "file").write_bytes(b"more")
    done = run_shell(command, tmp_path, {"STORAGE": str(storage)})
    warnings = [line for line in done.stderr.splitlines() if "names of the container itself" in line]
    assert (done.returncode, done.stderr.splitlines()) == (0, warnings), f"{command}\n{done.stderr}"


def run_shell(command: str, directory: Path, more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run what has to be taken by a shell."""
    function = f'rsdos() {{ {shlex.join(warm())} "$@"; }}'
    return subprocess.run(
        ["sh", "-ec", f"{function}\n{command}"],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=child_environment() | more,
        check=False,
    )


@pytest.mark.parametrize("command", [command for command in RUN if not SHELL.search(command)])
def test_a_command_that_is_shown_works(command: str, tmp_path: Path) -> None:
    program, *words = shlex.split(command.replace("[", "").replace("]", "").replace("…", ""))
    environment = child_environment()
    if program == "rsdos":
        if len(words) == 1 and not words[0].startswith("-"):
            words.append("--help")  # It is spoken of, and not shown how to call it.
        words = prepared(words, tmp_path)
        environment |= another_machine(tmp_path, words)
    else:
        assert program == "python"
    done = subprocess.run(
        [*(warm() if program == "rsdos" else [sys.executable]), *words],
        cwd=tmp_path,
        input=b"",
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stderr.decode()}"


def another_machine(directory: Path, words: list[str]) -> dict[str, str]:
    """What has to be in the environment for an `ssh` that leads to this machine, where one is wanted."""
    if not any("@" in word for word in words):
        return {}
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    program = directory / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1" = -l ] && shift 2\nshift\nexec sh -c "$*"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


def prepared(words: list[str], directory: Path) -> list[str]:
    """The same with names of things that are there, where they have to be."""
    if words[0] == "init":
        return words
    version = 1 if "migrate" in words and "--to" not in words else 2
    container = Container.create(directory / "container", container_version=version)
    key = container.insert(b"data", to="packed")
    container.backup(directory / "backups")
    if words[0] in ("branch", "checkout", "diff", "export", "forget", "import", "save", "tag"):
        for name in ("DIR", "flowers", "new"):
            (directory / name).mkdir()
        container.snapshots.save("flowers", directory / "flowers")
        with open(directory / "flowers.tar", "wb") as archive:
            container.snapshots.export("flowers", archive)
    container.close()
    for name in ("PATH", "SOURCE", "BACKUP", "COPY", "/data/container"):
        if name in words:
            with Container.create(directory / name.strip("/"), container_version=version) as other:
                other.insert(b"data", to="packed")
    if words[0] == "transfer":
        for name in ("DEST", "NEW", "CONTAINER"):
            if name in words:
                Container.create(directory / name).close()
    (directory / "DIRECTORY").mkdir()
    backups = "backups" if words[0] == "restore" else "own-backups"
    names = {
        "KEY": key,
        "COMMAND": "status",
        "NAME": "flowers",
        ".../last-backup": "backups/last-backup",
        "/backups/container": backups,
        "/backups/store": backups,
        "me@server:/backups/container": f"me@server:{directory / 'far-backups'}",
        "alice:staff": f"{pwd.getpwuid(os.getuid()).pw_name}:{grp.getgrgid(os.getgid()).gr_name}",
    }
    words = [names.get(word, word.lstrip("/") if word.startswith("/data") else word) for word in words]
    if words[0] == "delete" and words[-1] == "--from-file":
        words.append("-")
    if words[0] == "-p" and len(words) == 2:
        words.append("status")
    return words
