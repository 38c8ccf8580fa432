"""The answers of a probe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from rsdos.notebook import ShownAsTable


class Create(StrEnum):
    """What happens to a second put of a name, with the condition that the name is free."""

    EXCLUSIVE = "exclusive"
    """It is refused, and of all puts that race for a name one wins: many writers are safe."""
    OVERWRITES = "overwrites"
    """It replaces the first, or several of those that race win. The condition is ignored."""
    UNSUPPORTED = "unsupported"
    """The storage refuses every put with the condition."""
    FORBIDDEN = "forbidden"
    """The credentials may not put."""


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of one connection. Seconds for a small object, bytes per second for a large one; 0.0: not measured."""

    put: float = 0.0
    get: float = 0.0
    list: float = 0.0
    upload: float = 0.0
    download: float = 0.0


@dataclass(frozen=True, slots=True)
class ListingAnswers:
    """How names are listed."""

    at_once: bool
    """A name is listed as soon as its put has returned."""
    in_order: bool
    """Names come in the order of their bytes."""
    after: bool
    """A listing can begin after a name, and end after a number of names."""


@dataclass(frozen=True, slots=True)
class ProbeReport(ShownAsTable):
    """The answers of a storage. None: not known, because an action was refused before, or the storage does not say."""

    create: Create
    most_winners: int | None = None
    """The most puts of one race that the storage acknowledged. 1 is right."""
    unknown: int = 0
    """The puts of all races whose answer was lost."""
    reads_back: bool | None = None
    """Bytes that were just put are read at once, whole and by ranges."""
    empties: bool | None = None
    """An object can be overwritten with an empty one, and is read so at once. Maintenance needs it."""
    tells_missing: bool | None = None
    """A missing name is answered with "missing" (404). If not, with "forbidden" (403): listing is not allowed."""
    listing: ListingAnswers | None = None
    """None: listing is refused."""
    etag_is_md5: bool | None = None
    versioned: bool | None = None
    """Overwritten and removed bytes stay as older versions, and cost space, until a rule of the bucket expires them."""
    deletes: bool | None = None
    """An object can be removed."""
    clock_offset: float | None = None
    """Seconds by which the clock of the storage is ahead of this machine's; most storages tell whole seconds."""
    speed: Speed = Speed()
    refused: tuple[str, ...] = ()
    """The refused actions, each with the text of the storage's error."""
    leftovers: tuple[str, ...] = ()
    """The names that could not be removed."""
    seconds: float = 0.0

    @property
    def many_writers(self) -> bool:
        """Whether any number of machines may write at the same time."""
        return self.create is Create.EXCLUSIVE and bool(self.reads_back)

    def asdict(self) -> dict[str, object]:
        """Return the answers as plain values, for a document."""
        return {**dataclasses.asdict(self), "many_writers": self.many_writers}
