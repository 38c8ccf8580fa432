"""Every `rsdos` command that a page shows is one that works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container
from tests.helpers import ROOT, child_environment

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "drop-in/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

SPAN = re.compile(r"`(rsdos [^`\n]+)`")
LINE = re.compile(r"^(?:15 3 \* \* \* +)?(rsdos [^\n#>]+)", re.MULTILINE)


def shown() -> list[str]:
    """The commands, each once: those in the text, and the lines of blocks."""
    found: set[str] = set()
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"^```(?:sh|text)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        found.update(match[1].strip() for match in SPAN.finditer(text))
        found.update(match[1].strip() for block in blocks for match in LINE.finditer(block))
    return sorted(found)


ELSEWHERE = ("me@server:", "$", "--owner", "\\|", "COMMAND")
"""What needs another machine or user, AiiDA, or a shell."""


def test_there_are_commands_to_try() -> None:
    assert len(shown()) > 40


@pytest.mark.parametrize("command", [command for command in shown() if not any(map(command.__contains__, ELSEWHERE))])
def test_a_command_that_is_shown_works(command: str, tmp_path: Path) -> None:
    _, *words = shlex.split(command.replace("[", "").replace("]", "").replace("…", ""))
    if len(words) == 1 and not words[0].startswith("-"):
        words.append("--help")  # It is spoken of, and not shown how to call it.
    words = prepared(words, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "rsdos", *words],
        cwd=tmp_path,
        input=b"",
        capture_output=True,
        env=child_environment(),
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stderr.decode()}"


def prepared(words: list[str], directory: Path) -> list[str]:
    """The same with names of things that are there, where they have to be."""
    if words[0] == "init":
        return words
    version = 1 if "migrate" in words and "--to" not in words else 2
    container = Container.create(directory / "container", container_version=version)
    key = container.insert(b"data", to="packed")
    container.backup(directory / "backups")
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
    names = {"KEY": key, ".../last-backup": "backups/last-backup", "/backups/container": backups}
    words = [names.get(word, word.lstrip("/") if word.startswith("/data") else word) for word in words]
    if words[0] == "delete" and words[-1] == "--from-file":
        words.append("-")
    if words[0] == "-p" and len(words) == 2:
        words.append("status")
    return words
