"""Makes the golden containers of version 1, by the programs that people made theirs with.

    .venv-peers/bin/python tests/golden/version_1/make.py

needs disk-objectstore 1.5.0 and rsdos 0.1.1. With disk-objectstore 0.4.0 (and SQLAlchemy 1.4), in an environment of
its own, it makes the one of that. Each is written as NAME.zip and NAME.json; one that is there is left as
it is, always.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import disk_objectstore

try:
    import rsdos
except ImportError:  # Beside disk-objectstore 0.4.0.
    rsdos = None

HERE = Path(__file__).parent


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def text(seed: int, size: int) -> bytes:
    return (b"golden line %d\n" % seed * (size // 14 + 1))[:size]


SMALL = [b"", b"a", text(1, 3000), noise(2, 900)]
LARGE = [text(3, 1_200_000), noise(4, 40_000)]
LOOSE = [b"loose", text(5, 2000)]
BOTH = text(6, 700)


def expected(*contents: bytes, hash_type: str = "sha256") -> dict[str, object]:
    digests = [hashlib.new(hash_type, data).hexdigest() for data in contents]
    return {"hash": hash_type, "objects": {key: len(data) for key, data in zip(digests, contents, strict=True)}}


def fill(path: Path, **options: object) -> disk_objectstore.Container:
    """Packed objects, compressed and not, in several packs; loose ones, and one that is both."""
    container = disk_objectstore.Container(path)
    container.init_container(**options)
    container.add_object(BOTH)
    container.pack_all_loose()
    container.add_objects_to_pack(SMALL)
    container.add_objects_to_pack(LARGE, compress=True)
    for data in LOOSE:
        container.add_object(data)
    return container


def peer_mixed(path: Path) -> dict[str, object]:
    fill(path, pack_size_target=2000).close()
    return expected(*SMALL, *LARGE, *LOOSE, BOTH)


def peer_sha1(path: Path) -> dict[str, object]:
    fill(path, hash_type="sha1", loose_prefix_len=0, compression_algorithm="zlib+9").close()
    return expected(*SMALL, *LARGE, *LOOSE, BOTH, hash_type="sha1")


class Died(Exception):
    """The program is killed here."""


def crashed_repack(path: Path, call: str) -> dict[str, object]:
    """A repack, after a delete, that died at a call of the ``os`` module."""
    container = fill(path)
    container.delete_objects([hashlib.sha256(SMALL[2]).hexdigest()])
    real = getattr(os, call)

    def dying(file: object, *rest: object) -> object:
        if Path(os.fspath(file)).parent.name == "packs" and not str(file).endswith(".lock"):
            raise Died
        return real(file, *rest)

    with mock.patch(f"os.{call}", dying):
        try:
            container.repack()
        except Died:
            pass
    container.close()
    return expected(*SMALL[:2], *SMALL[3:], *LARGE, *LOOSE, BOTH)


def peer_repack_before_the_old_pack_is_removed(path: Path) -> dict[str, object]:
    return crashed_repack(path, "remove")


def peer_repack_before_the_link(path: Path) -> dict[str, object]:
    return crashed_repack(path, "link")


def peer_repack_before_the_new_pack_is_removed(path: Path) -> dict[str, object]:
    return crashed_repack(path, "unlink")


def peer_lock(path: Path) -> dict[str, object]:
    """A packer was killed: its lock file, and bytes that no row leads to."""
    container = fill(path)
    container.close()
    (path / "packs" / "0.lock").touch()
    with (path / "packs" / "0").open("ab") as pack:
        pack.write(b"half an object")
    return expected(*SMALL, *LARGE, *LOOSE, BOTH)


def peer_duplicates(path: Path) -> dict[str, object]:
    """What the program leaves on Windows: of a good loose object, of a damaged one, of one that is gone; and junk."""
    container = fill(path)
    container.close()
    saved = noise(7, 300)
    copies = [(BOTH, BOTH, "1"), (LOOSE[1], LOOSE[1], "2"), (saved, saved, "3"), (saved, b"junk", "0")]
    for named, content, suffix in copies:
        name = f"{hashlib.sha256(named).hexdigest()}.{suffix * 32}"
        (path / "duplicates" / name).write_bytes(content)
    key = hashlib.sha256(LOOSE[1]).hexdigest()
    (path / "loose" / key[:2] / key[2:]).write_bytes(b"damaged")
    return expected(*SMALL, *LARGE, *LOOSE, BOTH, saved)


def first(path: Path, compression: str) -> dict[str, object]:
    """A container of rsdos 0.1."""
    path.mkdir()
    container = rsdos.Container(path)
    container.init_container(compression_algorithm=compression)
    contents = [*SMALL[1:], *LARGE]
    for data in contents[:2]:
        container.add_object(data)
    container.pack_all_loose()
    container.add_objects_to_pack(contents[2:], compress=True)
    container.add_object(LOOSE[0])
    return expected(*contents, LOOSE[0])


def rsdos_zlib(path: Path) -> dict[str, object]:
    return first(path, "zlib:+1")


def rsdos_zstd(path: Path) -> dict[str, object]:
    return first(path, "zstd:+1")


def disk_objectstore_0_4(path: Path) -> dict[str, object]:
    """What disk-objectstore 0.4.0 made: no id, and no word of compression in its config.json."""
    container = disk_objectstore.Container(path)
    container.init_container(pack_size_target=2000)
    container.add_object(BOTH)
    container.pack_all_loose()
    container.add_objects_to_pack(SMALL)
    container.add_objects_to_pack(LARGE, compress=True)
    for data in LOOSE:
        container.add_object(data)
    container.close()
    return expected(*SMALL, *LARGE, *LOOSE, BOTH)


OLD: dict[str, Callable[[Path], dict[str, object]]] = {"dos-0.4": disk_objectstore_0_4}

GOLDEN: dict[str, Callable[[Path], dict[str, object]]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        peer_mixed,
        peer_sha1,
        peer_repack_before_the_old_pack_is_removed,
        peer_repack_before_the_link,
        peer_repack_before_the_new_pack_is_removed,
        peer_lock,
        peer_duplicates,
        rsdos_zlib,
        rsdos_zstd,
    )
}


def settle(path: Path) -> None:
    """Bring SQLite's log into the index: the log is not for other machines."""
    connection = sqlite3.connect(path / "packs.idx")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def write_zip(root: Path, target: Path) -> None:
    """All of a directory, with its empty directories."""
    with zipfile.ZipFile(target, "x") as archive:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix() + ("/" if path.is_dir() else "")
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = (0o755 if path.is_dir() else 0o644) << 16
            info.compress_type = zipfile.ZIP_STORED if path.is_dir() else zipfile.ZIP_DEFLATED
            archive.writestr(info, b"" if path.is_dir() else path.read_bytes())


def main() -> None:
    is_old = disk_objectstore.__version__ == "0.4.0"
    for name, function in (OLD if is_old else GOLDEN).items():
        target = HERE / f"{name}.zip"
        if target.exists():
            sys.stdout.write(f"{name}: is there, and stays as it is\n")
            continue
        directory = tempfile.mkdtemp()
        try:
            root = Path(directory) / name
            answer = function(root)
            settle(root)
            (HERE / f"{name}.json").write_text(json.dumps(answer, indent=1) + os.linesep)
            write_zip(root, target)
        finally:
            shutil.rmtree(directory)
        sys.stdout.write(f"{name}: made, {target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
