"""Two containers: one here, and one that it pushes to and pulls from, of each kind that a remote can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container
from rsdos.storage.url import open_storage


@pytest.fixture
def here(tmp_path: Path) -> Container:
    return Container.create(tmp_path / "here")


@pytest.fixture
def on_disk(tmp_path: Path, here: Container) -> Container:
    """A container of version 2 in another directory, which is the remote "origin"."""
    made = Container.create(tmp_path / "there")
    here.remotes.add("origin", tmp_path / "there")
    return made


@pytest.fixture(params=["version 2", "version 3"])
def there(request: pytest.FixtureRequest, tmp_path: Path, here: Container) -> Container:
    """A container in another directory, or one of version 3 behind a URL, which is the remote "origin"."""
    if request.param == "version 2":
        made: Container = request.getfixturevalue("on_disk")
        return made
    url = f"memory://{tmp_path.name}"
    here.remotes.add("origin", url)
    return Container.create(open_storage(url), container_version=3)
