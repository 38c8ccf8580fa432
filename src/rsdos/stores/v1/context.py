"""The parts of an open packed store of version 1 that its operations work on."""

from __future__ import annotations

from dataclasses import dataclass, field

from rsdos.config import Config
from rsdos.layout import V1Layout
from rsdos.model import Durability
from rsdos.stores.v1.database import Database
from rsdos.stores.v1.reader import RowReader


@dataclass(frozen=True, slots=True)
class V1Context:
    """The parts that the packed store of version 1 gives to its maintenance. Any number of threads."""

    layout: V1Layout
    config: Config
    durability: Durability
    database: Database
    reader: RowReader
    synced: dict[int, int] = field(default_factory=dict)
    """The bytes of each pack that this process has synced, or knows to be synced."""
