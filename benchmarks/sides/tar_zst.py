"""A tar file in one zstd stream: about as small as it gets, where nothing has to be read alone."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence

from zstandard import ZstdCompressionParameters, ZstdCompressor

from benchmarks.sides.side import Side

_LEVEL = 19
_WINDOW_LOG = 25
"""32 MiB: every corpus but the largest is in it whole."""


class TarZst(Side):
    """One archive; there is no way to read one object but to read all before it."""

    title = "tar.zst, level 19"
    syncs = "never, whatever is asked"

    def create(self, pack_size: int | None = None) -> None:
        self.path.mkdir(parents=True)

    def store(self, payloads: Sequence[bytes]) -> list[str]:
        parameters = ZstdCompressionParameters.from_level(_LEVEL, window_log=_WINDOW_LOG)
        compressor = ZstdCompressor(compression_params=parameters)
        with (
            (self.path / "objects.tar.zst").open("wb") as file,
            compressor.stream_writer(file, closefd=False) as stream,
            tarfile.open(fileobj=stream, mode="w|") as archive,
        ):
            for number, payload in enumerate(payloads):
                member = tarfile.TarInfo(str(number))
                member.size = len(payload)
                archive.addfile(member, io.BytesIO(payload))
        return []
