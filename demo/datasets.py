"""Datasets on real input: directories of this machine are saved, edited, saved again, and every version comes back.

`make demo` runs it after `demo/run.py`. Each version that is checked out is compared with what was saved by `diff -r
--no-dereference`, and by the modes that a checkout keeps. Then a version is forgotten and its space given back, the
container is backed up and restored, and its index is removed and rebuilt from the packs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = {
    "share": Path("/usr/share"),
    "include": Path("/usr/include"),
    "packages": Path(sysconfig.get_path("purelib")),
}
"""The directories of a branch each, as far as they are there."""

LARGEST = 100 << 20
"""So many bytes of a source are taken, those of the files that come first: the demo copies them three times."""


class Failed(Exception):
    """Something is not as it was saved."""


@dataclass(frozen=True)
class Place:
    """The directories of one run."""

    top: Path

    @property
    def container(self) -> Path:
        return self.top / "container"

    def rsdos(self, *arguments: str | Path, container: Path | None = None) -> str:
        """Run the command line, and return what it printed."""
        line = ["rsdos", "-p", str(container or self.container), *map(str, arguments)]
        print("$", " ".join(line), flush=True)
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", *line], stdout=subprocess.PIPE, check=True)
        text = os.fsdecode(done.stdout)
        print(f"{text.rstrip()}  [{time.perf_counter() - begin:.1f} s]", flush=True)
        return text


def copied(source: Path, target: Path) -> int:
    """Copy a directory, or as many of its files as `LARGEST` allows. Return the number of regular files.

    Compiled files are left out, which this Python may be writing, and so is what this user cannot read.
    """
    size = files = 0

    def left_out(directory: str, names: list[str]) -> set[str]:
        nonlocal size, files
        out = set()
        for name in names:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            is_known = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)
            readable = stat.S_ISLNK(status.st_mode) or os.access(path, os.R_OK)
            full = stat.S_ISREG(status.st_mode) and size + status.st_size > LARGEST
            if name == "__pycache__" or not is_known or not readable or full:
                out.add(name)
            elif stat.S_ISREG(status.st_mode):
                size += status.st_size
                files += 1
        return out

    shutil.copytree(source, target, symlinks=True, ignore=left_out)
    return files


def compare(saved: Path, back: Path) -> None:
    """Raise `Failed` if two directories differ in names, contents, links, or the modes that are kept."""
    done = subprocess.run(
        ["diff", "-r", "--no-dereference", saved, back], capture_output=True, text=True, check=False, errors="replace"
    )
    if done.returncode:
        raise Failed(f"{back} differs from {saved}:\n{done.stdout[:2000]}{done.stderr[:2000]}")
    ours, theirs = dict(modes(saved)), dict(modes(back))
    if ours != theirs:
        wrong = [path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)]
        raise Failed(f"{back}: kinds or x bits differ from {saved}: {sorted(wrong)[:10]}")


def modes(top: Path) -> Iterator[tuple[str, tuple[int, bool]]]:
    """Yield the path, the kind and the x bit of all below a directory: what every snapshot keeps."""
    for directory, names, files in os.walk(top):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            is_executable = stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)
            yield os.path.relpath(path, top), (stat.S_IFMT(mode), is_executable)


def edit(top: Path) -> None:
    """Make ten changes of ten kinds."""
    files = sorted(path for path in top.rglob("*") if path.is_file() and not path.is_symlink())
    some = iter(files[:: max(len(files) // 10, 1)])
    next(some).write_bytes(b"replaced")
    with next(some).open("ab") as file:
        file.write(b"longer")
    next(some).unlink()
    gone = next(some)
    gone.rename(gone.with_name(gone.name + ".renamed"))
    changed = next(some)
    changed.chmod(changed.stat().st_mode ^ stat.S_IXUSR)
    link = next(some)
    link.unlink()
    link.symlink_to("nowhere")
    directory = next(some)
    directory.unlink()
    (directory / "deep").mkdir(parents=True)
    (directory / "deep" / "file").write_bytes(b"in the place of a file")
    (top / "new file").write_bytes(b"new")
    (top / "empty directory").mkdir()
    (top / os.fsdecode(b"odd \xff\n name")).write_bytes(b"a name that is no UTF-8")


def versions(place: Place, name: str, source: Path) -> None:
    """Save a directory, edit it, save it again, and get both versions back."""
    work, before = place.top / f"work-{name}", place.top / f"before-{name}"
    files = copied(source, work)
    print(f"\n{name}: {files} files of {source}")
    shutil.copytree(work, before, symlinks=True)
    place.rsdos("save", name, work, "-m", f"{source} as it is")
    place.rsdos("status", work, "--exit-code")
    edit(work)
    place.rsdos("status", work)
    place.rsdos("save", name, work, "-m", "ten edits")
    for ref, expected in ((f"{name}@1", before), (name, work)):
        back = place.top / "back"
        place.rsdos("checkout", ref, back)
        compare(expected, back)
        shutil.rmtree(back)
    place.rsdos("checkout", f"{name}@1", work, "--force")
    compare(before, work)
    shutil.rmtree(work)


def survive(place: Place, names: list[str]) -> None:
    """Forget, collect, repack, back up, restore, validate, and lose the index; the rest comes back after each."""
    place.rsdos("forget", names[0], "--keep-last", "1")
    place.rsdos("gc")
    place.rsdos("optimize", "repack", "--min-dead", "0%")
    place.rsdos("validate", "--full")
    place.rsdos("backup", place.top / "backups")
    restored = place.top / "restored"
    place.rsdos("restore", place.top / "backups", container=restored)
    shutil.rmtree(restored / "index")
    place.rsdos("repair", "index", container=restored)
    place.rsdos("validate", container=restored)
    place.rsdos("log", container=restored)
    for name in names[1:]:
        back = place.top / "back"
        place.rsdos("checkout", f"{name}@1", back, container=restored)
        compare(place.top / f"before-{name}", back)
        shutil.rmtree(back)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directories", nargs="*", type=Path, help="Other directories than those of this machine.")
    given = {f"data-{number}": path for number, path in enumerate(parser.parse_args().directories, 1)}
    sources = {name: path for name, path in (given or SOURCES).items() if path.is_dir()}
    with tempfile.TemporaryDirectory(prefix="rsdos-datasets-") as directory:
        place = Place(Path(directory))
        place.rsdos("init")
        try:
            for name, source in sources.items():
                versions(place, name, source)
            place.rsdos("status")
            survive(place, list(sources))
        except Failed as error:
            print(error)
            return 1
    print(f"\nall versions of {', '.join(sources)} are the same: names, contents, links, x bits")
    return 0


if __name__ == "__main__":
    sys.exit(main())
