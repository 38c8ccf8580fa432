"""What the long mixed run does with snapshots, and the oracle of it.

Each process has a directory of its own that it changes and saves, to a branch of its own or one of all. A version whose
save has returned must check out byte for byte until somebody begins to forget it. The same bytes are inserted by key,
too: those of the first half of the pool are never deleted, those of the second all the time.
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from rsdos import Container, DamagedTree, ObjectNotFound, RefMoved, RefNotFound
from tests.data import key_of, noise

POOL = 120
"""Contents that all processes take the files of their directories from."""

_BRANCHES = ("one", "two", "three")
_MOST_FILES = 60
_RECENT = 100
"""Versions that a process knows, its own and the others'."""

Content = Mapping[str, str]
"""The hash of each file of a directory, by its path."""


class SoakLog(Protocol):
    """`tests.crash.soak.Log`, as far as this needs it."""

    def write(self, event: str, keys: list[str]) -> None:
        """Write one line."""


def pooled(number: int) -> bytes:
    """Return a content of the pool."""
    return noise((13, 700, 4000, 30_000)[number % 4] + number, 5_000_000 + number)


def content_of(directory: Path) -> dict[str, str]:
    """Return what is in a directory."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): sha256(path.read_bytes()).hexdigest() for path in files}


class Versions:
    """What the logs say of versions: those that were acknowledged, without those that somebody has begun to forget."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, Content] = {}
        self.forgotten: set[str] = set()

    def hear(self, event: str, words: list[str]) -> None:
        """Take one line of a log."""
        if event == "saved":
            version, content = words
            self.acknowledged[version] = json.loads(content)
        elif event == "forget":
            self.forgotten.update(words)

    def standing(self) -> dict[str, Content]:
        """Return the versions that must be there."""
        return {name: content for name, content in self.acknowledged.items() if name not in self.forgotten}


class SnapshotSteps:
    """Saves, checkouts and what takes versions away: the steps of one process."""

    def __init__(
        self,
        container: Callable[[], Container],
        directory: Path,
        log: SoakLog,
        listen: Callable[[], object],
        chance: random.Random,
        counts: Counter[str],
    ) -> None:
        """``listen`` gives what all processes have logged to `versions`."""
        self._container = container
        self._work = directory / "work"
        self._out = directory / "out"
        self._log, self._listen, self._random, self._counts = log, listen, chance, counts
        self.versions = Versions()

    def steps(self) -> list[tuple[Callable[[], None], int]]:
        """Return the steps, each with its weight."""
        return [
            (self.save, 14),
            (self.checkout, 10),
            (self.check_tree, 6),
            (self.forget, 6),
            (self.gc, 4),
            (self.insert_pooled, 4),
            (self.delete_pooled, 3),
        ]

    def _change(self) -> None:
        """Write some files, and remove some."""
        for _ in range(self._random.choice((1, 3, 20))):
            path = self._work / f"d{self._random.randrange(5)}" / f"f{self._random.randrange(_MOST_FILES // 5)}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._random.random() < 0.2:
                path.unlink(missing_ok=True)
            elif self._random.random() < 0.2:
                path.write_bytes(b"of one process %d" % self._random.randrange(1 << 62))
            else:
                path.write_bytes(pooled(self._random.randrange(POOL)))

    def save(self) -> None:
        self._change()
        content = content_of(self._work)
        self._log.write("begin", sorted(set(content.values())))
        branch = self._random.choice((*_BRANCHES, f"own-{self._work.parent.name}"))
        try:
            report = self._container().snapshots.save(branch, self._work, force=True)
        except RefMoved:
            self._counts["branch moved"] += 1
            return
        # An unchanged tree is a version of before, which somebody may have begun to forget.
        if report.snapshot and not report.unchanged:
            self._log.write("saved", [f"{branch}@{report.version}", json.dumps(content)])

    def _version(self) -> tuple[str, Content] | None:
        self._listen()
        standing = list(self.versions.standing().items())[-_RECENT:]
        return self._random.choice(standing) if standing else None

    def _must_stand(self, version: str, error: Exception) -> None:
        """Raise if a version is not there that nobody has begun to forget."""
        self._listen()
        if version not in self.versions.forgotten:
            raise AssertionError(f"{version} is acknowledged, and: {error!r}") from error
        self._counts["forgotten at the same time"] += 1

    def checkout(self) -> None:
        if chosen := self._version():
            version, content = chosen
            shutil.rmtree(self._out, ignore_errors=True)
            try:
                self._container().snapshots.checkout(version, self._out)
            except (RefNotFound, ObjectNotFound, DamagedTree) as error:
                self._must_stand(version, error)
            else:
                if content_of(self._out) != content:
                    raise AssertionError(f"{version} was checked out wrong")

    def check_tree(self) -> None:
        if chosen := self._version():
            version, content = chosen
            try:
                found = read_version(self._container(), version)
            except (RefNotFound, ObjectNotFound, DamagedTree) as error:
                self._must_stand(version, error)
            else:
                if found != content:
                    raise AssertionError(f"{version} has other files")

    def forget(self) -> None:
        if chosen := self._version():
            self._log.write("forget", [chosen[0]])
            try:
                self._container().snapshots.forget(chosen[0])
            except RefNotFound:
                self._counts["forgotten at the same time"] += 1

    def gc(self) -> None:
        report = self._container().snapshots.gc()
        self._counts["objects collected"] += report.objects

    def insert_pooled(self) -> None:
        """Insert bytes that are in snapshots, too. Those of the first half are acknowledged for good."""
        numbers = self._random.sample(range(POOL), 10)
        data = [pooled(number) for number in numbers]
        self._log.write("begin", [key_of(one) for one in data])
        self._container().insert_many(data)
        self._log.write("kept", [key_of(pooled(number)) for number in numbers if number < POOL // 2])

    def delete_pooled(self) -> None:
        self._container().delete([key_of(pooled(self._random.randrange(POOL // 2, POOL))) for _ in range(5)])


def read_version(container: Container, version: str) -> dict[str, str]:
    """Return what a version has, read without a checkout."""
    snapshot = container.snapshots[version]
    paths = [entry.path for entry in snapshot.walk() if entry.kind.is_file]
    return {path: sha256(data).hexdigest() for path, data in snapshot.extract_many(paths)}


def all_versions(container: Container) -> list[str]:
    """Return the names of all versions of all branches."""
    branches = [row.name for row in container.snapshots.log()]
    return [f"{row.name}@{row.version}" for branch in branches for row in container.snapshots.log(branch)]


def wrong_versions(container: Container, versions: Versions, directory: Path) -> tuple[list[str], int]:
    """Check all versions out, and compare those that were acknowledged. Return what is wrong, and their number."""
    wrong = []
    standing = versions.standing()
    there = set(all_versions(container))
    wrong += [f"{version} is lost" for version in standing.keys() - there]
    for version in sorted(there):
        shutil.rmtree(directory, ignore_errors=True)
        container.snapshots.checkout(version, directory)
        if version in standing and content_of(directory) != standing[version]:
            wrong.append(f"{version} is wrong")
    return wrong, len(there)
