"""The error of a door whose library is not installed."""

from __future__ import annotations


def missing_extra(extra: str, library: str) -> ImportError:
    """Return the error that names the library and what to install."""
    return ImportError(f"{library} is not installed: pip install 'rsdos[{extra}]'", name=library)
