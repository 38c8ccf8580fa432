"""Inner pages of trees that are lost: a repair makes them anew from the pages below them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from rsdos import Container
from rsdos.errors import DamagedTree
from rsdos.maintenance.repair import objects as repair_objects
from rsdos.maintenance.repair.objects import PAGES, RepairObjectsOptions, RepairObjectsReport, Unrepairable
from rsdos.trees.page import Inner, Leaf, decode_page
from tests.data import key_of
from tests.snapshots.saving import Files, pages_of, save
from tests.snapshots.test_damage import damage, drop, validated
from tests.snapshots.test_publish import assert_whole, fresh

MANY = {f"dir/{number:05d}": b"%d" % number for number in range(1500)}
NEXT = MANY | {"dir/00700": b"other", "dir/new": b"new"}


def root_of(files: Files) -> str:
    """Return the key of the root page, which leads to leaves."""
    root, pages = pages_of(files)
    page = next(page for page in pages if key_of(page) == root.key.hex())
    assert isinstance(decode_page(page), Inner)
    return root.key.hex()


def leaf_of(files: Files) -> str:
    _, pages = pages_of(files)
    return key_of(pages[0])


def repaired(store: Container, beyond_help: Unrepairable = Unrepairable.KEEP) -> RepairObjectsReport:
    engine = fresh(store)
    return repair_objects.execute(engine, repair_objects.plan(engine, RepairObjectsOptions(beyond_help=beyond_help)))


@pytest.mark.parametrize("lose", [damage, drop])
@pytest.mark.parametrize("files", [MANY, NEXT], ids=["older", "newer"])
def test_a_lost_inner_page_is_made_anew(store: Container, lose: Callable[..., None], files: Files) -> None:
    snapshots = {save(store.engine, "flowers", version): version for version in (MANY, NEXT)}
    lose(store, root_of(files))
    assert not validated(store).is_good
    report = repaired(store, Unrepairable.QUARANTINE)
    assert [(one.key, one.source) for one in report.repaired] == [(root_of(files), PAGES)]
    assert report.is_good
    assert validated(store, "full").is_good
    for snapshot, version in snapshots.items():
        assert_whole(store, snapshot, version)


def test_pages_of_all_versions_at_once(store: Container) -> None:
    save(store.engine, "flowers", MANY)
    damage(store, root_of(MANY))
    snapshot = save(store.engine, "trees", NEXT)
    damage(store, root_of(NEXT))
    report = repaired(store)
    assert {one.key for one in report.repaired} == {root_of(MANY), root_of(NEXT)}
    assert validated(store, "full").is_good
    assert_whole(store, snapshot, NEXT)


def test_a_page_that_was_inserted_by_its_key_as_well_is_still_listed(store: Container) -> None:
    """Else gc would take it with the snapshot."""
    save(store.engine, "flowers", MANY)
    _, pages = pages_of(MANY)
    store.insert_many([page for page in pages if key_of(page) == root_of(MANY)])
    damage(store, root_of(MANY))
    assert [one.source for one in repaired(store).repaired] == [PAGES]
    assert root_of(MANY) in list(Container(store.path))
    assert validated(store, "full").is_good


def test_a_lost_leaf_cannot_be_made_anew_nor_what_leads_to_it(store: Container) -> None:
    save(store.engine, "flowers", MANY)
    damage(store, leaf_of(MANY))
    damage(store, root_of(MANY))
    report = repaired(store)
    assert not report.repaired
    assert root_of(MANY) in {one.key for one in report.beyond_help}


def test_a_page_that_no_live_snapshot_leads_to_is_not_made_anew(store: Container) -> None:
    key = store.insert_many([pages_of(MANY)[1][-1]])[0]
    save(store.engine, "flowers", {"a": b"a"})
    damage(store, key)
    report = repaired(store)
    assert [one.key for one in report.beyond_help] == [key]


@pytest.mark.parametrize("lost", [0, 1], ids=["with the directory itself", "between"])
@pytest.mark.parametrize("form", ["tar", "list"])
def test_an_export_of_what_is_left_and_an_import_make_a_whole_version(
    store: Container, form: Literal["tar", "list"], lost: int
) -> None:
    """What a command of its own would do: ADR 50. The lost range is named, and the other files keep their names."""
    damaged = save(store.engine, "flowers", MANY)
    leaf = pages_of(MANY)[1][lost]
    page = decode_page(leaf)
    assert isinstance(page, Leaf)
    drop(store, key_of(leaf))
    archive = io.BytesIO()
    snapshots = Container(store.path).snapshots
    with pytest.raises(DamagedTree):
        snapshots.export("flowers", io.BytesIO(), format=form)
    (failed,) = snapshots.export("flowers", archive, format=form, keep_going=True).failed
    assert f"up to 'dir/{98 + 100 * lost:05}', are lost" in failed.reason
    archive.seek(0)
    report = snapshots.import_archive("flowers", archive, format=form, derived_from=[damaged])
    names = {b"dir/" + name for run in page.runs for name in run.names}
    left = {path: data for path, data in MANY.items() if path.encode() not in names}
    assert (report.version, report.files) == (2, len(left)) and len(left) > 1300
    assert_whole(store, report.snapshot, left)


DEEP = {f"{top}/d{name:03}/{number}": b"%d" % number for top in "ab" for name in range(300) for number in (0, 1)}
"""Files in 600 directories, whose entries are in pages before those of the files."""


@pytest.mark.parametrize(("lost", "under"), [(0, ""), (1, ""), (1, "a"), (5, ""), (8, "")])
def test_a_checkout_has_what_is_below_directories_whose_entries_are_lost(
    store: Container, tmp_path: Path, lost: int, under: str
) -> None:
    save(store.engine, "flowers", DEEP)
    leaf = pages_of(DEEP)[1][lost]
    page = decode_page(leaf)
    assert isinstance(page, Leaf)
    drop(store, key_of(leaf))
    snapshots = Container(store.path).snapshots
    report = snapshots.checkout(f"flowers:{under}", tmp_path / "left", keep_going=True)
    assert len(report.failed) == 1 and "are lost" in report.failed[0].reason
    gone = {b"/".join((run.directory, name)).decode() for run in page.runs for name in run.names}
    left = {path: data for path, data in DEEP.items() if path not in gone and path.startswith(under)}
    top = tmp_path / "left"
    found = [path for path in top.rglob("*") if path.is_file()]
    assert {os.path.join(under, path.relative_to(top)): path.read_bytes() for path in found} == left
    saved = snapshots.save("rest", top)
    assert saved.files == len(left)
    again = snapshots.checkout(f"flowers:{under}", top, keep_going=True)
    assert (again.written, again.removed, again.conflicts) == (0, 0, ())
