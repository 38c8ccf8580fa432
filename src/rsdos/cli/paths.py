"""Paths of snapshots in text and JSON, and lists of them."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any

from rsdos.cli.render import echo_bytes, echo_lines

_TOGETHER = 1 << 10
"""Lines that are printed together."""


def path_members(path: str, name: str = "path") -> dict[str, Any]:
    """Return the members of JSON for a path. One that is no UTF-8 has its bytes besides, in base64."""
    if path.isascii():
        return {name: path}
    try:
        path.encode()
    except UnicodeEncodeError:
        return {name: path, f"{name}_base64": base64.b64encode(os.fsencode(path)).decode()}
    return {name: path}


def json_line(document: dict[str, Any]) -> str:
    """Return a document as one line."""
    return json.dumps(document)


def echo_all(lines: Iterable[str]) -> None:
    """Print lines as they come, many at a time."""
    rest = iter(lines)
    is_seen = sys.stdout.isatty()
    while chunk := list(islice(rest, 1 if is_seen else _TOGETHER)):
        echo_lines(chunk)


def echo_null(texts: Iterable[str]) -> None:
    """Print texts as the bytes that they are, each with a NUL behind it."""
    rest = iter(texts)
    while chunk := list(islice(rest, _TOGETHER)):
        echo_bytes(b"".join(os.fsencode(text) + b"\0" for text in chunk))
