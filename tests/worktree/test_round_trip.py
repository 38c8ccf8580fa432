"""There and back: any directory that is saved and checked out is the same, and its state says so."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsdos import Container
from rsdos.engine.publish import read_refs
from rsdos.trees.entry import Attributes
from rsdos.worktree.checkout import CheckoutOptions, checkout
from rsdos.worktree.checkout_rules import Obstacles, Unknown
from rsdos.worktree.options import Description, SaveOptions, StatusOptions, WhenMoved
from rsdos.worktree.save import SaveReport, save
from rsdos.worktree.status import StatusSummary, read_status
from tests.worktree.saving import Directory, File, Link, Things, read_back, with_parents

_NAMES = st.sampled_from([b"a", b"b", b"A", b"\xff", b"\xc3\xa9", b"n" * 255, b" ", b"a.b", b"a-", b"\n"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=4).map(b"/".join)
_THINGS = (
    st.builds(File, st.binary(max_size=20) | st.just(b"x" * 300), st.sampled_from([0o644, 0o755]), st.just(0))
    | st.builds(Link, st.sampled_from([b"a", b"../b", b"/nowhere", b"\xfe"]), st.just(0))
    | st.just(Directory())
)


def _without_collisions(things: dict[bytes, File | Link | Directory]) -> Things:
    """No path is below a file or a link."""
    full = with_parents(things)
    return {
        path: thing
        for path, thing in things.items()
        if all(
            isinstance(full[b"/".join(path.split(b"/")[:depth])], Directory) for depth in range(1, path.count(b"/") + 1)
        )
    }


_DIRECTORIES = st.dictionaries(_PATHS, _THINGS, max_size=12).map(_without_collisions)


def make(top: Path, things: Things) -> None:
    """Make a directory with these things."""
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    full = with_parents(things)
    for path in sorted(full, key=lambda path: path.count(b"/")):
        thing, own = full[path], os.fsencode(top) + b"/" + path
        if isinstance(thing, Directory):
            os.mkdir(own)
        elif isinstance(thing, Link):
            os.symlink(thing.target, own)
        else:
            Path(os.fsdecode(own)).write_bytes(thing.data)
            os.chmod(own, thing.mode)


def save_directory(container: Container, directory: Path, **options: object) -> SaveReport:
    return save(container.engine, SaveOptions(Description("flowers"), str(directory), **options))  # type: ignore[arg-type]


def status_of(container: Container, directory: Path) -> StatusSummary:
    with read_status(container.engine, StatusOptions(str(directory))) as status:
        changes = list(status)
    assert len(changes) == status.summary.added + status.summary.removed + status.summary.modified + status.summary.kind
    return status.summary


@settings(max_examples=40)
@given(_DIRECTORIES, _DIRECTORIES)
def test_any_directory_comes_back_as_it_was_and_leads_to_any_other(first: Things, second: Things) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with Container.create(place / "container") as container:
            for things in (first, second):
                make(place / "source", things)
                save_directory(container, place / "source", when_moved=WhenMoved.OVERRIDE)
            versions = [version.number for version in read_refs(container.engine)[0].branches["flowers"].versions]
            for number, things in ((versions[0], first), (versions[-1], second), (versions[0], first)):
                checkout(container.engine, CheckoutOptions(f"flowers@{number}", str(place / "new")))
                assert read_back(place / "new") == with_parents(things)
                summary = status_of(container, place / "new")
                assert (summary.added, summary.removed, summary.modified, summary.kind) == (0, 0, 0, 0)
                assert summary.read == 0
            # From whatever is there, if the user says so.
            make(place / "other", second)
            options = CheckoutOptions(
                f"flowers@{versions[0]}",
                str(place / "other"),
                obstacles=Obstacles.OVERWRITE,
                unknown=Unknown.DELETE,
            )
            checkout(container.engine, options)
            assert read_back(place / "other") == with_parents(first)


def test_what_is_changed_right_after_a_checkout_is_seen(container: Container, tmp_path: Path) -> None:
    make(tmp_path / "source", {b"a": File(b"1"), b"b": File(b"2"), b"d/c": File(b"3")})
    save_directory(container, tmp_path / "source")
    for name in (b"a", b"b", b"d/c"):
        new = tmp_path / f"new {len(name)} {name[-1]}"
        checkout(container.engine, CheckoutOptions("flowers", str(new)))
        own = os.fsencode(new) + b"/" + name
        before = os.stat(own)
        with open(own, "r+b") as file:
            file.write(b"X")  # Of the same size, in the same file, with the same mtime.
        os.utime(own, ns=(before.st_atime_ns, before.st_mtime_ns))
        summary = status_of(container, new)
        assert (summary.modified, summary.read) == (1, 1)


def test_a_part_that_was_checked_out_is_saved_as_that_part(container: Container, tmp_path: Path) -> None:
    things: Things = {b"train/a": File(b"1"), b"train/b": File(b"2"), b"test/c": File(b"3"), b"top": File(b"4")}
    make(tmp_path / "source", things)
    save_directory(container, tmp_path / "source")
    checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "part"), include=("train/**",)))
    checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "below"), under=b"test"))
    assert status_of(container, tmp_path / "part") == StatusSummary(unchanged=2)
    assert status_of(container, tmp_path / "below") == StatusSummary(unchanged=1)
    (tmp_path / "part" / "train" / "a").write_bytes(b"changed")
    (tmp_path / "part" / "train" / "b").unlink()
    save_directory(container, tmp_path / "part")
    checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "whole")))
    assert read_back(tmp_path / "whole") == with_parents(
        {b"train/a": File(b"changed"), b"test/c": File(b"3"), b"top": File(b"4")}
    )
    (tmp_path / "below" / "c").write_bytes(b"new")
    save_directory(container, tmp_path / "below", when_moved=WhenMoved.OVERRIDE)
    checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "whole")))
    assert (tmp_path / "whole" / "test" / "c").read_bytes() == b"new"
    assert (tmp_path / "whole" / "top").read_bytes() == b"4"


def test_a_saved_directory_goes_to_an_older_version_and_back_without_reading(
    container: Container, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    make(source, {b"a": File(b"1"), b"same": File(b"2")})
    for path in source.iterdir():
        os.utime(path, (0, 0))
    save_directory(container, source)
    (source / "a").write_bytes(b"edited")
    save_directory(container, source)
    checkout(container.engine, CheckoutOptions("flowers@1", str(source)))
    assert (source / "a").read_bytes() == b"1"
    checkout(container.engine, CheckoutOptions("flowers@2", str(source)))
    assert (source / "a").read_bytes() == b"edited"


@pytest.mark.parametrize("attributes", [Attributes.TIMES, Attributes.MODES, Attributes.TIMES | Attributes.MODES])
def test_times_and_modes_come_back(attributes: Attributes, container: Container, tmp_path: Path) -> None:
    source = tmp_path / "source"
    make(source, {b"d/a": File(b"1"), b"run": File(b"2", 0o755), b"l": Link(b"run")})
    (source / "d" / "a").chmod(0o640)
    (source / "d").chmod(0o750)
    os.utime(source / "d" / "a", ns=(5, 1_234_567_890_123_456_789))
    os.utime(source / "d", ns=(5, 987_654_321))
    saved = save_directory(container, source, attributes=attributes)
    checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new")))
    assert status_of(container, tmp_path / "new") == StatusSummary(unchanged=3)
    (tmp_path / "new").rename(tmp_path / "moved")
    again = save(container.engine, SaveOptions(Description("again"), str(tmp_path / "moved"), attributes=attributes))
    assert again.tree == saved.tree
