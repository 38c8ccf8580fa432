"""The door to zarr, format 3: stores for reading a snapshot and for writing the next version of a branch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from rsdos.errors import InvalidOption
from rsdos.facade.draft import Draft
from rsdos.facade.entry import inner_path
from rsdos.facade.snapshot import Snapshot
from rsdos.facade.snapshot_tree import SnapshotTree
from rsdos.integrations.extras import missing_extra

try:
    from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype
except ImportError:
    raise missing_extra("zarr", "zarr, version 3") from None

if TYPE_CHECKING:
    from rsdos.facade.entry import SnapshotEntry
    from rsdos.facade.snapshot_path import SnapshotPath

_WHOLE = 1 << 20
"""The largest object that is read whole for any range of it: one frame, which is decompressed whole anyway."""


class _TreeStore(Store):
    """The common part of the two stores: keys of zarr are the paths of files below a directory of a tree."""

    supports_listing: ClassVar[bool] = True

    def __init__(self, tree: SnapshotTree | Draft, directory: str, *, read_only: bool) -> None:
        super().__init__(read_only=read_only)
        self._tree = tree
        self._directory = inner_path(directory)

    def _path(self, key: str) -> str:
        return f"{self._directory}/{key}".strip("/")

    def _file(self, key: str) -> SnapshotEntry | None:
        """Return the entry of the file at a key. Links are followed inside of the snapshot."""
        entry = self._tree.entry(self._path(key))
        if entry is not None and entry.is_link and isinstance(self._tree, SnapshotTree):
            entry = self._tree.resolve(entry.path)
        return entry if entry is not None and entry.is_file else None

    def _keys(self, prefix: str) -> list[tuple[str, int]]:
        """Return key and size of all files whose keys begin with a prefix."""
        directory = self._tree.entry(self._path(prefix.rpartition("/")[0]))
        if directory is None or not directory.is_dir:
            return []
        cut = len(self._directory) + 1 if self._directory else 0
        walk = ((entry.path[cut:], entry) for entry in self._tree.walk(directory.path) if not entry.is_dir)
        files = ((key, self._file(key) if entry.is_link else entry) for key, entry in walk if key.startswith(prefix))
        return [(key, entry.size) for key, entry in files if entry is not None]

    # --- what is there ----------------------------------------------------------------------------------------------

    async def exists(self, key: str) -> bool:
        """Return whether there is a file."""
        return self._file(key) is not None

    async def getsize(self, key: str) -> int:
        """Return the raw bytes of a file, without reading it. Raise FileNotFoundError."""
        entry = self._file(key)
        if entry is None:
            raise FileNotFoundError(key)
        return entry.size

    async def getsize_prefix(self, prefix: str) -> int:
        """Return the raw bytes of all files below a directory."""
        return sum(size for _, size in self._keys(f"{prefix}/" if prefix and not prefix.endswith("/") else prefix))

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys, in the order of the tree."""
        for key, _ in self._keys(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield all keys that begin with a prefix."""
        for key, _ in self._keys(prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of a directory; none if there is no such directory."""
        directory = self._tree.entry(self._path(prefix.strip("/")))
        if directory is not None and directory.is_dir:
            for entry in list(self._tree.listing(directory.path)):
                yield entry.name


class SnapshotStore(_TreeStore):
    """A directory of a snapshot as a store of zarr: read-only, verified. Any thread, and it can be pickled.

    Links are followed inside of the snapshot. Reads may raise `DamagedObject` and, after a forget and a gc by another
    process, `ObjectNotFound`.

    Examples:
        >>> zarr.open_group(SnapshotStore(container.snapshots["weather@3"] / "grid.zarr"), mode="r")
    """

    supports_writes: ClassVar[bool] = False
    supports_deletes: ClassVar[bool] = False

    def __init__(self, where: Snapshot | SnapshotPath, *, read_only: bool = True) -> None:
        """Name a snapshot, or a directory in it.

        Args:
            where: the snapshot or directory.
            read_only: must be True; zarr's other stores also take False.

        Raises:
            InvalidOption: ``read_only`` is False. Write to a `DraftStore` instead.
        """
        if not read_only:
            raise InvalidOption("a snapshot never changes: write to a DraftStore over `container.snapshots.edit(…)`")
        root = where.root if isinstance(where, Snapshot) else where
        super().__init__(root.snapshot, root.resolve().path if root.is_dir() else root.path, read_only=True)
        self._snapshot = root.snapshot

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the bytes of a file, or a range of them; None if there is no such file."""
        data = await asyncio.to_thread(self._read, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        entry = self._file(key)
        if entry is None:
            return None
        part = _slice(entry.size, byte_range)
        container = self._snapshot.container
        if entry.size <= _WHOLE or byte_range is None:
            return container.engine.objects.extract(entry.key)[part]
        with container.engine.objects.open(entry.key) as stream:
            stream.seek(part.start)
            return stream.read(part.stop - part.start)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return ranges of files in the order asked for; None for what is not there."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def set(self, key: str, value: Buffer) -> None:
        """Raise ValueError: the store is read-only."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Raise ValueError: the store is read-only."""
        self._check_writable()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SnapshotStore):
            return NotImplemented
        return self._snapshot == other._snapshot and self._directory == other._directory

    def __hash__(self) -> int:
        return hash((self._snapshot, self._directory))

    def __repr__(self) -> str:
        return f"SnapshotStore('{self}')"

    def __str__(self) -> str:
        return f"rsdos://{self._snapshot.label.replace('/', '%2F')}/{self._directory}"


class DraftStore(_TreeStore):
    """A directory of a draft as a store of zarr, in the block of `Snapshots.edit`. Nothing is visible before its end.

    A million chunks become a few packs, and one commit. Chunks equal to those of other versions are stored once.
    The store belongs to the draft: its process, and one thread at a time, which zarr's own event loop is.

    Examples:
        >>> with container.snapshots.edit("weather") as draft:
        ...     zarr.save_group(DraftStore(draft, "grid.zarr"), temperature=array)
    """

    supports_writes: ClassVar[bool] = True
    supports_deletes: ClassVar[bool] = True

    def __init__(self, draft: Draft, directory: str = "", *, read_only: bool = False) -> None:
        """Name a draft that is open.

        Args:
            draft: the draft.
            directory: the directory in it, "" for the root. It need not exist.
            read_only: refuse to write.
        """
        super().__init__(draft, directory, read_only=read_only)
        self._draft = draft

    def with_read_only(self, read_only: bool = False) -> DraftStore:
        """Return a store for the same directory, read-only or not."""
        return DraftStore(self._draft, self._directory, read_only=read_only)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the bytes of a file as the draft has it now, or a range of them; None if there is no such file."""
        await self._ensure_open()
        entry = self._file(key)
        if entry is None:
            return None
        part = _slice(entry.size, byte_range)
        return prototype.buffer.from_bytes(self._draft[entry.path][part])

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return ranges of files in the order asked for; None for what is not there."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def set(self, key: str, value: Buffer) -> None:
        """Put a file. Its bytes are copied."""
        await self._set_many([(key, value)])

    async def _set_many(self, values: Iterable[tuple[str, Buffer]]) -> None:
        self._check_writable()
        await self._ensure_open()
        self._draft.write_many((self._path(key), _bytes_of(value)) for key, value in values)

    async def delete(self, key: str) -> None:
        """Remove a file, if there is one."""
        self._check_writable()
        if self._file(key) is not None:
            del self._draft[self._path(key)]

    async def delete_dir(self, prefix: str) -> None:
        """Remove a directory with all that is below it, if there is one."""
        self._check_writable()
        directory = self._draft.entry(self._path(prefix.strip("/")))
        if directory is None or not directory.is_dir:
            return
        # The root of a draft is not an entry itself: remove the entries in it.
        for path in [directory.path] if directory.path else [entry.path for entry in self._draft.listing()]:
            del self._draft[path]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DraftStore):
            return NotImplemented
        mine, others = (self._directory, self.read_only), (other._directory, other.read_only)
        return self._draft is other._draft and mine == others

    def __hash__(self) -> int:
        return hash((id(self._draft), self._directory))

    def __reduce__(self) -> Any:
        raise TypeError("a DraftStore belongs to the process of its draft: it cannot be pickled")

    def __repr__(self) -> str:
        return f"DraftStore(…, {self._directory!r})"


def _bytes_of(value: Buffer) -> bytes:
    if not isinstance(value, Buffer):
        raise TypeError(f"a value is a Buffer of zarr, not {type(value).__name__}")
    data: bytes = value.to_bytes()
    return data


def _slice(size: int, byte_range: ByteRequest | None) -> slice:
    """Return the range of bytes that zarr asks for."""
    match byte_range:
        case None:
            return slice(0, size)
        case RangeByteRequest():
            return slice(min(byte_range.start, size), min(byte_range.end, size))
        case OffsetByteRequest():
            return slice(min(byte_range.offset, size), size)
        case SuffixByteRequest():
            return slice(max(0, size - byte_range.suffix), size)
    raise ValueError(f"Unexpected byte_range, got {byte_range!r}.")
