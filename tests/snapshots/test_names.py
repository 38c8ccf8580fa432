"""Tags, branches, forget and undo: each is one publication of refs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rsdos import Container, InvalidOption
from rsdos.engine.publish import newest_refs, read_refs
from rsdos.errors import InvalidName, RefExists, RefMoved, RefNotFound
from rsdos.maintenance import forget, gc, tag, undo
from rsdos.maintenance.forget import NamedVersion
from rsdos.trees.policy import Policy
from tests.helpers import ABSENT
from tests.snapshots.saving import save
from tests.snapshots.test_publish import FILES, assert_whole, fresh

OTHERS = {"t": b"t"}


def names(store: Container) -> list[str]:
    refs, _ = read_refs(fresh(store))
    return sorted(name for snapshot in refs.snapshots() for name in refs.names_of(snapshot))


def saved(store: Container, count: int = 3) -> list[str]:
    return [save(store.engine, "flowers", FILES | {"n": b"%d" % number}) for number in range(count)]


def forgotten(store: Container, *named: str, policy: Policy | None = None) -> forget.ForgetReport:
    return forget.execute(store.engine, forget.plan(store.engine, forget.ForgetOptions(named, policy)))


def undone(store: Container) -> undo.UndoReport:
    return undo.execute(store.engine, undo.plan(store.engine))


def collect(store: Container) -> None:
    gc.execute(store.engine, gc.plan(store.engine))


def test_a_tag_keeps_a_snapshot_that_its_branch_has_forgotten(store: Container) -> None:
    first, *_ = saved(store)
    tag.tag(store.engine, "v1", "flowers@1")
    forgotten(store, "flowers")
    collect(store)
    assert names(store) == ["v1"]
    assert_whole(store, first, FILES | {"n": b"0"})


def test_a_tag_that_exists_is_moved_only_if_that_is_said(store: Container) -> None:
    first, second, _ = saved(store)
    tag.tag(store.engine, "v1", "flowers@1")
    with pytest.raises(RefExists):
        tag.tag(store.engine, "v1", "flowers@2")
    with pytest.raises(RefExists):
        tag.tag(store.engine, "flowers", "flowers@2")
    assert read_refs(store.engine)[0].tags == {"v1": first}
    assert tag.tag(store.engine, "v1", "flowers@2", tag.Existing.MOVE).tags == {"v1": second}


def test_a_branch_begins_with_any_version(store: Container) -> None:
    first, *_ = saved(store)
    refs = tag.branch(store.engine, "more", "flowers@1")
    assert refs.find("more@1") == first
    with pytest.raises(RefExists):
        tag.branch(store.engine, "flowers", "more")
    save(store.engine, "more", OTHERS)
    assert names(store) == ["flowers@1", "flowers@2", "flowers@3", "more@1", "more@2"]


@pytest.mark.parametrize("make", [tag.tag, tag.branch])
def test_a_name_is_given_to_nothing_else(store: Container, make: Callable[..., Any]) -> None:
    saved(store, 1)
    for ref in ("flowers@2", "nobody", ABSENT):
        with pytest.raises(RefNotFound):
            make(store.engine, "v1", ref)
    with pytest.raises(InvalidName):
        make(store.engine, "no//name", "flowers")
    assert names(store) == ["flowers@1"]


def test_a_snapshot_is_named_by_its_key_as_long_as_it_is_whole(store: Container) -> None:
    first, second, _ = saved(store)
    forgotten(store, "flowers@1", "flowers@2")
    tag.tag(store.engine, "v1", first)
    collect(store)
    assert_whole(store, first, FILES | {"n": b"0"})
    with pytest.raises(RefNotFound):
        tag.tag(store.engine, "v2", second)


def test_a_snapshot_that_gc_takes_while_it_is_named_is_refused(
    store: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lookup has found it whole; the publication finds another epoch, and looks again."""
    first, *_ = saved(store)
    forgotten(store, "flowers@1")
    real = tag.need_whole
    runs: list[str] = []

    def hooked(*args: Any) -> None:
        real(*args)
        if not runs:
            runs.append("gc")
            collect(Container(store.path))

    monkeypatch.setattr(tag, "need_whole", hooked)
    with pytest.raises(RefNotFound):
        tag.tag(store.engine, "v1", first)
    assert names(store) == ["flowers@2", "flowers@3"]


# Forget.


def test_versions_are_forgotten_by_name(store: Container) -> None:
    keys = saved(store)
    tag.tag(store.engine, "v1", "flowers@2")
    report = forgotten(store, "flowers@1", "v1")
    assert report.forgotten == (
        NamedVersion("flowers", 1, keys[0], "named"),
        NamedVersion("v1", None, keys[1], "named"),
    )
    assert names(store) == ["flowers@2", "flowers@3"]
    assert forgotten(store, "flowers").forgotten[0].version == 2
    assert names(store) == []
    saved(store, 1)
    assert names(store) == ["flowers@4"]


def test_a_policy_keeps_the_newest_and_what_has_a_tag(store: Container) -> None:
    saved(store, 4)
    tag.tag(store.engine, "v1", "flowers@2")
    report = forgotten(store, "flowers", policy=Policy(last=1))
    assert [str(version) for version in report.forgotten] == ["flowers@3", "flowers@1"]
    assert [str(version) for version in report.kept] == ["flowers@4", "flowers@2"]
    assert all(version.reason for version in report.kept)
    assert names(store) == ["flowers@2", "flowers@4", "v1"]


def test_what_cannot_be_forgotten_is_said_before_anything_is(store: Container) -> None:
    (key,) = saved(store, 1)
    tag.tag(store.engine, "v1", "flowers")
    for named in (["flowers@1", "nobody"], [key], ["flowers@9"]):
        with pytest.raises(RefNotFound):
            forgotten(store, *named)
    with pytest.raises(InvalidOption, match="policy"):
        forgotten(store, "v1", policy=Policy(last=1))
    with pytest.raises(InvalidOption):
        forgotten(store)
    assert names(store) == ["flowers@1", "v1"]


def test_what_others_have_forgotten_since_the_plan_is_left_out(store: Container) -> None:
    saved(store)
    plan = forget.plan(store.engine, forget.ForgetOptions(["flowers@1", "flowers@2"]))
    forgotten(store, "flowers@1")
    save(store.engine, "flowers", OTHERS)
    assert [str(version) for version in forget.execute(store.engine, plan).forgotten] == ["flowers@2"]
    assert names(store) == ["flowers@3", "flowers@4"]
    number = read_refs(store.engine)[0].number
    assert forget.execute(store.engine, plan).forgotten == ()
    assert read_refs(store.engine)[0].number == number


# Undo.


def test_undo_brings_back_what_was_forgotten_and_undone_again_forgets_it(store: Container) -> None:
    keys = saved(store)
    forgotten(store, "flowers@1")
    report = undone(store)
    assert (report.operation.verb, report.restored, report.forgotten) == (
        "forget",
        (NamedVersion("flowers", 1, keys[0]),),
        (),
    )
    assert names(store) == ["flowers@1", "flowers@2", "flowers@3"]
    assert [str(version) for version in undone(store).forgotten] == ["flowers@1"]
    assert names(store) == ["flowers@2", "flowers@3"]


def test_undo_of_a_save_takes_its_version_away_and_its_number_stays(store: Container) -> None:
    saved(store, 1)
    undone(store)
    assert names(store) == []
    saved(store, 1)
    assert names(store) == ["flowers@2"]


def test_undo_refuses_by_name_what_gc_has_taken(store: Container) -> None:
    saved(store)
    forgotten(store, "flowers@1")
    plan = undo.plan(store.engine)
    collect(store)
    with pytest.raises(RefNotFound, match="flowers@1"):
        undo.plan(store.engine)
    with pytest.raises(RefNotFound, match="flowers@1"):
        undo.execute(store.engine, plan)


def test_undo_undoes_what_was_planned_and_nothing_else(store: Container) -> None:
    saved(store)
    plan = undo.plan(store.engine)
    save(store.engine, "trees", OTHERS)
    with pytest.raises(RefMoved):
        undo.execute(store.engine, plan)
    assert "trees@1" in names(store)


def test_where_nothing_was_saved_there_is_nothing_to_undo(store: Container) -> None:
    with pytest.raises(InvalidOption, match="nothing to undo"):
        undo.plan(store.engine)
    saved(store, 1)
    assert newest_refs(store.engine).refs.previous == ""
