"""Damage to snapshots: what validation says of it, and what repair makes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container, Durability
from rsdos.engine.engine import Engine
from rsdos.engine.publish import NewestRefs, newest_refs, publish, read_refs
from rsdos.errors import DamagedContainer, DamagedTree
from rsdos.maintenance import gc, tag
from rsdos.maintenance.check import validate
from rsdos.maintenance.repair import index as repair_index
from rsdos.model import PackKind, Place
from rsdos.trees.build import TreeRoot
from rsdos.trees.entry import Attributes, listings_of
from rsdos.trees.page import Child, encode_inner, encode_leaf
from rsdos.trees.refs_document import encode_refs
from tests.data import key_of, text
from tests.helpers import flip, manifest_of, native
from tests.snapshots.saving import BY, TIME, Files, entries_of, pages_of, record_of, save
from tests.snapshots.test_gc import forget_named
from tests.snapshots.test_publish import FILES, assert_whole, fresh

NEXT = FILES | {"a.txt": b"next", "new": text(2000, 9)}
MANY = {f"dir/{number:05d}": b"%d" % number for number in range(1500)}
"""Several pages."""


def damage(store: Container, key: str) -> None:
    """Flip a bit in every copy of an object."""
    for copy in native(fresh(store)).index.refresh().find_all(bytes.fromhex(key)):
        flip(Path(store.engine.layout.pack(copy.pack_id)), copy.offset + copy.length // 2)


def drop(store: Container, *keys: str) -> None:
    """Take objects out of the index, as no operation does: a bug, or a lost pack."""
    packed = native(fresh(store))
    from rsdos.stores.packed.delete import write_tombstones

    copies = packed.index.refresh().live_copies([bytes.fromhex(key) for key in keys])
    write_tombstones(packed.context, Durability.FULL, copies)


def validated(store: Container, depth: str = "quick") -> validate.ValidateReport:
    return Container(store.path).validate(depth)


def repaired(store: Container) -> repair_index.RepairIndexReport:
    engine = fresh(store)
    return repair_index.execute(engine, repair_index.plan(engine))


def lose_manifests(store: Container) -> None:
    for path in (store.path / "index").glob("manifest-*"):
        path.unlink()


@pytest.mark.parametrize("depth", ["quick", "full"])
def test_whole_snapshots_have_no_findings(store: Container, depth: str) -> None:
    save(store.engine, "flowers", MANY)
    save(store.engine, "flowers", MANY | {"dir/x": b"x"})
    save(store.engine, "trees", FILES)
    assert validated(store, depth).is_good


def test_a_missing_file_is_named_with_its_path(store: Container) -> None:
    save(store.engine, "flowers", MANY)
    drop(store, key_of(b"77"))
    report = validated(store)
    assert [(one.key, one.reason) for one in report.damaged] == [
        (key_of(b"77"), "flowers@1: dir/00077 is in no pack, and needed")
    ]


def test_a_missing_or_damaged_page_is_named_with_what_is_lost(store: Container) -> None:
    save(store.engine, "flowers", MANY)
    leaf = key_of(pages_of(MANY)[1][0])
    drop(store, leaf)
    (found,) = [one for one in validated(store).damaged if one.key == leaf]
    assert "flowers@1" in found.reason
    assert "are lost" in found.reason


def test_a_flipped_bit_in_a_page_is_found(store: Container) -> None:
    save(store.engine, "flowers", MANY)
    root = pages_of(MANY)[0].key.hex()
    damage(store, root)
    assert root in {one.key for one in validated(store).damaged}


@pytest.mark.parametrize("what", ["snapshot", "document"])
def test_a_missing_snapshot_or_document_is_found(store: Container, what: str) -> None:
    snapshot = save(store.engine, "flowers", FILES)
    key = {"snapshot": snapshot, "document": manifest_of(store.path).refs}[what]
    drop(store, key)
    assert key in {one.key for one in validated(store).damaged}


def in_two_leaves(files: Files) -> tuple[TreeRoot, list[bytes]]:
    """The tree of some files, its page cut in two where no release cuts it."""
    listings = list(listings_of(entries_of(files), Attributes.NONE))
    leaves = [encode_leaf(part, Attributes.NONE) for part in (listings[:1], listings[1:])]
    children = [
        Child(
            0,
            part[-1].directory,
            part[-1].names[-1],
            b"",
            b"",
            sum(len(listing.names) for listing in part),
            sum(sum(listing.sizes) for listing in part),
            bytes.fromhex(key_of(leaf)),
        )
        for part, leaf in zip((listings[:1], listings[1:]), leaves, strict=True)
    ]
    root = encode_inner(1, children, Attributes.NONE)
    return pages_of(files)[0]._replace(key=bytes.fromhex(key_of(root))), [*leaves, root]


def test_a_tree_in_another_form_is_found_by_a_full_validation(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    root, pages = in_two_leaves(FILES)
    record = record_of(root)
    publish(store.engine, 1, lambda refs: refs.tagged("v1", key_of(record), TIME, BY), objects=[*pages, record])
    assert validated(store).is_good
    assert [(one.key, one.reason) for one in validated(store, "full").damaged] == [
        (root.key.hex(), "v1: the tree is not in the one form that its entries have")
    ]


def test_what_is_forgotten_during_a_validation_is_no_finding(store: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    save(store.engine, "flowers", FILES)
    save(store.engine, "trees", {"t": b"t"})
    runs: list[str] = []
    real = newest_refs

    def hooked(engine: Engine) -> NewestRefs:
        newest = real(engine)
        if not runs:
            runs.append("gc")
            forget_named(Container(store.path), "flowers")
            gc.execute(fresh(store), gc.plan(fresh(store)))
        return newest

    monkeypatch.setattr("rsdos.maintenance.check.trees.newest_refs", hooked)
    assert validated(store).is_good
    assert runs


# Repair.


def test_the_refs_are_found_again_in_the_packs(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    snapshot = save(store.engine, "flowers", NEXT)
    refs = manifest_of(store.path).refs
    lose_manifests(store)
    with pytest.raises(DamagedContainer):
        read_refs(fresh(store))
    assert repaired(store).is_good
    assert manifest_of(store.path).refs == refs
    assert read_refs(fresh(store))[0].find("flowers") == snapshot
    assert_whole(store, snapshot, NEXT)


@pytest.mark.parametrize("lose", [damage, drop])
def test_a_lost_document_gives_way_to_the_one_before_only_if_that_is_wanted(
    store: Container, lose: Callable[[Container, str], None]
) -> None:
    """Attack 12. Else the second version would be gone without a word, and the next gc would take its files."""
    first = save(store.engine, "flowers", FILES)
    before = manifest_of(store.path).refs
    save(store.engine, "flowers", NEXT)
    newest = manifest_of(store.path).refs
    lose(store, newest)
    assert repair_index.plan(fresh(store)).lost_names == newest
    assert repaired(store).lost_names == newest
    assert manifest_of(store.path).refs == newest
    with pytest.raises(DamagedTree):
        gc.plan(fresh(store))
    assert Container(store.path).repair_index(lost_names="older").is_good
    assert manifest_of(store.path).refs == before
    assert read_refs(fresh(store))[0].find("flowers") == first
    save(fresh(store), "flowers", NEXT)
    assert read_refs(fresh(store))[0].find("flowers@2") != first


def _copied(store: Container, tmp_path: Path) -> Container:
    """A backup of it."""
    shutil.copytree(store.path, tmp_path / "backup")
    return Container(tmp_path / "backup")


def _lose_pack(store: Container, kind: PackKind) -> None:
    (pack,) = (pack for pack in manifest_of(store.path).packs if pack.kind is kind)
    Path(store.engine.layout.pack(pack.id)).unlink()


@pytest.mark.parametrize("kind", [PackKind.TREES, PackKind.HELD])
def test_what_a_lost_pack_had_for_snapshots_comes_back_from_a_backup(
    store: Container, tmp_path: Path, kind: PackKind
) -> None:
    """Names, snapshots, pages and files, in one repair, as what they were: the next gc takes what is forgotten."""
    save(store.engine, "flowers", MANY)
    newest = save(store.engine, "flowers", MANY | NEXT)
    save(store.engine, "trees", {"t": b"t"})
    listed = sorted(Container(store.path))
    backup = _copied(store, tmp_path)
    _lose_pack(store, kind)
    report = repaired(store)
    assert not report.is_good
    assert bool(report.lost_names) is (kind is PackKind.TREES)
    if kind is PackKind.HELD:
        assert read_refs(fresh(store))[0].find("flowers") == newest
    assert Container(store.path).repair_objects([backup]).is_good
    assert validated(store, "full").is_good
    assert read_refs(fresh(store))[0].names() == ["flowers", "trees"]
    assert_whole(store, newest, MANY | NEXT)
    assert sorted(Container(store.path)) == listed
    assert gc.plan(fresh(store)).objects == 0
    forget_named(Container(store.path), "trees")
    assert gc.execute(fresh(store), gc.plan(fresh(store))).objects == 1


def test_a_healthy_container_has_no_faults(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    assert not repair_index.plan(fresh(store)).faults


def test_after_a_repair_every_save_that_had_begun_looks_again(store: Container) -> None:
    """No epoch comes twice."""
    save(store.engine, "flowers", FILES)
    epochs = [manifest_of(store.path).epoch]

    def at(step: str) -> None:
        if step == "4":
            lose_manifests(store)
            repaired(store)
            epochs.append(manifest_of(store.path).epoch)

    assert_whole(store, save(store.engine, "flowers", NEXT, at), NEXT)
    assert epochs[1] > epochs[0]


def _publish_unseen(store: Container, name: str, files: Files) -> str:
    """Write what a publication writes, and die before its commit; return the snapshot's key."""
    engine = fresh(store)
    root, pages = pages_of(files)
    record = record_of(root, name)
    newest = newest_refs(engine)
    refs = newest.refs.saved(name, key_of(record), TIME, BY, None).after(newest.refs, newest.live.refs)
    engine.objects.insert_many([*pages, record, encode_refs(refs)], to=Place.PACKED, kind=PackKind.TREES)
    return key_of(record)


def test_of_two_documents_with_one_number_the_union_is_published(store: Container) -> None:
    """One of them was never published, and nobody can tell which."""
    store.engine.objects.insert_many(NEXT.values(), kind=PackKind.HELD)
    save(store.engine, "flowers", FILES)
    unseen = _publish_unseen(store, "unseen", NEXT)
    winner = save(store.engine, "trees", {"t": b"t"})
    lose_manifests(store)
    report = repaired(store)
    assert report.doubtful == ()
    refs, _ = read_refs(fresh(store))
    assert (refs.find("trees"), refs.find("unseen"), refs.number) == (winner, unseen, 3)
    assert_whole(store, unseen, NEXT)


def test_what_is_not_whole_and_was_perhaps_never_published_is_named_and_stays(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    _publish_unseen(store, "unseen", NEXT)
    lose_manifests(store)
    report = repaired(store)
    assert report.doubtful == ("unseen@1",)
    assert not report.is_good
    assert read_refs(fresh(store))[0].names() == ["flowers", "unseen"]
    forget_named(Container(store.path), "unseen")
    assert validated(store).is_good


def test_the_documents_of_another_container_are_passed_over(store: Container, tmp_path: Path) -> None:
    other = Container.create(tmp_path / "other")
    for number in range(3):
        save(other.engine, "theirs", {"n": b"%d" % number})
    save(store.engine, "flowers", FILES)
    refs = manifest_of(store.path).refs
    document = other.extract(manifest_of(other.path).refs)
    store.engine.objects.insert_many([document], to=Place.PACKED, kind=PackKind.TREES)
    lose_manifests(store)
    repaired(store)
    assert manifest_of(store.path).refs == refs


# Status.


def test_status_counts_names_and_what_is_held(store: Container) -> None:
    assert Container(store.path).status().snapshots is None
    store.insert_many([FILES["a.txt"], b"plain"])
    save(store.engine, "flowers", FILES)
    snapshot = save(store.engine, "flowers", NEXT)
    save(store.engine, "trees", {"t": b"t"})
    tag.tag(store.engine, "v1", snapshot)
    counts = Container(store.path).status().snapshots
    assert counts is not None
    assert (counts.branches, counts.versions, counts.tags, counts.damage) == (2, 3, 1, "")
    held = {key_of(data): data for data in (*FILES.values(), *NEXT.values(), b"t")}
    del held[key_of(FILES["a.txt"])]
    assert (counts.held_objects, counts.held_size) == (len(held), sum(map(len, held.values())))
    # Three pages and snapshots, four refs documents.
    assert counts.pages == 3 + 3 + 4
    assert counts.pages_length > 0


def test_status_says_that_the_refs_are_damaged(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    damage(store, manifest_of(store.path).refs)
    counts = Container(store.path).status().snapshots
    assert counts is not None
    assert "damaged" in counts.damage
    assert counts.held_objects == len(FILES)


def in_a_process_that_dies(work: Callable[[], object]) -> None:
    """Do something in a forked process, which ends by `os._exit` within it."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == DIED


DIED = 9


@pytest.mark.parametrize("lost", ["no manifest", "all manifests"])
def test_what_a_gc_that_died_was_about_to_take_is_brought_back(store: Container, lost: str) -> None:
    """Its tombstones are whole and synced, and were never committed; what they kill was found by a save since then."""
    save(store.engine, "flowers", FILES)
    forget_named(store, "flowers")

    def die() -> None:
        engine = fresh(store)
        plan = gc.plan(engine)
        native(engine).index.commit = lambda *args: os._exit(DIED)  # type: ignore[method-assign]
        gc.execute(engine, plan)

    in_a_process_that_dies(die)
    snapshot = save(fresh(store), "flowers", FILES)
    if lost == "all manifests":
        lose_manifests(store)
    assert repaired(store).doubtful == ()
    assert read_refs(fresh(store))[0].find("flowers") == snapshot
    assert_whole(store, snapshot, FILES)
    assert validated(store, "full").is_good
