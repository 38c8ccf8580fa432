"""The container by the names of disk-objectstore."""

from __future__ import annotations

import io
import os
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from rsdos.compat.disk_objectstore import adding, checking, maintaining, reading
from rsdos.compat.disk_objectstore.callbacks import Callback
from rsdos.compat.disk_objectstore.dataclasses import ObjectCount, ObjectMeta, TotalSize, ValidationIssues
from rsdos.compat.disk_objectstore.exceptions import (
    InconsistentContent,
    ModificationNotAllowed,
    NotExistent,
    NotInitialised,
)
from rsdos.compat.disk_objectstore.folder import Folder
from rsdos.compat.disk_objectstore.object_type import ObjectType
from rsdos.compat.disk_objectstore.utils import (
    CallbackStreamWrapper,
    LazyLooseStream,
    LazyOpener,
    Location,
    ObjectWriter,
    PackedObjectReader,
    StreamReadBytesType,
    StreamSeekBytesType,
    StreamWriteBytesType,
    ZlibStreamDecompresser,
    chunk_iterator,
    compute_hash_and_size,
    detect_where_sorted,
    get_compressobj_instance,
    get_hash_cls,
    get_stream_decompresser,
    is_known_hash,
    merge_sorted,
    nullcontext,
    rename_callback,
    safe_flush_to_disk,
    should_compress,
    yield_first_element,
)
from rsdos.errors import ObjectNotFound
from rsdos.layout import V1Layout
from rsdos.model import CompressMode
from rsdos.storage import locks

__all__ = [
    "CallbackStreamWrapper",
    "CompressMode",
    "Container",
    "InconsistentContent",
    "LazyLooseStream",
    "LazyOpener",
    "Location",
    "NotExistent",
    "NotInitialised",
    "ObjQueryResults",
    "ObjectCount",
    "ObjectMeta",
    "ObjectType",
    "ObjectWriter",
    "PackedObjectReader",
    "StreamReadBytesType",
    "StreamSeekBytesType",
    "StreamWriteBytesType",
    "TotalSize",
    "ValidationIssues",
    "ZlibStreamDecompresser",
    "chunk_iterator",
    "compute_hash_and_size",
    "detect_where_sorted",
    "get_compressobj_instance",
    "get_hash_cls",
    "get_stream_decompresser",
    "is_known_hash",
    "merge_sorted",
    "nullcontext",
    "rename_callback",
    "safe_flush_to_disk",
    "should_compress",
    "yield_first_element",
]


def __getattr__(name: str) -> object:
    """Import `Obj` and `get_session` late: they need SQLAlchemy, so the drop-in has them in a separate module."""
    if name not in ("Obj", "get_session"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("disk_objectstore.database"), name)


ObjQueryResults = namedtuple("ObjQueryResults", ["hashkey", "offset", "length", "compressed", "size"])


class Container(Folder):
    """A container of either version, with the methods of disk-objectstore.

    Threads may share it. Maintenance waits for other maintenance; other programs may read and write at the same time.
    Reading a damaged object raises `rsdos.DamagedObject`.
    """

    # Reading.

    def open_object(self, hashkey: str) -> io.BufferedReader:
        """Return a stream of one object, which the caller closes. Raise `NotExistent`. (Not in disk-objectstore.)"""
        try:
            return reading.open_object(self._opened, hashkey)
        except (ObjectNotFound, ValueError) as error:
            raise NotExistent(f"No object with hash key {hashkey}") from error

    def get_object_content(self, hashkey: str) -> bytes:
        """Return the verified bytes of one object. Raise `NotExistent`."""
        try:
            return self._opened.objects.extract(hashkey)
        except (ObjectNotFound, ValueError) as error:
            raise NotExistent(f"No object with hash key {hashkey}") from error

    @contextmanager
    def get_object_stream(self, hashkey: str) -> Iterator[io.BufferedReader]:
        """Open a stream of one object for a ``with`` block. Raise `NotExistent`."""
        with self.open_object(hashkey) as stream:
            yield stream

    @contextmanager
    def get_object_stream_and_meta(self, hashkey: str) -> Iterator[tuple[io.BufferedReader, ObjectMeta]]:
        """Open a stream of one object, with its metadata, for a ``with`` block. Raise `NotExistent`."""
        meta = self.get_object_meta(hashkey)
        with self.open_object(hashkey) as stream:
            yield stream, meta

    @contextmanager
    def get_objects_stream_and_meta(
        self, hashkeys: Iterable[str], skip_if_missing: bool = True
    ) -> Iterator[Iterator[tuple[str, io.BufferedReader | None, ObjectMeta]]]:
        """Iterate over (key, stream, meta), each key once: packed in storage order, loose, then missing unless skipped.

        A stream is usable until the next triplet.
        """
        yield reading.streams(self._opened, hashkeys, skip_if_missing)

    def get_objects_meta(
        self, hashkeys: Iterable[str], skip_if_missing: bool = True
    ) -> Iterator[tuple[str, ObjectMeta]]:
        """Yield pairs (key, meta), in the order of `get_objects_stream_and_meta`."""
        return reading.metas(self._opened, hashkeys, skip_if_missing)

    def get_object_meta(self, hashkey: str) -> ObjectMeta:
        """Return the metadata of one object. Raise `NotExistent`."""
        try:
            return reading.to_drop_in_meta(reading.newest_meta(self._opened, hashkey))
        except (ObjectNotFound, ValueError) as error:
            raise NotExistent(f"No object with hash key {hashkey}") from error

    def get_objects_content(self, hashkeys: list[str], skip_if_missing: bool = True) -> dict[str, bytes | None]:
        """Return the bytes of many objects; None for missing ones unless they are skipped."""
        keys = list(dict.fromkeys(hashkeys))
        is_key = self._config.hash.is_key
        found = self._opened.objects.extract_many(filter(is_key, keys), missing="skip" if skip_if_missing else "none")
        contents: dict[str, bytes | None] = dict(found)
        if not skip_if_missing:
            contents |= {key: None for key in keys if not is_key(key)}
        return contents

    def has_objects(self, hashkeys: list[str] | tuple[str, ...]) -> list[bool]:
        """Return whether each object exists, in the order given. Strings that are not keys are allowed."""
        engine = self._opened
        keys = list(hashkeys)
        if all(map(engine.config.hash.is_key, keys)):
            return engine.objects.has_many(keys)
        return [key in engine.objects for key in keys]

    def has_object(self, hashkey: str) -> bool:
        """Return whether the container has an object of this key."""
        return self.has_objects([hashkey])[0]

    def list_all_objects(self) -> Iterator[str]:
        """Yield all keys, each once."""
        return iter(self._opened.objects)

    def get_lazy_loose_stream(self, hashkey: str) -> LazyLooseStream:
        """Return a stream of one object that is opened later."""
        return LazyLooseStream(self, hashkey)

    # Counting.

    def count_objects(self) -> ObjectCount:
        """Count objects and packs. Lists all loose files."""
        engine = self._opened
        return ObjectCount(len(engine.packed), len(engine.loose), len(engine.layout.pack_ids()))

    def get_total_size(self) -> TotalSize:
        """Return the bytes of objects and files. Lists all loose files."""
        engine = self._opened
        sums = engine.packed.maintenance.stats()
        packs = sum(self._get_pack_path_from_pack_id(pack_id).stat().st_size for pack_id in engine.layout.pack_ids())
        loose = sum(os.stat(path).st_size for path in engine.loose.names.paths())
        # Only the database file of SQLite: its log is temporary.
        layout = engine.layout
        index = os.stat(layout.database).st_size if isinstance(layout, V1Layout) else sums.index_length
        return TotalSize(sums.live.size, sums.live.length, packs, index, loose)

    def validate(self, callback: Callable[..., Any] | None = None) -> ValidationIssues:
        """Hash every object."""
        return checking.validate(self._opened, callback)

    # Adding.

    def add_object(self, content: bytes) -> str:
        """Store bytes as a loose object, unless a good copy exists. Return the key."""
        return self._opened.objects.insert(memoryview(content))

    def add_streamed_object(self, stream: Any) -> str:
        """Store the rest of a stream as a loose object, unless a good copy exists. Return the key."""
        return self._opened.objects.insert(adding.readable(stream))

    def _new_object_writer(self) -> ObjectWriter:
        return ObjectWriter(
            self._get_sandbox_folder(),
            self._get_loose_folder(),
            self.loose_prefix_len,
            self._get_duplicates_folder(),
            self.hash_type,
        )

    def add_streamed_object_to_pack(  # noqa: PLR0913, PLR0917  disk-objectstore's signature
        self,
        stream: Any,
        compress: bool = False,
        open_streams: bool = False,
        no_holes: bool = False,
        no_holes_read_twice: bool = True,
        callback: Callable[..., Any] | None = None,
        callback_size_hint: int = 0,
        do_fsync: bool = True,
        do_commit: bool = True,
    ) -> str:
        """Store a stream in a pack; see `add_streamed_objects_to_pack`."""
        wrapped = stream if open_streams else CallbackStreamWrapper(stream, callback, callback_size_hint)
        (key,) = self.add_streamed_objects_to_pack([wrapped], compress, open_streams, do_fsync=do_fsync)
        if isinstance(wrapped, CallbackStreamWrapper):
            wrapped.close_callback()
        return key

    def add_streamed_objects_to_pack(
        self,
        stream_list: list[Any],
        compress: bool = False,
        open_streams: bool = False,
        no_holes: bool = False,
        no_holes_read_twice: bool = True,
        callback: Callable[..., Any] | None = None,
        do_fsync: bool = True,
        do_commit: bool = True,
    ) -> list[str]:
        """Store streams in packs. Return the keys in order. ``open_streams`` enters each as a context.

        No holes are left, and everything is committed at the end: ``no_holes``, ``no_holes_read_twice`` and
        ``do_commit`` are accepted and make no difference. ``do_fsync=False`` is relaxed durability.
        """
        if no_holes:
            adding.list_existing(self._opened, callback)
        sources = adding.opened(stream_list, open_streams, callback)
        return adding.add_to_pack(self._opened, sources, compress, do_fsync)

    def add_objects_to_pack(
        self,
        content_list: list[bytes] | tuple[bytes, ...],
        compress: bool = False,
        no_holes: bool = False,
        no_holes_read_twice: bool = True,
        callback: Callable[..., Any] | None = None,
        do_fsync: bool = True,
        do_commit: bool = True,
    ) -> list[str]:
        """Store bytes in packs; see `add_streamed_objects_to_pack`."""
        if not self.is_initialised:
            raise ValueError("Invalid use of function, please first initialise the container.")
        if no_holes:
            adding.list_existing(self._opened, callback)
        return adding.add_to_pack(self._opened, adding.contents(content_list, callback), compress, do_fsync)

    def import_objects(
        self,
        hashkeys: Iterable[str],
        source_container: Container,
        compress: bool = False,
        target_memory_bytes: int = 104857600,
        callback: Callable[..., Any] | None = None,
        do_fsync: bool = True,
    ) -> dict[str, str]:
        """Copy objects of another container into packs. Return their keys in the source and here.

        Stored bytes are copied unchanged, or recompressed with ``compress``. Memory is bounded whatever the arguments.
        """
        compression = self.compression_algorithm if compress else None
        return adding.import_objects(self._opened, source_container.engine, hashkeys, compression, callback)

    # Maintenance.

    def pack_all_loose(
        self,
        compress: bool | CompressMode = CompressMode.NO,
        validate_objects: bool = True,
        do_fsync: bool = True,
        callback: Callback | None = None,
        clean_loose_per_pack: bool = False,
    ) -> None:
        """Pack all loose objects, always hashed and synced. Raise `InconsistentContent` when one is damaged."""
        maintaining.pack_all_loose(self._opened, compress, validate_objects, callback, clean_loose_per_pack)

    def clean_storage(self, vacuum: bool = False) -> None:
        """Remove loose files whose packed copy is good, and files of dead programs. Raise `InconsistentContent`."""
        maintaining.clean_storage(self._opened, vacuum)

    def delete_objects(self, hashkeys: list[str]) -> list[str]:
        """Delete objects. Return the keys of those that existed. Readers and writers are not blocked."""
        return maintaining.delete_objects(self._opened, hashkeys)

    def repack(self, compress_mode: CompressMode = CompressMode.KEEP, callback: Callback | None = None) -> None:
        """Rewrite all packs. Readers and writers are not blocked."""
        maintaining.repack_all(self._opened, compress_mode, callback)

    def repack_pack(
        self, pack_id: str, compress_mode: CompressMode = CompressMode.KEEP, callback: Callback | None = None
    ) -> None:
        """Rewrite one pack into a pack of another id, which no reader can have open."""
        maintaining.repack_pack(self._opened, int(pack_id), compress_mode, callback)

    def loosen_object(self, hashkey: str) -> Path:
        """Make a raw loose file of an object. Return its path. Raise `NotExistent`."""
        path = self._get_loose_path_from_hashkey(hashkey)
        if not path.exists():
            engine = self._opened
            try:
                parts = engine.objects.parts(hashkey)
            except (ObjectNotFound, ValueError) as error:
                raise NotExistent(f"No object with hash key {hashkey}") from error
            with engine.objects.writing():
                engine.loose.place(bytes.fromhex(hashkey), parts)
        return path

    @contextmanager
    def lock_pack(self, pack_id: str, allow_repack_pack: bool = False) -> Iterator[BinaryIO]:
        """Lock a pack of version 1 and open it for appending. Raise FileExistsError when it is locked."""
        if not self._is_valid_pack_id(pack_id, allow_repack_pack):
            raise AssertionError(f"Invalid pack ID {pack_id}")
        layout = self._opened.layout
        if not isinstance(layout, V1Layout):
            raise ModificationNotAllowed("packs of container version 2 are not written by hand")
        layout.make(layout.locks)
        own = locks.try_acquire(layout.pack_lock(int(pack_id))) if int(pack_id) >= 0 else None
        if own is None and int(pack_id) >= 0:
            raise FileExistsError(f"pack {pack_id} is locked")
        try:
            with open(layout.peer_lock(int(pack_id)), "x"):
                try:
                    with open(layout.pack(int(pack_id)), "ab") as pack:
                        yield pack
                finally:
                    layout.remove(layout.peer_lock(int(pack_id)))
        finally:
            if own:
                own.release()
