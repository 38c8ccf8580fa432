"""Validation as disk-objectstore reports it: every object is decoded and hashed."""

from __future__ import annotations

from collections.abc import Iterator

from rsdos.compat.disk_objectstore.callbacks import Callback, told
from rsdos.compat.disk_objectstore.compression import compute_hash_and_size
from rsdos.compat.disk_objectstore.dataclasses import ValidationIssues
from rsdos.compat.disk_objectstore.streams import PackedObjectReader, ZlibStreamDecompresser
from rsdos.engine.engine import Engine
from rsdos.errors import DamagedObject
from rsdos.model import Codec, ObjectMeta
from rsdos.stores.packs import Listed


def validate(engine: Engine, callback: Callback | None) -> ValidationIssues:
    """Hash all objects, the loose ones and then pack by pack. Readers and writers go on meanwhile."""
    issues = ValidationIssues([], [], [], [])
    with engine.protect_packs():
        keys = list(engine.loose)
        for key in told(keys, callback, "Loose objects"):
            if not _is_whole(engine, key):
                issues.invalid_hashes_loose.append(key)
        # Behind the loose ones: what was packed before its turn came is among these.
        for pack in engine.packed.listed():
            if pack.objects:
                checked = _checked(engine, pack, issues)
                for _ in told(checked, callback, f"Pack {pack.pack_id}", pack.objects):
                    pass
    return issues


def _is_whole(engine: Engine, key: str) -> bool:
    digest = bytes.fromhex(key)
    # One that is gone was packed or deleted meanwhile.
    return engine.loose.has_hash(digest) or not engine.loose.contains_many([digest])[0]


def _rehashed(engine: Engine, pack: Listed) -> Iterator[tuple[bytes, bool]]:
    for digests in pack.digests:
        for at in range(0, len(digests), 1 << 13):
            some = digests[at : at + (1 << 13)]
            yield from zip(some, engine.packed.verify_many(some), strict=True)


def _checked(engine: Engine, pack: Listed, issues: ValidationIssues) -> Iterator[None]:
    """One for each object; what is wrong with it is noted."""
    end = 0
    for digest, is_good in _rehashed(engine, pack):
        key, good = digest.hex(), is_good
        if not good and not engine.packed.is_latest(engine.packed.version()):
            # It may stand in another pack by now, or be deleted.
            engine.packed.refresh()
            good = engine.packed.has_hash(digest)
        try:
            meta = engine.packed.describe(digest)
        except DamagedObject:
            meta = None
            issues.invalid_sizes_packed.append(key)
        if not good and meta and engine.packed.contains_many([digest])[0]:
            _note(engine, meta, issues)
        if meta and meta.extent and meta.extent.pack_id == pack.pack_id:
            if meta.extent.offset < end and meta.length:
                issues.overlapping_packed.append(key)
            end = meta.extent.offset + meta.length
        yield


def _note(engine: Engine, meta: ObjectMeta, issues: ValidationIssues) -> None:
    """Tell a wrong size from wrong bytes: what disk-objectstore says of an object that is not as its row has it."""
    is_hash_wrong = True
    size: int | None = None
    if meta.extent and meta.codec is not Codec.ZSTD:
        try:
            with open(engine.layout.pack(meta.extent.pack_id), "rb") as pack:
                stored = PackedObjectReader(pack, meta.extent.offset, meta.length)
                raw = stored if meta.codec is Codec.RAW else ZlibStreamDecompresser(stored)
                key, size = compute_hash_and_size(raw, engine.config.hash_type)
                is_hash_wrong = key != meta.key
        except (OSError, ValueError):
            pass
    if is_hash_wrong:
        issues.invalid_hashes_packed.append(meta.key)
    if size is not None and size != meta.size:
        issues.invalid_sizes_packed.append(meta.key)
