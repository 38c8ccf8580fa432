"""A container with a directory in it, for the doors."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rsdos import Container
from tests.helpers import flip
from tests.remote.conftest import little

__all__ = ["little"]

LABELS = b"name,kind\n1.jpg,rose\n2.jpg,tulip\n"


def need_fuse() -> None:
    """Skip a test, or the module that calls it, where nothing can be mounted."""
    try:
        import mfusepy  # noqa: F401
    except ImportError:
        pytest.skip("needs the extra `fuse`: `make doors` has it", allow_module_level=True)
    except OSError as error:  # It looks for libfuse.
        pytest.skip(f"{error}: it comes from the system", allow_module_level=True)
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/fuse", allow_module_level=True)
    if not shutil.which("fusermount3"):  # Without it nothing that a test mounts would be unmounted.
        pytest.skip("fusermount3 is not installed: it comes from the system", allow_module_level=True)


def write_tree(directory: Path, files: dict[str, bytes]) -> Path:
    """Write files below a directory, and return it."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def break_object(container: Container, key: str) -> None:
    """Flip a bit of the stored bytes of an object."""
    extent = container.meta(key).extent
    assert extent is not None
    flip(container.path / "packed" / f"{extent.pack_id:010d}.pack", extent.offset)


@pytest.fixture
def flowers(container: Container, tmp_path: Path) -> Path:
    """The directory that is `flowers@1` and the tag `v1`; `team/flowers` is the same with other labels."""
    made = write_tree(
        tmp_path / "flowers",
        {
            "labels.csv": LABELS,
            "train/rose/1.jpg": b"a rose" * 100,
            "train/tulip/2.jpg": b"a tulip",
            "train/tulip/3.jpg": b"",
            "test/4.jpg": b"another",
            "large.bin": bytes(range(256)) * 12_000,
            "odd/na me é.txt": b"odd",
        },
    )
    (made / "empty").mkdir()
    (made / "latest.csv").symlink_to("labels.csv")
    (made / "roses").symlink_to("train/rose")
    (made / "train" / "up").symlink_to("..")
    (made / "outside").symlink_to("/etc/passwd")
    names = container.snapshots
    names.save("flowers", made)
    names.tag("v1", "flowers")
    (made / "labels.csv").write_bytes(LABELS.upper())
    names.save("team/flowers", made)
    (made / "labels.csv").write_bytes(LABELS)
    return made
