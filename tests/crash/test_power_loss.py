"""The order of calls that a power loss is survived by, and duplicates of what is not safe yet.

What is left behind each call of every operation: `tests.crash.test_crash`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container, Place
from rsdos.model import FRAME_SIZE
from tests.crash.disk import Disk
from tests.crash.operation import BASE, NEW
from tests.crash.operations import OPERATIONS
from tests.data import key_of, noise, text

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to tell descriptors' paths")


@pytest.mark.parametrize("to", Place)
def test_a_duplicate_of_a_relaxed_insert_is_made_durable(to: Place, tmp_path: Path) -> None:
    data = [b"small", text(FRAME_SIZE + 1), noise(3000)]
    for first in Place:
        path, left = tmp_path / f"container {first}", tmp_path / f"left {first}"
        Container.create(path).close()
        disk = Disk(path)
        with disk.watched():
            with Container(path, durability="relaxed") as relaxed:
                relaxed.insert_many(data, to=first)
            with Container(path) as full:
                keys = full.insert_many(data, to=to)
        disk.lose_power(left)
        with Container(left) as container:
            assert dict(container.extract_many(keys)) == dict(zip(keys, data, strict=True))


@pytest.mark.parametrize("first", Place)
def test_a_duplicate_that_is_inserted_alone_is_made_durable(first: Place, tmp_path: Path) -> None:
    path, left = tmp_path / "container", tmp_path / "left"
    Container.create(path).close()
    disk = Disk(path)
    with disk.watched():
        with Container(path, durability="relaxed") as relaxed:
            relaxed.insert_many([b"object"], to=first)
        with Container(path) as full:
            key = full.insert(b"object")
    disk.lose_power(left)
    with Container(left) as container:
        assert container.extract(key) == b"object"


@pytest.mark.parametrize("to", Place)
def test_a_duplicate_of_an_insert_that_is_not_yet_synced_is_made_durable(to: Place, tmp_path: Path) -> None:
    """A writer died, or still is, between the link of its manifest and the sync of the directory."""
    path, left = tmp_path / "container", tmp_path / "left"
    Container.create(path).close()
    disk = Disk(path)
    with disk.watched():
        sync = os.fsync

        def die(fd: int) -> None:
            if os.readlink(f"/proc/self/fd/{fd}") == str(path / "index"):
                raise KeyboardInterrupt
            sync(fd)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "fsync", die)
            Container(path).insert_many([b"object"])
        with Container(path) as container:
            assert key_of(b"object") in container
            container.insert_many([b"object"], to=to)
    disk.lose_power(left)
    with Container(left) as container:
        assert container.extract(key_of(b"object")) == b"object"


def test_a_relaxed_insert_puts_nothing_older_at_risk(tmp_path: Path) -> None:
    for names_survive in (False, True):
        path, left = tmp_path / f"container {names_survive}", tmp_path / f"left {names_survive}"
        OPERATIONS["insert packed"].prepare(path)
        disk = Disk(path)
        with disk.watched(), Container(path, durability="relaxed") as container:
            container.insert_many(NEW.values())
            container.insert_many([noise(700, 8)])
            container.insert_many([noise(800, 9)], to=Place.LOOSE)
        disk.lose_power(left, names_survive=names_survive)
        with Container(left) as container:
            for key, data in BASE.items():
                assert container.extract(key) == data


def test_packing_is_durable_even_in_a_relaxed_container(tmp_path: Path) -> None:
    path, left = tmp_path / "container", tmp_path / "left"
    with Container.create(path, durability="relaxed") as container:
        keys = container.insert_many(NEW.values(), to=Place.LOOSE)
        disk = Disk(path)  # The loose files have reached the disk by now.
        with disk.watched():
            container.insert_many(list(NEW.values())[:2])
            container.pack_all_loose()
    disk.lose_power(left, names_survive=True)
    with Container(left) as container:
        assert dict(container.extract_many(keys)) == NEW


def _calls_of(path: Path, run: Callable[[Container], object]) -> list[str]:
    disk = Disk(path)
    with Container(path) as container, disk.watched():
        run(container)
    return [f"{name} {where}" for name, where in disk.calls]


def _order(calls: list[str], *wanted: str) -> None:
    """Each of the wanted calls is there, behind the one before it."""
    at = 0
    for call in wanted:
        assert call in calls[at:], f"{call} is not behind the {at} calls before it: {calls}"
        at += calls[at:].index(call) + 1


def test_the_order_of_a_packed_insert(tmp_path: Path) -> None:
    Container.create(tmp_path).close()
    calls = _calls_of(tmp_path, lambda container: container.insert_many([b"x"]))
    pack, manifest = "packed/0000000001.pack", "index/manifest-0000000002.json"
    _order(
        calls,
        "open locks/pack-1",
        f"pwritev {pack}",
        f"fdatasync {pack}",
        "fsync packed",
        f"link {manifest}",
        "fsync index",
    )
    # The manifest is whole on the disk before it has its name.
    assert calls[: calls.index(f"link {manifest}")][-1].startswith("fdatasync index/")
    again = _calls_of(tmp_path, lambda container: container.insert_many([b"y"]))
    assert "fsync packed" not in again


def test_the_order_of_a_loose_insert(tmp_path: Path) -> None:
    Container.create(tmp_path).close()
    key = key_of(b"x")
    calls = _calls_of(tmp_path, lambda container: container.insert(b"x"))
    synced = next(call for call in calls if call.startswith("fdatasync sandbox/"))
    _order(calls, synced, f"rename loose/{key[:2]}/{key[2:]}", f"fsync loose/{key[:2]}")
    _order(calls, f"mkdir loose/{key[:2]}", "fsync loose")


def test_the_order_of_many_loose_inserts(tmp_path: Path) -> None:
    """Each file is synced before it has its name, and each directory once, behind all names."""
    Container.create(tmp_path).close()
    objects = [b"object %d" % number for number in range(500)]
    calls = _calls_of(tmp_path, lambda container: container.insert_many(objects, to=Place.LOOSE))
    synced = named = 0
    for call in calls:
        synced += call.startswith("fdatasync sandbox/")
        named += call.startswith("rename loose/")
        assert named <= synced
    assert named == synced == len(objects)
    last = max(at for at, call in enumerate(calls) if call.startswith("rename "))
    prefixes = sorted({key_of(data)[:2] for data in objects})
    assert sorted(call[-2:] for call in calls[last:] if call.startswith("fsync loose/")) == prefixes
    assert not [call for call in calls[:last] if call.startswith("fsync loose")]
    assert calls[-1] == "fsync loose"


def test_the_names_of_prefix_directories_are_synced_a_few_times(tmp_path: Path) -> None:
    path, left = tmp_path / "container", tmp_path / "left"
    Container.create(path).close()
    disk = Disk(path)
    objects = [b"object %d" % number for number in range(400)]
    with Container(path) as container, disk.watched():
        keys = [container.insert(data) for data in objects]
    assert sum(call == ("fsync", "loose") for call in disk.calls) <= 30
    disk.lose_power(left)
    with Container(left) as container:
        assert [container.extract(key) for key in keys] == objects
    calls = _calls_of(path, lambda container: [container.insert(b"more %d" % number) for number in range(400)])
    # For the first object, and for all that the second sees: who stores only one lists no directories.
    assert calls.count("fsync loose") == 2


def test_the_name_of_a_prefix_directory_that_is_made_again_is_synced_again(tmp_path: Path) -> None:
    Container.create(tmp_path).close()
    key = key_of(b"x")
    with Container(tmp_path) as container:
        container.insert(b"x")
        (tmp_path / "loose" / key[:2] / key[2:]).unlink()
        (tmp_path / "loose" / key[:2]).rmdir()
        disk = Disk(tmp_path)
        with disk.watched():
            container.insert(b"x")
    _order([f"{name} {where}" for name, where in disk.calls], f"mkdir loose/{key[:2]}", "fsync loose")


def test_a_loose_file_goes_only_after_its_packed_copy_is_safe(tmp_path: Path) -> None:
    with Container.create(tmp_path) as container:
        key = container.insert(b"x")
    calls = _calls_of(tmp_path, lambda container: container.pack_all_loose())
    _order(
        calls, "fdatasync packed/0000000001.pack", "fsync packed", "fsync index", f"unlink loose/{key[:2]}/{key[2:]}"
    )


def test_the_order_of_init(tmp_path: Path) -> None:
    """What is below first, then the configuration, which makes a container of it, and its own directory's name."""
    path = tmp_path / "container"
    path.mkdir()
    disk = Disk(path)
    with disk.watched():
        Container.create(path).close()
    calls = [f"{name} {where}" for name, where in disk.calls]
    manifest = "index/manifest-0000000001.json"
    _order(
        calls,
        "fdatasync index/manifest.new",
        f"rename {manifest}",
        "fsync index",
        "fsync .",
        "open config.json.new",
    )
    _order(calls, "fdatasync config.json.new", "rename config.json", "fsync .", "fsync ..")


def test_the_order_of_a_delete(tmp_path: Path) -> None:
    with Container.create(tmp_path) as container:
        keys = container.insert_many([b"packed", b"packed too"])[:1] + [container.insert(b"loose")]
    loose = f"loose/{keys[1][:2]}/{keys[1][2:]}"
    calls = _calls_of(tmp_path, lambda container: container.delete(keys))
    manifest = "index/manifest-0000000003.json"
    _order(calls, "fdatasync packed/0000000001.pack", "fdatasync index/manifest.new", f"link {manifest}", "fsync index")
    _order(calls, f"unlink {loose}", f"fsync {os.path.dirname(loose)}")


def test_the_order_of_a_repack(tmp_path: Path) -> None:
    with Container.create(tmp_path) as container:
        container.delete(container.insert_many([b"dead", b"alive"])[:1])
    calls = _calls_of(tmp_path, lambda container: container.repack(min_dead=0))
    new, old, manifest = "packed/0000000002.pack", "packed/0000000001.pack", "index/manifest-0000000005.json"
    _order(
        calls,
        # The old pack is sealed: nobody appends to it behind the tombstone that kills it whole.
        "link index/manifest-0000000004.json",
        "fsync index",
        f"open {new}",
        f"fdatasync {new}",
        "fsync packed",
        "fdatasync index/manifest.new",
        f"link {manifest}",
        "fsync index",
        f"unlink {old}",
        "fsync packed",
    )
    # Nothing is written to the new pack between its last sync and the manifest that names it.
    at = calls.index(f"link {manifest}")
    writes = [number for number, call in enumerate(calls[:at]) if "write" in call and new in call]
    assert f"fdatasync {new}" in calls[max(writes) : at]


def test_the_order_of_a_clean(tmp_path: Path) -> None:
    """The packed copy is on the disk by now; that the name of its manifest is, too, nobody has said."""
    with Container.create(tmp_path) as container:
        key = container.insert(b"x")
        container.pack_all_loose(clean=False)
    calls = _calls_of(tmp_path, lambda container: container.clean_storage())
    _order(calls, "fsync index", f"unlink loose/{key[:2]}/{key[2:]}")


@pytest.mark.parametrize(("name", "ending"), [("merge", ".new"), ("repair index, emptying a pack", ".seg")])
def test_a_merged_segment_has_its_name_before_the_manifest_that_names_it(
    name: str, ending: str, tmp_path: Path
) -> None:
    """Before, a power loss could take the one name and leave the other; of a damaged pack no other table tells."""
    OPERATIONS[name].prepare(tmp_path)
    disk = Disk(tmp_path)
    with disk.watched():
        OPERATIONS[name].run(tmp_path, lambda key: None)
    calls = [f"{call} {where}" for call, where in disk.calls]
    opened = (call.split()[1] for call in calls if call.startswith("open index/") and call.endswith(ending))
    segment = next(name for name in opened if not name.startswith("index/manifest-"))
    links = [call for call in calls if call.startswith("link index/") and call.endswith(".seg")]
    manifest = next(call for call in calls if call.startswith("link index/manifest-"))
    assert len(links) == (ending == ".new")
    _order(calls, f"open {segment}", f"fdatasync {segment}", *links, "fsync index", manifest, "fsync index")


def test_the_number_of_a_commit_is_noted_behind_its_syncs(tmp_path: Path) -> None:
    """Before, a power loss could leave the number of a commit that it takes, and nobody would write any more."""
    Container.create(tmp_path).close()
    calls = _calls_of(tmp_path, lambda container: container.insert_many([b"x"]))
    _order(calls, "link index/manifest-0000000002.json", "fsync index", "pwrite locks/commit")
    assert not [call for call in calls if "sync" in call and "locks" in call]


def test_a_bulk_insert_syncs_once(tmp_path: Path) -> None:
    Container.create(tmp_path).close()
    calls = _calls_of(tmp_path, lambda container: container.insert_many(b"%d" % n for n in range(40_000)))
    assert sum(call.startswith(("fsync", "fdatasync")) for call in calls) <= 4


def test_relaxed_syncs_no_payload(tmp_path: Path) -> None:
    Container.create(tmp_path, durability="relaxed").close()
    calls = _calls_of(tmp_path, lambda container: container.insert_many([b"x"]) + [container.insert(b"y")])
    assert not [call for call in calls if call.startswith(("fsync", "fdatasync")) and "index" not in call]


def test_a_duplicate_of_version_1_does_not_bring_a_deleted_object_back(tmp_path: Path) -> None:
    path, left = tmp_path / "container", tmp_path / "left"
    with Container.create(path, container_version=1) as container:
        (key,) = container.insert_many([b"deleted"])
        container.clean_storage()
    (path / "duplicates" / f"{key}.{'0' * 32}").write_bytes(b"deleted")
    disk = Disk(path)
    with disk.watched(), Container(path) as container:
        # Not `Container.delete`: the sweep before it would have settled the duplicate.
        assert list(container.engine.packed.maintenance.delete([bytes.fromhex(key)])) == [bytes.fromhex(key)]
    disk.lose_power(left)
    assert list((left / "duplicates").iterdir()) == []
