"""``remotes.json``: names for other containers, and what was seen of each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer, InvalidOption, NotOurs, UnsupportedContainer
from rsdos.maintenance.remotes.table import (
    Remote,
    Seen,
    change_remotes,
    find_remote,
    lazy_remote,
    note_probe,
    note_seen,
    read_remotes,
)
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.storage.memory import MemoryStorage
from rsdos.stores.head import Head

ID = "ab" * 16


def test_a_container_without_remotes_has_no_file(here: Container) -> None:
    assert here.remotes.list() == []
    assert not (here.path / "remotes.json").exists()
    with pytest.raises(InvalidOption, match="remote add"):
        here.remotes.push()


def test_remotes_are_added_listed_and_removed_and_config_json_does_not_change(here: Container, tmp_path: Path) -> None:
    config = (here.path / "config.json").read_bytes()
    here.remotes.add("origin", "s3://lab/data", endpoint="https://rgw.example.org")
    here.remotes.add("disk", tmp_path / "disk")
    disk, origin = here.remotes.list()
    assert (disk.name, disk.url, disk.seen) == ("disk", str(tmp_path / "disk"), None)
    assert (origin.url, dict(origin.options)) == ("s3://lab/data", {"endpoint": "https://rgw.example.org"})
    assert Container(here.path).remotes.list() == [disk, origin]
    here.remotes.remove("disk")
    assert here.remotes.list() == [origin]
    assert (here.path / "config.json").read_bytes() == config
    with pytest.raises(InvalidOption, match="there are: origin"):
        here.remotes.remove("disk")


def test_a_relative_path_is_written_down_as_an_absolute_one(
    here: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert here.remotes.add("disk", "there").url == str(tmp_path / "there")


def test_adding_a_place_without_a_container_returns_and_logs_what_to_do(
    here: Container, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    added = here.remotes.add("disk", tmp_path / "usb")
    assert f"make one with `rsdos init {tmp_path}/usb`" in added.missing
    # A set: caplog has a record twice if the logger was told not to propagate, as the drop-in tells it.
    assert {record.getMessage() for record in caplog.records} == {f"remote disk: {added.missing}"}
    Container.create(tmp_path / "usb").close()
    assert here.remotes.add("disk", tmp_path / "usb").missing == ""
    assert here.remotes.add("lab", "s3://lab/data").missing == ""


def test_a_name_is_of_one_url_and_adding_it_again_changes_nothing(here: Container) -> None:
    here.remotes.add("origin", "s3://lab/data")
    note_seen(here.engine, "origin", Head(ID, 7))
    here.remotes.add("origin", "s3://lab/data")
    assert find_remote(here.engine).seen == Seen(ID, 7)
    with pytest.raises(InvalidOption, match="remove it first"):
        here.remotes.add("origin", "s3://lab/other")


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "a/b", "x" * 65, "é"])
def test_odd_names_are_refused(here: Container, name: str) -> None:
    with pytest.raises(InvalidOption):
        here.remotes.add(name, "s3://lab/data")


def test_a_secret_is_never_written_down(here: Container) -> None:
    with pytest.raises(InvalidOption):
        here.remotes.add("origin", "s3://user:secret@lab/data")
    with pytest.raises(InvalidOption) as found:
        here.remotes.add("origin", "s3://lab/data", secret_access_key="hidden")
    assert "hidden" not in str(found.value)
    with pytest.raises(InvalidOption):
        here.remotes.add("disk", "/mnt/disk", endpoint="https://rgw.example.org")
    assert not (here.path / "remotes.json").exists()


def test_without_a_name_it_is_origin_or_the_only_one(here: Container) -> None:
    here.remotes.add("disk", "/mnt/disk")
    assert find_remote(here.engine).name == "disk"
    here.remotes.add("tape", "/mnt/tape")
    with pytest.raises(InvalidOption, match="disk, tape"):
        find_remote(here.engine)
    here.remotes.add("origin", "/mnt/origin")
    assert find_remote(here.engine).name == "origin"


def test_what_was_seen_only_grows_within_one_container(here: Container) -> None:
    here.remotes.add("origin", "/mnt/origin")
    for number, expected in ((7, 7), (5, 7), (9, 9)):
        note_seen(here.engine, "origin", Head(ID, number, "c" * 32))
        assert find_remote(here.engine).seen == Seen(ID, expected, "c" * 32)
    note_seen(here.engine, "origin", Head("cd" * 16, 1))
    assert find_remote(here.engine).seen == Seen("cd" * 16, 1)
    note_seen(here.engine, "nobody", Head(ID, 1))  # It was removed in between.
    assert [remote.name for remote in here.remotes.list()] == ["origin"]


def test_answers_of_a_probe_and_unknown_members_are_kept(here: Container) -> None:
    here.remotes.add("origin", "/mnt/origin")
    note_probe(here.engine, "origin", {"winners": 1, "latency": 0.5})
    path = here.path / "remotes.json"
    members = decode_document(path.read_bytes())
    members["remotes"]["origin"]["of_a_later_release"] = [1, 2]
    path.write_bytes(encode_document(members))
    note_seen(here.engine, "origin", Head(ID, 3))
    row = json.loads(path.read_bytes())["remotes"]["origin"]
    assert row["of_a_later_release"] == [1, 2]
    assert row["probe"] == {"winners": 1, "latency": 0.5}
    assert row["seen"] == {"container_id": ID, "number": 3, "commit": ""}


def test_the_remote_of_a_lazy_clone_is_found_by_its_directory(here: Container) -> None:
    assert lazy_remote(str(here.path)) is None
    here.remotes.add("disk", "/mnt/disk")
    assert lazy_remote(str(here.path)) is None
    remote = Remote("origin", "s3://lab/data", {"region": "x"}, lazy=True)
    change_remotes(here.engine, lambda remotes: remotes | {"origin": remote})
    assert lazy_remote(str(here.path)) == remote


def test_damage_is_found_and_never_taken_for_no_remotes(here: Container) -> None:
    here.remotes.add("origin", "/mnt/origin")
    path = here.path / "remotes.json"
    whole = path.read_bytes()
    for data in (b"", whole[:-20], whole.replace(b"/mnt/origin", b"/mnt/other_")):
        path.write_bytes(data)
        with pytest.raises(DamagedContainer, match=r"remotes\.json"):
            here.remotes.list()
        with pytest.raises(DamagedContainer, match=r"remotes\.json"):
            here.remotes.add("disk", "/mnt/disk")
        assert path.read_bytes() == data
    # The objects are not concerned.
    assert here.extract(here.insert(b"x")) == b"x"


@pytest.mark.parametrize(
    "row",
    [
        7,
        {},
        {"url": ""},
        {"url": 7},
        {"url": "/x", "options": {"a": 7}},
        {"url": "/x", "options": []},
        {"url": "/x", "probe": 1},
        {"url": "/x", "lazy": 1},
        {"url": "/x", "seen": {"container_id": ID, "number": 0, "commit": ""}},
        {"url": "/x", "seen": {"container_id": ID, "number": True, "commit": ""}},
        {"url": "/x", "seen": {"container_id": "x", "number": 1, "commit": ""}},
        {"url": "/x", "seen": {"container_id": ID, "number": 1, "commit": "x"}},
        {"url": "/x", "seen": []},
    ],
)
def test_what_makes_no_sense_is_damage(here: Container, row: object) -> None:
    (here.path / "remotes.json").write_bytes(encode_document({"remotes_version": 1, "remotes": {"origin": row}}))
    with pytest.raises(DamagedContainer):
        read_remotes(here.engine)


def test_a_table_of_a_later_release_is_no_damage(here: Container) -> None:
    (here.path / "remotes.json").write_bytes(encode_document({"remotes_version": 2, "remotes": []}))
    with pytest.raises(UnsupportedContainer, match="version 2"):
        here.remotes.list()


def test_a_link_in_the_place_of_the_table_is_refused(here: Container, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("x")
    os.symlink(other, here.path / "remotes.json")
    with pytest.raises(NotOurs):
        Container(here.path).remotes.list()


def test_a_container_in_no_directory_has_no_remotes() -> None:
    with pytest.raises(InvalidOption, match="files"):
        Container.create(MemoryStorage()).remotes.list()


def test_a_killed_change_leaves_the_old_table(here: Container) -> None:
    here.remotes.add("origin", "/mnt/origin")
    (here.path / "remotes.json.new").write_bytes(b"cut sh")
    assert [remote.name for remote in Container(here.path).remotes.list()] == ["origin"]
    here.remotes.add("disk", "/mnt/disk")
    assert not (here.path / "remotes.json.new").exists()


def test_clearing_a_container_takes_its_remotes_along(here: Container) -> None:
    here.remotes.add("origin", "/mnt/origin")
    here.init_container(clear=True)
    assert not (here.path / "remotes.json").exists()
    assert Container(here.path).remotes.list() == []


def test_a_migration_in_place_keeps_the_remotes(tmp_path: Path) -> None:
    old = Container.create(tmp_path / "old", container_version=1)
    old.remotes.add("origin", "/mnt/origin")
    old.migrate()
    assert [remote.name for remote in Container(old.path).remotes.list()] == ["origin"]
