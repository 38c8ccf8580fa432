"""Checkouts of what a stranger has made, in directories that others change, and on odd or full file systems."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import DamagedObject, DamagedTree
from rsdos.model import FRAME_SIZE, PackKind, Place
from rsdos.storage import syscalls
from rsdos.trees.entry import Attributes, EntryKind, Listing
from rsdos.trees.page import encode_leaf
from rsdos.worktree.checkout import CheckoutOptions, checkout, execute_checkout, plan_checkout
from rsdos.worktree.checkout_files import APPEARED, CHANGED, OnDamage
from rsdos.worktree.checkout_links import TreeLinks, leads_inside
from rsdos.worktree.checkout_rules import Obstacles, Unknown
from tests.data import noise
from tests.helpers import flip, writable_as_nobody
from tests.odd.places import place_on
from tests.odd.test_file_systems import had
from tests.worktree.saving import File, Link, Things, publish_root, read_back, save, with_parents


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that nothing may touch."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "a").write_bytes(b"theirs")
    return made


def publish_leaf(container: Container, listings: list[Listing]) -> None:
    """Publish a tree of one page that nobody has checked."""
    page = encode_leaf(listings, Attributes.NONE)
    root = container.engine.objects.hash.digest_of(page)
    publish_root(container, "flowers", root, [page], 2, 1)


def one(
    directory: bytes, name: bytes, kind: EntryKind, size: int = 0, key: bytes = b"", target: bytes = b""
) -> Listing:
    return Listing(directory, [name], bytes([kind]), [size], [key], [target])


def test_a_file_below_a_link_is_damage_and_nothing_is_written(
    container: Container, tmp_path: Path, outside: Path
) -> None:
    key = bytes.fromhex(container.insert(b"evil", to=Place.PACKED))
    for kind in (EntryKind.LINK, EntryKind.FILE):
        target = os.fsencode(outside) if kind is EntryKind.LINK else b""
        first = one(b"", b"d", kind, len(target) if target else 4, b"" if target else key, target)
        publish_leaf(container, [first, one(b"d", b"a", EntryKind.FILE, 4, key)])
        for on_damage in OnDamage:
            with pytest.raises(DamagedTree):
                checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new"), on_damage=on_damage))
        assert not (tmp_path / "new").exists()
    assert read_back(outside) == {b"a": File(b"theirs")}


@pytest.mark.parametrize("name", [b"..", b".", b"../a", b"/etc/passwd", b"a\0b", b""])
def test_names_that_lead_out_are_damage(name: bytes, container: Container, tmp_path: Path) -> None:
    key = bytes.fromhex(container.insert(b"evil", to=Place.PACKED))
    publish_leaf(container, [one(b"", name, EntryKind.FILE, 4, key)])
    with pytest.raises(DamagedTree):
        checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new" / "in")))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("size", [0, 5, 3 * FRAME_SIZE])
@pytest.mark.parametrize("content", [b"four", noise(2 * FRAME_SIZE, 1)], ids=["small", "large"])
def test_a_size_that_is_not_that_of_the_object_is_damage(
    size: int, content: bytes, container: Container, tmp_path: Path
) -> None:
    (key,) = container.engine.objects.insert_many([content], to=Place.PACKED, kind=PackKind.HELD)
    publish_leaf(container, [one(b"", b"a", EntryKind.FILE, size, bytes.fromhex(key))])
    with pytest.raises(DamagedObject):
        checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new")))
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("directory", "target", "is_inside"),
    [
        (b"", b"a", True),
        (b"", b"a/b/../c", False),
        (b"", b"..", False),
        (b"d", b"..", True),
        (b"d", b"./../a", True),
        (b"d/e", b"../../a", True),
        (b"d/e", b"../../../a", False),
        (b"d/e", b"/a", False),
        (b"d/e", b"x/../../../..", False),
        (b"d", b"..a/b..", True),
    ],
)
def test_a_link_leads_inside_only_if_that_is_certain(directory: bytes, target: bytes, is_inside: bool) -> None:
    assert leads_inside(directory, target) is is_inside


def test_links_that_lead_inside_never_lead_out_together(container: Container, tmp_path: Path, outside: Path) -> None:
    # Each by itself leads inside by its text; the second one would lead out through the first.
    things: Things = {b"a/b/c/top": Link(b"../../.."), b"a/b/c/out": Link(b"top/../outside/a")}
    save(container, "flowers", things)
    checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new"), links=TreeLinks.INSIDE))
    for path in (tmp_path / "new").rglob("*"):
        assert path.resolve().is_relative_to((tmp_path / "new").resolve()), path


# What others do at the same time: after the plan, before the work.


def _edit(new: Path, outside: Path) -> None:
    (new / "a").write_bytes(b"edited")


def _appear(new: Path, outside: Path) -> None:
    (new / "new").write_bytes(b"appeared")


def _exchange(new: Path, outside: Path) -> None:
    (new / "d" / "a").unlink()
    (new / "d").rmdir()
    (new / "d").symlink_to(outside)


@pytest.mark.parametrize("change", [_edit, _appear, _exchange])
def test_what_changes_behind_the_plan_is_a_conflict_and_stays(
    change: Callable[[Path, Path], None], container: Container, tmp_path: Path, outside: Path
) -> None:
    save(container, "flowers", {b"a": b"1", b"d/a": b"2"})
    save(container, "flowers", {b"a": b"one", b"d/a": b"two", b"new": b"3", b"z": b"4"})
    new = tmp_path / "new"
    checkout(container.engine, CheckoutOptions("flowers@1", str(new)))
    plan = plan_checkout(container.engine, CheckoutOptions("flowers", str(new)))
    change(new, outside)
    before = read_back(new)
    report = execute_checkout(container.engine, plan)
    (conflict,) = {path for path, _ in report.conflicts}
    assert read_back(new)[conflict] == before[conflict]
    assert (new / "z").read_bytes() == b"4"
    assert read_back(outside) == {b"a": File(b"theirs")}


def test_what_changes_between_the_look_and_the_rename_is_not_replaced(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(container, "flowers", {b"a": b"1"})
    save(container, "flowers", {b"a": b"one", b"new": b"2"})
    new = tmp_path / "new"
    checkout(container.engine, CheckoutOptions("flowers@1", str(new)))
    real = os.open

    def opened(path: object, flags: int, *arguments: object, **others: object) -> int:
        if flags & os.O_EXCL and b".rsdos-tmp-" in os.fsencode(path):  # type: ignore[arg-type]
            (new / "a").write_bytes(b"X")
            (new / "new").write_bytes(b"theirs")
        return real(path, flags, *arguments, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", opened)
    report = checkout(container.engine, CheckoutOptions("flowers", str(new)))
    assert sorted(report.conflicts) == [(b"a", CHANGED), (b"new", APPEARED)]
    assert read_back(new) == {b"a": File(b"X"), b"new": File(b"theirs")}


def test_a_directory_that_is_exchanged_for_a_link_is_not_followed(
    container: Container, tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(container, "flowers", {b"d/a": b"1", b"e/a": b"2"})
    new = tmp_path / "new"
    real = os.open

    def opened(path: object, flags: int, *arguments: object, **others: object) -> int:
        if flags & os.O_EXCL and b".rsdos-tmp-" in os.fsencode(path) and not (new / "e").is_symlink():  # type: ignore[arg-type]
            (new / "e").rmdir()
            (new / "e").symlink_to(outside)
        return real(path, flags, *arguments, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", opened)
    report = checkout(container.engine, CheckoutOptions("flowers", str(new), on_damage=OnDamage.CONTINUE))
    assert [path for path, _ in report.failed] == [b"e/a"]
    assert (new / "d" / "a").read_bytes() == b"1"
    assert read_back(outside) == {b"a": File(b"theirs")}


# Damage.


def test_behind_a_damaged_page_the_rest_is_written_and_the_range_is_named(container: Container, tmp_path: Path) -> None:
    things: Things = {b"d%d/%04d" % (n % 3, n): b"%d" % (n % 7) for n in range(6000)}
    save(container, "flowers", things)
    plan = plan_checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new")))
    pages = [child.key for child in plan.tree.tree.pages.root_page().children]  # type: ignore[union-attr]
    extent = container.meta(pages[len(pages) // 2].hex()).extent
    assert extent is not None
    checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "whole")))
    flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset)
    with pytest.raises(DamagedTree):
        checkout(container.engine, CheckoutOptions("flowers", str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()
    options = CheckoutOptions("flowers", str(tmp_path / "new"), on_damage=OnDamage.CONTINUE)
    report = checkout(container.engine, options)
    there = {path: thing for path, thing in read_back(tmp_path / "new").items() if isinstance(thing, File)}
    assert 0 < len(there) < 6000
    assert there.items() <= with_parents(things).items()
    assert report.failed
    # What is there already is not removed where the tree may have it in what is lost.
    options = CheckoutOptions("flowers", str(tmp_path / "whole"), on_damage=OnDamage.CONTINUE, unknown=Unknown.DELETE)
    assert checkout(container.engine, options).removed == 0
    assert read_back(tmp_path / "whole") == with_parents(things)


# File systems.


def test_two_names_that_the_file_system_takes_for_one_are_a_conflict_of_the_second(tmp_path: Path) -> None:
    with had(place_on("exFAT", tmp_path)) as place, Container.create(tmp_path / "container") as container:
        save(container, "flowers", {b"README": b"1", b"Readme": b"2", b"d/x": b"3", b"D/y": b"4", b"other": b"5"})
        report = checkout(container.engine, CheckoutOptions("flowers", str(place / "new")))
        found = {path: thing.data for path, thing in read_back(place / "new").items() if isinstance(thing, File)}
        assert found == {b"README": b"1", b"D/y": b"4", b"other": b"5"}
        assert {path for path, _ in report.conflicts} == {b"Readme", b"d"}


def test_a_new_name_replaces_nothing_where_the_system_has_no_such_rename(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        for rename in (syscalls.rename_new, syscalls.rename_by_link, syscalls.rename_by_question):
            (tmp_path / "from").write_bytes(b"1")
            (tmp_path / "to").write_bytes(b"2")
            with pytest.raises(FileExistsError):
                rename(b"from", b"to", fd)
            assert ((tmp_path / "from").read_bytes(), (tmp_path / "to").read_bytes()) == (b"1", b"2")
            (tmp_path / "to").unlink()
            rename(b"from", b"to", fd)
            assert [path.name for path in tmp_path.iterdir()] == ["to"]
    finally:
        os.close(fd)


@pytest.mark.skipif(not writable_as_nobody(), reason="needs root")
def test_a_full_disk_is_an_error_and_the_same_command_goes_on_when_there_is_space(
    container: Container, tmp_path: Path
) -> None:
    things: Things = {b"d%d/%d" % (n % 4, n): noise(30_000, n) for n in range(60)}
    save(container, "flowers", things)
    place = tmp_path / "place"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "none", place], capture_output=True).returncode:
        pytest.skip("cannot mount")
    try:
        with pytest.raises(OSError, match="No space left"):
            checkout(container.engine, CheckoutOptions("flowers", str(place / "new")))
        left = read_back(place / "new")
        assert 5 < len(left) < 60
        assert left.items() <= with_parents(things).items()
        subprocess.run(["mount", "-o", "remount,size=8M", place], check=True)
        report = checkout(container.engine, CheckoutOptions("flowers", str(place / "new")))
        assert read_back(place / "new") == with_parents(things)
        assert report.adopted + report.written == 60
        assert report.adopted >= 5
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(not writable_as_nobody(), reason="needs root")
def test_force_and_delete_never_leave_the_directory(container: Container, tmp_path: Path, outside: Path) -> None:
    new = tmp_path / "new"
    save(container, "flowers", {b"a": b"1"})
    new.mkdir()
    (new / "link").symlink_to(outside)
    (new / "d").mkdir()
    (new / "d" / "up").symlink_to("../../outside")
    options = CheckoutOptions("flowers", str(new), obstacles=Obstacles.OVERWRITE, unknown=Unknown.DELETE)
    checkout(container.engine, options)
    assert read_back(new) == {b"a": File(b"1")}
    assert read_back(outside) == {b"a": File(b"theirs")}
