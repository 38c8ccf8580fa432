"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """A new container with all defaults."""
    with Container.create(tmp_path / "container") as made:
        yield made
