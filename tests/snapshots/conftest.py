from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container


@pytest.fixture
def store(tmp_path: Path) -> Container:
    return Container.create(tmp_path / "store")
