"""The text of names and reports, and printing them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from enum import Enum
from typing import Any

from rsdos.model import BytesLike
from rsdos.standard import BLOCK

_UNSAFE = "[\x00-\x1f\x7f-\x9f\u2028\u2029\\\\\ud800-\udc7f\udd00-\udfff]"
"""Halves of characters are in it, too, except for those that are bytes of names that are no UTF-8: JSON can have them,
and no encoding can write them."""

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def name(path: str) -> str:
    """Return a path as one line of text, without ``./``.

    Control characters are escaped and backslashes are doubled, so that no two paths look the same. ``..`` stays: after
    a symbolic link it does not lead back.
    """
    return one_line(short(path))


def short(path: str) -> str:
    """Return a path without ``.`` and empty parts."""
    root = "/" if path.startswith("/") else ""
    return root + "/".join(part for part in path.split("/") if part not in ("", "."))


def one_line(text: str) -> str:
    """Escape what could harm a terminal or a list of lines; see `name`."""
    if text.isprintable() and "\\" not in text:
        return text  # Nearly every text is: 0.1 us instead of 1.
    return re.sub(_UNSAFE, _escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _ESCAPES.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def echo(text: str) -> None:
    """Print a line, or several, to stdout; `rsdos.standard` says when they are written."""
    sys.stdout.write(f"{text}\n")


def echo_lines(lines: Sequence[str]) -> None:
    """Print many lines, in writes of at most one block."""
    step = max(BLOCK // (max(map(len, lines), default=0) + 1), 1)
    for at in range(0, len(lines), step):
        sys.stdout.write("\n".join(lines[at : at + step]) + "\n")


def echo_now(text: str) -> None:
    """Print and flush: a reader of the pipe gets the line now."""
    echo(text)
    sys.stdout.flush()


def echo_bytes(data: BytesLike) -> None:
    """Write bytes to stdout, unchanged and unbuffered."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def echo_error(text: str) -> None:
    """Print a line to stderr, if it is open, after what was printed to stdout before."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        pass  # It fails again at the end, and is reported then.
    if sys.stderr is not None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def echo_json(value: object, *, indent: int | None = None, more: dict[str, object] | None = None) -> None:
    """Print one JSON document to stdout, with ``more`` members at its end."""
    plain = _plain(value)
    echo(json.dumps({**plain, **more} if more else plain, indent=indent))


def _plain(value: object) -> Any:
    if fields := getattr(value, "__dataclass_fields__", None):
        # What is not shown by `repr` is for the execution of a plan: engines, marks, listings.
        return {key: _plain(getattr(value, key)) for key, field in fields.items() if field.repr}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return value.name.lower()
    if hasattr(value, "_asdict"):
        return {key: _plain(member) for key, member in value._asdict().items()}
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(member) for member in value]
    return value
