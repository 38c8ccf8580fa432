"""Adds objects directly to packs, and from another container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

from rsdos.compat.disk_objectstore.callbacks import Callback, CallbackProgress, rename_callback, told
from rsdos.compat.disk_objectstore.exceptions import InconsistentContent
from rsdos.engine.engine import Engine
from rsdos.maintenance import transfer
from rsdos.model import BytesLike, CompressMode, Durability, Source
from rsdos.stores import batch
from rsdos.stores.encoding import Encoding


def add_to_pack(engine: Engine, sources: Iterable[Source], compress: bool, sync: bool) -> list[str]:
    """Append the objects that are not packed yet. Return the keys in order. Equal objects are stored once."""
    if not isinstance(compress, bool):
        raise AssertionError("Only True or False are valid `compress` modes when adding directly to a pack")
    with engine.objects.writing():
        writer = engine.packed.writer(durability=None if sync else Durability.RELAXED)
        mode = CompressMode.YES if compress else CompressMode.NO
        return batch.insert_many(sources, writer, Encoding(mode, engine.config.codec))


def contents(objects: Iterable[BytesLike], callback: Callback | None) -> Iterator[Source]:
    """Return the bytes to add. Raise TypeError for anything else: a string would be taken for a path."""
    return map(memoryview, told(objects, callback, "Bulk storing"))


def list_existing(engine: Engine, callback: Callback | None) -> None:
    """Call the callback as disk-objectstore does while it reads all keys into memory. Here no keys are read."""
    total = len(engine.packed)
    if callback and total:
        callback("init", {"total": total, "description": "List existing"})
        callback("update", total)
        callback("close", None)


def readable(stream: Any) -> Any:
    """Return the stream. Raise AttributeError for anything else: a string would be taken for a path."""
    if not hasattr(stream, "read"):
        raise AttributeError(f"{type(stream).__name__!r} object has no attribute 'read'")
    return stream


def opened(streams: Iterable[Any], open_streams: bool, callback: Callback | None) -> Iterator[Source]:
    """Yield the streams, each open until the next is requested. Streams that the caller has opened stay open."""
    for source in told(streams, callback, "Bulk storing"):
        with source if open_streams else nullcontext(source) as stream:
            yield readable(stream)


def import_objects(
    engine: Engine, source: Engine, keys: Iterable[str], compression: str | None, callback: Callback | None
) -> dict[str, str]:
    """Copy objects. Return their keys in the source and here; with the same hash, only of those that were new here.

    Missing objects are skipped. Raise `InconsistentContent` for damaged ones, after the others are copied.
    """
    is_same = engine.config.hash is source.config.hash
    wanted = [key for key in dict.fromkeys(keys) if source.config.hash.is_key(key)]
    if is_same:
        wanted = list(told(sorted(wanted), callback, "Listing objects"))
        wanted = [key for key, known in zip(wanted, engine.objects.has_many(wanted), strict=True) if not known]
    wanted = [key for key, there in zip(wanted, source.objects.has_many(wanted), strict=True) if there]
    ours: dict[str, str] = {}
    plan = transfer.plan(engine, source, transfer.TransferOptions(wanted, compression))
    progress = CallbackProgress(callback, "Copy objects", len(wanted))
    report = transfer.execute(engine, plan, progress, lambda theirs, own: ours.update(zip(theirs, own, strict=True)))
    if ours:
        for _ in told(ours, rename_callback(callback, "Final flush"), "Bulk storing"):
            pass
    if report.damaged:
        key, reason = report.damaged[0]
        raise InconsistentContent(f"{len(report.damaged)} objects of {source.layout.root}, first {key}: {reason}")
    return ours
