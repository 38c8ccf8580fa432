"""Maintenance by the names of disk-objectstore: pack, clean, delete, repack."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rsdos.compat.disk_objectstore.callbacks import Callback, CallbackProgress
from rsdos.compat.disk_objectstore.exceptions import InconsistentContent
from rsdos.engine.engine import Engine
from rsdos.layout import V1Layout
from rsdos.maintenance import clean, delete, merge, pack, repack
from rsdos.model import CompressMode
from rsdos.progress import SILENCE


def pack_all_loose(
    engine: Engine, compress: bool | CompressMode, must_be_whole: bool, callback: Callback | None, clean_up: bool
) -> None:
    """Pack all loose objects. Damaged ones are not packed: raise `InconsistentContent` for them at the end."""
    mode = compress if isinstance(compress, CompressMode) else CompressMode.YES if compress else CompressMode.NO
    progress = CallbackProgress(callback, "Packing loose objects") if callback else SILENCE
    report = pack.pack_all(engine, pack.PackOptions(mode, clean_up), progress)
    damaged = [key for key in report.damaged if os.access(engine.layout.loose_file(key), os.R_OK)]
    if damaged and must_be_whole:
        raise InconsistentContent(f"Error when packing object '{damaged[0]}': re-computed hash is different!")


def clean_storage(engine: Engine, vacuum: bool) -> None:
    """Clean. With ``vacuum``, compact the index first."""
    if vacuum:
        merge.execute(engine, merge.plan(engine))
    clean.execute(engine, clean.plan(engine))
    left = sorted(name.partition(".")[0] for name in _duplicates(engine))
    if left:
        raise InconsistentContent(
            f"There are duplicates of '{left[0]}' but neither they nor the object itself are good. "
            "If you don't need it, use `delete_objects()` passing this hash key"
        )


def _duplicates(engine: Engine) -> list[str]:
    if not isinstance(engine.layout, V1Layout) or not os.path.isdir(engine.layout.duplicates):
        return []
    return [name for name in os.listdir(engine.layout.duplicates) if "." in name and not name.startswith(".")]


def delete_objects(engine: Engine, keys: Iterable[str]) -> list[str]:
    """Delete objects. Return the keys of those that existed. Ignore strings that are not keys."""
    deleted: list[str] = []
    wanted = [key for key in keys if engine.config.hash.is_key(key)]
    plan = delete.plan(engine, delete.DeleteOptions(wanted))
    delete.execute(engine, plan, tell=lambda gone, missing: deleted.extend(gone))
    return deleted


def repack_pack(engine: Engine, pack_id: int, mode: CompressMode, callback: Callback | None) -> None:
    """Rewrite one pack into a pack of another id, unless it is as it should be."""
    sums = engine.packed.maintenance.stats()
    found = [own for own in sums.packs if own.id == pack_id]
    if not found or not found[0].objects:
        clean.execute(engine, clean.CleanPlan(0, 0))
        return
    own = found[0]
    progress = CallbackProgress(callback, f"Repack {pack_id}", sums.live.size, own.live.size)
    if not own.length or (mode is CompressMode.KEEP and not own.dead_stored):
        progress.start("", None, "bytes")
        progress.finish()
        return
    repack.execute(engine, repack.plan(engine, _repack_options(engine, pack_id, mode)), progress)


def _repack_options(engine: Engine, pack_id: int, mode: CompressMode) -> repack.RepackOptions:
    match mode:
        case CompressMode.KEEP:
            return repack.RepackOptions(repack.KEEP, pack_id=pack_id)
        case CompressMode.NO:
            return repack.RepackOptions("none", pack_id=pack_id)
        case _:
            return repack.RepackOptions(engine.config.compression, pack_id=pack_id, compress=mode)


def repack_all(engine: Engine, mode: CompressMode, callback: Callback | None) -> None:
    """Rewrite all packs, and compact the index."""
    for own in engine.packed.maintenance.packs():
        repack_pack(engine, own.id, mode, callback)
    merge.execute(engine, merge.plan(engine))
