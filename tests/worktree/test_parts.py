"""Working directories that are a part of a tree: a save from one replaces what it covers, and keeps the rest."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container
from rsdos.errors import Conflicts, InvalidName, InvalidOption, RefMoved
from rsdos.trees.entry import Attributes
from rsdos.worktree.base import Base, selection_of, tree_of_state
from rsdos.worktree.checkout import CheckoutOptions, checkout, plan_checkout
from rsdos.worktree.options import Description, SaveOptions, ScanOptions
from rsdos.worktree.plan_save import plan_save
from rsdos.worktree.save import SavedChanges, SaveReport, save
from rsdos.worktree.state import read_state
from tests.worktree.trees import content_of, content_on_disk, saved, settle, status_and_summary, status_of, write

FILES = {
    "train/rose/1.jpg": b"1",
    "train/rose/2.jpg": b"2",
    "train/rose/notes.txt": b"n",
    "train/tulip/3.jpg": b"3",
    "test/4.jpg": b"4",
    "labels.csv": b"l",
}


@pytest.fixture
def whole(container: Container, tmp_path: Path) -> dict[str, object]:
    write(tmp_path / "whole", FILES)
    saved(container, tmp_path / "whole")
    return content_of(container, "flowers")


def checked_out(container: Container, to: Path, **options: Any) -> Path:
    report = checkout(container.engine, CheckoutOptions("flowers", str(to), **options))
    assert not report.conflicts and not report.failed
    return to


def test_a_part_that_did_not_change_changes_nothing(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    several: list[dict[str, Any]] = [{"include": ("train/rose/**",)}, {"exclude": ("*.txt",)}, {"under": b"train"}]
    several += [options | {"jobs": 2} for options in several]
    for number, options in enumerate(several):
        part = checked_out(container, tmp_path / f"part{number}", **options)
        assert status_of(container, part) == {}
        assert saved(container, part).unchanged


def test_a_save_of_what_patterns_chose_keeps_the_rest(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", include=("train/rose/*.jpg", "labels.csv"))
    assert content_on_disk(part).keys() == {"train", "train/rose", "train/rose/1.jpg", "train/rose/2.jpg", "labels.csv"}
    write(part, {"train/rose/1.jpg": b"one", "train/rose/5.jpg": b"5", "train/rose/new.txt": b"new"})
    (part / "train/rose/2.jpg").unlink()
    changes = {"train/rose/1.jpg": "modified", "train/rose/2.jpg": "removed", "train/rose/5.jpg": "added"}
    assert status_of(container, part) == changes | {"train/rose/new.txt": "added"}
    report = saved(container, part)
    expected = whole | {"train/rose/1.jpg": b"one", "train/rose/5.jpg": b"5", "train/rose/new.txt": b"new"}
    del expected["train/rose/2.jpg"]
    assert content_of(container, "flowers@2") == expected
    assert report.changed == SavedChanges(2, 1, 1)
    assert status_of(container, part) == {}
    assert saved(container, part).unchanged, "and the state still knows the patterns"
    settle(container, part)
    # Only what no pattern covers is read: the state has no row of it.
    assert status_and_summary(container, part)[1].read == 1


def test_a_covered_directory_that_is_gone_goes_unless_it_has_more_than_was_covered(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", include=("train/",), exclude=("*.txt",))
    for name in ("rose/1.jpg", "rose/2.jpg", "tulip/3.jpg"):
        (part / "train" / name).unlink()
    (part / "train/rose").rmdir()
    (part / "train/tulip").rmdir()
    saved(container, part)
    left = {"train", "train/rose", "train/rose/notes.txt", "test", "test/4.jpg", "labels.csv"}
    assert content_of(container, "flowers@2") == {name: whole[name] for name in left}


def test_a_file_in_a_new_directory_brings_the_directory(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", include=("*.jpg",))
    write(part, {"valid/6.jpg": b"6", "valid/other.csv": b"other"})
    saved(container, part)
    new = {"valid": None, "valid/6.jpg": b"6", "valid/other.csv": b"other"}
    assert content_of(container, "flowers@2") == whole | new


def test_a_directory_of_a_tree_is_saved_to_where_it_came_from(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", under=b"train/rose")
    write(part, {"1.jpg": b"one"})
    assert status_of(container, part) == {"1.jpg": "modified"}
    saved(container, part)
    assert content_of(container, "flowers@2") == whole | {"train/rose/1.jpg": b"one"}
    saved(container, part, "roses", at=".")
    assert content_of(container, "roses") == content_on_disk(part)


def test_two_parts_of_one_branch_do_not_disturb_each_other(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    rose = checked_out(container, tmp_path / "rose", under=b"train/rose")
    tulip = checked_out(container, tmp_path / "tulip", include=("train/tulip/**",))
    again = checked_out(container, tmp_path / "again", under=b"train/rose")
    write(rose, {"1.jpg": b"one"})
    write(tulip, {"train/tulip/3.jpg": b"three"})
    saved(container, rose)
    report = saved(container, tulip)
    assert report.version == 3 and report.stored.objects == 1
    assert content_of(container, "flowers") == whole | {"train/rose/1.jpg": b"one", "train/tulip/3.jpg": b"three"}
    write(again, {"2.jpg": b"two"})
    with pytest.raises(RefMoved):
        saved(container, again)
    os.utime(rose / "1.jpg", ns=(1, 1))
    write(rose, {"2.jpg": b"two"})
    assert saved(container, rose).version == 4


def as_planned(container: Container, part: Path, name: str = "flowers", **options: Any) -> SaveReport:
    """Save a directory; the plan has said what the report says."""
    described = SaveOptions(Description(name), str(part), **options)
    planned = plan_save(container.engine, described)
    report = save(container.engine, described)
    assert planned.changed == report.changed
    assert (planned.files, planned.size) == (report.files, report.size)
    assert planned.unchanged == report.unchanged
    return report


def rows_are_aligned(container: Container, part: Path) -> bool:
    """Whether the state has a row for each entry that it should have, of that entry."""
    settle(container, part)
    state = read_state(container.engine, str(part))
    assert state is not None
    with state:
        tree = tree_of_state(container.engine, state)
        base = Base(tree, state.head.under, state, selection_of(state))
        names = [listing.directory + b"/" + name for listing in base.listings() for name in listing.names]
        assert state.count == len(names)
    return True


@pytest.mark.parametrize("attributes", [Attributes.TIMES, Attributes.MODES])
def test_a_directory_that_stands_above_covered_entries_is_not_changed(
    container: Container, tmp_path: Path, attributes: Attributes
) -> None:
    write(tmp_path / "whole", FILES)
    (tmp_path / "whole/train").chmod(0o700)
    saved(container, tmp_path / "whole", attributes=attributes)
    part = checked_out(container, tmp_path / "part", include=("train/rose/*.jpg",))
    assert status_of(container, part) == {}
    assert as_planned(container, part).unchanged
    write(part, {"train/rose/new.txt": b"new"})
    report = as_planned(container, part)
    assert report.changed == SavedChanges(added=1)


def test_a_file_in_the_place_of_a_directory_that_was_left_out_is_refused(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", include=("labels.csv",))
    write(part, {"train": b"mine"})
    assert status_of(container, part) == {"train": "kind"}
    for do in (save, plan_save):
        with pytest.raises(InvalidOption, match="train"):
            do(container.engine, SaveOptions(Description("flowers"), str(part)))
    assert content_of(container, "flowers") == whole
    (part / "train").rename(part / "train.txt")
    as_planned(container, part)
    assert content_of(container, "flowers") == whole | {"train.txt": b"mine"}


def test_a_directory_of_which_all_was_covered_may_become_a_file(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", include=("train/tulip/",))
    shutil.rmtree(part / "train/tulip")
    write(part, {"train/tulip": b"mine"})
    as_planned(container, part)
    del whole["train/tulip/3.jpg"]
    assert content_of(container, "flowers") == whole | {"train/tulip": b"mine"}


def test_a_plan_counts_a_directory_that_stays_as_the_save_does_and_its_row_is_none(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", include=("train/",), exclude=("*.txt",))
    shutil.rmtree(part / "train/rose")
    report = as_planned(container, part)
    assert report.changed == SavedChanges(removed=2)
    assert rows_are_aligned(container, part)


@pytest.mark.parametrize("at", ["test", "train/rose", "new/place", "."])
def test_a_part_is_saved_to_another_place_as_planned(
    container: Container, whole: dict[str, object], tmp_path: Path, at: str
) -> None:
    part = checked_out(container, tmp_path / "part", include=("*.csv", "*.jpg"))
    write(part, {"other.txt": b"mine"})
    as_planned(container, part, at=at)
    assert status_of(container, part) == {}
    assert rows_are_aligned(container, part)


@pytest.mark.parametrize("at", ["labels.csv", "labels.csv/below", "../outside"])
def test_a_place_that_no_directory_can_have_is_refused_by_the_plan_too(
    container: Container, whole: dict[str, object], tmp_path: Path, at: str
) -> None:
    for do in (plan_save, save):
        with pytest.raises(InvalidName):
            do(container.engine, SaveOptions(Description("flowers"), str(tmp_path / "whole/test"), at))
    assert content_of(container, "flowers") == whole


def test_what_an_earlier_checkout_wrote_does_not_take_back_a_newer_version(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", include=("labels.csv",))
    checked_out(container, part, include=("test/**",))
    write(tmp_path / "whole", {"labels.csv": b"newer"})
    saved(container, tmp_path / "whole")
    write(part, {"test/4.jpg": b"four"})
    with pytest.raises(RefMoved):
        saved(container, part)
    assert content_of(container, "flowers") == whole | {"labels.csv": b"newer"}
    (part / "labels.csv").unlink()
    as_planned(container, part)
    assert content_of(container, "flowers") == whole | {"labels.csv": b"newer", "test/4.jpg": b"four"}


def test_patterns_of_a_save_remove_what_is_covered_and_keep_what_was_left_out(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", include=("train/rose/",))
    write(part, {"labels.csv": b"mine", "train/rose/x.tmp": b"x"})
    as_planned(container, part, scan=ScanOptions(exclude=("*.txt", "*.tmp", "*.csv")))
    del whole["train/rose/notes.txt"]
    assert content_of(container, "flowers") == whole
    assert rows_are_aligned(container, part)


def test_a_checkout_does_not_overwrite_what_was_made_in_a_part(
    container: Container, whole: dict[str, object], tmp_path: Path
) -> None:
    part = checked_out(container, tmp_path / "part", include=("labels.csv",))
    write(part, {"train": b"mine", "test/4.jpg": b"mine too", "test/mine": b"and this"})
    before = content_on_disk(part)
    found = plan_checkout(container.engine, CheckoutOptions("flowers", str(part))).conflicts
    assert [path for path, _ in found] == [b"train", b"test/4.jpg"]
    with pytest.raises(Conflicts):
        checkout(container.engine, CheckoutOptions("flowers", str(part)))
    assert content_on_disk(part) == before
