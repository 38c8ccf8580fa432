"""The names of branches and tags, and how a version of one is written: NAME, NAME@N, NAME@DATE."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from rsdos.errors import InvalidName
from rsdos.hashing import SHA256
from rsdos.trees.documents import utc_text

LONGEST_REF = 200

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = rf"{_PART}(?:/{_PART})*"
_DATE = r"\d{4}-\d\d-\d\d(?:[Tt]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:\d\d)?)?"


@cache  # compiled at the first use: all of them together take a millisecond
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


class RefText(NamedTuple):
    """A ref as a user writes it. ``number`` is None and ``until`` "" where it is the newest version, a tag or a key."""

    name: str
    number: int | None = None
    until: str = ""
    """The newest version not after this time, as documents have times."""

    @property
    def is_key(self) -> bool:
        return SHA256.is_key(self.name)


def check_ref_name(name: str) -> None:
    """Raise `InvalidName` for a name that no branch or tag can have."""
    if not _pattern(_NAME).fullmatch(name):
        raise InvalidName(
            name,
            "each part of a branch or tag begins with a letter or digit, and has letters, digits, dots, - and _",
        )
    if len(name) > LONGEST_REF:
        raise InvalidName(name, f"a branch or tag has at most {LONGEST_REF} characters")
    if any(part.endswith(".lock") for part in name.split("/")):
        raise InvalidName(name, "no part of the name of a branch or tag ends in .lock")
    if SHA256.is_key(name.lower()):
        raise InvalidName(name, "64 hex digits are a key and not a name; keys are in lower case")


def parse_ref(text: str) -> RefText:
    """Return what ``NAME``, ``NAME@N``, ``NAME@DATE``, ``TAG`` or the key of a snapshot says. Raise `InvalidName`."""
    if SHA256.is_key(text):
        return RefText(text)
    name, at, version = text.partition("@")
    check_ref_name(name)
    if not at:
        return RefText(name)
    if _pattern(r"[0-9]{1,18}").fullmatch(version):
        return RefText(name, int(version))
    return RefText(name, None, _until(text, version))


def _until(text: str, date: str) -> str:
    """Return the last second that a date covers: a day ends with 23:59:59, a time without a zone is UTC."""
    try:
        if not _pattern(_DATE).fullmatch(date):
            raise ValueError
        moment = datetime.fromisoformat(date.upper())
        if len(date) == len("2026-11-26"):
            moment += timedelta(days=1, seconds=-1)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return utc_text(moment.timestamp())
    except (ValueError, OverflowError):
        raise InvalidName(text, "behind the @ is neither a number nor a date such as 2026-11-26") from None


def split_ref(text: str) -> tuple[str, str | None]:
    """Return the ref and the path of ``REF:PATH``; None without a colon. Neither of them is checked.

    A date may have colons itself: ``data@2026-11-26T10:00:sub/file`` has the path ``sub/file``.
    """
    dated = _pattern(rf"([^@:]+@{_DATE})(?::((?s:.*)))?").fullmatch(text)
    if dated:
        return dated[1], dated[2]
    ref, colon, path = text.partition(":")
    return ref, path if colon else None
