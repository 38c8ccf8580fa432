"""The door to FUSE: what is mounted is what a checkout writes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from rsdos import Container
from tests.integrations.conftest import LABELS, break_object, need_fuse

need_fuse()


def _rsdos(container: Container, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rsdos", "-p", str(container.path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@contextmanager
def _mounted(container: Container, place: Path, *ref: str) -> Iterator[Path]:
    place.mkdir()
    done = _rsdos(container, "mount", place, *ref)
    assert done.returncode == 0, done.stderr
    assert os.path.ismount(place)
    try:
        yield place
    finally:
        _unmount(place)


def _unmount(place: Path) -> None:
    if subprocess.run(["fusermount3", "-u", place], capture_output=True).returncode:
        subprocess.run(["umount", "-l", place], check=True)


def _without_outside(directory: Path) -> None:
    (directory / "outside").unlink()


def test_a_mount_is_what_a_checkout_writes(container: Container, flowers: Path, tmp_path: Path) -> None:
    _without_outside(flowers)
    container.snapshots.save("flowers", flowers)
    container.snapshots.checkout("flowers", tmp_path / "checkout")
    with _mounted(container, tmp_path / "mount", "flowers") as place:
        compared = ["diff", "-r", "--no-dereference", str(place), str(tmp_path / "checkout")]
        done = subprocess.run(compared, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        for top, directories, files in os.walk(tmp_path / "checkout"):
            for name in directories + files:
                written = os.lstat(os.path.join(top, name))
                shown = os.lstat(place / os.path.relpath(os.path.join(top, name), tmp_path / "checkout"))
                assert shown.st_mode == written.st_mode
                assert os.path.isdir(os.path.join(top, name)) or shown.st_size == written.st_size


def test_a_version_is_mounted_and_stays(container: Container, flowers: Path, tmp_path: Path) -> None:
    with _mounted(container, tmp_path / "mount", "flowers") as place:
        with container.snapshots.edit("flowers") as draft:
            draft["labels.csv"] = b"new"
        assert (place / "labels.csv").read_bytes() == LABELS
        assert not (place / "absent").exists()


def test_a_version_stays_readable_after_it_was_forgotten_collected_and_repacked(
    container: Container, flowers: Path, tmp_path: Path
) -> None:
    names = container.snapshots
    with names.edit("passing") as draft:
        draft["file"] = b"the only copy" * 1000
    with _mounted(container, tmp_path / "mount", "passing") as place:
        names.forget("passing")
        assert names.gc().objects == 1
        packs = sorted((container.path / "packed").iterdir())
        for pack in packs:
            container.repack(pack_id=int(pack.stem))
        assert all(pack.exists() for pack in packs)
        assert (place / "file").read_bytes() == b"the only copy" * 1000


def test_without_a_ref_each_name_is_a_directory(container: Container, flowers: Path, tmp_path: Path) -> None:
    with _mounted(container, tmp_path / "mount") as place:
        assert sorted(os.listdir(place)) == ["flowers", "team%2Fflowers", "v1"]
        assert (place / "team%2Fflowers" / "labels.csv").read_bytes() == LABELS.upper()
        assert (place / "flowers@1" / "latest.csv").read_bytes() == LABELS
        assert not (place / "flowers@2").exists()
        with container.snapshots.edit("flowers") as draft:
            draft["another/new.csv"] = b"new"
        assert (place / "flowers" / "another" / "new.csv").read_bytes() == b"new"


def test_an_open_file_stays_what_it_was_and_the_next_one_is_the_newest(
    container: Container, flowers: Path, tmp_path: Path
) -> None:
    """Also in the second for which a kernel usually keeps sizes and pages."""
    with _mounted(container, tmp_path / "mount") as place:
        path = place / "flowers" / "labels.csv"
        assert path.read_bytes() == LABELS
        with path.open("rb", buffering=0) as before:
            assert before.read(4) == LABELS[:4]
            for new in (LABELS.upper(), LABELS * 3, LABELS[:5]):
                with container.snapshots.edit("flowers") as draft:
                    draft["labels.csv"] = new
                assert path.stat().st_size == len(new)
                assert path.read_bytes() == new
            assert os.read(before.fileno(), 1000) == LABELS[4:]


def test_contents_are_read_at_any_place_by_several_threads(container: Container, flowers: Path, tmp_path: Path) -> None:
    data = (flowers / "large.bin").read_bytes()
    with _mounted(container, tmp_path / "mount", "flowers") as place:
        with (place / "large.bin").open("rb", buffering=0) as file, ThreadPoolExecutor(8) as pool:
            places = [at * 7919 % len(data) for at in range(200)]
            read = list(pool.map(lambda at: os.pread(file.fileno(), 5000, at), places))
        assert read == [data[at : at + 5000] for at in places]


def test_names_that_are_no_text_are_found(container: Container, tmp_path: Path) -> None:
    with container.snapshots.edit("odd") as draft:
        draft["na me\udcff é\n.txt"] = b"odd"
    with _mounted(container, tmp_path / "mount", "odd") as place:
        assert os.listdir(place) == ["na me\udcff é\n.txt"]
        assert (place / "na me\udcff é\n.txt").read_bytes() == b"odd"


def test_a_link_that_leads_out_cannot_be_read(container: Container, flowers: Path, tmp_path: Path) -> None:
    with container.snapshots.edit("flowers") as draft:
        draft.link("train/above", "../../../etc")
        draft.link("train/round", "../train/up/../..")
    with _mounted(container, tmp_path / "mount", "flowers") as place:
        for name in ("outside", "train/above", "train/round"):
            assert (place / name).is_symlink()
            with pytest.raises(PermissionError):
                os.readlink(place / name)
        assert os.readlink(place / "latest.csv") == "labels.csv"
        assert os.readlink(place / "train" / "up") == ".."


def test_nothing_can_be_written(container: Container, flowers: Path, tmp_path: Path) -> None:
    with _mounted(container, tmp_path / "mount", "flowers") as place:
        for call in (
            lambda: (place / "new").write_bytes(b""),
            lambda: (place / "labels.csv").write_bytes(b""),
            (place / "labels.csv").unlink,
            (place / "new").mkdir,
            lambda: (place / "labels.csv").rename(place / "new"),
            lambda: (place / "labels.csv").chmod(0o600),
        ):
            with pytest.raises(OSError, match="Read-only") as caught:
                call()
            assert caught.value.errno == errno.EROFS


def test_damage_is_an_input_error_and_the_rest_is_read(container: Container, flowers: Path, tmp_path: Path) -> None:
    break_object(container, (container.snapshots["flowers"] / "train/tulip/2.jpg").key)
    with _mounted(container, tmp_path / "mount", "flowers") as place:
        with pytest.raises(OSError) as caught:
            (place / "train/tulip/2.jpg").read_bytes()
        assert caught.value.errno == errno.EIO
        assert (place / "labels.csv").read_bytes() == LABELS


def test_an_object_that_is_gone_is_an_input_error_too(container: Container, flowers: Path) -> None:
    """Without a ref nothing is pinned but packs. Asked without a mount, which answers EINVAL for what is no OSError."""
    from rsdos.integrations.fuse_mount import MountedSnapshots

    with container.snapshots.edit("passing") as draft:
        draft["file"] = b"the only copy"
    served = MountedSnapshots(container, container.snapshots["passing"])
    opened = served.open("/file", os.O_RDONLY)
    container.snapshots.forget("passing")
    container.snapshots.gc()
    with pytest.raises(OSError) as caught:
        served.read("/file", 10, 0, opened)
    assert caught.value.errno == errno.EIO


def test_the_foreground_serves_until_it_is_unmounted(container: Container, flowers: Path, tmp_path: Path) -> None:
    place = tmp_path / "mount"
    place.mkdir()
    command = [sys.executable, "-m", "rsdos", "-p", str(container.path), "mount", str(place), "v1", "--foreground"]
    with subprocess.Popen(command) as process:
        while not os.path.ismount(place) and process.poll() is None:
            time.sleep(0.01)
        assert (place / "labels.csv").read_bytes() == LABELS
        _unmount(place)
        assert process.wait() == 0


def test_what_cannot_be_mounted_says_why(container: Container, flowers: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        ((tmp_path / "absent",), "No such file"),
        ((flowers,), "a mount point is an empty directory"),
        ((flowers / "labels.csv",), "Not a directory"),
        ((tmp_path / "empty", "absent"), "absent"),
        ((container.path,), "is inside the container itself"),
    ]:
        done = _rsdos(container, "mount", *arguments)
        assert done.returncode in (1, 2)
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_without_the_library_the_command_says_what_to_install(container: Container, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['mfusepy'] = None\n"
        "from rsdos.cli.main import _run\n"
        "sys.exit(_run(['-p', sys.argv[1], 'mount', sys.argv[2]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, container.path, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "rsdos: error: mfusepy is not installed: pip install 'rsdos[fuse]'\n"
