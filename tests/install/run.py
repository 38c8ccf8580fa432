"""rsdos and the drop-in, installed as a user does it: by pip and by uv, from a checkout and from wheels.

Run by ``make test-install``; needs a network for PyPI, and uv, named by $UV. Each time the checkout is gone afterwards,
and a program that wants disk-objectstore and click is installed on top: that looks at what is installed, and fails
where the metadata names a place that is gone. Then the commands that a user types first.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = os.path.abspath(shutil.which(os.environ.get("UV", "uv")) or "uv")
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "docs", "packaging", "src", "drop-in")

PLUGIN = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "some-plugin-of-aiida"
version = "1"
dependencies = ["disk-objectstore~=1.5.0", "click~=8.1.0"]
[tool.hatch.build.targets.wheel]
packages = ["plugin"]
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a program; returns its stdout. Ends the whole run when it fails."""
    foreign = ("PYTHON", "RSDOS", "VIRTUAL")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    print("  ", *(Path(str(part)).name for part in command), flush=True)
    if done.returncode:
        raise SystemExit(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Environment:
    """A new virtual environment, and what installs into it: pip or uv."""

    def __init__(self, place: Path, tool: str) -> None:
        self.bin = place / "environment" / "bin"
        self._place = place
        if tool == "pip":
            run(sys.executable, "-m", "venv", place / "environment", cwd=place)
            self._install: Sequence[str | Path] = (self.bin / "python", "-m", "pip", "install", "--quiet")
        else:
            run(UV, "venv", "--quiet", "--python", sys.executable, place / "environment", cwd=place)
            self._install = (UV, "pip", "install", "--quiet", "--python", self.bin / "python")

    def install(self, *what: str | Path) -> None:
        run(*self._install, *what, cwd=self._place)

    def type_in(self, line: str, place: Path) -> None:
        """What a user types, with the environment active."""
        run("sh", "-ec", f'PATH="{self.bin}:$PATH"; {line}', cwd=place)

    def run(self, program: str, *arguments: str | Path) -> str:
        return run(self.bin / program, *arguments, cwd=self._place)


def copy_checkout(place: Path) -> Path:
    checkout = place / "checkout"
    checkout.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, checkout / name)
    return checkout


def wheels_of(checkout: Path, place: Path, tool: str) -> list[Path]:
    wheels = place / "wheels"
    for project in (checkout, checkout / "drop-in"):
        if tool == "pip":
            run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", wheels, project, cwd=place)
        else:
            run(UV, "build", "--quiet", "--wheel", "--python", sys.executable, "-o", wheels, project, cwd=place)
    # uv puts a .gitignore beside them. rsdos comes first, for those who install one after the other.
    return sorted(wheels.glob("*.whl"), key=lambda wheel: not wheel.name.startswith("rsdos"))


def make_plugin(place: Path) -> Path:
    plugin = place / "plugin"
    (plugin / "plugin").mkdir(parents=True)
    (plugin / "plugin" / "__init__.py").touch()
    (plugin / "pyproject.toml").write_text(PLUGIN)
    return plugin


def use(environment: Environment) -> None:
    """The first commands of a user, in an environment with the drop-in."""
    if "+rsdos." not in environment.run("python", "-c", "import disk_objectstore as d; print(d.__version__)"):
        raise SystemExit("this is not the drop-in")
    container = environment.bin.parent / "container"
    environment.run("dostore", "-p", container, "create")
    environment.run("dostore", "-p", container, "add-files", environment.bin / "activate")
    rsdos = ("rsdos", "-p", container)
    for command in ("validate", "optimize", "status"):
        environment.run(*rsdos, command)
    (key,) = environment.run(*rsdos, "list").split()
    environment.run("rsdos", "migrate", container)
    environment.run(*rsdos, "validate", "--full")
    if environment.run(*rsdos, "cat-file", key) != (environment.bin / "activate").read_text():
        raise SystemExit("other bytes came out than went in")
    if key not in environment.run("python", "-m", "rsdos.rescue", container, "list"):
        raise SystemExit("rescue.py does not see the object")
    environment.run("rsdos", "-p", environment.bin.parent / "other", "init")


def page() -> str:
    """The commands of docs/drop-in.md."""
    (block,) = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "drop-in.md").read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


def try_one(tool: str, form: str, aiida: str | None) -> None:
    print(f"== {tool}, from {form}", *([f"aiida-core {aiida}"] if aiida else []), flush=True)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        checkout = copy_checkout(place)
        environment = Environment(place, tool)
        if aiida:
            environment.install(f"aiida-core=={aiida}.*")
        # Two steps, as the page says: the drop-in wants an rsdos that PyPI does not have.
        if form == "checkout" and tool == "pip":
            environment.type_in(page(), checkout)
        else:
            for one in [checkout, checkout / "drop-in"] if form == "checkout" else wheels_of(checkout, place, tool):
                environment.install(one)
        shutil.rmtree(checkout)
        shutil.rmtree(place / "wheels", ignore_errors=True)
        environment.install(make_plugin(place))
        if tool == "pip":
            environment.run("python", "-m", "pip", "check")
        use(environment)
        if aiida:
            versions = json.loads(environment.run("python", "-c", VERSIONS))
            print("  ", ", ".join(f"{name} {version}" for name, version in versions.items()))


VERSIONS = (
    "import json; from importlib.metadata import version as v;"
    "print(json.dumps({n: v(n) for n in ('aiida-core', 'disk-objectstore', 'rsdos', 'click', 'numpy')}))"
)


def main() -> None:
    """``run.py``: in two ways; ``run.py all``: in four; ``run.py 2.8 2.9``: by uv beside these versions of AiiDA."""
    versions = [version for version in sys.argv[1:] if version != "all"]
    for aiida in versions:
        try_one("uv", "checkout", aiida)
    if not versions:
        ways = [("pip", "checkout"), ("uv", "wheels")]  # each tool and each form once
        ways += [("pip", "wheels"), ("uv", "checkout")] if "all" in sys.argv[1:] else []
        for tool, form in ways:
            try_one(tool, form, None)
    print("installed and used")


if __name__ == "__main__":
    main()
