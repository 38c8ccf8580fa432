"""Progress in the form of disk-objectstore: ``callback(action, value)``.

``action`` is "init" with ``{"total": …, "description": …}``, "update" with an int, or "close" with None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, TypeVar

Callback = Callable[[str, Any], Any]

_T = TypeVar("_T")

_UPDATES = 400
"""Updates in one step at most."""


class CallbackProgress:
    """A `rsdos.protocols.Progress` that calls a callback, with its own description and total.

    With ``share`` the updates add up to that part of the total, whatever the unit of the progress is.
    """

    def __init__(
        self, callback: Callback | None, description: str, total: int | None = None, share: int | None = None
    ) -> None:
        self._callback = callback
        self._description = description
        self._total = total
        self._share = share
        self._left = 0
        self._told = 0

    def start(self, description: str, total: int | None, unit: str) -> None:
        self._left = total or 0
        if self._callback:
            total = total if self._total is None else self._total
            self._callback("init", {"total": total or 0, "description": self._description})

    def advance(self, amount: int) -> None:
        if self._share is not None:
            rest = self._share - self._told
            self._left, amount = self._left - amount, rest * amount // self._left if self._left > amount else rest
        self._told += amount
        if self._callback and amount:
            self._callback("update", amount)

    def finish(self) -> None:
        if self._share is not None and self._told < self._share:
            self.advance(self._left)
        if self._callback:
            self._callback("close", None)


def told(items: Iterable[_T], callback: Callback | None, description: str, total: int | None = None) -> Iterator[_T]:
    """Yield the same items, and call the callback after each."""
    if callback is None:
        yield from items
        return
    if total is None:
        total = len(items) if isinstance(items, Sized) else 0
    callback("init", {"total": total, "description": description})
    every = max(total // _UPDATES, 1)
    since = 0
    for item in items:
        yield item
        since += 1
        if since >= every:
            callback("update", since)
            since = 0
    if since:
        callback("update", since)
    callback("close", None)


def rename_callback(callback: Callback | None, new_description: str) -> Callback | None:
    """Return the callback with another description; None for None."""
    if callback is None:
        return None

    def renamed(action: str, value: Any) -> Any:
        if action == "init":
            value = value | {"description": new_description}
        return callback(action, value)

    return renamed
