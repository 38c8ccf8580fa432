"""The door through which files are removed: what is not ours, by name and form, stays."""

import linecache
import os
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from rsdos import Container, NotOurs
from rsdos.layout import Layout
from rsdos.model import Links
from rsdos.root import CONTAINER
from rsdos.storage.directory import Directory, Form, open_at, temporary_directory

FORM = Form(r"\d+", (("inner", Form(r"\d+", (("deep", Form(r"\d+")),))),))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of somebody else's, with names that look like ours."""
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "1").write_text("kept")
    (outside / "deep" / "2").write_text("kept")
    return outside


def is_untouched(outside: Path) -> bool:
    return (outside / "1").read_text() == (outside / "deep" / "2").read_text() == "kept"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.mark.parametrize("name", ["", ".", "..", "../outside/1", "inner/1", "/etc/passwd", "1\0", "a"])
def test_only_a_name_of_ours_is_removed(root: Path, outside: Path, name: str) -> None:
    (root / "a").write_text("kept")
    with Directory(str(root), FORM) as directory:
        with pytest.raises(NotOurs):
            directory.remove(name)
        with pytest.raises(NotOurs):
            directory.remove_directory(name)
    assert is_untouched(outside) and (root / "a").exists()


def test_a_file_is_removed_and_a_directory_in_its_place_is_not(root: Path) -> None:
    (root / "1").write_text("")
    (root / "2").mkdir()
    with Directory(str(root), FORM) as directory:
        assert directory.remove("1")
        assert not directory.remove("1")
        with pytest.raises(OSError, match="2"):
            directory.remove("2")
    assert os.listdir(root) == ["2"]


def test_of_a_link_in_the_place_of_a_file_only_the_link_goes(root: Path, outside: Path) -> None:
    (root / "1").symlink_to(outside / "1")
    with Directory(str(root), FORM) as directory:
        assert directory.remove("1")
    assert not os.listdir(root) and is_untouched(outside)


def test_a_link_in_the_place_of_a_directory_is_refused_by_name(root: Path, outside: Path) -> None:
    (root / "inner").symlink_to(outside)
    with Directory(str(root), FORM) as directory:
        for refused in (directory.child, directory.remove_tree):
            with pytest.raises(NotOurs, match=r"root/inner: a symbolic link"):
                refused("inner")
        with pytest.raises(NotOurs, match=r"root/inner: a symbolic link"):
            directory.check(("inner", "missing"))
    assert is_untouched(outside)


def test_a_caller_may_have_the_links_of_the_root_followed_and_no_deeper_ones(root: Path, outside: Path) -> None:
    (root / "inner").symlink_to(outside)
    (outside / "deep").rename(outside / "elsewhere")
    (outside / "deep").symlink_to(outside / "elsewhere")
    with Directory(str(root), FORM, Links.FOLLOW) as directory:
        directory.check(("inner",))
        with directory.child("inner") as inner:
            assert inner.remove("1")
            with pytest.raises(NotOurs):
                inner.child("deep")


@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_a_file_in_the_place_of_a_directory_is_refused_without_waiting(root: Path, kind: str) -> None:
    (root / "inner").write_text("") if kind == "file" else os.mkfifo(root / "inner")
    with Directory(str(root), FORM) as directory:
        with pytest.raises(NotOurs, match="not a directory"):
            directory.child("inner")
        with pytest.raises(NotOurs, match="not a directory"):
            directory.check(("inner",))


def test_a_directory_that_is_exchanged_for_a_link_is_still_the_same_one(root: Path, outside: Path) -> None:
    (root / "inner" / "deep").mkdir(parents=True)
    (root / "inner" / "1").write_text("")
    with open_at(str(root), FORM, ("inner",)) as inner:
        (root / "inner").rename(root / "moved")
        (root / "inner").symlink_to(outside)
        assert inner.remove("1")
        assert inner.remove_tree("deep") == []
    assert not os.listdir(root / "moved") and is_untouched(outside)


def test_of_a_tree_only_our_files_are_removed_and_the_rest_is_reported(root: Path, outside: Path) -> None:
    inner = root / "inner"
    (inner / "deep").mkdir(parents=True)
    (inner / "deep" / "7").write_text("")
    (inner / "8").write_text("")
    (inner / "mine.txt").write_text("kept")
    (inner / "9").symlink_to(outside / "1")
    with Directory(str(root), FORM) as directory:
        assert directory.remove_tree("inner") == [f"{inner}/9", f"{inner}/mine.txt"]
        assert sorted(os.listdir(inner)) == ["9", "mine.txt"] and is_untouched(outside)
        (inner / "9").unlink()
        (inner / "mine.txt").unlink()
        assert directory.remove_tree("inner") == []
        assert directory.remove_tree("inner") == []
    assert not os.listdir(root)


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_quarantined_files_overwrite_nothing(root: Path, kind: str) -> None:
    place, to = root / "place", root / "to"
    place.mkdir()
    (to / "x").mkdir(parents=True)
    (to / "x.1").write_text("kept")
    if kind == "file":
        (place / "x").write_text("moved")
    elif kind == "directory":
        (place / "x" / "y").mkdir(parents=True)
    else:
        (place / "x").symlink_to("nowhere")
    with Directory(str(place), Form()) as source, Directory(str(to), Form()) as target:
        assert source.move_to_quarantine("x", target) == f"{to}/x.2"
        with pytest.raises(FileNotFoundError):
            source.move_to_quarantine("x", target)
    assert not os.listdir(place)
    assert sorted(os.listdir(to)) == ["x", "x.1", "x.2"] and (to / "x.1").read_text() == "kept"
    assert os.path.lexists(to / "x.2" / "y") if kind == "directory" else os.path.lexists(to / "x.2")


def test_threads_list_one_open_directory_at_once(root: Path) -> None:
    for number in range(2000):
        (root / str(number)).touch()
    counts: list[int] = []
    with Directory(str(root), FORM) as directory:
        threads = [threading.Thread(target=lambda: counts.append(len(directory.names()))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts == [2000] * 8


@pytest.mark.parametrize("version", [1, 2])
def test_all_that_a_container_is_made_of_is_ours_by_name(tmp_path: Path, version: int) -> None:
    path = tmp_path / "c"
    with Container.create(path, container_version=version) as container:
        container.insert_many([b"packed", b"packed too"])
        container.insert(b"loose")
        container.delete([container.insert(b"gone")])
        container.pack_all_loose()
        container.insert(b"another")
        container.engine.packed.maintenance.note("a note", 1)
        with Directory(str(path), CONTAINER) as root:
            assert root.clear() == []
    assert not os.listdir(path)


def test_a_layout_removes_by_descriptors(tmp_path: Path, outside: Path) -> None:
    Container.create(tmp_path / "c")
    layout = Layout(str(tmp_path / "c"))
    open(layout.pack(1), "w").close()
    assert layout.remove(layout.pack(1)) and not layout.remove(layout.pack(1))
    assert not layout.remove(f"{layout.loose}/ab/cdef")
    os.rmdir(layout.packed)
    (outside / "0000000001.pack").write_text("kept")
    os.symlink(outside, layout.packed)
    with pytest.raises(NotOurs, match="c/packed: a symbolic link"):
        layout.remove(layout.pack(1))
    assert (outside / "0000000001.pack").exists()


def test_an_interrupt_at_any_line_leaves_no_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    number = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal number
        place = Path(frame.f_code.co_filename)
        # Python looks for signals behind calls: a `try` has none.
        if (
            place.name in ("directory.py", "shutil.py")
            and event == "line"
            and "try:" not in linecache.getline(str(place), frame.f_lineno)
        ):
            number -= 1
            if number == 0:
                signal.raise_signal(signal.SIGINT)
        return trace

    def use() -> None:
        with temporary_directory() as path:
            Path(path, "below").mkdir()
            Path(path, "below", "file").touch()
            Path(path, "file").touch()

    interrupted, at, before = True, 0, sys.gettrace()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # A process in the background ignores it.
    while interrupted:
        at, interrupted = at + 1, False
        number = at
        try:
            sys.settrace(trace)
            try:
                use()
            finally:
                sys.settrace(before)
        except KeyboardInterrupt:
            interrupted = True
        assert os.listdir(tmp_path) == [], at
    signal.signal(signal.SIGINT, handler)
    assert at > 30


def test_a_temporary_directory_is_not_removed_by_a_forked_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with suppress(InterruptedError), temporary_directory() as path:
        child = os.fork()
        if child == 0:
            raise InterruptedError
        os.waitpid(child, 0)
        assert os.path.isdir(path)
    if child == 0:
        os._exit(0)
    assert os.listdir(tmp_path) == []
