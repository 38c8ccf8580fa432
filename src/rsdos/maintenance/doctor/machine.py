"""Questions about the machine and this program. Nothing is written."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import resource
from collections.abc import Iterator

from rsdos.codecs.cores import threads
from rsdos.figures import count
from rsdos.maintenance.doctor.diagnosis import Answer, Verdict
from rsdos.version import __version__

_LIBRARIES = ("zstandard", "isal", "numpy")

_FEW_FILES = 256
"""Open files of a process below which a container of many packs runs short."""


def examine_machine() -> Iterator[Answer]:
    """Yield the answers that do not depend on a container."""
    yield _versions()
    yield _codecs()
    yield _open_files()


def _versions() -> Answer:
    python = platform.python_version()
    figures = {"rsdos": __version__, "python": python, "system": platform.platform()}
    return Answer(
        "version", Verdict.GOOD, f"rsdos {__version__} on Python {python}, {platform.platform()}", "", figures
    )


def _codecs() -> Answer:
    found = {library: _version_of(library) for library in _LIBRARIES}
    figures = {**found, "threads": threads()}
    missing = [name for name, version in found.items() if not version]
    if missing:
        message = f"not installed: {', '.join(missing)}"
        return Answer("codecs", Verdict.FAULT, message, "install rsdos with its dependencies", figures)
    listed = ", ".join(f"{name} {version}" for name, version in found.items())
    return Answer("codecs", Verdict.GOOD, f"{listed}; {max(threads(), 1)} threads compress", "", figures)


def _version_of(library: str) -> str:
    """Return the version of a library; "" if it is not installed. A program without Python has no versions."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "of this program" if importlib.util.find_spec(library) else ""


def _open_files() -> Answer:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    figures = {"limit": None if limit == resource.RLIM_INFINITY else limit}
    if limit != resource.RLIM_INFINITY and limit < _FEW_FILES:
        message = f"a process may have {count(limit, 'file')} open"
        return Answer("open files", Verdict.WARNING, message, f"ulimit -n {_FEW_FILES} or more", figures)
    most = "any number of files" if limit == resource.RLIM_INFINITY else count(limit, "file")
    return Answer("open files", Verdict.GOOD, f"a process may have {most} open", "", figures)
