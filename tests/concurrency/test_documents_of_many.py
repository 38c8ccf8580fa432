"""Small documents that processes without a common lock write: one is held in the middle while another writes whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.maintenance.backup import last_backup
from rsdos.maintenance.check import resume
from rsdos.storage import posix
from rsdos.stores.findings import Depth


def backed_up(container: Container, place: str) -> None:
    last_backup.write_note(
        container.engine.layout, last_backup.LastBackup(time="2026-01-01", place=place, verified=True)
    )


def validated(container: Container, place: str) -> None:
    resume.save_state(container.engine.layout, resume.ValidationState(Depth.QUICK, 1.0, loose=place))


def noted(container: Container, place: str) -> None:
    container.engine.packed.maintenance.note("test", place)


def read(container: Container) -> list[object]:
    layout = container.engine.layout
    last, state = last_backup.read_note(layout), resume.load_state(layout)
    return [last and last.place, state and state.loose, container.engine.packed.maintenance.notes().get("test")]


@pytest.mark.parametrize("write", [backed_up, validated, noted])
def test_a_document_is_one_writers_whole(
    tmp_path: Path, write: Callable[[Container, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    container = Container.create(tmp_path / "store", container_version=1)
    real = posix.sync_file
    others: list[str] = []

    def sync_file(fd: int) -> None:
        if not others:
            others.append("other")
            write(Container(container.path), "of another")
        real(fd)

    monkeypatch.setattr(posix, "sync_file", sync_file)
    write(container, "of this one")
    assert others
    assert "of this one" in read(container)
    assert os.listdir(container.path / "sandbox") == []
