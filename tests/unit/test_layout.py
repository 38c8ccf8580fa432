"""The paths of a container, and which names in it count."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import NotAContainer, NotOurs
from rsdos.layout import Layout, V1Layout
from rsdos.model import Links
from rsdos.names import LAST_PACK, TURN_LOCK
from rsdos.root import CONTAINER


def make(root: Path, *names: str) -> Layout:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return Layout(str(root))


@pytest.mark.parametrize(("prefix", "expected"), [(0, "loose/abcdef"), (2, "loose/ab/cdef"), (5, "loose/abcde/f")])
def test_a_loose_file_is_in_the_directory_of_its_prefix(prefix: int, expected: str) -> None:
    layout = Layout("/root", prefix)
    assert layout.loose_file("abcdef") == f"/root/{expected}"
    assert layout.loose_file("abcdef").startswith(f"{layout.loose_directory('abcdef')}/")


def test_empty_directories_are_removed_only_if_there_may_be_more_than_256() -> None:
    assert [Layout("/root", prefix).may_remove_directories for prefix in (0, 2, 3)] == [False, False, True]
    assert not V1Layout("/root", 3).may_remove_directories


def test_packs_are_listed_by_their_number_and_foreign_names_are_ignored(tmp_path: Path) -> None:
    highest = f"packed/{LAST_PACK:010d}.pack"
    foreign = [
        "packed/0000000000.pack",
        f"packed/{LAST_PACK + 1:010d}.pack",
        "packed/1.pack",
        "packed/0000000003.pack.new",
    ]
    layout = make(tmp_path, "packed/0000000012.pack", highest, "packed/0000000002.pack", *foreign)
    assert layout.pack_ids() == [2, 12, LAST_PACK]


def test_packs_of_version_1_have_bare_numbers(tmp_path: Path) -> None:
    make(tmp_path, "packs/0", "packs/10", "packs/9", "packs/01", "packs/-1", "packs/9.lock", "packs/x")
    layout = V1Layout(str(tmp_path))
    assert layout.pack_ids() == [0, 9, 10]
    assert layout.pack(10) == str(tmp_path / "packs/10")


def test_manifests_segments_and_locks_are_listed_ascending(tmp_path: Path) -> None:
    names = ["index/manifest-0000000010.json", "index/manifest-0000000009.json", "index/manifest-1.json"]
    layout = make(tmp_path, *names, "index/0000000002.seg", "index/0000000001.seg", "locks/pack-3", "locks/commit")
    assert layout.manifest_numbers() == [9, 10]
    assert layout.segment_numbers() == [1, 2]
    assert layout.locked_ids() == [3]


def test_a_missing_directory_of_locks_means_that_no_pack_was_written(tmp_path: Path) -> None:
    assert Layout(str(tmp_path)).locked_ids() == []


def test_unfinished_manifests_have_names_that_no_other_writer_has(tmp_path: Path) -> None:
    layout = make(tmp_path, "index/manifest.new", "index/manifest-0000000001.json", "index/manifest-x.new")
    own = Path(layout.new_manifest())
    assert layout.new_manifest() != str(own)
    own.write_bytes(b"")
    assert sorted(layout.new_manifests()) == sorted([str(own), str(tmp_path / "index/manifest.new")])


def test_every_path_of_a_container_has_a_name_that_is_ours() -> None:
    for layout in (Layout("."), V1Layout(".")):
        paths = [layout.config, layout.migration, layout.notes, layout.validation, *layout.beginnings]
        paths += [layout.manifest(1), layout.segment(1), layout.new_manifest(), layout.pack(1), layout.pack_lock(1)]
        paths += [layout.commit_lock, layout.maintenance_lock, TURN_LOCK, layout.reserve, layout.last_backup]
        for path in paths:
            *above, name = path.removeprefix("./").split("/")
            form = CONTAINER
            for step in above:
                below = form.below(step)
                assert below is not None, path
                form = below
            assert form.has_file(name), path


def test_names_in_reports_are_relative_to_the_container(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    assert layout.relative(layout.pack(7)) == "packed/0000000007.pack"
    assert V1Layout(str(tmp_path)).relative(tmp_path / "packs.idx") == "packs.idx"


def test_a_link_in_the_place_of_a_directory_is_refused_unless_the_caller_follows_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "container"
    root.mkdir()
    (root / "packed").symlink_to(tmp_path / "elsewhere")
    layout = Layout(str(root))
    with pytest.raises(NotOurs, match="packed"):
        layout.check()
    layout.set_links(Links.FOLLOW)
    layout.check()


def test_no_directory_is_made_at_the_path_of_a_container_that_is_gone(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "gone"))
    with pytest.raises(NotAContainer):
        layout.make(layout.locks)
    assert not (tmp_path / "gone").exists()
