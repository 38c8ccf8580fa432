"""The door to fsspec: ``rsdos://REF/PATH``, read-only, for pandas, pyarrow, duckdb, datasets and other libraries."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from rsdos.container import Container
from rsdos.errors import InvalidOption, RsdosError
from rsdos.facade.entry import ROOT, SnapshotEntry, is_a_directory, mode_of, no_such_path
from rsdos.integrations.extras import missing_extra
from rsdos.integrations.newest import NewestSnapshots

try:
    from fsspec import AbstractFileSystem, register_implementation
except ImportError:
    raise missing_extra("fsspec", "fsspec") from None

if TYPE_CHECKING:
    from rsdos.facade.snapshot import Snapshot

_WHOLE = 1 << 20
"""The largest file that is read whole for any range of it: one frame, which is decompressed whole anyway."""

_OF_FSSPEC = frozenset(("asynchronous", "listings_expiry_time", "loop", "max_paths", "use_listings_cache"))
"""Options that fsspec gives to any file system. All others are meant for the container, which refuses secrets: fsspec
keeps the options and puts them into pickles."""


class _Place(NamedTuple):
    """A path of the file system: ``path`` in the snapshot ``name``. Both are "" for the root, which has all names."""

    name: str
    path: str


class RsdosFileSystem(AbstractFileSystem):
    """The snapshots of one container as a file system of fsspec. Read-only; any thread, and it can be pickled.

    A path is ``REF/PATH``, where REF is a branch, ``NAME@3``, ``NAME@2026-11-26``, a tag, or the key of a snapshot; a
    slash in REF is written ``%2F``. Each call reads the newest refs: the path of a branch follows it, that of
    ``NAME@3`` never changes. Symbolic links are followed inside of the snapshot. Listings show a link to a directory
    as of type "link", so that a walk ends. Reads are verified, and raise `DamagedObject` for damage.

    Examples:
        >>> pandas.read_csv("rsdos://flowers@3/labels.csv", storage_options={"container": "/data/store"})
        >>> fsspec.filesystem("rsdos", container="s3://lab/data", endpoint="https://rgw.example.org")
    """

    protocol = "rsdos"
    root_marker = ""

    def __init__(self, container: str | os.PathLike[str] | None = None, **storage_options: Any) -> None:
        """Name a container; it is opened at the first use.

        Args:
            container: its directory or URL. Default: the one in fsspec's configuration.
            storage_options: those of `rsdos.Container`: ``endpoint``, ``cache`` and others, and those of fsspec itself.
                Never credentials.

        Raises:
            InvalidOption: neither names a ``container``, or an option is none of a URL.
        """
        if container is None:
            raise InvalidOption('rsdos:// needs storage_options={"container": PLACE}, or FSSPEC_RSDOS_CONTAINER')
        super().__init__(container=container, **storage_options)
        options = {name: value for name, value in storage_options.items() if name not in _OF_FSSPEC}
        self.container = Container(container, **options)
        self._newest = NewestSnapshots(self.container)

    @property
    def fsid(self) -> str:
        """A name for the container that is the same on every machine."""
        return f"rsdos_{self.container.container_id}"

    # --- paths ------------------------------------------------------------------------------------------------------

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        if isinstance(stripped, list):
            return stripped
        return "/".join(part for part in stripped.split("/") if part)

    def _place(self, path: str) -> _Place:
        name, _, rest = self._strip_protocol(path).partition("/")
        return _Place(name, rest)

    def _found(self, path: str, opened: dict[str, Snapshot] | None = None) -> tuple[Snapshot, SnapshotEntry]:
        """Return the snapshot and the entry that a path other than the root leads to. Raise FileNotFoundError.

        ``opened`` keeps snapshots during a bulk call: the refs are then read once, and not for each path.
        """
        name, inner = self._place(path)
        snapshot = None if opened is None else opened.get(name)
        if snapshot is None:
            snapshot = self._newest.at(name)
            if opened is not None:
                opened[name] = snapshot
        entry = snapshot.resolve(inner)
        if entry is None:
            raise no_such_path(path)
        return snapshot, entry

    def _file(self, path: str, opened: dict[str, Snapshot] | None = None) -> SnapshotEntry:
        entry = self._found(path, opened)[1] if self._strip_protocol(path) else ROOT
        if not entry.is_file:
            raise is_a_directory(path)
        return entry

    # --- what is there ----------------------------------------------------------------------------------------------

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Return name, type and size, and of a file its ``sha256``. Links are followed."""
        name = self._strip_protocol(path)
        if not name:
            return {"name": "", "type": "directory", "size": 0}
        snapshot, entry = self._found(name)
        inner = self._place(name).path
        link = snapshot.entry(inner) if entry.path != inner else None
        return _info(name, entry, snapshot, link if link is not None and link.is_link else None)

    def _listed(self, name: str, entry: SnapshotEntry, snapshot: Snapshot) -> dict[str, Any]:
        """Return the info of an entry of a listing; for a link to a file, that of the file."""
        if not entry.is_link:
            return _info(name, entry, snapshot)
        target = snapshot.resolve(entry.path)
        return _info(name, target if target is not None and target.is_file else entry, snapshot, entry)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Return the infos, or the names, of a directory, or of one file. The root has all branches and tags."""
        name = self._strip_protocol(path)
        if not name:
            refs = self._newest.names()
            return [self.info(ref) for ref in refs] if detail else refs
        snapshot, entry = self._found(name)
        if not entry.is_dir:
            return [self.info(name)] if detail else [name]
        listing = snapshot.listing(entry.path)
        if not detail:
            return [f"{name}/{below.name}" for below in listing]
        return [self._listed(f"{name}/{below.name}", below, snapshot) for below in listing]

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any
    ) -> Any:
        """Return all files below a path, sorted; with ``detail`` a dict from names to infos."""
        name = self._strip_protocol(path)
        if maxdepth is not None or not name:
            return super().find(name, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        found = dict(self._below(name, withdirs))
        return {each: found[each] for each in sorted(found)} if detail else sorted(found)

    def _below(self, name: str, withdirs: bool) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what `find` returns, by one walk over the pages instead of a listing for each directory."""
        try:
            snapshot, top = self._found(name)
        except FileNotFoundError:
            return
        if not top.is_dir or withdirs:
            yield name, self.info(name)
        if top.is_dir:
            cut = len(top.path) + 1 if top.path else 0
            for entry in snapshot.walk(top.path):
                if withdirs or not entry.is_dir:
                    full = f"{name}/{entry.path[cut:]}"
                    yield full, self._listed(full, entry, snapshot)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Return whether a path leads to anything. Damage raises an error, and does not count as missing."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def modified(self, path: str) -> datetime:
        """Return the time of a file, if the tree has times; else that of the snapshot."""
        return datetime.fromtimestamp(self.info(path).get("mtime", 0.0), UTC)

    created = modified

    def ukey(self, path: str) -> str:
        """Return the key of a file's object, which changes whenever the content does."""
        info = self.info(path)
        return str(info["sha256"]) if "sha256" in info else str(super().ukey(path))

    def checksum(self, path: str) -> int:
        """Return a number that changes whenever the content does."""
        return int(self.ukey(path), 16)

    # --- contents ---------------------------------------------------------------------------------------------------

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> IO[bytes]:
        if mode != "rb":
            raise _read_only(path)
        entry = self._file(path)
        stream: Any = self.container.open(entry.key)
        stream.size = entry.size  # Callers of fsspec ask for it: `cat_file`, `get_file`, and pyarrow.
        return stream  # type: ignore[no-any-return]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Return the bytes of a file, or those from ``start`` to before ``end``; negative ones count from its end."""
        entry = self._file(path)
        if start is None and end is None:
            return self.container.extract(entry.key)
        return self._ranges(entry, [(start, end)])[0]

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:
        """Return the bytes of a file, or a dict for several. All are read in one bulk read, in storage order.

        Args:
            path: a path, a pattern, or a list of these.
            recursive: take all files below directories.
            on_error: "raise", "omit" the file, or "return" the exception in place of its bytes.
        """
        paths = self.expand_path(path, recursive=recursive)
        if not isinstance(path, list) and paths == [self._strip_protocol(path)]:
            return self.cat_file(paths[0], **kwargs)
        read = zip(paths, self.cat_ranges(paths, None, None), strict=True)
        found = {each: data for each, data in read if not (recursive and isinstance(data, IsADirectoryError))}
        errors = {each: data for each, data in found.items() if isinstance(data, Exception)}
        if on_error == "raise" and errors:
            raise next(iter(errors.values()))
        return found if on_error == "return" else {each: found[each] for each in found if each not in errors}

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Return ranges of files: of small ones, and of whole ones, by one bulk read in storage order.

        Args:
            paths: the files, one for each range.
            starts: the first bytes, or one for all; negative numbers count from the end, None is 0.
            ends: the bytes behind the last ones, or one for all; None is the end.
            max_gap: accepted because other file systems need it; it has no effect.
            on_error: "raise", or "return" the exception in place of the bytes.
        """
        if not isinstance(paths, list):
            raise TypeError(f"paths is a list, not {type(paths).__name__}")
        firsts = starts if isinstance(starts, list) else [starts] * len(paths)
        ends = ends if isinstance(ends, list) else [ends] * len(paths)
        if not len(paths) == len(firsts) == len(ends):
            raise InvalidOption("cat_ranges needs as many starts and ends as paths")
        opened: dict[str, Snapshot] = {}
        found = {path: self._file_or_error(path, opened) for path in dict.fromkeys(paths)}
        wanted: dict[str, list[tuple[int | None, int | None]]] = {}
        entries = {entry.key: entry for entry in found.values() if isinstance(entry, SnapshotEntry)}
        for path, start, end in zip(paths, firsts, ends, strict=True):
            entry = found[path]
            if isinstance(entry, SnapshotEntry):
                wanted.setdefault(entry.key, []).append((start, end))
        read = self._read([entries[key] for key in wanted], wanted)
        parts = {key: iter(data) if isinstance(data, list) else data for key, data in read.items()}
        answers: list[Any] = []
        for path in paths:
            entry = found[path]
            part = parts[entry.key] if isinstance(entry, SnapshotEntry) else entry
            answers.append(part if isinstance(part, Exception) else next(part))
            if on_error == "raise" and isinstance(answers[-1], Exception):
                raise answers[-1]
        return answers

    def _file_or_error(self, path: str, opened: dict[str, Snapshot]) -> SnapshotEntry | Exception:
        try:
            return self._file(path, opened)
        except (OSError, RsdosError) as error:
            return error

    def _read(
        self, entries: Sequence[SnapshotEntry], ranges: Mapping[str, Sequence[tuple[int | None, int | None]]]
    ) -> dict[str, list[bytes] | RsdosError]:
        """Return the bytes of the ranges of each object, or the error of its read."""
        whole = [entry.key for entry in entries if entry.size <= _WHOLE or (None, None) in ranges[entry.key]]
        read: dict[str, list[bytes] | RsdosError] = {}
        for key, data in self._whole(whole):
            if isinstance(data, RsdosError):
                read[key] = data
            else:
                read[key] = [data[slice(*part)] for part in ranges[key]]
        for entry in entries:
            if entry.key not in read:
                try:
                    read[entry.key] = self._ranges(entry, ranges[entry.key])
                except RsdosError as error:
                    read[entry.key] = error
        return read

    def _whole(self, keys: Sequence[str]) -> Iterable[tuple[str, bytes | RsdosError]]:
        """Yield the bytes of objects, and then the errors of those that cannot be read."""
        rest = dict.fromkeys(keys)
        try:
            for key, data in self.container.extract_many(keys):
                del rest[key]
                yield key, data
        except RsdosError:
            for key in rest:
                try:
                    yield key, self.container.extract(key)
                except RsdosError as error:
                    yield key, error

    def _ranges(self, entry: SnapshotEntry, ranges: Sequence[tuple[int | None, int | None]]) -> list[bytes]:
        """Return ranges of one object, read by one stream."""
        with self.container.open(entry.key) as stream:
            parts = []
            for part in ranges:
                start, end, _ = slice(*part).indices(entry.size)
                stream.seek(start)
                parts.append(stream.read(max(0, end - start)))
            return parts

    # --- a snapshot never changes -----------------------------------------------------------------------------------

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Raise: the file system is read-only."""
        raise _read_only(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Raise, unless the directory is there and ``exist_ok``: the file system is read-only."""
        if not (exist_ok and self.isdir(path)):
            raise _read_only(path)

    def rmdir(self, path: str) -> None:
        """Raise: the file system is read-only."""
        raise _read_only(path)

    def rm_file(self, path: str) -> None:
        """Raise: the file system is read-only."""
        raise _read_only(path)

    def _rm(self, path: str) -> None:
        raise _read_only(path)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Raise: the file system is read-only."""
        raise _read_only(path2)

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Raise: the file system is read-only."""
        raise _read_only(path)


register_implementation(RsdosFileSystem.protocol, RsdosFileSystem, clobber=True)


def _info(name: str, entry: SnapshotEntry, snapshot: Snapshot, link: SnapshotEntry | None = None) -> dict[str, Any]:
    seconds = snapshot.time.timestamp() if entry.mtime is None else entry.mtime / 1e9
    info = {
        "name": name,
        "size": entry.size,
        "type": "directory" if entry.is_dir else "link" if entry.is_link else "file",
        "mtime": seconds,
        "created": seconds,
        "mode": mode_of(entry),
        "islink": link is not None,
    }
    if entry.is_file:
        info["sha256"] = entry.key
        info["ETag"] = entry.key  # the name by which `datasets` asks whether a file has changed
    if link is not None:
        info["destination"] = link.target
    return info


def _read_only(path: str) -> OSError:
    return OSError(errno.EROFS, "rsdos:// is read-only: change a draft, `container.snapshots.edit(…)`", path)
