"""Publishing refs beside others (docs/concurrency.md): what is published is whole, and nobody's version is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, DamagedContainer, InvalidOption
from rsdos.engine import publish as publishing
from rsdos.engine.engine import Engine
from rsdos.engine.publish import newest_refs, publish, read_document, read_refs
from rsdos.engine.save_lock import hold_save_lock, running_saves
from rsdos.errors import DamagedTree, RefMoved
from rsdos.maintenance import gc
from rsdos.model import PackKind
from rsdos.storage.memory import MemoryStorage
from rsdos.trees.refs import Refs
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, assert_no_leftovers, flip, manifest_of, native
from tests.snapshots.saving import BY, TIME, pages_of, record_of, save

FILES = {"a.txt": b"a", "sub/b.txt": text(3000, 1), "sub/deep/c.bin": noise(4000, 2), "empty": b""}


def fresh(store: Container) -> Engine:
    """The container as another process opens it now."""
    return Container(store.path).engine


def assert_whole(store: Container, snapshot: str, files: dict[str, bytes]) -> None:
    """All that a snapshot leads to is in packs, and is right."""
    other = fresh(store)
    _, pages = pages_of(files)
    wanted = {key_of(data): data for data in (*files.values(), *pages)}
    assert dict(other.packed.extract_many(wanted)) == wanted
    assert other.packed.has(snapshot)


def test_a_container_that_never_saved_has_empty_refs_and_an_old_manifest(store: Container) -> None:
    assert read_refs(store.engine) == (Refs(store.engine.config.container_id), 0)
    store.insert_many([b"plain"])
    assert b'"manifest_version": 3' in max((store.path / "index").glob("manifest-*")).read_bytes()


def test_what_was_published_is_there_for_every_process(store: Container) -> None:
    snapshot = save(store.engine, "flowers", FILES)
    refs, epoch = read_refs(fresh(store))
    assert (refs.number, refs.find("flowers"), epoch) == (1, snapshot, 1)
    assert_whole(store, snapshot, FILES)
    assert_no_leftovers(store.path)


def test_each_document_names_the_one_before(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    first = newest_refs(store.engine)
    save(store.engine, "flowers", FILES | {"new": b"new"})
    second = newest_refs(store.engine)
    assert second.refs.number == 2
    assert second.refs.previous == first.live.refs
    assert read_document(store.engine, second.refs.previous) == first.refs
    assert read_document(store.engine, "") == Refs(store.engine.config.container_id)


def test_pages_and_the_document_are_one_commit(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    before = manifest_of(store.path).number
    root, pages = pages_of(FILES | {"a.txt": b"b"})
    record = record_of(root)
    refs = publish(store.engine, 1, lambda refs: refs.tagged("v1", key_of(record), TIME, BY), objects=[*pages, record])
    assert manifest_of(store.path).number == before + 1
    assert refs.tags == {"v1": key_of(record)}


def test_two_branches_are_saved_at_once(store: Container) -> None:
    """The second to publish finds other refs, and puts its own on top of them."""
    snapshots = {}

    def at(step: str) -> None:
        if step == "4":
            snapshots["trees"] = save(fresh(store), "trees", {"t": b"t"})

    snapshots["flowers"] = save(store.engine, "flowers", FILES, at)
    refs, _ = read_refs(fresh(store))
    assert {name: refs.find(name) for name in refs.names()} == snapshots
    assert refs.number == 2


@pytest.mark.parametrize("hook", ["encode_refs", "newest_refs"])
def test_refs_that_others_publish_at_the_last_moment_are_kept(
    store: Container, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(publishing, hook)
    runs: list[str] = []

    def hooked(*args: Any) -> Any:
        result = real(*args)
        if not runs:
            runs.append(hook)
            runs.append(save(fresh(store), "trees", {"t": b"t"}))
        return result

    monkeypatch.setattr(publishing, hook, hooked)
    snapshot = save(store.engine, "flowers", FILES)
    refs, _ = read_refs(fresh(store))
    assert (refs.find("flowers"), refs.find("trees")) == (snapshot, runs[1])


def test_of_two_saves_to_one_branch_the_second_is_told_and_its_snapshot_is_stored(store: Container) -> None:
    first = {"a": b"first"}
    winner: list[str] = []

    def at(step: str) -> None:
        if step == "4":
            winner.append(save(fresh(store), "flowers", first))

    with pytest.raises(RefMoved) as caught:
        save(store.engine, "flowers", FILES, at)
    assert read_refs(fresh(store))[0].find("flowers") == winner[0]
    assert_whole(store, caught.value.snapshot, FILES)
    assert_whole(store, winner[0], first)


def test_what_is_deleted_while_it_is_saved_is_stored_again(store: Container) -> None:
    """Attack 1: it was found in a plain pack, and somebody deletes it before it is published."""
    store.insert_many([*FILES.values()])

    def at(step: str) -> None:
        if step == "4":
            assert len(Container(store.path).delete([key_of(data) for data in FILES.values()])) == len(FILES)

    snapshot = save(store.engine, "flowers", FILES, at)
    assert_whole(store, snapshot, FILES)


def test_a_loose_file_is_no_copy_for_a_snapshot(store: Container) -> None:
    """Removing a file is no commit: nobody who publishes could see it."""
    for data in FILES.values():
        store.insert(data)

    def at(step: str) -> None:
        if step == "4":
            Container(store.path).delete([key_of(data) for data in FILES.values()])

    snapshot = save(store.engine, "flowers", FILES, at)
    assert_whole(store, snapshot, FILES)


def test_a_delete_beside_the_first_save_counts(store: Container) -> None:
    """The save has begun, nothing of it is stored yet, and the container has no refs."""
    store.insert_many([*FILES.values()])

    def at(step: str) -> None:
        if step == "1":
            assert manifest_of(store.path).epoch == 1
        if step == "4":
            assert not manifest_of(store.path).refs
            Container(store.path).delete([key_of(b"a")])
            assert manifest_of(store.path).epoch == 2

    assert_whole(store, save(store.engine, "flowers", FILES, at), FILES)


def test_publishing_makes_all_durable_in_a_relaxed_container(tmp_path: Path) -> None:
    store = Container.create(tmp_path / "store", durability="relaxed")
    store.insert_many([FILES["a.txt"]])
    save(store.engine, "flowers", FILES)
    manifest = manifest_of(store.path)
    assert [pack.synced for pack in manifest.packs] == [pack.length for pack in manifest.packs]
    assert len({pack.kind for pack in manifest.packs}) == 3


def _document_is_damaged(store: Container) -> None:
    (copy,) = native(store.engine).index.refresh().find_all(bytes.fromhex(manifest_of(store.path).refs))
    flip(Path(store.engine.layout.pack(copy.pack_id)), copy.offset + copy.length // 2)


def test_when_the_newest_refs_cannot_be_read_nothing_is_published(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    _document_is_damaged(store)
    number = manifest_of(store.path).number
    with pytest.raises(DamagedTree):
        read_refs(fresh(store))
    with pytest.raises(DamagedTree):
        save(fresh(store), "trees", {"a.txt": b"a"})
    assert not read_only_changes(store, number)
    assert fresh(store).objects.extract(key_of(b"a")) == b"a"


def read_only_changes(store: Container, number: int) -> bool:
    """Whether refs were published since a manifest."""
    newest = manifest_of(store.path)
    return newest.refs != native(store.engine).index.commits.read(number).refs


def test_a_damaged_manifest_has_no_refs_and_reading_by_key_goes_on(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    flip(max((store.path / "index").glob("manifest-*")), 100)
    with pytest.raises(DamagedContainer):
        read_refs(fresh(store))
    with pytest.raises(DamagedContainer), hold_save_lock(fresh(store)):
        pass
    assert fresh(store).objects.extract(key_of(b"a")) == b"a"


def test_the_refs_of_another_container_are_none(store: Container, tmp_path: Path) -> None:
    save(store.engine, "flowers", FILES)
    document = store.extract(manifest_of(store.path).refs)
    other = Container.create(tmp_path / "other")
    other.engine.objects.insert_many([document], kind=PackKind.TREES)
    with pytest.raises(DamagedTree, match="another container"):
        read_document(other.engine, key_of(document))


def test_version_1_has_no_snapshots(tmp_path: Path) -> None:
    store = Container.create(tmp_path / "store", container_version=1)
    assert read_refs(store.engine)[0].number == 0
    with pytest.raises(InvalidOption, match="migrate"), hold_save_lock(store.engine):
        pass
    with pytest.raises(InvalidOption, match="migrate"):
        publish(store.engine, 0, lambda refs: refs.tagged("v1", ABSENT, TIME, BY))


def test_a_document_that_was_stored_before_is_published_all_the_same(store: Container) -> None:
    """As after a repair, which goes back to the document before: the same operation makes the same document again."""
    save(store.engine, "flowers", FILES)
    snapshot = read_refs(store.engine)[0].find("flowers")
    before = newest_refs(store.engine)
    index = native(store.engine).index

    def make(refs: Refs) -> Refs:
        return refs.tagged("v1", snapshot, TIME, BY)

    publish(store.engine, 1, make)
    after = manifest_of(store.path).refs
    index.commit(lambda newest: newest._replace(refs=before.live.refs), store.engine.durability)
    publish(store.engine, 1, make)
    assert manifest_of(store.path).refs == after


def test_refs_are_published_and_collected_in_memory() -> None:
    with Container.create(MemoryStorage()) as container:
        first = save(container.engine, "flowers", FILES)
        with hold_save_lock(container.engine) as lock:
            assert [save.lengths for save in running_saves(container.engine)] == [
                {pack.id: pack.length for pack in native(container.engine).index.newest().packs}
            ]
            assert lock.number == 1
        assert read_refs(container.engine)[0].find("flowers") == first
        assert gc.execute(container.engine, gc.plan(container.engine)).objects == 0


# The save lock.


def test_each_save_has_a_lock_of_its_own_and_says_what_is_not_its(store: Container) -> None:
    store.insert_many([b"plain"])
    save(store.engine, "flowers", FILES)
    lengths = {pack.id: pack.length for pack in manifest_of(store.path).packs if pack.kind}
    with hold_save_lock(store.engine) as first, hold_save_lock(fresh(store)) as second:
        assert {first.number, second.number} == {1, 2}
        assert [save.lengths for save in running_saves(store.engine)] == [lengths, lengths]
        with hold_save_lock(store.engine) as third:
            assert third.number == 3
    assert running_saves(store.engine) == []
    with hold_save_lock(store.engine) as again:
        assert again.number == 1


def test_a_save_that_has_not_written_its_note_protects_everything(store: Container) -> None:
    save(store.engine, "flowers", FILES)
    for note in (b"", b"{", b"x" * 300):
        (store.path / "locks" / "save-1").write_bytes(note)
        with store.engine.layout.storage.lock("locks/save-1") or pytest.fail():
            assert [save.lengths for save in running_saves(store.engine)] == [{}]


def test_a_long_note_of_an_earlier_save_leaves_nothing(store: Container) -> None:
    with hold_save_lock(store.engine):
        pass
    path = store.path / "locks" / "save-1"
    path.write_bytes(path.read_bytes() + b"more" * 1000)
    with hold_save_lock(store.engine):
        assert running_saves(store.engine)[0].pid
