"""The main job on real input: this Python's standard library and site-packages, in and out again, byte for byte.

`make demo` runs it. It stores every regular file in a fresh container in a temporary directory, packs, shows the
status, reads all objects back and compares them with the files, and says how much it saved and how fast it was.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rsdos import Container

LOOSE_FIRST = 2000
"""So many files go in as loose objects and are packed by `optimize pack`; the rest goes straight to a pack."""


@dataclass(frozen=True)
class File:
    """A file as it was before the demo began: its path, size and SHA-256."""

    path: str
    size: int
    digest: str


def regular_files(roots: list[str]) -> Iterator[str]:
    """Every regular file below the roots, but for compiled ones, which this Python may be writing just now."""
    seen: set[tuple[int, int]] = set()
    for root in roots:
        for directory, names, files in os.walk(root):
            names[:] = sorted(name for name in names if name != "__pycache__")
            status = os.stat(directory)
            if (status.st_dev, status.st_ino) in seen:
                names.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            paths = (os.path.join(directory, name) for name in sorted(files))
            yield from (path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def read_files(roots: list[str]) -> list[File]:
    """All files, with what they hold."""
    found = []
    for path in regular_files(roots):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append(File(path, os.fstat(file.fileno()).st_size, digest))
    return found


def rsdos(container: str, *arguments: str, names: list[File] | None = None) -> tuple[str, float]:
    """Run the command line; returns what it printed, and the seconds that it took."""
    line = ["rsdos", "-p", container, *arguments]
    print("$", " ".join(line), flush=True)
    given = None if names is None else b"\0".join(os.fsencode(file.path) for file in names)
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *line], input=given, stdout=subprocess.PIPE, check=True)
    return os.fsdecode(done.stdout), time.perf_counter() - begin


def said(what: str, files: int, size: int, seconds: float) -> None:
    """One line of figures."""
    print(f"{what:<38} {files:>7} files {size / 1e6:>8.1f} MB {seconds:>7.2f} s {size / 1e6 / seconds:>8.1f} MB/s")


def total(files: list[File]) -> int:
    return sum(file.size for file in files)


def mismatches(container: Container, files: list[File]) -> int:
    """Read every object back and compare it with the file's hash, and with the file itself, byte for byte."""
    wanted: dict[str, list[File]] = {}
    for file in files:
        wanted.setdefault(file.digest, []).append(file)
    wrong = 0
    for key, data in container.extract_many(wanted):
        for file in wanted.pop(key):
            with open(file.path, "rb") as original:
                if original.read() != data:
                    print(f"MISMATCH: {file.path}")
                    wrong += 1
    return wrong + sum(map(len, wanted.values()))


def main() -> int:
    roots = sorted({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
    files = read_files(roots)
    loose, rest = files[:LOOSE_FIRST], files[LOOSE_FIRST:]
    print(f"{len(files)} files, {total(files) / 1e6:.1f} MB, in {', '.join(roots)}\n")
    with tempfile.TemporaryDirectory(prefix="rsdos-demo-") as directory:
        path = os.path.join(directory, "container")
        print(rsdos(path, "init")[0], end="")
        _, loose_seconds = rsdos(path, "add-files", "--to", "loose", "--from-file", "-", names=loose)
        printed, pack_seconds = rsdos(path, "optimize", "pack")
        print(printed, end="")
        _, rest_seconds = rsdos(path, "add-files", "--to", "packed", "--from-file", "-", names=rest)
        print(rsdos(path, "status")[0])
        with Container(path) as container:
            begin = time.perf_counter()
            wrong = mismatches(container, files)
            read_seconds = time.perf_counter() - begin
            objects = len(container)
            on_disk = sum(os.stat(os.path.join(top, name)).st_size for top, _, names in os.walk(path) for name in names)
    said("in, loose (each synced)", len(loose), total(loose), loose_seconds)
    said("packed (synced, read back, removed)", len(loose), total(loose), pack_seconds)
    said("in, straight to a pack", len(rest), total(rest), rest_seconds)
    said("out, verified, compared byte for byte", len(files), total(files), read_seconds)
    saved = 100 * (1 - on_disk / total(files))
    print(
        f"\n{objects} objects of {len(files)} files ({len(files) - objects} duplicates), "
        f"{total(files) / 1e6:.1f} MB in, {on_disk / 1e6:.1f} MB on disk with index: {saved:.1f} % saved"
    )
    print("all bytes are the same" if not wrong else f"{wrong} FILES CAME BACK WRONG OR NOT AT ALL")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
