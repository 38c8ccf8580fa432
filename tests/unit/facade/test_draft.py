"""Drafts: a new version without a directory, and nothing without the end of the block."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from rsdos import Container, InvalidOption
from rsdos.errors import InvalidName, InvalidSource, ObjectNotFound, RefMoved, UnreadableSource
from rsdos.facade.draft import Draft
from tests.unit.facade.conftest import FILES


def files_of(container: Container, ref: str) -> dict[str, bytes]:
    snapshot = container.snapshots[ref]
    return dict(snapshot.extract_many(entry.path for entry in snapshot.walk() if entry.is_file))


def test_a_draft_is_one_version_with_the_old_one_as_its_parent(container: Container) -> None:
    before = container.snapshots["flowers"]
    with container.snapshots.edit("flowers") as draft:
        assert draft.base == before
        draft["a/b"] = b"new"
        draft["labels.csv"] = bytearray(b"changed")
        assert draft["a/b"] == b"new" and draft["train/rose/1.jpg"] == b"a rose" and "a" in draft
        del draft["train/rose"]
        assert "train/rose/1.jpg" not in draft and container.snapshots["flowers"] == before
        draft.message = "edited"
    after = container.snapshots["flowers"]
    assert draft.snapshot == after and after.parents == (before.key,) and after.message == "edited"
    assert files_of(container, "flowers@2") == {
        "a/b": b"new", "labels.csv": b"changed", "train/tulip/1.jpg": b"a tulip", "train/tulip/copy.jpg": b"a rose"
    }  # fmt: skip
    assert files_of(container, "flowers@1") == FILES


def test_an_exception_commits_nothing(container: Container) -> None:
    before = container.snapshots["flowers"]
    with pytest.raises(ZeroDivisionError):
        with container.snapshots.edit("flowers") as draft:
            draft["a"] = b"new"
            raise ZeroDivisionError
    assert container.snapshots["flowers"] == before and container.snapshots.branches() == {"flowers": [1]}
    with pytest.raises(InvalidOption, match="block"):
        draft["a"]


def test_a_discarded_draft_and_one_that_changes_nothing_make_no_version(container: Container) -> None:
    with container.snapshots.edit("flowers") as draft:
        draft["a"] = b"new"
        draft.discard()
    assert draft.snapshot is None
    with container.snapshots.edit("flowers") as draft:
        draft["labels.csv"] = FILES["labels.csv"]
    assert draft.snapshot == draft.base == container.snapshots["flowers@1"]
    assert container.snapshots.branches() == {"flowers": [1]}


def test_a_draft_outside_of_its_block_is_refused(container: Container) -> None:
    draft = container.snapshots.edit("flowers")
    for call in (lambda: draft["labels.csv"], draft.commit, draft.rebase, lambda: draft.make_directory("x")):
        with pytest.raises(InvalidOption):
            call()


def test_files_come_from_bytes_paths_and_streams(container: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"of a file")
    with container.snapshots.edit("new") as draft:
        draft["path"] = tmp_path / "file"
        draft["text"] = str(tmp_path / "file")
        draft["stream"] = io.BytesIO(b"of a stream")
        draft["view"] = memoryview(b"abc")[1:]
        (tmp_path / "file").unlink()
        assert (entry := draft.entry("path")) and entry.size == 9
    assert files_of(container, "new") == {
        "path": b"of a file", "text": b"of a file", "stream": b"of a stream", "view": b"bc"
    }  # fmt: skip
    assert container.snapshots["new"].parents == ()


def test_what_cannot_be_put_is_refused_and_the_rest_can_be_committed(container: Container) -> None:
    with container.snapshots.edit("flowers") as draft:
        for source, error in (("/nothing/there", UnreadableSource), (5, InvalidSource)):
            with pytest.raises(error):
                draft["x"] = source  # type: ignore[assignment]
        assert "x" not in draft
        draft["y"] = b"y"
    assert files_of(container, "flowers") == {**FILES, "y": b"y"}


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 256, "../x", "a/../b", "/".join("a" * 1025)])
def test_a_path_that_no_tree_can_have_is_refused(container: Container, path: str) -> None:
    with container.snapshots.edit("flowers") as draft:
        with pytest.raises(InvalidName):
            draft[path] = b"x"


def test_files_and_directories_are_not_put_in_each_others_place(container: Container) -> None:
    with container.snapshots.edit("flowers") as draft:
        with pytest.raises(IsADirectoryError):
            draft["train"] = b"x"
        with pytest.raises(NotADirectoryError):
            draft["labels.csv/x"] = b"x"
        with pytest.raises(FileExistsError):
            draft.make_directory("labels.csv")
        with pytest.raises(FileExistsError):
            draft.copy("train", "empty")
        with pytest.raises(InvalidOption):
            draft.rename("train", "train/below")
        for call in (
            lambda: draft.copy("nothing", "x"),
            lambda: draft["nothing"],
            lambda: draft.__delitem__("nothing"),
        ):
            with pytest.raises(KeyError):
                call()
        with pytest.raises(InvalidOption):
            draft.link("x", "")
    assert draft.snapshot == draft.base


def test_copies_and_renames_read_nothing_and_keep_everything(container: Container) -> None:
    with container.snapshots.edit("flowers") as draft:
        draft.set_executable("train/rose/1.jpg")
        draft.copy("train", "test/all")
        draft.rename("train/tulip", "tulips")
        draft.copy("labels.csv", "labels/2.csv")
    found = files_of(container, "flowers")
    rose = {name: data for name, data in FILES.items() if name.startswith("train/rose")}
    assert {name: data for name, data in found.items() if name.startswith("test/all/")} == {
        f"test/all/{name.removeprefix('train/')}": data for name, data in FILES.items() if name.startswith("train/")
    }
    assert found.items() >= rose.items() and found["tulips/1.jpg"] == b"a tulip" and "train/tulip/1.jpg" not in found
    snapshot = container.snapshots["flowers"]
    assert (entry := snapshot.entry("test/all/rose/1.jpg")) and entry.kind.name == "EXECUTABLE"
    assert (entry := snapshot.entry("test/all/up")) and entry.target == "../labels.csv"


def test_a_directory_that_is_removed_and_made_again_has_only_what_is_new(container: Container) -> None:
    with container.snapshots.edit("flowers") as draft:
        del draft["train"]
        draft["train/rose/9.jpg"] = b"nine"
        draft.make_directory("train/empty")
        assert [entry.path for entry in draft.walk("train")] == ["train/empty", "train/rose", "train/rose/9.jpg"]
    assert [entry.path for entry in container.snapshots["flowers"].walk("train")] == [
        "train/empty", "train/rose", "train/rose/9.jpg"
    ]  # fmt: skip


def test_a_second_draft_of_the_same_version_has_to_be_rebased(container: Container) -> None:
    with container.snapshots.edit("flowers") as mine:
        mine["mine"] = b"mine"
        del mine["train/tulip"]
        with container.snapshots.edit("flowers") as theirs:
            theirs["theirs"] = b"theirs"
            del theirs["train/tulip/1.jpg"]
        with pytest.raises(RefMoved):
            mine.commit()
        mine.rebase()
        assert mine["theirs"] == b"theirs" and "train/tulip" not in mine
    found = files_of(container, "flowers@3")
    assert found["mine"] == b"mine" and found["theirs"] == b"theirs" and "train/tulip/copy.jpg" not in found
    assert container.snapshots["flowers"].parents == (container.snapshots["flowers@2"].key,)


def test_a_draft_may_begin_with_another_snapshot(container: Container) -> None:
    with container.snapshots.edit("flowers") as draft:
        draft["a"] = b"a"
    with container.snapshots.edit("flowers", base="flowers@1") as draft:
        assert "a" not in draft
        draft["b"] = b"b"
    assert files_of(container, "flowers@3") == {**FILES, "b": b"b"}
    assert container.snapshots["flowers"].parents == (container.snapshots["flowers@2"].key,)


@pytest.mark.parametrize("count", [3, 2000])  # of one page, and of many, of which a draft reads two
def test_a_draft_of_what_a_gc_has_deleted_makes_no_version(container: Container, count: int) -> None:
    with container.snapshots.edit("data") as draft:
        draft.write_many((f"{at:04d}", b"old %d" % at) for at in range(count))
    with container.snapshots.edit("data") as draft:
        for entry in list(draft.listing()):
            del draft[entry.path]
        draft["other"] = b"new"
    with pytest.raises(ObjectNotFound):
        with container.snapshots.edit("data", base="data@1") as draft:
            draft["0000"] = b"changed"
            container.snapshots.forget("data@1")
            assert container.snapshots.gc().objects
            draft.commit()
    assert container.snapshots.branches()["data"] == [2]


def test_any_edits_give_what_a_dictionary_would_have(container: Container) -> None:
    """Random edits, many of them, against a model; then the tree that was edited equals one that was built anew."""
    rng = random.Random(19)
    model: dict[str, bytes] = {}
    paths = [f"{a}/{b}/{c}" for a in "xyz" for b in "pq" for c in "0123"]
    for _ in range(6):
        with container.snapshots.edit("random") as draft:
            for _ in range(40):
                edit(draft, model, rng, paths)
            assert {entry.path: draft[entry.path] for entry in draft.walk() if entry.is_file} == model
            assert dict(draft.read_many(model)) == model
        assert files_of(container, "random") == model
    with container.snapshots.edit("anew") as draft:
        for entry in container.snapshots["random"].walk():
            if entry.is_dir:
                draft.make_directory(entry.path)
        draft.write_many(sorted(model.items(), reverse=True))
    assert container.snapshots["anew"].tree == container.snapshots["random"].tree


def edit(draft: Draft, model: dict[str, bytes], rng: random.Random, paths: list[str]) -> None:
    path = rng.choice(paths)
    match rng.randrange(6):
        case 0 | 1 | 2:
            draft[path] = model[path] = rng.randbytes(3)
        case 3 if path in model:
            del draft[path], model[path]
        case 4 if path[:3] in draft:
            del draft[path[:3]]
            for name in [name for name in model if name.startswith(f"{path[:3]}/")]:
                del model[name]
        case 5 if path[:3] in draft and "copied/x" not in draft:
            draft.copy(path[:3], "copied/x")
            draft.rename("copied/x", "copied/y") if "copied/y" not in draft else draft.__delitem__("copied/x")
            if not any(name.startswith("copied/y/") for name in model):
                model |= {
                    f"copied/y{name[3:]}": data for name, data in model.items() if name.startswith(f"{path[:3]}/")
                }
