"""Transfer with branches and tags: what they lead to comes too, and no name changes its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, InvalidOption
from rsdos.engine.publish import publish, read_refs
from rsdos.errors import DamagedObject, RefExists, RefNotFound
from rsdos.maintenance import gc, tag, transfer
from rsdos.model import PackKind
from rsdos.trees.refs import Version
from tests.data import key_of
from tests.helpers import ABSENT, flip, manifest_of, native
from tests.snapshots.saving import TIME, save
from tests.snapshots.test_gc import copies_of, delete_keys, forget_named
from tests.snapshots.test_publish import FILES, assert_whole, fresh

NEXT = FILES | {"a.txt": b"next"}


@pytest.fixture
def source(tmp_path: Path) -> Container:
    container = Container.create(tmp_path / "source")
    container.insert_many([b"plain", FILES["a.txt"]])
    save(container.engine, "flowers", FILES)
    save(container.engine, "flowers", NEXT)
    save(container.engine, "trees", {"t": b"t"})
    tag.tag(container.engine, "v1", "flowers@1")
    return container


def moved(target: Container, source: Container, *refs: str, name: str = "") -> transfer.TransferReport:
    options = transfer.TransferOptions(refs=refs, name=name)
    engine = target.engine
    return transfer.execute(engine, transfer.plan(engine, source.engine, options))


def names(container: Container) -> list[str]:
    refs, _ = read_refs(fresh(container))
    return sorted(name for snapshot in refs.snapshots() for name in refs.names_of(snapshot))


def assert_same(target: Container, source: Container, ref: str, files: dict[str, bytes]) -> None:
    snapshot = read_refs(fresh(source))[0].find(ref)
    assert read_refs(fresh(target))[0].find(ref) == snapshot
    assert_whole(target, snapshot, files)
    assert Container(target.path).validate().is_good


def test_everything_comes_with_all_names(store: Container, source: Container) -> None:
    report = moved(store, source)
    assert [str(version) for version in report.names] == ["flowers@1", "flowers@2", "trees@1", "v1"]
    assert names(store) == names(source)
    assert_same(store, source, "flowers", NEXT)
    assert_same(store, source, "flowers@1", FILES)
    assert set(Container(store.path)) == set(Container(source.path))
    # What was inserted by key is so here, and is not held twice.
    assert copies_of(store, FILES["a.txt"]) == [PackKind.PLAIN]
    assert copies_of(store, b"plain") == [PackKind.PLAIN]
    assert copies_of(store, NEXT["a.txt"]) == [PackKind.HELD]
    refs = read_refs(fresh(store))[0]
    assert refs.branches["flowers"].versions[0] == Version(1, refs.find("flowers@1"), TIME)
    assert (refs.operation.verb, refs.number) == ("transfer", 1)


def test_once_more_nothing_is_new(store: Container, source: Container) -> None:
    moved(store, source)
    number = manifest_of(store.path).number
    report = moved(store, source)
    assert (report.names, report.objects) == ((), 0)
    assert manifest_of(store.path).number == number


def test_new_versions_follow(store: Container, source: Container) -> None:
    moved(store, source)
    save(source.engine, "flowers", {"only": b"this"})
    assert [str(version) for version in moved(store, source, "flowers").names] == ["flowers@3"]
    assert_same(store, source, "flowers", {"only": b"this"})


@pytest.mark.parametrize(
    ("ref", "wanted", "files"),
    [
        ("trees", ["trees@1"], {"t": b"t"}),
        ("flowers", ["flowers@1", "flowers@2"], NEXT),
        ("flowers@1", ["flowers@1"], FILES),
        ("v1", ["v1"], FILES),
    ],
)
def test_one_name_brings_what_it_leads_to_and_no_more(
    store: Container, source: Container, ref: str, wanted: list[str], files: dict[str, bytes]
) -> None:
    moved(store, source, ref)
    assert names(store) == wanted
    assert_same(store, source, ref, files)
    assert set(Container(store.path)) == {
        key_of(data) for data in (*files.values(), *(FILES.values() if ref == "flowers" else ()))
    }


def test_a_name_that_means_something_else_here_is_refused_before_anything_is_copied(
    store: Container, source: Container
) -> None:
    save(store.engine, "flowers", {"mine": b"mine"})
    tag.tag(store.engine, "v1", "flowers")
    number = manifest_of(store.path).number
    for refs in ((), ("flowers",), ("v1",), ("flowers@2",)):
        with pytest.raises(RefExists):
            moved(store, source, *refs)
    assert manifest_of(store.path).number == number
    moved(store, source, "flowers", name="theirs")
    assert names(store) == ["flowers@1", "theirs@1", "theirs@2", "v1"]
    moved(store, source, "v1", name="their-v1")
    assert read_refs(fresh(store))[0].tags["their-v1"] == read_refs(fresh(source))[0].find("v1")


def test_a_key_needs_a_name(store: Container, source: Container) -> None:
    key = read_refs(source.engine)[0].find("flowers@1")
    with pytest.raises(InvalidOption):
        moved(store, source, key)
    moved(store, source, key, name="first")
    assert_whole(store, read_refs(fresh(store))[0].find("first"), FILES)
    for ref in (ABSENT, "nobody"):
        with pytest.raises(RefNotFound):
            moved(store, source, ref, name="x")
    with pytest.raises(InvalidOption):
        moved(store, source, "flowers", "trees", name="x")


def test_what_is_taken_while_it_is_brought_is_copied_again(
    store: Container, source: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in the target, deleted there by key, and then published."""
    store.insert_many(FILES.values())
    real: Any = publish

    def hooked(*args: Any) -> Any:
        assert delete_keys(Container(store.path), *FILES.values()).deleted == len(FILES)
        return real(*args)

    monkeypatch.setattr("rsdos.maintenance.transfer_refs.publish", hooked)
    moved(store, source, "flowers@1")
    assert_same(store, source, "flowers@1", FILES)


def test_nothing_is_published_where_the_source_is_damaged(store: Container, source: Container) -> None:
    (copy,) = native(source.engine).index.refresh().find_all(bytes.fromhex(key_of(NEXT["a.txt"])))
    flip(Path(source.engine.layout.pack(copy.pack_id)), copy.offset)
    with pytest.raises(DamagedObject):
        moved(store, Container(source.path), "flowers")
    assert names(store) == []
    moved(store, Container(source.path), "flowers@1")
    assert names(store) == ["flowers@1"]
    gc.execute(store.engine, gc.plan(store.engine))
    assert_same(store, source, "flowers@1", FILES)


def test_version_1_takes_keys_only(source: Container, tmp_path: Path) -> None:
    old = Container.create(tmp_path / "old", container_version=1)
    with pytest.raises(InvalidOption, match="no snapshots"):
        moved(old, source)
    engine = old.engine
    options = transfer.TransferOptions(keys=[key_of(b"plain")])
    assert transfer.execute(engine, transfer.plan(engine, source.engine, options)).objects == 1
    with pytest.raises(InvalidOption):
        transfer.plan(engine, source.engine, transfer.TransferOptions([key_of(b"plain")], refs=["flowers"]))


def test_forgotten_versions_do_not_come(store: Container, source: Container) -> None:
    forget_named(source, "flowers@1", "v1")
    gc.execute(source.engine, gc.plan(source.engine))
    moved(store, source)
    assert names(store) == ["flowers@2", "trees@1"]
    assert_same(store, source, "flowers", NEXT)
