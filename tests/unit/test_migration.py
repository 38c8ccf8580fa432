"""Whether a container is still the one that was opened, and the mark of a migration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rsdos import Container, NotAContainer
from rsdos.config import Config, encode_config
from rsdos.errors import ContainerReplaced
from rsdos.layout import Layout
from rsdos.migration import Original, begin_migration, unfinished_migration
from rsdos.storage import posix


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    Container.create(tmp_path / "container").close()
    return Layout(str(tmp_path / "container"))


def config_of(layout: Layout) -> Config:
    with Container(layout.root) as container:
        return container.config


def replace(layout: Layout, config: Config) -> None:
    posix.replace_file(layout.config, encode_config(config))


def test_the_same_configuration_in_another_file_is_the_same_container(layout: Layout) -> None:
    original = Original(layout, 2)
    original.check()
    replace(layout, config_of(layout))
    original.check()
    assert not original.is_replaced


def test_another_id_or_another_version_is_another_container(layout: Layout) -> None:
    own = config_of(layout)
    original = Original(layout, own.version, own.container_id)
    replace(layout, own.changed(container_id="f" * 32))
    with pytest.raises(ContainerReplaced, match="another container"):
        original.check()
    assert original.is_replaced
    replace(layout, own)
    original.check()
    replace(layout, own.changed(version=1, compression="zlib+1"))
    with pytest.raises(ContainerReplaced, match="migrated to version 1"):
        original.check()


def test_a_container_that_was_migrated_and_is_on_its_way_back_is_another_version(layout: Layout) -> None:
    """Before, its index of the old version was reported as missing."""
    own = config_of(layout)
    begin_migration(layout, 1)
    new = Original(layout, 1)
    new.check()
    replace(layout, own.changed(version=1, compression="zlib+1"))
    new.check()
    original = Original(layout, 1)
    original.check()
    replace(layout, own)
    for opened in (new, original):
        with pytest.raises(ContainerReplaced, match="migrated to version 2"):
            opened.check()


def test_hyphens_of_an_id_make_no_other_container(layout: Layout) -> None:
    own = config_of(layout)
    text = own.container_id
    Original(layout, 2, f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}").check()


def test_a_damaged_configuration_is_not_taken_for_another_container(layout: Layout) -> None:
    original = Original(layout, 2, "0" * 32)
    Path(layout.config).write_bytes(b"{")
    original.check()


def test_a_container_that_is_gone_is_reported_with_its_path(layout: Layout) -> None:
    original = Original(layout, 2)
    os.rename(layout.root, f"{layout.root}-elsewhere")
    with pytest.raises(NotAContainer, match="container"):
        original.check()


def test_a_migration_is_unfinished_from_its_mark_until_the_mark_is_removed(layout: Layout) -> None:
    assert unfinished_migration(layout) is None
    begin_migration(layout, 1)
    assert unfinished_migration(layout) == 1
    Path(layout.migration).write_bytes(b"not JSON")
    assert unfinished_migration(layout) is None
