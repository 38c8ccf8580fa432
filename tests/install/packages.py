"""The source distribution and the wheel, looked into, and installed in new environments as a user does it.

``python packages.py DIST PYTHON …``, run by ``make dist``: the wheel with the lowest and with the newest versions that
pyproject.toml allows, and the source distribution, on each Python. uv is needed, for only it resolves to the lowest; it
is named by $UV.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = os.path.abspath(shutil.which(os.environ.get("UV", "uv")) or "uv")

SHARED = (
    "man/man1/rsdos.1",
    "bash-completion/completions/rsdos",
    "zsh/site-functions/_rsdos",
    "fish/vendor_completions.d/rsdos.fish",
)
IN_SOURCE = {
    ".github", ".gitignore", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "PKG-INFO",
    "README.md", "SECURITY.md", "benchmarks", "changes", "demo", "docs", "drop-in", "examples", "packaging",
    "pyproject.toml", "src", "tests", "zensical.toml",
}  # fmt: skip

COMPLETES = """
. "$1"
COMP_WORDS=(rsdos val)
COMP_CWORD=1
_rsdos_completion rsdos
printf "%s " "${COMPREPLY[@]}"
"""


def run(*command: str | Path, place: Path, search: Path | None = None) -> str:
    """Run a program in an empty environment; returns its stdout. Ends the whole run when it fails."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_"))}
    path = os.pathsep.join(map(str, filter(None, (search, "/usr/bin", "/bin", "/usr/local/bin"))))
    environment = kept | {"PATH": path, "HOME": str(place), "LC_ALL": "C.UTF-8", "UV_CACHE_DIR": cache()}
    done = subprocess.run(list(map(str, command)), cwd=place, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def cache() -> str:
    return os.environ.get("UV_CACHE_DIR") or os.path.expanduser("~/.cache/uv")


def need(is_so: bool, what: str) -> None:
    if not is_so:
        raise SystemExit(what)


def look_inside(wheel: Path, source: Path) -> None:
    """Nothing but the package is in the wheel, and nothing but the checkout in the source distribution."""
    names = zipfile.ZipFile(wheel).namelist()
    modules = {f"rsdos/{path.relative_to(ROOT / 'src' / 'rsdos')}" for path in (ROOT / "src" / "rsdos").rglob("*.py")}
    package = {name for name in names if name.startswith("rsdos/")}
    need(package == modules | {"rsdos/py.typed", "rsdos/rescue.py"}, f"{wheel.name}: {package ^ modules}")
    beside = {name for name in names if name not in package}
    shared = {name for name in beside if ".data/" in name}
    need({name.partition("/data/share/")[2] for name in shared} == set(SHARED), f"{wheel.name}: {shared}")
    strange = [name for name in beside - shared if not re.match(r"rsdos-[^/]+\.dist-info/", name)]
    need(not strange, f"{wheel.name}: {strange}")
    with tarfile.open(source) as archive:
        entries = archive.getnames()
    tops = {name.split("/")[1] for name in entries if "/" in name}
    need(tops <= IN_SOURCE, f"{source.name}: {sorted(tops - IN_SOURCE)}")
    need({"src", "tests", "docs", "packaging", "LICENSE"} <= tops, f"{source.name}: {sorted(tops)}")
    rubbish = [name for name in entries if re.search(r"__pycache__|\.pyc$|/\.venv|\.new$", name)]
    need(not rubbish, f"{source.name}: {rubbish}")
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    told = zipfile.ZipFile(wheel).read(metadata).decode()
    need("## Sixty seconds of Python" in told, f"{wheel.name}: README.md is not its long description")
    lost = re.findall(r"\]\((?!https?:)[^)]*\)", told)
    need(not lost, f"{wheel.name}: links of the long description that lead nowhere: {lost}")


def try_install(python: str, package: Path, resolution: str) -> None:
    """Install a package in a new environment, and do what a new user does."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        prefix = place / "environment"
        run(UV, "venv", "--quiet", "--python", python, prefix, place=place)
        uv_pip = (UV, "pip")
        own = ("--python", prefix / "bin" / "python")
        run(*uv_pip, "install", "--quiet", "--resolution", resolution, *own, package, place=place)
        run(*uv_pip, "check", *own, place=place)
        use(prefix / "bin", place)
        use_shared(prefix, place)
        code = "import platform as p; from importlib.metadata import version as v;"
        code += "print(p.python_version(), *(f'{n} {v(n)}' for n in ('click', 'isal', 'numpy', 'zstandard')))"
        print("  ", package.name, resolution, "on", run(*own[1:], "-c", code, place=place).strip(), flush=True)


def use(programs: Path, place: Path) -> None:
    """The quick start."""
    (place / "data").mkdir()
    for number in range(20):
        (place / "data" / f"{number}.txt").write_text(f"file {number}\n" * number)

    def rsdos(*arguments: str) -> str:
        return run(programs / "rsdos", *arguments, place=place, search=programs)

    for line in ("init", "doctor", "add-files -r data", "save flowers data", "optimize", "validate --full", "status"):
        rsdos(*line.split())
    rsdos("checkout", "flowers", "out")
    for path in (place / "data").iterdir():
        need((place / "out" / path.name).read_bytes() == path.read_bytes(), f"{path.name}: other bytes came out")
    listed = run(programs / "python", "-m", "rsdos.rescue", "container", "list", place=place)
    need(len(listed.split()) >= 20, "rescue.py does not see the objects")


def use_shared(prefix: Path, place: Path) -> None:
    """The completions and the manual page that the wheel has: those of bash and of man run, if they are here."""
    share = prefix / "share"
    for name in SHARED:
        need((share / name).is_file(), f"{name} is not in {share}")
    if shutil.which("bash"):
        script = share / "bash-completion" / "completions" / "rsdos"
        found = run("bash", "-c", COMPLETES, "bash", script, place=place, search=prefix / "bin")
        need(found.split() == ["validate"], f"bash completes 'val' to {found!r}")
    if shutil.which("man"):
        page = run("man", "--warnings", "-l", share / "man" / "man1" / "rsdos.1", place=place)
        need("rsdos validate" in page and "rsdos remote add" in page, "the manual page lacks commands")
    for shell in ("zsh", "fish"):
        if shutil.which(shell):
            name = next(name for name in SHARED if name.startswith(shell))
            run(shell, "-n", share / name, place=place)


def only(files: list[Path]) -> Path:
    (file,) = files
    return file


def main(directory: str, *pythons: str) -> None:
    dist = Path(directory)
    packages = {
        "wheel": only(list(dist.glob("rsdos-*.whl"))),
        "source": only(list(dist.glob("rsdos-[0-9]*.tar.gz"))),
    }
    print(f"== {', '.join(package.name for package in packages.values())}", flush=True)
    look_inside(packages["wheel"], packages["source"])
    for python in pythons:
        for kind, resolution in (("wheel", "lowest"), ("wheel", "highest"), ("source", "highest")):
            try_install(python, packages[kind].resolve(), resolution)


if __name__ == "__main__":
    main(*sys.argv[1:])
