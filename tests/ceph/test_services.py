"""The line of CI's log that says which object stores there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ceph import services, swift
from tests.remote import azurite


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one directory where programs are found: empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(azurite, "ROOT", tmp_path)
    return tmp_path


def test_the_log_says_which_stores_are_missing(programs: Path) -> None:
    assert services.described() == "object stores for the tests: no Ceph, no Azurite, no Swift"


def test_the_log_says_which_stores_are_there(programs: Path) -> None:
    azurites = programs / ".azurite" / "node_modules" / ".bin"
    azurites.mkdir(parents=True)
    for program in (azurites / "azurite-blob", *(programs / f"{package}-server" for package in swift.PACKAGES)):
        program.touch(0o755)
    assert services.described() == "object stores for the tests: no Ceph, Azurite, Swift"
