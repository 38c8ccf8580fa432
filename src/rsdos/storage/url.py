"""URLs of storages, and their options: what a user writes, checked, and the storage that it means.

Nothing here is secret, and no secret gets in: credentials come from the environment, the profile files or the role of
the machine, and the client library reads them itself (docs/urls.md). So a `StorageUrl` may be shown, kept in a file
and sent to another process.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from rsdos.errors import InvalidOption
from rsdos.storage.base import Storage, Traits
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.shared import SharedDirectory

_FORM = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

_PART = re.compile(r"(?!\.\.?\Z)[^/?#@\\\x00-\x20\x7f]+")
"""A part of a prefix. Object stores take more; these survive every client, signature and shell."""

_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")

_SECRET = re.compile(r"key|secret|token|passw|credential|signature|\bsas\b|user", re.IGNORECASE)
"""In the name of an option: its value may be a secret, and is not shown."""

_WHERE = (
    "credentials come from the environment, the profile files or the role of the machine, never from a URL or an option"
)

_DAY = 86_400

DEADLINE = 60.0
"""Seconds for which idempotent requests are tried again by default: a restart of a gateway takes 20 to 30."""

OptionValue = str | bool | int | float
"""A value of an option. It is kept as a string: "true" and "false" for a bool."""


def is_url(path: str) -> bool:
    """Return whether a string is a URL, and not the path of a directory of this machine."""
    return "://" in path and _FORM.fullmatch(path) is not None


class StorageUrl(NamedTuple):
    """A checked URL and its options. It holds no secret, and can be pickled."""

    scheme: str
    place: str
    """The bucket, the container of Azure, the host or the name of a memory; "" for a directory."""
    prefix: str
    """What comes before each name, without slashes around it; for a directory its path."""
    options: tuple[tuple[str, str], ...] = ()
    """In order of their names."""

    @property
    def url(self) -> str:
        """The URL without options, for messages and for files."""
        if self.scheme == "file":
            return f"file://{self.prefix}"
        return f"{self.scheme}://{self.place}{'/' if self.prefix else ''}{self.prefix}"

    def option(self, name: str, default: str = "") -> str:
        """Return the value of an option, or ``default`` if it was not given."""
        return dict(self.options).get(name, default)

    def switch(self, name: str) -> bool:
        """Return whether an option of yes or no was given as yes."""
        return self.option(name) == "true"


def _text(value: str) -> str:
    if not value or not value.isprintable():
        raise ValueError("is empty, or has characters that cannot be printed")
    return value


def _switch(value: str) -> str:
    known = {"true": "true", "yes": "true", "1": "true", "false": "false", "no": "false", "0": "false"}
    if value.lower() not in known:
        raise ValueError("is neither true nor false")
    return known[value.lower()]


def _endpoint(value: str) -> str:
    scheme, found, rest = value.partition("://")
    host, _, path = rest.rstrip("/").partition("/")
    if "@" in value:
        raise ValueError(f"has a user or a password in it: {_WHERE}")
    if not found or scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise ValueError("is no http:// or https:// URL of a host")
    if path and not all(map(_PART.fullmatch, path.split("/"))):
        raise ValueError("has a path that no endpoint has")
    return value.rstrip("/")


def _seconds(value: str) -> str:
    with suppress(ValueError):
        if 0 < float(value) <= _DAY:
            return value
    raise ValueError("is not a number of seconds, more than 0 and at most 86,400")


def _choice(*choices: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"is none of {', '.join(choices)}")
        return value

    return check


_REMOTE = {"endpoint": _endpoint, "deadline": _seconds}

_OPTIONS: Mapping[str, Mapping[str, Callable[[str], str]]] = {
    "s3": {
        **_REMOTE,
        "anonymous": _switch,
        "region": _text,
        "virtual_host": _switch,
        "profile": _text,
        "storage_class": _text,
        "server_side_encryption": _choice("AES256", "aws:kms"),
    },
    "gs": {**_REMOTE, "anonymous": _switch, "storage_class": _text},
    "az": {**_REMOTE, "account": _text},
    "https": {"deadline": _seconds},
    "http": {"deadline": _seconds},
    "file": {},
    "memory": {},
}
"""The schemes, and for each the options that it has and what checks their values."""

OPTION_NAMES = frozenset(name for options in _OPTIONS.values() for name in options)
"""The options of all schemes."""


def parse_url(url: str, options: Mapping[str, OptionValue] | None = None) -> StorageUrl:
    """Check a URL and its options. Raise `InvalidOption`, which never shows a password or the value of an option.

    Examples:
        >>> parse_url("s3://lab/data", {"endpoint": "https://rgw.example.org"}).url
        's3://lab/data'
    """
    match = _FORM.fullmatch(url)
    scheme = match[1].lower() if match else ""
    if match is None or scheme not in _OPTIONS:
        raise InvalidOption(f"{scheme or 'no'}://: not a kind of storage; there are {', '.join(_OPTIONS)}")
    rest = match[2]
    if "@" in rest:
        raise InvalidOption(f"{scheme}://: the URL has a user or a password in it: {_WHERE}")
    if "?" in rest or "#" in rest:
        raise InvalidOption(f"{scheme}://: the URL has a query or a fragment; options are given beside it")
    place, prefix = _split(scheme, rest)
    given = sorted((name, _value(scheme, name, value)) for name, value in (options or {}).items())
    return StorageUrl(scheme, place, prefix, tuple(given))


def _split(scheme: str, rest: str) -> tuple[str, str]:
    """Return bucket, host or name, and prefix. For a directory "" and its path."""
    if scheme == "file":
        path = rest.removeprefix("localhost")
        if not path.startswith("/") or "\0" in path:
            raise InvalidOption(f"file://{rest}: name the directory as file:///path")
        return "", path.rstrip("/") or "/"
    place, _, prefix = rest.partition("/")
    form = _HOST if scheme in ("http", "https") else _BUCKET
    if not form.fullmatch(place):
        raise InvalidOption(f"{scheme}://{place}: not the name of a {_KINDS.get(scheme, 'bucket')}")
    prefix = prefix.removesuffix("/")
    if prefix and not all(map(_PART.fullmatch, prefix.split("/"))):
        raise InvalidOption(f"{scheme}://{place}/{prefix}: not a prefix: no empty parts, '.', '..', spaces or '\\'")
    return place, prefix


_KINDS = {"http": "host", "https": "host", "az": "container of Azure", "memory": "memory"}


def _value(scheme: str, name: str, value: OptionValue) -> str:
    """Return the checked value of an option. Raise `InvalidOption`, which does not show the value."""
    check = _OPTIONS[scheme].get(name)
    if check is None:
        if _SECRET.search(name):
            raise InvalidOption(f"option {name}: {_WHERE}")
        known = ", ".join(_OPTIONS[scheme]) or "none"
        raise InvalidOption(f"option {name}: {scheme}:// has no such option; it has: {known}")
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    try:
        return check(text)
    except ValueError as error:
        raise InvalidOption(f"option {name}: its value {error}") from None


_memories: dict[str, MemoryStorage] = {}
_making = threading.Lock()


def open_storage(url: str | StorageUrl, options: Mapping[str, OptionValue] | None = None) -> Storage:
    """Return the storage that a URL means. No request is made. Raise `InvalidOption`.

    `memory://name` is the same storage in all of this process, and without what object stores lack.
    """
    parsed = parse_url(url, options) if isinstance(url, str) else url
    if parsed.scheme == "file":
        return SharedDirectory(parsed.prefix)
    if parsed.scheme == "memory":
        with _making:
            return _memories.setdefault(parsed.url, MemoryStorage(parsed.place, Traits("memory")))
    from rsdos.storage.opendal import OpendalStorage
    from rsdos.storage.services import service_of

    service = service_of(parsed.url, parsed.scheme, parsed.place, parsed.prefix, dict(parsed.options))
    return OpendalStorage(service, float(parsed.option("deadline") or DEADLINE))
