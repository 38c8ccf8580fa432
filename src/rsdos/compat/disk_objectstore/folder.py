"""The directory of a container by the names of disk-objectstore: its settings and the paths of its files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from rsdos.compat.disk_objectstore.exceptions import IndexNotFound
from rsdos.config import VERSION_1, Config
from rsdos.engine.create import clear_container, make_container
from rsdos.engine.engine import Engine
from rsdos.errors import DamagedContainer, NotAContainer, RsdosError
from rsdos.layout import V1Layout
from rsdos.model import ReadableBy, WhenBusy


class Folder:
    """A directory that is a container or will become one. Nothing is opened before the first use."""

    def __init__(self, folder: str | Path) -> None:
        # Resolved at first use: AiiDA makes one of these for each object, and resolving takes 20 us.
        path = os.fspath(folder)
        self._path = path if path[:1] == "/" and "/.." not in path else os.path.realpath(path)
        self._engine: Engine | None = None

    @cached_property
    def _folder(self) -> Path:
        return Path(self._path).resolve()

    def get_folder(self) -> Path:
        """Return the container's directory."""
        return self._folder

    def close(self) -> None:
        """Close descriptors and connections. Idempotent; the container can be used again afterwards."""
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._rest()

    def __del__(self) -> None:
        self._rest()

    def _rest(self) -> None:
        """Close, but keep what makes the next opening cheap: AiiDA opens and closes for each object."""
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.rest()

    def __getstate__(self) -> Path:
        return self._folder

    def __setstate__(self, folder: Path) -> None:
        self._path = str(folder)
        self._engine = None

    # The settings of the container.

    @property
    def _opened(self) -> Engine:
        engine = self._engine
        if engine is None:
            try:
                engine = Engine(self._path, when_busy=WhenBusy.WAIT)
            except NotAContainer as error:
                missing = f"{error.path}: {error.reason}"
                raise IndexNotFound(
                    f"The container is not initialised yet - use .init_container() first: {missing}"
                ) from error
            except DamagedContainer as error:
                raise IndexNotFound(f"The container is not initialised yet: {error}") from error
            if not engine.layout.has_directories():
                raise IndexNotFound("The container is not initialised yet - use .init_container() first")
            self._engine = engine
        return engine

    @property
    def is_initialised(self) -> bool:
        """Whether the directory is a container with all its directories."""
        try:
            return all(map(os.path.isdir, self._opened.layout.directories)) and self._get_config_file().exists()
        except (RsdosError, IndexNotFound):
            return False

    def init_container(
        self,
        clear: bool = False,
        pack_size_target: int = 4 * 1024 * 1024 * 1024,
        loose_prefix_len: int = 2,
        hash_type: str = "sha256",
        compression_algorithm: str = "zlib+1",
    ) -> None:
        """Create a container of version 1. ``clear`` first deletes everything in the directory.

        Raise ValueError, and FileExistsError when the directory is not empty.
        """
        config = Config(
            compression=compression_algorithm,
            pack_size_target=pack_size_target,
            loose_prefix_len=loose_prefix_len,
            hash_type=hash_type,
            version=VERSION_1,
        )
        config.refuse_unreadable(ReadableBy.ALL)
        self.close()
        if clear:
            self._engine = None
            clear_container(str(self._folder))
        make_container(str(self._folder), config)
        self._engine = None

    @property
    def _config(self) -> Config:
        return self._opened.config

    @property
    def loose_prefix_len(self) -> int:
        """The number of characters of a key that name the directory of a loose object."""
        return self._config.loose_prefix_len

    @property
    def pack_size_target(self) -> int:
        """The stored bytes at which a pack is full."""
        return self._config.pack_size_target

    @property
    def hash_type(self) -> str:
        """The name of the hash that makes keys."""
        return self._config.hash_type

    @property
    def container_id(self) -> str:
        """The unique id of the container."""
        return self._config.container_id

    @property
    def compression_algorithm(self) -> str:
        """The compression algorithm of the container."""
        return self._config.compression

    @property
    def engine(self) -> Engine:
        """The open container. Raises `NotInitialised`. (Not in disk-objectstore.)"""
        return self._opened

    # Inner methods that other programs use.

    def _get_sandbox_folder(self) -> Path:
        return self._folder / "sandbox"

    def _get_loose_folder(self) -> Path:
        return self._folder / "loose"

    def _get_pack_folder(self) -> Path:
        return Path(self._opened.layout.packed) if self._engine or self.is_initialised else self._folder / "packs"

    def _get_duplicates_folder(self) -> Path:
        return self._folder / "duplicates"

    def _get_config_file(self) -> Path:
        return self._folder / "config.json"

    def _get_pack_index_path(self) -> Path:
        layout = self._opened.layout
        return Path(layout.database if isinstance(layout, V1Layout) else layout.index)

    def _get_loose_path_from_hashkey(self, hashkey: str) -> Path:
        return Path(self._opened.layout.loose_file(hashkey))

    def _get_pack_path_from_pack_id(self, pack_id: str | int, allow_repack_pack: bool = False) -> Path:
        if not self._is_valid_pack_id(str(pack_id), allow_repack_pack):
            raise AssertionError(f"Invalid pack ID {pack_id}")
        return Path(self._opened.layout.pack(int(pack_id)))

    def _list_loose(self) -> Iterator[str]:
        return iter(self._opened.loose)

    def _list_packs(self) -> Iterator[str]:
        return map(str, self._opened.layout.pack_ids())

    @classmethod
    def _is_valid_pack_id(cls, pack_id: str, allow_repack_pack: bool = False) -> bool:
        if allow_repack_pack and pack_id == str(V1Layout.REPACKED):
            return True
        return pack_id.isascii() and pack_id.isdigit() and (pack_id == "0" or pack_id[0] != "0")

    def _is_valid_loose_prefix(self, prefix: str) -> bool:
        return len(prefix) == self.loose_prefix_len and set(prefix) <= set("0123456789abcdef")

    @staticmethod
    def _is_valid_hashkey(hashkey: str) -> bool:
        return set(hashkey) <= set("0123456789abcdef")
