"""A store as the rig sees it, and ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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

    def ways(self, key: str) -> Iterator[tuple[str, Callable[[], bytes | None]]]:
        """Every way to read an object, by name; each gives what `read` does."""


class Subject(Protocol):
    """A store that is broken off."""

    operations: Mapping[str, Operation]

    def look(self, path: Path) -> AbstractContextManager[Reader]:
        """Open a container."""

    def boot(self) -> None:
        """Have this process see the machine as it is behind a loss of power: booted anew."""

    def is_whole(self, path: Path) -> bool:
        """Whether a container has been made there, rather than begun to be."""

    def settle(self, operation: Operation, path: Path) -> None:
        """Tidy up, and assert that nothing is left of what was broken off."""

    def space(self, path: Path) -> dict[str, int]:
        """The length of every file that takes space for good."""

    def assert_space_came_back(self, operation: Operation, path: Path, before: dict[str, int]) -> None:
        """After an error nothing unfinished stands about."""

    def begin_damage(self, path: Path) -> Mapping[str, bytes]:
        """Make a small container that has some of everything; returns its objects. Nobody keeps it open."""

    def insert(self, path: Path, data: bytes) -> None:
        """Insert an object in every way and read it back. Raises what the store does; `Wrong` when it is not right."""

    def is_root(self, name: str) -> bool:
        """Whether a file is what says which objects there are: without it an object may be missing, or all."""

    errors: tuple[type[BaseException], ...]
    """What it raises on purpose: anything else is a crash."""


class Wrong(Exception):
    """Other bytes came back than were stored."""


SUBJECTS = {
    "rsdos": ("tests.crash.ours", "SUBJECT"),
    "rsdos, large batches": ("tests.crash.ours", "LARGE_SUBJECT"),
    "rsdos, dictionaries": ("tests.crash.ours", "DICTIONARY_SUBJECT"),
    "rsdos, pack tables": ("tests.crash.ours", "TABLES_SUBJECT"),
    "rsdos, snapshots": ("tests.crash.damaged_snapshots", "SUBJECT"),
    "rsdos, version 1": ("tests.crash.ours", "LEGACY_SUBJECT"),
    "rsdos 0.1.1": ("tests.crash.peers", "RSDOS"),
    "dos 1.5.0": ("tests.crash.peers", "DOS"),
}


def subject(name: str) -> Subject:
    """The store of that name; it is imported only now."""
    module, attribute = SUBJECTS[name]
    return cast(Subject, getattr(import_module(module), attribute))
