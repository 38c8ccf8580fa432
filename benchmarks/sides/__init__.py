"""The sides, by name. Their modules are imported one at a time: each needs its own interpreter."""

from __future__ import annotations

import importlib

from benchmarks.sides.side import Side, has_verb, key_of

__all__ = ["FLOOR", "NAMES", "PEERS", "STORES", "YARDSTICKS", "Side", "has_verb", "key_of", "side_class"]

OURS = ("ours", "ours-v1")
PEERS = ("rsdos-0.1", "dos")
FLOOR = "floor"
YARDSTICKS = ("lmdb", "sqlite", "files", "git")

_HOMES = {
    "ours": ("ours", "Ours"),
    "ours-v1": ("ours", "OursVersion1"),
    "rsdos-0.1": ("rsdos_01", "Rsdos01"),
    "dos": ("dos", "DiskObjectstore"),
    "floor": ("floor", "Floor"),
    "lmdb": ("lmdb_values", "LmdbValues"),
    "sqlite": ("sqlite_blobs", "SqliteBlobs"),
    "files": ("plain_files", "PlainFiles"),
    "git": ("git", "Git"),
    "ours-plain": ("ours", "OursPlain"),
    "zip": ("zip_files", "ZipFile"),
    "restic": ("restic", "Restic"),
    "frames": ("frames", "Frames"),
    "tar.zst": ("tar_zst", "TarZst"),
}
NAMES = (*OURS, *PEERS, FLOOR, *YARDSTICKS)
STORES = ("ours", "ours-plain", *PEERS, "git", "sqlite", "lmdb", "zip", "restic", "frames", "tar.zst")
"""What `benchmarks.size` compares; those at the end are limits, and no stores."""


def side_class(name: str) -> type[Side]:
    """The class of a side."""
    module, kind = _HOMES[name]
    found = getattr(importlib.import_module(f"benchmarks.sides.{module}"), kind)
    assert isinstance(found, type) and issubclass(found, Side)
    return found
