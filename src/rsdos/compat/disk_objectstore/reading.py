"""Reads many objects as streams with their metadata, in storage order."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from rsdos.compat.disk_objectstore.dataclasses import ObjectMeta
from rsdos.compat.disk_objectstore.object_type import ObjectType
from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, DamagedObject, ObjectNotFound
from rsdos.model import Codec
from rsdos.model import ObjectMeta as OwnMeta
from rsdos.streams.seekable import ObjectStream

_CHUNK = 1 << 16
"""Keys that are sorted by storage order together."""

_SMALL = 1 << 16
"""Objects of at most so many bytes are read together, ..."""

_WINDOW = 4 << 20
"""... so many bytes of them at a time."""

MISSING = ObjectMeta(ObjectType.MISSING, None, None, None, None, None)


def to_drop_in_meta(meta: OwnMeta) -> ObjectMeta:
    """Return metadata in the form of disk-objectstore."""
    if meta.extent is None:
        return ObjectMeta(ObjectType.LOOSE, meta.size, None, None, None, None)
    pack_id, offset, length = meta.extent
    return ObjectMeta(ObjectType.PACKED, meta.size, pack_id, meta.codec is not Codec.RAW, offset, length)


def metas(engine: Engine, keys: Iterable[str], skip_if_missing: bool) -> Iterator[tuple[str, ObjectMeta]]:
    """Yield (key, meta) of each key once: packed in storage order, then loose, then missing ones unless skipped."""
    missing: list[str] = []
    for found in _in_order(engine, keys, missing):
        for meta in found:
            yield meta.key, to_drop_in_meta(meta)
    if not skip_if_missing:
        yield from ((key, MISSING) for key in missing)


def streams(
    engine: Engine, keys: Iterable[str], skip_if_missing: bool
) -> Iterator[tuple[str, io.BufferedReader | None, ObjectMeta]]:
    """Yield as `metas`, with a stream of each object that is usable until the next one is requested."""
    missing: list[str] = []
    for found in _in_order(engine, keys, missing):
        for window in _windows(found):
            small = _read_small(engine, window) if len(window) > 1 else {}
            for meta in window:
                data = small.pop(meta.key, None)
                try:
                    stream = open_object(engine, meta.key) if data is None else ObjectStream(io.BytesIO(data))
                except ObjectNotFound:
                    missing.append(meta.key)  # It was deleted since the lookup.
                    continue
                with stream:
                    yield meta.key, stream, to_drop_in_meta(meta)
    if not skip_if_missing:
        yield from ((key, None, MISSING) for key in missing)


def open_object(engine: Engine, key: str) -> ObjectStream:
    """Return a stream of one object. Raise `ObjectNotFound`, `DamagedObject`."""
    stream = engine.objects.open(key)
    return stream if isinstance(stream, ObjectStream) else ObjectStream(stream.detach(), 1 << 16)


def newest_meta(engine: Engine, key: str) -> OwnMeta:
    """Return the metadata of an object; packed if it is packed now. Raise `ObjectNotFound`, `InvalidKey`."""
    version = engine.packed.version()
    meta = engine.objects.meta(key)
    return _with_packed_since(engine, version, [meta])[0]


def _with_packed_since(engine: Engine, version: object, found: list[OwnMeta]) -> list[OwnMeta]:
    """Return the same metadata, with loose objects looked up again if a commit has come since ``version``."""
    if all(meta.extent for meta in found) or engine.packed.is_latest(version):
        return found
    engine.packed.refresh()
    return [meta if meta.extent else engine.packed.describe(bytes.fromhex(meta.key)) or meta for meta in found]


def _in_order(engine: Engine, keys: Iterable[str], missing: list[str]) -> Iterator[list[OwnMeta]]:
    """Yield the metadata of the objects in lists of bounded size. Add the keys of missing objects to ``missing``."""
    rest = iter(dict.fromkeys(keys))
    while chunk := list(islice(rest, _CHUNK)):
        version = engine.packed.version()
        found = []
        for key, meta in zip(chunk, _looked_up(engine, chunk), strict=True):
            try:
                found.append(meta or engine.objects.meta(key))
            except (ObjectNotFound, ValueError):
                missing.append(key)
        found = _with_packed_since(engine, version, found)
        found.sort(key=_place)
        yield found


def _looked_up(engine: Engine, keys: Sequence[str]) -> list[OwnMeta | None]:
    """Return the metadata of all objects by one bulk lookup; None for an object that must be looked up by itself."""
    is_key = engine.config.hash.is_key
    digests = [bytes.fromhex(key) for key in keys if is_key(key)]
    try:
        metas = engine.packed.describe_many(digests)
    except (DamagedObject, DamagedContainer):
        return [None] * len(keys)
    metas = [meta or engine.loose.describe(digest) for meta, digest in zip(metas, digests, strict=True)]
    if len(metas) == len(keys):
        return metas
    of_keys = iter(metas)
    return [next(of_keys) if is_key(key) else None for key in keys]


def _place(meta: OwnMeta) -> tuple[bool, int, int]:
    return (True, 0, 0) if meta.extent is None else (False, meta.extent.pack_id, meta.extent.offset)


def _windows(found: Iterable[OwnMeta]) -> Iterator[list[OwnMeta]]:
    """Yield windows of objects: many small ones, or a large one alone."""
    window: list[OwnMeta] = []
    size = 0
    for meta in found:
        if window and (meta.size > _SMALL or size + meta.size > _WINDOW):
            yield window
            window, size = [], 0
        window.append(meta)
        size += meta.size
    if window:
        yield window


def _read_small(engine: Engine, window: Sequence[OwnMeta]) -> dict[str, bytes]:
    """Return the small objects of a window, without damaged and missing ones: those raise when they are read singly."""
    digests = engine.config.hash.parse_keys([meta.key for meta in window])
    read: dict[str, bytes] = {}
    try:
        for at, data in engine.objects.read_many(digests):
            read[window[at].key] = data
    except (DamagedObject, DamagedContainer):
        pass
    return read
