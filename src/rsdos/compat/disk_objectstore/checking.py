"""Validation in the form of disk-objectstore: every object is decoded and hashed."""

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
    """Hash all objects, first the loose ones, then pack by pack. Readers and writers are not blocked."""
    issues = ValidationIssues([], [], [], [])
    with engine.protect_packs():
        keys = list(engine.loose)
        for key in told(keys, callback, "Loose objects"):
            if not _is_undamaged(engine, key):
                issues.invalid_hashes_loose.append(key)
        # After the loose ones: objects that were packed before they were checked are listed here.
        for pack in engine.packed.inspection.listed():
            if pack.objects:
                checked = _check_pack(engine, pack, issues)
                for _ in told(checked, callback, f"Pack {pack.pack_id}", pack.objects):
                    pass
    return issues


def _is_undamaged(engine: Engine, key: str) -> bool:
    digest = bytes.fromhex(key)
    # A file that is gone was packed or deleted.
    return engine.loose.has_hash(digest) or not engine.loose.contains_many([digest])[0]


def _rehashed(engine: Engine, pack: Listed) -> Iterator[tuple[bytes, bool]]:
    for digests in pack.digests:
        for at in range(0, len(digests), 1 << 13):
            some = digests[at : at + (1 << 13)]
            yield from zip(some, engine.packed.verify_many(some), strict=True)


def _check_pack(engine: Engine, pack: Listed, issues: ValidationIssues) -> Iterator[None]:
    """Check each object and add its damage to the issues. Yield once for each."""
    end = 0
    for digest, is_good in _rehashed(engine, pack):
        key, good = digest.hex(), is_good
        if not good and not engine.packed.is_latest(engine.packed.version()):
            # The object may have been moved to another pack, or deleted.
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
    """Add an issue as disk-objectstore does: a wrong size, or wrong bytes."""
    is_hash_wrong = True
    size: int | None = None
    if meta.extent and meta.codec in (Codec.RAW, Codec.ZLIB):
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
