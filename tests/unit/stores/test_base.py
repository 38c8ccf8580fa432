"""How often a lookup is made again: until no newer version came in the meantime, and not forever."""

from __future__ import annotations

from typing import Any, cast

import pytest

from rsdos import Busy
from rsdos.stores.base import Store


class Changing:
    """A store of which so many newer versions come, one during each lookup."""

    def __init__(self, newer: int) -> None:
        self.newest, self.loaded, self.newer = 0, 0, newer

    def version(self) -> int:
        return self.loaded

    def is_latest(self, version: object) -> bool:
        if self.newer:
            self.newer -= 1
            self.newest += 1
        return version == self.newest

    def refresh(self) -> None:
        self.loaded = self.newest


def lookups(store: Changing, most: int, **settings: Any) -> list[int]:
    return [store.loaded for _ in Store.look_again(cast(Store, store), most, **settings)]


def test_one_lookup_is_enough_where_nothing_changes() -> None:
    assert lookups(Changing(0), 4) == [0]


def test_each_newer_version_is_looked_in() -> None:
    assert lookups(Changing(2), 4) == [0, 1, 2]


def test_beside_writers_that_never_rest_the_lookups_end() -> None:
    assert lookups(Changing(100), 4) == [0, 1, 2, 3]


def test_beside_writers_that_never_rest_the_error_that_was_asked_for_is_raised() -> None:
    with pytest.raises(Busy):
        lookups(Changing(100), 4, exhausted=lambda: Busy("packed"))
    assert lookups(Changing(3), 4, exhausted=lambda: Busy("packed")) == [0, 1, 2, 3]
