"""Snapshots in a lazy clone: a save is stored here, and what is not here is the remote's business."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container, RemoteUnavailable
from tests.data import noise


@pytest.fixture
def there(tmp_path: Path) -> Container:
    """A remote that has `flowers`, two versions of 40 files, and an object that was inserted by key."""
    made = Container.create(tmp_path / "there")
    directory = tmp_path / "flowers"
    for number in range(40):
        (directory / str(number % 3)).mkdir(parents=True, exist_ok=True)
        (directory / str(number % 3) / f"{number}.bin").write_bytes(noise(500 + number, 100 + number))
    made.snapshots.save("flowers", directory)
    (directory / "new").write_bytes(b"of the second version")
    made.snapshots.save("flowers", directory)
    made.insert_many([b"by key"])
    return made


@pytest.fixture
def clone(there: Container, tmp_path: Path) -> Container:
    Container.clone_lazily(tmp_path / "there", tmp_path / "clone")
    return Container(tmp_path / "clone")


def cut_off(clone: Container, tmp_path: Path) -> Container:
    """Return the clone as another process opens it, while the remote cannot be reached."""
    clone.close()
    (tmp_path / "there").rename(tmp_path / "gone")
    return Container(tmp_path / "clone")


def connect(clone: Container, tmp_path: Path) -> Container:
    clone.close()
    (tmp_path / "gone").rename(tmp_path / "there")
    return Container(tmp_path / "clone")


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def is_clean(container: Container) -> bool:
    quick, full = container.validate(), container.validate("full")
    return not (quick.damaged or quick.files or full.damaged or full.files)


def test_a_save_without_the_remote_is_stored_here_and_pushed_later(clone: Container, tmp_path: Path) -> None:
    clone.snapshots.checkout("flowers", tmp_path / "out")
    clone = cut_off(clone, tmp_path)
    (tmp_path / "out" / "mine").write_bytes(b"made without a connection")
    with clone.snapshots.status(tmp_path / "out") as status:
        assert [change.path for change in status] == [b"mine"]
    saved = clone.snapshots.save("flowers", tmp_path / "out")
    assert (saved.version, saved.changed.added, saved.stored.objects) == (3, 1, 1)
    clone = connect(clone, tmp_path)
    assert clone.remotes.push().names[0].version == 3
    with Container(tmp_path / "there") as there:
        there.snapshots.checkout("flowers", tmp_path / "pushed")
        assert is_clean(there)
    assert files_of(tmp_path / "pushed") == files_of(tmp_path / "out")


def test_a_directory_is_saved_on_a_branch_of_which_nothing_was_read(clone: Container, tmp_path: Path) -> None:
    clone = cut_off(clone, tmp_path)
    (tmp_path / "flowers" / "mine").write_bytes(b"made without a connection")
    assert clone.snapshots.save("flowers", tmp_path / "flowers").version == 3
    clone.snapshots.checkout("flowers", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "flowers")
    assert is_clean(clone)
    clone = connect(clone, tmp_path)
    clone.remotes.push()
    with Container(tmp_path / "there") as there:
        assert there.snapshots["flowers"].path("mine").read_bytes() == b"made without a connection"


def test_a_checkout_fetches_and_goes_on_once_the_remote_is_back(clone: Container, tmp_path: Path) -> None:
    clone.snapshots.checkout("flowers", tmp_path / "out", include=["1/**"])
    clone = cut_off(clone, tmp_path)
    clone.snapshots.checkout("flowers", tmp_path / "again", include=["1/**"])
    assert files_of(tmp_path / "again") == files_of(tmp_path / "out")
    with pytest.raises(RemoteUnavailable):
        clone.snapshots.checkout("flowers", tmp_path / "out")
    clone = connect(clone, tmp_path)
    clone.snapshots.checkout("flowers", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "flowers")


def test_gc_needs_no_remote_and_takes_only_what_no_name_leads_to(clone: Container, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_bytes(b"of the clone alone")
    clone.snapshots.save("mine", tmp_path / "other")
    (tmp_path / "other" / "file").write_bytes(b"of its second version")
    clone.snapshots.save("mine", tmp_path / "other")
    clone = cut_off(clone, tmp_path)
    clone.snapshots.forget("mine@1")
    assert clone.snapshots.gc().objects == 1
    assert clone.snapshots["mine"].path("file").read_bytes() == b"of its second version"
    assert is_clean(clone)
    clone = connect(clone, tmp_path)
    clone.snapshots.checkout("flowers", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "flowers")
    clone.close()
    # What was fetched is held as in the remote. A gc takes it with the last name that leads to it, here and not there.
    clone.snapshots.forget("flowers@1")
    clone.snapshots.forget("flowers@2")
    assert clone.snapshots.gc().objects == 41
    with Container(tmp_path / "there") as there:
        assert is_clean(there)
        assert there.snapshots.gc().objects == 0


def test_maintenance_needs_no_remote_and_loses_nothing_of_the_clone(clone: Container, tmp_path: Path) -> None:
    clone.snapshots.checkout("flowers", tmp_path / "out", include=["1/**"])
    mine = clone.insert_many([b"mine", b"mine too", noise(500, 100)])
    clone = cut_off(clone, tmp_path)
    (tmp_path / "out" / "mine").write_bytes(b"mine too")
    with clone.snapshots.edit("more") as draft:
        draft["file"] = b"mine too"
    # The third is a file of `flowers`, of which no page may be here; the second is one of `more`.
    assert clone.delete(mine) == mine
    assert clone.snapshots["more"].path("file").read_bytes() == b"mine too"
    clone.repack()
    clone.optimize()
    assert is_clean(clone)
    assert clone.snapshots["more"].path("file").read_bytes() == b"mine too"
    assert clone.repair_index().doubtful == ()
    clone = connect(clone, tmp_path)
    clone.snapshots.checkout("flowers", tmp_path / "all")
    assert files_of(tmp_path / "all") == files_of(tmp_path / "flowers")


def test_an_edit_reads_few_pages_and_is_pushed(clone: Container, tmp_path: Path) -> None:
    with clone.snapshots.edit("flowers") as draft:
        draft.copy("1", "copied")
        del draft["new"]
    clone.close()
    assert len(clone) == 0
    assert clone.repair_index().doubtful == ()
    assert next(clone.snapshots.log("flowers")).version == 3
    clone.remotes.push()
    with Container(tmp_path / "there") as there:
        there.snapshots.checkout("flowers", tmp_path / "out")
        assert is_clean(there)
    assert files_of(tmp_path / "out" / "copied") == files_of(tmp_path / "flowers" / "1")
    assert not (tmp_path / "out" / "new").exists()


def test_a_forgotten_version_comes_back_from_the_remote(clone: Container, tmp_path: Path) -> None:
    clone.snapshots.forget("flowers@1")
    clone.snapshots.gc()
    clone.snapshots.undo()
    clone.snapshots.checkout("flowers@1", tmp_path / "out")
    assert "new" not in files_of(tmp_path / "out")
    assert len(files_of(tmp_path / "out")) == 40


def test_a_pull_brings_what_the_names_lead_to(clone: Container, tmp_path: Path) -> None:
    clone.snapshots["flowers"].path("1/1.bin").read_bytes()
    assert clone.remotes.pull().names == ()
    clone.remotes.remove("origin")
    clone = cut_off(clone, tmp_path)
    assert is_clean(clone)
    clone.snapshots.checkout("flowers", tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "flowers")
    assert clone.snapshots.gc().objects == 0


def test_a_backup_has_what_is_here(clone: Container, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clone.snapshots.checkout("flowers", tmp_path / "out")
    clone.close()
    clone.backup(tmp_path / "backups", verify=True)
    assert "lazy clone" in caplog.text
    Container.restore(tmp_path / "backups", tmp_path / "restored")
    with Container(tmp_path / "restored") as restored:
        restored.snapshots.checkout("flowers", tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(tmp_path / "out")


def test_a_transfer_from_a_clone_brings_all(clone: Container, tmp_path: Path) -> None:
    with Container.create(tmp_path / "target") as target:
        target.transfer_from(tmp_path / "clone", refs=["flowers"])
        target.snapshots.checkout("flowers", tmp_path / "out")
        assert is_clean(target)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "flowers")
