"""What the operating system refuses, and when: files, permissions, mounts, full disks. Nothing is lost by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from rsdos import CompressMode, Container, InvalidOption, Place, SourceChanged
from rsdos.model import FRAME_SIZE
from tests.data import key_of, noise, text
from tests.helpers import (
    NOBODY,
    assert_holds,
    assert_no_leftovers,
    child_environment,
    let_others_pass,
    run_python,
    tree,
    writable_as_nobody,
)
from tests.warm import warm

SMALL = {key_of(data): data for data in (b"", b"one", text(5000), noise(5000, 1))}
LARGE = {key_of(data): data for data in (text(FRAME_SIZE + 1), noise(2 * FRAME_SIZE, 2))}
ALL = SMALL | LARGE


as_root = pytest.mark.skipif(not writable_as_nobody(), reason="only root can become another user, or mount")


@contextmanager
def _mounted(path: Path, *arguments: str) -> Iterator[None]:
    done = subprocess.run(["mount", *arguments, path], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@as_root
def test_a_file_without_permission_to_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    secret.chmod(0)
    let_others_pass(tmp_path)
    tmp_path.chmod(0o777)
    code = """
import errno, sys
from rsdos import Container, UnreadableSource
with Container.create(sys.argv[1]) as container:
    for insert in (container.insert, lambda path: container.insert_many([b"x", path])):
        try:
            insert(sys.argv[2])
        except UnreadableSource as error:
            assert error.errno == errno.EACCES
            print(len(container))
"""
    assert run_python(code, tmp_path / "container", secret, user=NOBODY).split() == ["0", "0"]


@pytest.mark.parametrize("size", [1000, FRAME_SIZE + 1000])
def test_a_file_that_changes_while_it_is_read(
    container: Container, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "source"
    real_read, real_readinto = os.read, os.fstat
    for place in Place:
        path.write_bytes(noise(size))
        calls = 0

        def changing(fd: int) -> os.stat_result:
            nonlocal calls
            if os.readlink(f"/proc/self/fd/{fd}") == str(path):
                calls += 1
                if calls == 2:
                    with path.open("ab") as file:
                        file.write(b"more")
            return real_readinto(fd)

        with monkeypatch.context() as patched, pytest.raises(SourceChanged):
            patched.setattr(os, "fstat", changing)
            container.insert(path, to=place)
        assert len(container) == 0
    assert real_read is os.read


def test_a_broken_stream_among_many_objects(container: Container) -> None:
    """What was committed on the way stays, everything else is undone; the space is given back."""
    container.insert_many(SMALL.values())
    before = tree(container.path)

    def sources() -> Iterator[bytes]:
        for number in range(40_000):  # More than are looked up together: some are written.
            yield b"%d" % number
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        container.insert_many(sources())
    assert tree(container.path) == before
    assert_holds(container, SMALL)
    # Small packs are committed one by one: those stay, and nothing else.
    with Container.create(container.path / ".." / "tiny", pack_size_target=20_000) as tiny:
        with pytest.raises(ConnectionError):
            tiny.insert_many(sources())
        assert 0 < len(tiny) < 40_000
        assert_no_leftovers(tiny.path)
        keys = list(tiny)
        assert all(key_of(data) == key for key, data in tiny.extract_many(keys))


def test_options_that_make_no_sense(container: Container) -> None:
    for insert in (
        lambda: container.insert(b"x", to=cast(Place, "loosely")),
        lambda: container.insert_many([b"x"], to=cast(Place, 7)),
        lambda: container.insert_many([b"x"], compress=cast(CompressMode, "maybe")),
        lambda: container.pack_all_loose(cast(CompressMode, "maybe")),
        lambda: Container(container.path, durability="some"),
    ):
        with pytest.raises(InvalidOption):
            insert()
    assert len(container) == 0
    with Container.create(container.path / ".." / "raw", compression="none") as raw:
        raw.insert(b"x")
        for insert in (
            lambda: raw.insert_many([b"y"], compress=CompressMode.YES),
            lambda: raw.pack_all_loose(CompressMode.YES),
        ):
            with pytest.raises(InvalidOption):
                insert()
        assert len(raw) == 1


_READ = """
import io, pickle, sys
from rsdos import CompressMode, Container, Place, ReadOnlyContainer
path, out, *keys = sys.argv[1:]
def refused(verb, *arguments, **keywords):
    try:
        verb(*arguments, **keywords)
    except ReadOnlyContainer as error:
        assert isinstance(error, PermissionError) and path in str(error), error
    else:
        sys.exit(f"{verb} was not refused")
with Container(path) as container:
    assert set(container) == set(keys) and len(container) == len(keys)
    assert all(container.has_many(keys))
    objects = dict(container.extract_many(keys))
    for key in keys:
        assert container.extract(key) == objects[key] == container.open(key).read()
        assert container.meta(key).size == len(objects[key])
        assert container.find(key[:12]) == key
        assert container.extract_to(key, out + "/" + key) == len(objects[key])
    refused(container.insert, b"new")
    refused(container.insert, b"n" * (2 << 20))
    refused(container.insert_many, [b"new"])
    refused(container.insert_many, [b"new"], to=Place.LOOSE)
    refused(container.pack_all_loose)
print("fine")
"""


@as_root
def test_a_user_without_permission_to_write_reads_everything(tmp_path: Path) -> None:
    path, out = tmp_path / "container", tmp_path / "out"
    with Container.create(path) as container:
        container.insert_many(list(ALL.values())[::2])
        container.insert_many(list(ALL.values())[1::2], to=Place.LOOSE)
    out.mkdir()
    let_others_pass(out)
    out.chmod(0o777)
    let_others_pass(path)
    for directory in path.rglob("*"):
        assert directory.stat().st_mode & 0o044 == 0o044
    before = tree(path)
    assert run_python(_READ, path, out, *ALL, user=NOBODY) == "fine\n"
    assert tree(path) == before
    assert {file.name: file.read_bytes() for file in out.iterdir()} == ALL


@as_root
def test_a_container_that_has_never_been_written_to_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "container"
    Container.create(path).close()
    let_others_pass(path)
    code = (
        "import sys; from rsdos import Container; c = Container(sys.argv[1]); print(len(c), list(c), c.has('0' * 64))"
    )
    assert run_python(code, path, user=NOBODY) == "0 [] False\n"


@as_root
def test_a_read_only_mount(tmp_path: Path) -> None:
    source, mount, out = tmp_path / "container", tmp_path / "mount", tmp_path / "out"
    with Container.create(source) as container:
        container.insert_many(list(ALL.values())[::2])
        container.insert_many(list(ALL.values())[1::2], to=Place.LOOSE)
    mount.mkdir()
    out.mkdir()
    with _mounted(mount, "--bind", "-o", "ro", str(source)):
        assert run_python(_READ, mount, out, *ALL) == "fine\n"


def _without_locks(files: dict[str, int]) -> dict[str, int]:
    return {name: length for name, length in files.items() if not name.startswith("locks/")}


@as_root
def test_a_disk_that_fills_up_while_packing(tmp_path: Path) -> None:
    objects = {key_of(data): data for data in (noise(700_000, seed) for seed in range(12))}
    with _mounted(tmp_path, "-t", "tmpfs", "-o", "size=12M", "tmpfs"):
        with Container.create(tmp_path / "container") as container:
            container.insert_many(objects.values(), to=Place.LOOSE)
            before = tree(container.path)
            with pytest.raises(OSError, match="No space left") as caught:
                container.pack_all_loose()
            assert caught.value.filename == container.engine.layout.pack(1)
            after = tree(container.path)
            assert _without_locks(after) == _without_locks(before)
            assert_holds(container, objects)


@as_root
def test_a_full_disk_on_the_command_line(tmp_path: Path) -> None:
    """It is said which file could not be written, and that nothing is lost; in workers too."""

    def rsdos(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "rsdos", "-p", "container", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=child_environment(), capture_output=True, check=False)
        return done.returncode, os.fsdecode(done.stderr)

    full = re.escape(": No space left on device (nothing that was stored is lost)")
    with _mounted(tmp_path, "-t", "tmpfs", "-o", "size=10M", "tmpfs"):
        (tmp_path / "small").write_bytes(b"small")
        (tmp_path / "large").write_bytes(noise(3 << 20))
        with Container.create(tmp_path / "container") as container:
            key = container.insert(noise(1 << 20, 1), to=Place.PACKED)
        with (tmp_path / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            for _ in range(100):
                filler.write(bytes(100_000))
        os.truncate(tmp_path / "filler", os.path.getsize(tmp_path / "filler") - 500_000)
        for names in (["large"], ["-j", "2", *["large"] * 100]):
            code, told = rsdos("add-files", "--to", "packed", "small", *names)
            assert code == 1
            assert re.search(rf"^rsdos: error: {tmp_path}/container/packed/\d+\.pack{full}$", told, re.MULTILINE), told
        assert rsdos("cat-file", key, "-o", "copy")[0] == 1
        assert re.search(f"^rsdos: error: copy{full}$", rsdos("cat-file", key, "-o", "copy")[1])
        assert not (tmp_path / "copy").exists()
        (tmp_path / "filler").unlink()
        assert rsdos("add-files", "--to", "packed", "small", "large") == (0, "")
        assert Container(tmp_path / "container").extract(key) == noise(1 << 20, 1)


@as_root
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_repack_on_a_full_disk_says_how_much_room_it_needs(tmp_path: Path, jobs: str) -> None:
    with _mounted(tmp_path, "-t", "tmpfs", "-o", "size=16M", "tmpfs"):
        with Container.create(tmp_path / "container", compression="none") as container:
            keys = container.insert_many([noise(1 << 20, seed) for seed in range(8)])
        with (tmp_path / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            for _ in range(200):
                filler.write(bytes(100_000))
        command = [*warm(), "-p", "container"]
        assert subprocess.run([*command, "delete", *keys[:5]], cwd=tmp_path, check=False).returncode == 0
        repack = [*command, "optimize", "repack", "--jobs", jobs]
        done = subprocess.run(repack, cwd=tmp_path, capture_output=True, text=True, check=False)
        rest = re.escape(
            ": No space left on device (nothing that was stored is lost;"
            " a repack copies the live objects, here 3.1 MB, before it removes the old pack)\n"
        )
        assert re.fullmatch(rf"rsdos: error: {tmp_path}/container/packed/\d+\.pack{rest}", done.stderr), done.stderr
        (tmp_path / "filler").unlink()
        assert subprocess.run(repack, cwd=tmp_path, check=False).returncode == 0
        left = {key: noise(1 << 20, seed) for seed, key in enumerate(keys) if seed >= 5}
        assert_holds(Container(tmp_path / "container"), left)


@as_root
def test_a_disk_without_inodes(tmp_path: Path) -> None:
    with _mounted(tmp_path, "-t", "tmpfs", "-o", "nr_inodes=30", "tmpfs"):
        with Container.create(tmp_path / "container") as container:
            kept = container.insert_many([b"kept"])
            with pytest.raises(OSError, match="No space left"):
                container.insert_many((b"%d" % number for number in range(100)), to=Place.LOOSE)
            assert container.extract(kept[0]) == b"kept"
            assert tree(container.path / "sandbox") == {}
