"""The two sides of a comparison, each a process: the real disk-objectstore, and the drop-in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT, child_environment
from tests.patience import HANG

SIDE = Path(__file__).with_name("side.py")
PEERS = ROOT / ".venv-peers" / "bin" / "python"


class Failed(Exception):
    """What the other process raised: the names of its class and of those above."""

    def __init__(self, kinds: list[str], text: str) -> None:
        super().__init__(f"{kinds[0]}: {text}")
        self.kinds = kinds


class Side:
    """A process that does what it is told."""

    def __init__(self, *command: str | Path) -> None:
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )

    def send(self, order: str, **options: Any) -> None:
        """Begin; `answer` waits for the end."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([order, options]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the other side died"
        found = json.loads(line)
        if "error" in found:
            raise Failed(found["error"], found["text"])
        return found["answer"]

    def do(self, order: str, **options: Any) -> Any:
        self.send(order, **options)
        return self.answer()

    def outcome(self, order: str, **options: Any) -> Any:
        """What it answers, or the name of what it raises."""
        try:
            return self.do(order, **options)
        except Failed as failed:
            return failed.kinds[0]

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(HANG)
        self.process.stdout.close()


def start_real() -> Side:
    if not PEERS.exists():
        pytest.skip("needs .venv-peers, which make sets up")
    return Side(PEERS, SIDE)


def start_ours() -> Side:
    return Side(sys.executable, SIDE, "ours")


@pytest.fixture(scope="module")
def real() -> Iterator[Side]:
    side = start_real()
    yield side
    side.close()


@pytest.fixture(scope="module")
def ours() -> Iterator[Side]:
    side = start_ours()
    yield side
    side.close()
