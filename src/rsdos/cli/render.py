"""How figures, names and reports look."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from enum import Enum
from typing import Any

import click

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000


def human(size: int) -> str:
    """Bytes for people: ``0 B``, ``1.2 MB``."""
    if size < _STEP:
        return f"{size} B"
    amount = float(size)
    unit = 0
    while amount >= _STEP - 0.05 and unit < len(_UNITS) - 1:
        amount /= _STEP
        unit += 1
    return f"{amount:.1f} {_UNITS[unit]}"


def name(path: str) -> str:
    """A path on one line, whatever is in it."""
    return (
        path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r") if "\n" in path or "\r" in path else path
    )


def echo_json(value: object, *, indent: int | None = None) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(_plain(value), indent=indent))


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(member) for key, member in asdict(value).items()}
    if isinstance(value, Enum):
        return value.name.lower()
    if hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    return value
