"""A mistyped keyword argument is named, whatever else a function takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container, InvalidOption
from rsdos.storage.memory import MemoryStorage


def test_a_mistyped_setting_of_a_new_container_is_named(tmp_path: Path) -> None:
    message = r"^Container.create\(\) has no argument 'compresion'. Did you mean 'compression'"
    with pytest.raises(TypeError, match=message):
        Container.create(tmp_path / "new", compresion="zstd")
    with pytest.raises(TypeError, match=message):
        Container.create(tmp_path / "new", endpoint="https://rgw.example.org", compresion="zstd")
    assert not (tmp_path / "new").exists()


def test_a_mistyped_argument_of_a_container_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^Container\(\) has no argument 'durabilty'. Did you mean 'durability'\?"):
        Container(tmp_path, durabilty="relaxed")
    with pytest.raises(TypeError, match=r"^Container\(\) has no argument 'colour'.$"):
        Container(str(tmp_path), colour="red")


def test_a_storage_takes_no_other_arguments_either() -> None:
    """It is open: what was given beside it would do nothing."""
    with pytest.raises(TypeError, match=r"Container.create\(\) has no argument 'compresion'"):
        Container.create(MemoryStorage("store"), compresion="zstd")
    with pytest.raises(TypeError, match="'region': only a container at a URL"):
        Container(MemoryStorage("store"), region="eu-west-1")


def test_of_a_url_arguments_and_options_are_named() -> None:
    with pytest.raises(InvalidOption, match=r"Container\(\) has no argument 'verfy'. Did you mean 'verify'\?"):
        Container("s3://lab/data", verfy="hash")
    with pytest.raises(InvalidOption, match=r"Container\(\) has no argument 'regoin'. Did you mean 'region'"):
        Container("s3://lab/data", regoin="eu-west-1")
    with pytest.raises(InvalidOption, match=r"colour: s3:// has no such option; it has: endpoint, "):
        Container("s3://lab/data", colour="red")
    with pytest.raises(InvalidOption, match="credentials come from the environment"):
        Container("s3://lab/data", secret_access_key="x")


def test_a_mistyped_argument_of_a_clone_or_a_remote_is_named(tmp_path: Path) -> None:
    there = Container.create(tmp_path / "there")
    with pytest.raises(TypeError, match=r"clone\(\) has no argument 'limt'. Did you mean 'limit'"):
        Container.clone(tmp_path / "there", tmp_path / "here", limt=1000)
    with pytest.raises(TypeError, match=r"clone_lazily\(\) has no argument 'nmae'. Did you mean 'name'"):
        Container.clone_lazily(tmp_path / "there", tmp_path / "here", nmae="origin")
    assert not (tmp_path / "here").exists()
    with pytest.raises(TypeError, match=r"RemoteContainers.add\(\) has no argument 'endpont'"):
        there.remotes.add("disk", tmp_path / "there", endpont="https://rgw.example.org")
    with pytest.raises(InvalidOption, match=r"RemoteContainers.add\(\) has no argument 'endpont'. .*'endpoint'"):
        there.remotes.add("lab", "s3://lab/data", endpont="https://rgw.example.org")
    with pytest.raises(InvalidOption, match="options are for a URL"):
        there.remotes.add("disk", tmp_path / "there", endpoint="https://rgw.example.org")
    assert there.remotes.list() == []
