"""State files: what is written is read again, and anything else is ignored."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.trees.entry import Attributes
from rsdos.worktree.rows import NO_ROW, ROW_BYTES
from rsdos.worktree.state import StateHead, StateWriter, drop_state, read_state, write_state

ROWS = os.urandom(ROW_BYTES * 1000)


def head(container: Container, **others: object) -> StateHead:
    fields = {"reference": "flowers@3", "snapshot": "5" * 64, "tree": "7" * 64} | others
    return StateHead(container.container_id, **fields)  # type: ignore[arg-type]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "directory"
    made.mkdir()
    return made


def files(container: Container) -> list[Path]:
    return sorted((container.path / "checkouts").iterdir())


def test_a_state_is_read_as_it_was_written(container: Container, directory: Path) -> None:
    wanted = head(
        container,
        under=b"a/\xff",
        attributes=Attributes.TIMES | Attributes.MODES,
        include=("*.jpg", "ä"),
        exclude=("\udcff",),
    )
    written = write_state(container.engine, directory, wanted, [ROWS[:400], ROWS[400:]])
    assert [str(path) for path in files(container)] == [written]
    state = read_state(container.engine, directory)
    assert state is not None
    with state:
        assert state.head == wanted
        assert state.count == 1000
        assert state.rows(0, 1000) == ROWS
        assert state.rows(3, 5) == ROWS[120:200]
        assert state.rows(999, 1002) == ROWS[-40:] + 2 * NO_ROW
        assert state.rows(2000, 2001) == NO_ROW


def test_a_state_without_rows(container: Container, directory: Path) -> None:
    assert write_state(container.engine, directory, head(container), [])
    state = read_state(container.engine, directory)
    assert state is not None and state.count == 0
    state.close()


def test_the_last_state_counts_and_a_reader_keeps_the_one_it_has(container: Container, directory: Path) -> None:
    write_state(container.engine, directory, head(container), [ROWS])
    before = read_state(container.engine, directory)
    write_state(container.engine, directory, head(container, reference="flowers@4"), [NO_ROW])
    after = read_state(container.engine, directory)
    assert before is not None and after is not None
    with before, after:
        assert before.rows(0, 1000) == ROWS
        assert (after.head.reference, after.rows(0, 1)) == ("flowers@4", NO_ROW)
    assert len(files(container)) == 1
    drop_state(container.engine, directory)
    assert read_state(container.engine, directory) is None


def test_a_state_is_of_one_directory_by_whatever_path_and_of_one_container(
    container: Container, directory: Path, tmp_path: Path
) -> None:
    write_state(container.engine, directory, head(container), [ROWS])
    (tmp_path / "link").symlink_to(directory)
    state = read_state(container.engine, tmp_path / "link")
    assert state is not None
    state.close()
    directory.rename(tmp_path / "elsewhere")
    assert read_state(container.engine, tmp_path / "elsewhere") is None
    directory.mkdir()
    (tmp_path / "elsewhere").rmdir()
    assert read_state(container.engine, directory) is None, "another inode"
    with Container.create(tmp_path / "other") as other:
        write_state(other.engine, directory, head(other), [ROWS])
        (container.path / "checkouts" / files(other)[0].name).write_bytes(files(other)[0].read_bytes())
        assert read_state(container.engine, directory) is None


def with_head(data: bytes, **members: object) -> bytes:
    """The same rows with another document, which has a checksum of its own."""
    (length,) = struct.unpack("<Q", data[-8:])
    document = encode_document(decode_document(data[-8 - length : -8]) | members)
    return data[: -8 - length] + document + struct.pack("<Q", len(document))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "a row": lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:],
    "the head": lambda data: data.replace(b"flowers@3", b"flowers@2"),
    "a longer head": lambda data: data[:-8] + b"\xff" * 8,
    "a row more": lambda data: NO_ROW + data,
    "no key": lambda data: with_head(data, tree="../../etc"),
    "a short key": lambda data: with_head(data, tree="ab"),
    "no number": lambda data: with_head(data, count="many"),
    "no list": lambda data: with_head(data, include=5),
    "too new": lambda data: data.replace(b'"version": 1', b'"version": 2'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_ignored(container: Container, directory: Path, damage: str) -> None:
    write_state(container.engine, directory, head(container), [ROWS])
    (path,) = files(container)
    data = path.read_bytes()
    changed = DAMAGES[damage](data)
    assert changed != data
    path.write_bytes(changed)
    assert read_state(container.engine, directory) is None
    write_state(container.engine, directory, head(container), [ROWS])
    state = read_state(container.engine, directory)
    assert state is not None
    state.close()


def test_a_state_that_is_not_finished_leaves_nothing(container: Container, directory: Path) -> None:
    write_state(container.engine, directory, head(container), [ROWS])
    (before,) = files(container)
    with pytest.raises(KeyError), StateWriter(container.engine, directory) as writer:
        writer.add(ROWS)
        assert len(files(container)) == 2
        raise KeyError
    assert files(container) == [before]


def test_what_a_killed_process_left_is_removed_by_the_next_state(container: Container, directory: Path) -> None:
    path = Path(write_state(container.engine, directory, head(container), [ROWS]))
    left = Path(f"{path}.{'0' * 16}.new")
    left.write_bytes(b"half")
    write_state(container.engine, directory, head(container), [ROWS])
    assert files(container) == [path]


def test_where_the_container_cannot_be_written_the_callers_directory_is_used(
    container: Container, directory: Path, tmp_path: Path
) -> None:
    container.engine.layout.check()
    (container.path / "checkouts").write_bytes(b"in the way")  # root may write everywhere else
    cache = tmp_path / "home/.cache/rsdos"
    assert write_state(container.engine, directory, head(container), [ROWS]) == ""
    written = write_state(container.engine, directory, head(container), [ROWS], str(cache))
    assert Path(written).parent == cache
    assert read_state(container.engine, directory) is None
    state = read_state(container.engine, directory, str(cache))
    assert state is not None
    state.close()


def test_the_newer_of_two_states_counts(container: Container, directory: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    write_state(container.engine, directory, head(container, reference="old@1"), [ROWS])
    shutil.copytree(container.path / "checkouts", tmp_path / "kept")
    shutil.rmtree(container.path / "checkouts")
    (container.path / "checkouts").touch()
    write_state(container.engine, directory, head(container, reference="new@1"), [ROWS], cache)
    (container.path / "checkouts").unlink()
    shutil.copytree(tmp_path / "kept", container.path / "checkouts")
    state = read_state(container.engine, directory, cache)
    assert state is not None
    with state:
        assert state.head.reference == "new@1"


def test_clearing_a_container_takes_its_states_too(container: Container, directory: Path) -> None:
    write_state(container.engine, directory, head(container), [ROWS])
    container.init_container(clear=True)
    assert not (container.path / "checkouts").exists()
