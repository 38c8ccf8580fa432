"""`rsdos extract` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Place
from rsdos.model import FRAME_SIZE
from tests.cli.conftest import Run
from tests.data import key_of, noise, text
from tests.helpers import ABSENT, flip

OBJECTS = {
    key_of(data): data
    for data in (b"", b"one", text(5000), noise(FRAME_SIZE), text(FRAME_SIZE + 1), noise(3 * FRAME_SIZE + 5), b"loose")
}


@pytest.fixture(params=["1", "2"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    with Container.create(tmp_path / "container", container_version=int(request.param)) as container:
        data = list(OBJECTS.values())
        container.insert_many(data[:3], compress=CompressMode.YES)
        container.insert_many(data[3:5], compress=CompressMode.NO)
        container.insert_many(data[5:], to=Place.LOOSE)
    return tmp_path / "container"


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_all_come_out(run: Run, path: Path, tmp_path: Path) -> None:
    size = sum(map(len, OBJECTS.values()))
    assert run("extract", "to/here").stdout == "[info] Extracted 7 objects, 5.2 MB, to to/here\n"
    assert files(tmp_path / "to" / "here") == OBJECTS
    # Once more, over what is there; a file that is not as it was is put right.
    (tmp_path / "to" / "here" / key_of(b"one")).write_bytes(b"two")
    report = json.loads(run("extract", "to/here", "--json").stdout)
    assert report == {"objects": 7, "size": size, "failed": 0}
    assert files(tmp_path / "to" / "here") == OBJECTS


def test_those_that_are_named(run: Run, path: Path, tmp_path: Path) -> None:
    one, large = key_of(b"one"), list(OBJECTS)[5]
    run("extract", "named", one, large)
    assert files(tmp_path / "named") == {one: b"one", large: OBJECTS[large]}
    run("extract", "listed", "--from-file", "-", stdin=f"{one}\n\n{one}\n{large}\n".encode())
    assert files(tmp_path / "listed") == files(tmp_path / "named")
    run("extract", "listed", one, "--from-file", "-", code=2)


def test_an_unwritable_file_is_named_and_the_others_are_written(run: Run, path: Path, tmp_path: Path) -> None:
    bad, worse = key_of(OBJECTS[list(OBJECTS)[2]]), list(OBJECTS)[5]
    with Container(path) as container:
        extent = container.meta(bad).extent
        assert extent is not None
        flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset + 3)
        flip(Path(container.engine.layout.loose_file(worse)), 2 * FRAME_SIZE)
    listed = [*OBJECTS, ABSENT, "../../outside", "/etc/passwd", key_of(b"one")[:12]]
    done = run("extract", "out", "--from-file", "-", stdin="\n".join(listed).encode(), code=1)
    assert files(tmp_path / "out") == {key: data for key, data in OBJECTS.items() if key not in (bad, worse)}
    assert done.stderr.count("rsdos: error: ") == 6
    for what in (bad, worse, f"no such object: {ABSENT}", "'../../outside'", "'/etc/passwd'", key_of(b"one")[:12]):
        assert what in done.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"container", "out"}


def test_a_link_in_the_place_of_a_file_is_not_followed(run: Run, path: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"outside")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / key_of(b"one")).symlink_to(tmp_path / "outside")
    assert "not a regular file" in run("extract", "out", key_of(b"one"), code=2).stderr
    assert (tmp_path / "outside").read_bytes() == b"outside"


def test_objects_that_damage_does_not_hide_are_read(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container", pack_size_target=5000) as container:
        for seed in range(3):
            container.insert_many([noise(6000, seed)])
    (tmp_path / "container" / "packed" / "0000000002.pack").unlink()
    done = run("extract", "out", code=1)
    assert files(tmp_path / "out") == {key_of(noise(6000, seed)): noise(6000, seed) for seed in (0, 2)}
    assert "0000000002.pack" in done.stderr
    assert key_of(noise(6000, 1)) in run("extract", "out", key_of(noise(6000, 1)), code=1).stderr


def test_where_there_is_no_container_no_directory_is_made(run: Run, tmp_path: Path) -> None:
    run("extract", "out", code=1)
    assert list(tmp_path.iterdir()) == []


def test_a_key_in_the_place_of_the_directory_is_refused(run: Run, tmp_path: Path) -> None:
    """`cat-file KEY` has no directory: who takes this for it would get all objects, in one of that name."""
    run("init")
    done = run("extract", key_of(b"some"), code=2)
    assert "is a key" in done.stderr and not (tmp_path / key_of(b"some")).exists()
