"""Snapshots and refs documents as bytes: one line of JSON, keys sorted, no blanks, ASCII, a line feed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from math import isinf
from typing import Any, NoReturn

from rsdos.errors import DamagedTree, InvalidOption

RECORD_TYPE = "rsdos snapshot"
REFS_TYPE = "rsdos refs"


def encode_line(fields: Mapping[str, Any], limit: int, what: str) -> bytes:
    """Return the bytes of a document. Raise `InvalidOption` for what JSON has not, and above ``limit`` bytes."""
    try:
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidOption(f"{what} cannot be written as JSON: {error}") from None
    data = text.encode() + b"\n"
    if len(data) > limit:
        raise InvalidOption(f"{what} has {len(data)} bytes; it may have {limit}")
    return data


def decode_line(data: bytes, kind: str, version: int, limit: int, key: str) -> dict[str, Any]:
    """Return the members of a document behind its type and version. Raise `DamagedTree`."""
    try:
        if len(data) > limit or not data.endswith(b"}\n") or data.count(b"\n") != 1:
            raise ValueError(f"not one line of at most {limit} bytes")
        fields = json.loads(data, parse_constant=_no_number, parse_float=_number)
        if not isinstance(fields, dict) or fields.pop("type", None) != kind:
            raise ValueError(f'not of the type "{kind}"')
        found = fields.pop("version", None)
        if found != version or isinstance(found, bool):
            raise ValueError(f"version {found!r:.20} is not known to this release")
    except RecursionError:
        raise DamagedTree(key, "nested too deep") from None
    except ValueError as error:
        raise DamagedTree(key, str(error)) from None
    return fields


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text:.20} is no number")


def _number(text: str) -> float:
    found = float(text)
    if isinf(found):  # 1e999
        _no_number(text)
    return found


def is_record(data: bytes) -> bool:
    """Return whether an object looks like a snapshot: for scans, where most objects are none."""
    return _looks_like(data, RECORD_TYPE)


def is_refs(data: bytes) -> bool:
    """Return whether an object looks like a refs document."""
    return _looks_like(data, REFS_TYPE)


def _looks_like(data: bytes, kind: str) -> bool:
    return data[:1] == b"{" and data.endswith(b"}\n") and f'"type":"{kind}"'.encode() in data


_TIME = re.compile(
    r"(?!0000)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ",
    re.ASCII,  # Digits of other scripts are none.
).fullmatch


def is_time(text: object) -> bool:
    """Return whether a value is a time as documents have it: RFC 3339, UTC, in seconds. Such times compare as texts."""
    if not isinstance(text, str) or not _TIME(text):
        return False
    try:
        return text[8:10] < "29" or bool(date.fromisoformat(text[:10]))
    except ValueError:
        return False


def utc_text(seconds: float) -> str:
    """Return seconds since 1970 as the text of a time. Raise `InvalidOption` outside of the years 1 to 9999."""
    try:
        return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%S}Z".rjust(20, "0")
    except (OverflowError, ValueError, OSError):
        raise InvalidOption(f"{seconds!r} is no time between the years 1 and 9999") from None


def parse_time(text: str) -> int:
    """Return the seconds since 1970 of the text of a time. Raise `InvalidOption`."""
    if is_time(text):
        return int(datetime.fromisoformat(text).timestamp())
    raise InvalidOption(f"{text!r:.40} is no time such as 2026-11-26T17:30:00Z")
