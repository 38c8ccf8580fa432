"""A remote that is not what was seen of it before: wiped, set back, or gone its own way."""

from __future__ import annotations

import shutil

import pytest

from rsdos import Container, NotAContainer
from rsdos.errors import RemoteChanged, RemoteDiverged, RemoteWentBack
from rsdos.maintenance.remotes.connect import compare_seen
from rsdos.maintenance.remotes.table import Remote, Seen
from rsdos.stores.head import Head
from tests.data import key_of

ID = "ab" * 16
A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def refused(seen: Seen | None, head: Head, commits: dict[int, str] | None = None) -> type[Exception] | None:
    try:
        compare_seen(Remote("origin", "s3://lab/data", seen=seen), head, (commits or {}).get)
    except (RemoteChanged, RemoteDiverged, RemoteWentBack) as error:
        assert "adopt" in str(error)
        return type(error)
    return None


def test_the_first_contact_and_the_same_state_are_fine() -> None:
    assert refused(None, Head(ID, 5, A)) is None
    assert refused(Seen(ID, 5, A), Head(ID, 5, A)) is None
    assert refused(Seen(ID, 5), Head(ID, 9)) is None


def test_another_container_is_told_first() -> None:
    assert refused(Seen(ID, 5, A), Head("cd" * 16, 9, B)) is RemoteChanged
    assert refused(Seen(ID, 5, A), Head("cd" * 16, 1, B)) is RemoteChanged


def test_a_lower_number_went_back() -> None:
    assert refused(Seen(ID, 5, A), Head(ID, 4, B)) is RemoteWentBack
    assert refused(Seen(ID, 5), Head(ID, 4)) is RemoteWentBack


def test_another_commit_of_the_number_that_was_seen_diverged() -> None:
    assert refused(Seen(ID, 5, A), Head(ID, 5, B)) is RemoteDiverged
    assert refused(Seen(ID, 5, A), Head(ID, 7, C, ((5, B), (6, C)))) is RemoteDiverged
    assert refused(Seen(ID, 5, A), Head(ID, 7, C, ((5, A), (6, C)))) is None


def test_a_number_beyond_the_history_is_looked_up_in_its_manifest() -> None:
    head = Head(ID, 90, C, ((89, B),))
    assert refused(Seen(ID, 5, A), head, {5: A}) is None
    assert refused(Seen(ID, 5, A), head, {5: B}) is RemoteDiverged
    # It was emptied: nobody can tell any more, and the number has grown.
    assert refused(Seen(ID, 5, A), head) is None


def test_a_wiped_and_remade_remote_is_refused_until_it_is_adopted(here: Container, on_disk: Container) -> None:
    here.insert_many([b"one"])
    here.remotes.push()
    before = on_disk.container_id
    shutil.rmtree(on_disk.path)
    with pytest.raises(NotAContainer):
        here.remotes.push()
    made = Container.create(on_disk.path)
    for call in (here.remotes.push, here.remotes.pull, here.remotes.fetch, here.remotes.compare):
        with pytest.raises(RemoteChanged, match="adopt"):
            call()
    assert len(made) == 0
    report = here.remotes.adopt()
    assert report.before and report.before.container_id == before
    assert report.now.container_id == made.container_id
    assert here.remotes.push().objects == 1
    assert set(Container(on_disk.path)) == {key_of(b"one")}


def test_a_remote_that_was_restored_from_an_older_copy_is_refused_until_it_is_adopted(
    here: Container, on_disk: Container
) -> None:
    here.insert_many([b"one"])
    here.remotes.push()
    older = on_disk.path.parent / "older"
    shutil.copytree(on_disk.path, older)
    here.insert_many([b"two"])
    here.remotes.push()
    on_disk.close()
    shutil.rmtree(on_disk.path)
    older.rename(on_disk.path)
    before = len(Container(on_disk.path))
    for call in (here.remotes.push, here.remotes.pull):
        with pytest.raises(RemoteWentBack, match="older state"):
            call()
    assert len(Container(on_disk.path)) == before == 1
    here.remotes.adopt()
    assert here.remotes.push().objects == 1
    assert len(Container(on_disk.path)) == 2
