"""Saves of a directory that are broken off: the first, and the next version of it.

At every moment the newest refs lead to whole snapshots, and the state of the directory calls nothing unchanged that is
not. The same command repeated makes the wanted version.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rsdos import Container
from rsdos.engine.publish import read_refs
from rsdos.errors import InvalidOption
from rsdos.worktree.options import Rehash
from tests.crash.operation import BASE, Ack, Operation
from tests.crash.with_snapshots import assert_refs_are_whole
from tests.data import key_of, noise, text
from tests.worktree.trees import content_of, content_on_disk, saved, status_of, write

FIRST = {"a.txt": b"first", "sub/b": text(3000, 1), "sub/deep/c": noise(4000, 2), "large": noise((1 << 20) + 1, 3)}
SECOND = FIRST | {"a.txt": b"second", "sub/new": text(4000, 4), "x/y/z": noise(700, 5)}


def _keys(*several: dict[str, bytes]) -> dict[str, bytes]:
    return {key_of(data): data for files in several for data in files.values()}


def _prepare(path: Path, *, is_saved: bool) -> None:
    path.mkdir()
    write(path / "work", FIRST)
    with Container.create(path / "source") as container:
        container.insert_many(BASE.values())
        container.insert_many([FIRST["a.txt"]])
        if is_saved:
            saved(container, path / "work")


def _save(path: Path, ack: Ack, *, versions: int) -> None:
    with Container(path / "source") as container:
        if versions == 2:
            if content_on_disk(path / "work") == content_of(container, "flowers"):
                saved(container, path / "work")  # The rig has copied the directory: this makes a state of it.
            write(path / "work", SECOND)
        saved(container, path / "work")
        assert _numbers(container) == list(range(1, versions + 1))
        for data in (SECOND if versions == 2 else FIRST).values():
            ack(key_of(data))


def _numbers(container: Container) -> list[int]:
    branch = read_refs(container.engine)[0].branches.get("flowers")
    return [version.number for version in branch.versions] if branch else []


def _check(path: Path) -> None:
    assert_refs_are_whole(path / "source")
    with Container(path / "source") as container:
        try:
            by_state: Any = status_of(container, path / "work")
        except InvalidOption:
            return  # There is no state.
        assert by_state == status_of(container, path / "work", rehash=Rehash.ALL)


def _settle(path: Path) -> None:
    with Container(path / "source") as container:
        assert content_of(container, "flowers") == content_on_disk(path / "work")
        assert status_of(container, path / "work") == {}
        saved(container, path / "work", "another")
    assert {file.suffix for file in (path / "source/checkouts").iterdir()} == {".state"}


OPERATIONS = {
    "save of a directory": Operation(
        partial(_prepare, is_saved=False),
        partial(_save, versions=1),
        before=BASE,
        wanted=BASE | _keys(FIRST),
        source="source",
        target="source",
        least=40,
        resumes=True,
        check=_check,
        settle=_settle,
    ),
    "save of a directory, the next version": Operation(
        partial(_prepare, is_saved=True),
        partial(_save, versions=2),
        before=BASE | _keys(FIRST),
        wanted=BASE | _keys(FIRST, SECOND),
        source="source",
        target="source",
        least=40,
        resumes=True,
        check=_check,
        settle=_settle,
        # It changes the directory too, which a power loss may empty: that is the user's.
        ways=frozenset(("kill", "torn", "short", "EIO", "ENOSPC", "EINTR", "EMFILE", "fsync")),
    ),
}
