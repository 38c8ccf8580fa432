"""zstd:1 of each object, and nothing around it: what compression gains without dictionaries, by itself."""

from __future__ import annotations

from collections.abc import Sequence

from zstandard import ZstdCompressor

from benchmarks.sides.side import Side


class Frames(Side):
    """One file of frames, or of raw bytes where these are fewer. Nothing says where an object is."""

    title = "zstd:1 of each, no store"
    syncs = "never, whatever is asked"

    def create(self, pack_size: int | None = None) -> None:
        self.path.mkdir(parents=True)

    def store(self, payloads: Sequence[bytes]) -> list[str]:
        compress = ZstdCompressor(level=1).compress
        with (self.path / "frames").open("wb") as file:
            for payload in payloads:
                file.write(min(compress(payload), payload, key=len))
        return []
