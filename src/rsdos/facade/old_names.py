"""The names that users of rsdos 0.1 and disk-objectstore know, as methods of `rsdos.Container`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rsdos.config import Config
from rsdos.errors import ObjectNotFound
from rsdos.facade.maintenance import Maintenance
from rsdos.hashing import SHA256
from rsdos.model import BytesLike, CompressMode, Durability, ReadableBy, Sharing, Source, choice
from rsdos.progress import SILENCE

if TYPE_CHECKING:
    import io

    from rsdos.maintenance import clean, pack
    from rsdos.protocols import Progress


class OldNames(Maintenance):
    """Old names. Each method does what the method does that its docstring names."""

    def _create(self, config: Config, readers: ReadableBy, sharing: Sharing, clear: bool) -> None:
        raise NotImplementedError

    def _version_or_default(self, version: int | None) -> int:
        raise NotImplementedError

    def init_container(  # noqa: PLR0913  the settings of a container; disk-objectstore's come first
        self,
        clear: bool = False,
        pack_size_target: int | None = None,
        loose_prefix_len: int = 2,
        hash_type: str = SHA256.name,
        compression_algorithm: str = "",
        *,
        loose_compression: str = "none",
        durability: Durability | str = Durability.FULL,
        container_version: int | None = None,
        readers: ReadableBy | str = ReadableBy.ALL,
        sharing: Sharing | str = Sharing.UMASK,
    ) -> None:
        """Make the container; see `Container.create`.

        Args:
            clear: first delete an existing container, with all its objects.
            pack_size_target: as for `Container.create`.
            loose_prefix_len: as for `Container.create`.
            hash_type: as for `Container.create`.
            compression_algorithm: ``compression`` of `Container.create`.
            loose_compression: as for `Container.create`.
            durability: as for `Container.create`.
            container_version: as for `Container.create`.
            readers: as for `Container.create`.
            sharing: as for `Container.create`.

        Raises:
            Busy: maintenance is running in the container to clear.
            ContainerExists: there is a container already, or a directory that is not empty.
            InvalidOption: a setting makes no sense. Nothing was written or deleted.
        """
        config = Config(
            compression=compression_algorithm,
            loose_compression=loose_compression,
            durability=choice(Durability, durability),
            pack_size_target=pack_size_target,
            loose_prefix_len=loose_prefix_len,
            hash_type=hash_type,
            version=self._version_or_default(container_version),
        )
        self._create(config, choice(ReadableBy, readers), choice(Sharing, sharing), clear)

    def add_object(self, content: BytesLike) -> str:
        """`insert` of bytes, to a loose file."""
        return self.engine.objects.insert(content)

    def add_streamed_object(self, stream: Source) -> str:
        """`insert` of a binary stream, to a loose file."""
        return self.engine.objects.insert(stream)

    def add_objects_to_pack(
        self, content_list: Sequence[BytesLike], compress: bool | CompressMode | str = False
    ) -> list[str]:
        """`insert_many` of bytes; ``compress`` True is `CompressMode.YES`, False is NO."""
        if not isinstance(compress, (CompressMode, str)):
            compress = CompressMode.YES if compress else CompressMode.NO
        return self.engine.objects.insert_many(content_list, compress=compress)

    def get_object_content(self, hashkey: str) -> bytes:
        """`extract`."""
        return self.engine.objects.extract(hashkey)

    @contextmanager
    def get_object_stream(self, hashkey: str) -> Iterator[io.BufferedReader | None]:
        """`open` for a ``with`` block; None when there is no such object."""
        stream = None
        with suppress(ObjectNotFound):
            stream = self.engine.objects.open(hashkey)
        if stream is None:
            yield None
        else:
            with stream:
                yield stream

    def pack_all_loose(
        self,
        compress: CompressMode | str = CompressMode.AUTO,
        clean: bool = True,
        *,
        progress: Progress = SILENCE,
    ) -> pack.PackReport:
        """`pack`."""
        return self.pack(compress, clean=clean, progress=progress)

    def clean_storage(self, *, progress: Progress = SILENCE) -> clean.CleanReport:
        """`clean`."""
        return self.clean(progress=progress)
