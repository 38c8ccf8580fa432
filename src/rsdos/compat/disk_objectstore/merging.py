"""Sorted sequences side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import Any


class Location(Enum):
    """The sequences that have an element: the left, the right, or both."""

    LEFTONLY = -1
    BOTH = 0
    RIGHTONLY = 1


_END = object()


def detect_where_sorted(
    left_iterator: Iterable[Any], right_iterator: Iterable[Any], left_key: Callable[[Any], Any] | None = None
) -> Iterator[tuple[Any, Location]]:
    """Yield (element, location) in order; the left element if both sequences have it.

    ``left_key`` returns the value of a left element to compare. Raise ValueError at an element that is not in order, or
    is repeated.
    """
    key = left_key or (lambda element: element)
    left, right = iter(left_iterator), iter(right_iterator)
    ours, theirs = next(left, _END), next(right, _END)
    while ours is not _END or theirs is not _END:
        if theirs is _END or (ours is not _END and key(ours) < theirs):
            yield ours, Location.LEFTONLY
            ours = _next(left, ours, key, "left")
        elif ours is _END or key(ours) > theirs:
            yield theirs, Location.RIGHTONLY
            theirs = _next(right, theirs, lambda element: element, "right")
        else:
            yield ours, Location.BOTH
            ours = _next(left, ours, key, "left")
            theirs = _next(right, theirs, lambda element: element, "right")


def _next(elements: Iterator[Any], last: Any, key: Callable[[Any], Any], side: str) -> Any:
    element = next(elements, _END)
    if element is not _END and key(element) <= key(last):
        raise ValueError(
            f"The {side} iterator does not return sorted unique entries, I got '{key(element)}' after '{key(last)}'"
        )
    return element


def yield_first_element(iterator: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """Return the first item of each tuple."""
    return (element[0] for element in iterator)


def merge_sorted(iterator1: Iterable[Any], iterator2: Iterable[Any]) -> Iterator[Any]:
    """Yield the elements of both sequences, in order, each once."""
    return (element for element, _ in detect_where_sorted(iterator1, iterator2))


def chunk_iterator(iterator: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Yield tuples of ``size`` elements; the last may be shorter."""
    elements = iter(iterator)
    while chunk := tuple(islice(elements, size)):
        yield chunk
