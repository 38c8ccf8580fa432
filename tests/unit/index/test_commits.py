"""The manifests on disk, through a container that makes many."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, ContainerReplaced, Durability, Place
from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer
from rsdos.index.commits import CommitLog
from rsdos.index.manifest import Manifest, encode_manifest
from rsdos.index.merge import MOST_SEGMENTS
from rsdos.index.packs import Packs
from rsdos.index.pruning import KEPT, IndexListing
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.wrapper import StorageCall
from rsdos.testing import FaultyStorage
from tests.data import key_of, noise
from tests.helpers import ABSENT, assert_holds, manifest_of, native
from tests.patience import HANG


def test_the_last_sixteen_are_kept_and_segments_merged(container: Container) -> None:
    contents = {}
    for number in range(60):
        data = noise(30 + number, number)
        contents[container.insert(data, to=Place.PACKED)] = data
    index = container.path / "index"
    assert len(list(index.glob("manifest-*.json"))) == KEPT
    manifest = native(container.engine).index.view.manifest
    assert manifest.number == 61
    assert len(manifest.segments) <= MOST_SEGMENTS
    assert sum(segment.count for segment in manifest.segments) == 60
    needed = {segment.number for segment in manifest.segments if segment.number}
    assert needed <= {int(path.stem) for path in index.glob("*.seg")}
    assert_holds(Container(container.path), contents)


def test_an_insert_and_a_merge_each_night_do_not_grow_the_index(container: Container) -> None:
    contents = {container.insert(b"first", to=Place.PACKED): b"first"}
    reader = Container(container.path)
    assert_holds(reader, contents)
    for number in range(5):
        data = noise(30, number)
        contents[container.insert(data, to=Place.PACKED)] = data
        container.merge()
        # The newest, and what it has replaced, for a reader of the manifest before.
        assert len(list((container.path / "index").glob("*.seg"))) <= 2
    assert_holds(reader, contents)
    assert_holds(Container(container.path), contents)


def test_a_merge_without_room_says_so(tmp_path: Path) -> None:
    def full(call: StorageCall) -> Exception | None:
        is_segment = call.verb == "create" and call.name.startswith("index/merged-")
        return OSError(errno.ENOSPC, "No space left on device") if is_segment else None

    inner = MemoryStorage()
    container = Container.create(inner)
    contents = {container.insert(noise(30, number), to=Place.PACKED): noise(30, number) for number in range(3)}
    with pytest.raises(OSError, match="No space left"):
        Container(FaultyStorage(inner, full)).merge()
    assert_holds(Container(inner), contents)
    assert Container(inner).merge().after == 1


def test_a_reader_that_is_many_commits_behind(container: Container) -> None:
    first = container.insert(b"first", to=Place.PACKED)
    reader = Container(container.path)
    assert reader.extract(first) == b"first"
    keys = [container.insert(b"%d" % number, to=Place.PACKED) for number in range(40)]
    assert reader.extract(keys[-1]) == b"39"
    assert reader.extract(first) == b"first"


def test_commits_of_many_threads_follow_one_another(container: Container) -> None:
    def write(thread: int) -> None:
        for number in range(10):
            Container(container.path).insert(b"%d %d" % (thread, number), to=Place.PACKED)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    contents = {key_of(data): data for data in (b"%d %d" % (t, n) for t in range(4) for n in range(10))}
    assert native(container.engine).index.refresh().manifest.number == 41
    assert_holds(container, contents)


def test_a_manifest_of_another_container_is_not_believed(container: Container) -> None:
    other = Container.create(container.path.parent / "other")
    other.insert(b"other", to=Place.PACKED)
    newest = container.path / "index" / "manifest-0000000002.json"
    newest.write_bytes((other.path / "index" / newest.name).read_bytes())
    with pytest.raises(DamagedContainer):
        container.insert(b"more", to=Place.PACKED)


@pytest.mark.parametrize("commits", [1, KEPT + 1])
@pytest.mark.parametrize("earlier", [0, 1])
def test_commits_that_run_whole_between_two_looks_are_seen(container: Container, commits: int, earlier: int) -> None:
    """Those before the first look, and those that have the next manifest pruned, whenever they run."""
    history = native(container.engine).index.commits
    number = history.newest_number()
    for data in range(earlier):
        container.insert(b"%d" % data, to=Place.PACKED)
    file_of = history.file_of

    def look(number: int) -> Any:
        for data in range(commits):
            Container(container.path).insert(b"again %d" % data, to=Place.PACKED)
        return file_of(number)

    history.file_of = look  # type: ignore[method-assign]
    # One that began after the first look is of the same time as the question, and may be seen or not.
    assert history.is_newest(number) is (commits == 1 and not earlier)


# Limits (docs/format.md), and loops that end.

LAST = 9_999_999_999


def put(path: Path, manifest: Manifest) -> None:
    (path / "index" / f"manifest-{manifest.number:010d}.json").write_bytes(encode_manifest(manifest))


def test_behind_the_last_number_nothing_is_committed_and_what_is_there_is_read(container: Container) -> None:
    """Before, the next one had eleven digits, was acknowledged and never found, and a look for more spun forever."""
    key = container.insert(b"there", to=Place.PACKED)
    put(container.path, manifest_of(container.path)._replace(number=LAST))
    for opened in (container, Container(container.path)):
        assert opened.has_many([key, ABSENT]) == [True, False]
        with pytest.raises(DamagedContainer, match="no number is left"):
            opened.insert(b"more", to=Place.PACKED)
        with pytest.raises(DamagedContainer, match="no number is left"):
            opened.delete([key])
        assert list(opened) == [key]
    assert {len(path.name) for path in (container.path / "index").iterdir()} == {len("manifest-0000000001.json")}


def test_a_stranger_in_the_place_of_the_last_manifest_is_damage(container: Container) -> None:
    key = container.insert(b"there", to=Place.PACKED)
    (container.path / "index" / f"manifest-{LAST}.json").write_bytes(b"{}")
    for opened in (container, Container(container.path)):
        assert opened.has_many([key, ABSENT]) == [True, False]
        with pytest.raises(DamagedContainer):
            opened.insert(b"more", to=Place.PACKED)


@pytest.mark.parametrize(
    ("member", "value"), [("next_pack_id", (1 << 32) + 1), ("next_segment", LAST + 2), ("next_pack_id", 1 << 61)]
)
def test_a_manifest_beyond_a_limit_is_damaged(container: Container, member: str, value: int) -> None:
    key = container.insert(b"there", to=Place.PACKED)
    newest = manifest_of(container.path)
    beyond: dict[str, Any] = {member: value}
    put(container.path, newest._replace(number=newest.number + 1, **beyond))
    with pytest.raises(DamagedContainer, match=member):
        manifest_of(container.path)
    with pytest.raises(DamagedContainer):
        Container(container.path).insert(b"more", to=Place.PACKED)
    assert Container(container.path).extract(key) == b"there"


def test_behind_the_last_pack_no_other_is_begun(container: Container) -> None:
    """Before, an OverflowError; a file of such a name is somebody else's, and stays."""
    key = container.insert(b"there", to=Place.PACKED)
    newest = manifest_of(container.path)
    sealed = newest.packs[0]._replace(sealed=True)
    put(container.path, newest._replace(number=newest.number + 1, next_pack_id=1 << 32, packs=Packs.of([sealed])))
    foreign = container.path / "packed" / f"{1 << 32:010d}.pack"
    foreign.write_bytes(b"somebody's")
    with Container(container.path) as opened:
        with pytest.raises(DamagedContainer, match="no id is left"):
            opened.insert(b"more", to=Place.PACKED)
        opened.engine.objects.collect_garbage()
        assert opened.has_many([key, ABSENT]) == [True, False]
    assert foreign.read_bytes() == b"somebody's"


def test_where_segment_files_have_no_number_left_commits_go_on(container: Container) -> None:
    newest = manifest_of(container.path)
    put(container.path, newest._replace(number=newest.number + 1, next_segment=LAST + 1))
    objects = {key_of(b"%d" % number): b"%d" % number for number in range(MOST_SEGMENTS + 3)}
    with Container(container.path) as opened:
        for data in objects.values():
            opened.insert(data, to=Place.PACKED)
        assert_holds(opened, objects)


def test_an_index_that_changes_all_the_time_is_reported(container: Container) -> None:
    """Each time that it was listed something else is gone: here, because whoever lists it takes it away."""
    index = native(container.engine).index
    container.insert(b"there", to=Place.PACKED)
    numbers = iter(range(3, 1000))

    def gone(again: bool = False) -> IndexListing:
        return IndexListing(next(numbers), 0, [], [])

    assert isinstance(index.commits, CommitLog)
    index.commits._listed_whole = gone  # type: ignore[method-assign]
    with pytest.raises(DamagedContainer, match="100 times, and never there"):
        index.commits.newest()


def test_commits_beside_one_that_loses_its_lock_again_and_again_end(container: Container) -> None:
    index = native(container.engine).index

    def change(newest: Manifest) -> Manifest:
        (container.path / "locks" / "commit").unlink()
        return newest

    with pytest.raises(ContainerReplaced, match="removed or replaced again and again"):
        index.commit(change, Durability.FULL)
    assert index.commits.newest().number == 1


# Threads.


def test_a_thread_that_was_slow_to_load_does_not_put_its_state_over_a_newer_one(container: Container) -> None:
    """Before, its process said True, and gave bytes, for what it had been told is deleted."""
    key = container.insert(b"deleted", to=Place.PACKED)
    late = Container(container.path)
    history = native(late.engine).index.commits
    read, go_on = threading.Event(), threading.Event()
    look = history.read_with_file

    def slowly(number: int) -> Any:
        found = look(number)
        if not read.is_set():
            read.set()
            assert go_on.wait(HANG)
        return found

    history.read_with_file = slowly  # type: ignore[method-assign]
    slow = threading.Thread(target=native(late.engine).index.refresh)
    slow.start()
    assert read.wait(HANG)
    assert late.delete([key]) == [key]
    go_on.set()
    slow.join()
    assert native(late.engine).index.state.number == 3
    assert not late.has(key)


def test_a_reopened_container_is_not_in_an_older_state(container: Container) -> None:
    key = container.insert(b"deleted", to=Place.PACKED)
    late = Container(container.path)
    history = native(late.engine).index.commits
    read, go_on = threading.Event(), threading.Event()
    look = history.read_with_file

    def slowly(number: int) -> Any:
        found = look(number)
        if not read.is_set():
            read.set()
            assert go_on.wait(HANG)
        return found

    history.read_with_file = slowly  # type: ignore[method-assign]
    slow = threading.Thread(target=native(late.engine).index.refresh)
    slow.start()
    assert read.wait(HANG)
    assert late.delete([key]) == [key]
    late.close()
    go_on.set()
    slow.join()
    assert not late.has(key)
    with pytest.raises(KeyError):
        late.extract(key)


def test_an_absent_object_is_an_error_if_a_table_of_the_index_is_damaged(container: Container) -> None:
    """Before, `has_many` asked for a newer state of it forever: what was made from the packs counted as another."""
    keys = [container.insert(noise(50, seed), to=Place.PACKED) for seed in range(MOST_SEGMENTS + 1)]
    (segment,) = (container.path / "index").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[-200] ^= 1
    segment.write_bytes(data)
    with Container(container.path) as opened:
        assert opened.has_many([*keys, ABSENT]) == [True] * len(keys) + [False]
        assert not opened.has(ABSENT)
    assert Engine(str(container.path)).objects.has(keys[0])


def test_a_link_whose_answer_was_lost_is_a_commit(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS may say that a name exists which this very call has made. The tables that were merged stay."""
    real = os.link

    def lost(old: str, new: str) -> None:
        real(old, new)
        raise FileExistsError(new)

    for data in range(40):
        container.insert(b"%d" % data, to=Place.PACKED)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", lost)
        keys = [container.insert(b"lost %d" % data, to=Place.PACKED) for data in range(20)]
    assert container.has_many(keys) == [True] * 20
    assert native(container.engine).maintenance.index_faults() == []
    assert container.validate("full").is_good


def test_a_manifest_that_is_put_in_the_place_of_the_one_that_was_read_is_read(container: Container) -> None:
    """The manifest that was read last is remembered, by its number and its file."""
    container.insert_many([b"an object"])
    commits = native(container.engine).index.commits
    newest = commits.newest()
    assert commits.newest() is newest
    path = container.path / "index" / f"manifest-{newest.number:010d}.json"
    (container.path / "other").write_bytes(encode_manifest(newest.with_note("of", "another")))
    os.replace(container.path / "other", path)
    assert commits.newest().notes == {"of": "another"}
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedContainer):
        commits.newest()
