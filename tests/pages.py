"""Plays what a page of the documents shows: types its commands, and compares what they print. Needs no pytest."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

VARIES = (
    (r"<key>", "[0-9a-f]{64}"),
    (r"0123456789abcdef…", "[0-9a-f]{32}"),
    (r"…", r"(?:.|\n)*"),
    (r"\b[0-9a-f]{8}(?=[ :…]|$)", "[0-9a-f]{8}"),
    (r"\d\.\d(?= s$)", r"\d+\.\d"),
    (r"(?:none|\d+)(?= read$)", r"(?:none|\d+)"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
    (r"(?<=^\[info\] Deleted )\d objects, .*(?=;)", ".*"),
    (r"[\d.]+ k?B(?= stored\)|\)$)", r"[\d.]+ k?B"),
    (r"(?<=freed )[\d.]+ k?B|(?<=copies of objects, )[\d.]+ k?B", r"[\d.]+ k?B"),
)
"""What is another each time, and what it may be: keys, seconds, times, files that had just changed, stored bytes."""

FLOWERS = {
    "labels.csv": "rose,1\n",
    **{f"train/rose/{number}.jpg": f"a rose, {number}\n" for number in (1, 2, 3)},
    **{f"train/tulip/{number}.jpg": f"a tulip, {number}\n" for number in (1, 2)},
}
"""The directory that the pages save."""

MARK = "\x1e"
"""Is printed between what two commands print."""


class Step(NamedTuple):
    """A command of a page, and what the page shows below it."""

    command: str
    shown: str


def write_flowers(place: Path) -> None:
    """Write the directory that the pages save."""
    for name, text in FLOWERS.items():
        (place / "flowers" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "flowers" / name).write_text(text)


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def steps(text: str) -> list[Step]:
    """Return the commands of all console blocks, in order."""
    parts = "".join(blocks(text, "console")).removeprefix("$ ").split("\n$ ")
    return [Step(command, shown.rstrip()) for command, _, shown in (part.partition("\n") for part in parts)]


def pattern_of(shown: str) -> str:
    """Return the expression of an output that is shown."""
    varying = re.compile("|".join(f"({pattern})" for pattern, _ in VARIES), re.MULTILINE)
    pattern, at = "", 0
    for match in varying.finditer(shown):
        pattern += re.escape(shown[at : match.start()]) + VARIES[(match.lastindex or 0) - 1][1]
        at = match.end()
    return pattern + re.escape(shown[at:])


def play(
    page: Sequence[Step],
    directory: Path,
    environment: Mapping[str, str],
    roots: Sequence[str] = (),
    program: Sequence[str] = (sys.executable, "-m", "rsdos"),
) -> list[tuple[Step, str]]:
    """Type all commands into one shell, in ``directory``; return those that print something else than is shown.

    Args:
        page: the commands, and what is shown below each.
        directory: where they are typed.
        environment: the environment of the shell.
        roots: directories in the page's absolute paths, which are below ``directory`` here: "/data".
        program: what ``rsdos`` is there.
    """
    python = shlex.quote(sys.executable)
    lines = [f'rsdos() {{ {shlex.join(program)} "$@"; }}', f'python() {{ {python} "$@"; }}', "exec 2>&1"]
    for step in page:
        lines += [step.command, f"printf '{MARK}'"]
    script = "\n".join(lines)
    for root in roots:
        script = re.sub(rf"(?<![\w./]){root}\b", f"{directory}{root}", script)
    done = subprocess.run(["sh", "-c", script], cwd=directory, env=environment, stdout=subprocess.PIPE, text=True)
    printed = done.stdout.replace(str(directory), "").split(MARK)
    if len(printed) != len(page) + 1:
        return [(page[min(len(printed), len(page)) - 1], "ended the shell: " + printed[-1])]
    pairs = zip(page, printed, strict=False)
    return [(step, text) for step, text in pairs if not re.fullmatch(pattern_of(step.shown), text.rstrip())]


def told(differing: Sequence[tuple[Step, str]]) -> str:
    """Return a message about what differs."""
    return "\n\n".join(f"$ {step.command}\n{text}\n-- is shown as\n{step.shown}" for step, text in differing)
