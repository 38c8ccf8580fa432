"""The command line's and the codecs' tests with the lowest or the newest versions that pyproject.toml allows.

``python versions.py lowest PYTHON …`` makes an environment for each Python in ``.venv-lowest``, or in ``.venv-newest``,
and runs the tests there. uv is needed, for only it resolves to the lowest; it is named by $UV. The first environment in
which a test fails is the last one, and its exit code is ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ("tests/cli", "tests/unit/codecs", "tests/unit/index", "tests/compat/test_dostore.py")
RESOLUTIONS = {"lowest": ("--resolution", "lowest-direct"), "newest": ("--upgrade",)}
SHOWN = ("click", "isal", "numpy", "zstandard")


def version_of(python: str) -> str:
    code = "import platform; print(platform.python_version())"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def make(python: str, place: Path, resolution: str) -> Path:
    """Make the environment anew, a second's work; returns its Python."""
    uv = os.environ.get("UV", "uv")
    own = place / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", python, place], check=True)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", own]
    # rsdos, and then what tests want: the lowest version of hypothesis is not what this is about.
    subprocess.run([*install, *RESOLUTIONS[resolution], "--editable", f"{ROOT}[remote]"], check=True)
    subprocess.run(
        [*install, "hypothesis>=6.100", "prometheus-client>=0.20", "pytest>=8.3", "pytest-xdist>=3.6"], check=True
    )
    return own


def main() -> int:
    resolution, *pythons = sys.argv[1:]
    options = os.environ.get("ARGS", "").split()
    for python in pythons:
        version = version_of(python)
        own = make(python, ROOT / f".venv-{resolution}" / version, resolution)
        code = f"from importlib.metadata import version as v; print(*(f'{{n}} {{v(n)}}' for n in {SHOWN!r}), sep=', ')"
        print(f"== Python {version}:", end=" ", flush=True)
        subprocess.run([own, "-c", code], check=True)
        done = subprocess.run([own, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, *options], cwd=ROOT)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
