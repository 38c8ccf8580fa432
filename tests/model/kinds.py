"""All operations of the model."""

from __future__ import annotations

from tests.model.actors import Actor, Ask, Delete, InsertLoose, InsertPacked, Retain, Transfer
from tests.model.upkeep import Clean, Migrate, Pack, Quarantine, Repack, Repair

KINDS: dict[str, type[Actor]] = {
    kind.kind: kind
    for kind in (
        InsertLoose,
        InsertPacked,
        Transfer,
        Delete,
        Retain,
        Pack,
        Clean,
        Repack,
        Migrate,
        Repair,
        Quarantine,
        Ask,
    )
}
