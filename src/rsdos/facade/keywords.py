"""Keyword arguments that a function of the facade does not have. What takes the options of a URL takes any keyword."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rsdos.errors import InvalidOption

if TYPE_CHECKING:
    from rsdos.storage.url import OptionValue


def refuse_mistyped(function: Callable[..., object], options: Mapping[str, OptionValue], *, url: bool) -> None:
    """Raise for an option of no URL, and name the arguments of ``function`` and the options that it may mean.

    That is a TypeError, as of Python itself. Of a ``url`` it is `InvalidOption`, and only for a name that is like
    another one: `rsdos.storage.url.parse_url` says of each other name which options there are.
    """
    from rsdos.storage.url import OPTION_NAMES

    for name in options:
        if name in OPTION_NAMES:
            continue
        alike = _alike(name, function, OPTION_NAMES if url else frozenset())
        hint = f" Did you mean {' or '.join(map(repr, alike))}?" if alike else ""
        message = f"{function.__qualname__}() has no argument {name!r}.{hint}"
        if not url:
            raise TypeError(message)
        if alike:
            raise InvalidOption(message)


def _alike(name: str, function: Callable[..., object], more: frozenset[str]) -> list[str]:
    """Return the names that a mistyped one may mean, the likeliest first."""
    from difflib import get_close_matches
    from inspect import signature

    return get_close_matches(name, sorted({*signature(function).parameters, *more} - {"options"}))
