"""Builds what users install, into ``dist/``: `make dist`, `make zipapp`, `make standalone`.

Each is tried as a user would, in an environment with nothing in it but ``/usr/bin`` and a home directory of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

SHIV = "shiv>=1.0.8"
PYINSTALLER = "pyinstaller>=6.10"

ENTRY = "from rsdos.cli.entry import main\n\nmain()\n"

COLLECTED = ("rsdos", "isal", "zstandard")
"""Packages whose modules are imported late, or by name: PyInstaller sees none of that."""

EXCLUDED = ("tkinter", "unittest", "test", "pydoc", "setuptools", "pip")


def run(*command: str | Path, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Run a program; return its stdout. End the whole run when it fails."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def try_program(*program: str | Path) -> None:
    """Do what a new user does, with a program that was built, in an empty environment. Say how fast it starts."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        # The Python that runs this comes first: a zipapp has wheels for it.
        search = os.pathsep.join((os.path.dirname(sys.executable), "/usr/bin", "/bin"))
        environment = {"PATH": search, "HOME": directory, "LC_ALL": "C.UTF-8"}

        def rsdos(*arguments: str) -> str:
            return run(*program, *arguments, cwd=home, environment=environment)

        (home / "data").mkdir()
        for number in range(300):
            (home / "data" / f"{number}.txt").write_text(f"file {number}\n" * number)
        rsdos("init")
        rsdos("doctor")
        rsdos("add-files", "-r", "data")
        rsdos("optimize")
        rsdos("validate", "--full", "--jobs", "2")
        keys = rsdos("list").split()
        wanted = {(home / "data" / f"{number}.txt").read_text() for number in range(300)}
        if {rsdos("cat-file", key) for key in keys[:5]} - wanted or len(keys) != 300:
            raise SystemExit(f"{program}: other bytes came out than went in")
        seconds = []
        for _ in range(5):
            start = time.monotonic()
            rsdos("--version")
            seconds.append(time.monotonic() - start)
        print(f"  {Path(str(program[-1])).name}: works; a start takes {min(seconds):.2f} s, the best of five")


def build_dist(place: Path) -> None:
    """Build the source distribution and the wheel; `make dist` then looks into both and installs them."""
    run(sys.executable, "-m", "pip", "install", "--quiet", "--target", place / "tool", "build")
    tool = os.environ | {"PYTHONPATH": str(place / "tool")}
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT, environment=tool)
    for path in (*DIST.glob("rsdos-*.whl"), *DIST.glob("rsdos-[0-9]*.tar.gz")):
        print(f"  {path.name}: {path.stat().st_size / 1e6:.1f} MB")


def build_zipapp(place: Path) -> None:
    """Build one file that runs wherever this version of Python is."""
    tool = _tool(place, SHIV)
    target = DIST / f"rsdos-python{VERSION}.pyz"
    run(
        tool / "shiv",
        "--quiet",
        "--compressed",
        "-p",
        f"/usr/bin/env python{VERSION}",
        "-c",
        "rsdos",
        "-o",
        target,
        ROOT,
    )
    try_program(target)
    print(f"  {target.name}: {target.stat().st_size / 1e6:.1f} MB")


def build_standalone(place: Path) -> None:
    """Build a directory that runs without Python, and pack it."""
    tool = _tool(place, PYINSTALLER, str(ROOT))
    (place / "entry.py").write_text(ENTRY)
    options = [f"--collect-submodules={name}" for name in COLLECTED] + [f"--exclude-module={name}" for name in EXCLUDED]
    run(tool / "pyinstaller", "--onedir", "--name", "rsdos", "--log-level", "ERROR", *options, "entry.py", cwd=place)
    built = place / "dist" / "rsdos"
    try_program(built / "rsdos")
    target = DIST / f"rsdos-{sys.platform}-{os.uname().machine}.tar.gz"
    with tarfile.open(target, "w:gz") as archive:
        archive.add(built, "rsdos")
    # The archive keeps symbolic links: the files that they lead to are counted once.
    length = sum(path.lstat().st_size for path in built.rglob("*") if path.is_file())
    print(f"  {target.name}: {target.stat().st_size / 1e6:.1f} MB, unpacked {length / 1e6:.1f} MB")


def _tool(place: Path, *packages: str) -> Path:
    run(sys.executable, "-m", "venv", place / "tool")
    run(place / "tool" / "bin" / "python", "-m", "pip", "install", "--quiet", *packages)
    return place / "tool" / "bin"


BUILDS: dict[str, Callable[[Path], None]] = {
    "dist": build_dist,
    "zipapp": build_zipapp,
    "standalone": build_standalone,
}

PATTERNS = {
    "dist": ("rsdos-*.whl", "rsdos-[0-9]*.tar.gz"),
    "zipapp": ("rsdos-*.pyz",),
    "standalone": (f"rsdos-{sys.platform}-*.tar.gz",),
}
"""What an earlier build has left."""


def main(names: Sequence[str]) -> None:
    """Build what is named."""
    DIST.mkdir(exist_ok=True)
    for name in names:
        print(f"== {name}", flush=True)
        for pattern in PATTERNS[name]:
            for old in DIST.glob(pattern):
                old.unlink()
        place = Path(tempfile.mkdtemp(prefix="rsdos-build-"))
        try:
            BUILDS[name](place)
        finally:
            shutil.rmtree(place)


if __name__ == "__main__":
    main(sys.argv[1:])
