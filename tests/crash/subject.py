"""A store as the rig sees it, and ours."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from tests.crash.operation import Operation


class Reader(Protocol):
    """An open container."""

    def read(self, key: str) -> bytes | None:
        """An object; None when the store says that there is none. Raises what the store does."""

    def read_many(self, keys: list[str]) -> Mapping[str, bytes]:
        """The same in bulk, without those that are missing."""

    def keys(self) -> list[str]:
        """All keys."""


class Subject(Protocol):
    """A store that is broken off."""

    operations: Mapping[str, Operation]

    def look(self, path: Path) -> AbstractContextManager[Reader]:
        """Open a container."""

    def is_whole(self, path: Path) -> bool:
        """Whether a container has been made there, rather than begun to be."""

    def settle(self, operation: Operation, path: Path) -> None:
        """Tidy up, and assert that nothing is left of what was broken off."""

    def space(self, path: Path) -> dict[str, int]:
        """The length of every file that takes space for good."""

    def assert_space_came_back(self, operation: Operation, path: Path, before: dict[str, int]) -> None:
        """After an error nothing unfinished stands about."""

    def reads(self, path: Path, key: str) -> Mapping[str, object]:
        """What each way to read gives: bytes, None for missing, or the exception. For the sweep of damage."""

    errors: tuple[type[BaseException], ...]
    """What it raises on purpose: anything else is a crash."""


SUBJECTS = {"rsdos": "tests.crash.ours", "rsdos 0.1.1": "tests.crash.peer_rsdos", "dos 1.5.0": "tests.crash.peer_dos"}


def subject(name: str) -> Subject:
    """The store of that name; it is imported only now."""
    return cast(Subject, import_module(SUBJECTS[name]).SUBJECT)
