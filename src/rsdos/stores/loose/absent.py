"""The loose store of a container whose medium has no files. It is always empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn, TypeVar

from rsdos.config import Config
from rsdos.errors import InvalidOption
from rsdos.layout import Layout
from rsdos.model import BytesLike, Codec, Copy, Durability, Trust
from rsdos.stores.base import KnownCheck
from rsdos.stores.findings import Checked, Depth, Sample
from rsdos.stores.loose.check import LooseCheck
from rsdos.stores.loose.file import LooseFile
from rsdos.stores.loose.insert import LooseInsert
from rsdos.stores.loose.paths import LooseNames, SeenFile
from rsdos.stores.loose.store import LooseStore
from rsdos.stores.quarantine import Quarantine

_T = TypeVar("_T")


class _NoLooseNames(LooseNames):
    """The names of no files. It makes no system call."""

    def files(self, digest: bytes) -> list[str]:
        return []

    def has(self, digest: bytes) -> bool:
        return False

    def may_have(self, digest: bytes) -> bool:
        return False

    def possible(self, keys: Sequence[str]) -> Sequence[int]:
        return ()

    def with_prefix(self, prefix: str) -> Iterator[str]:
        return iter(())

    def remove(self, digests: Sequence[bytes]) -> list[bytes]:
        return []

    def remove_seen(self, files: Sequence[SeenFile]) -> list[bytes]:
        return []

    def length_of(self, digests: Sequence[bytes]) -> int:
        return 0

    def _directories(self) -> Iterator[tuple[str, list[str]]]:
        return iter(())


class _NoCheck(LooseCheck):
    """A check of nothing."""

    def run(self, after: str) -> Iterator[Checked]:
        return iter(())


class NoLooseStore(LooseStore):
    """A store without objects. An insert into it raises `InvalidOption`, which names the missing trait."""

    def __init__(self, layout: Layout, config: Config, durability: Durability) -> None:
        super().__init__(layout, config, durability)
        self.names = _NoLooseNames(layout, self.hash, self._codecs)
        self.is_raw = False  # No short way in.

    def _refuse(self) -> NoReturn:
        medium = self._layout.storage.traits.medium
        raise InvalidOption(f"to=loose: {medium} has no 'files', so every object goes to a pack (to=packed)")

    def _from_good_copy(self, digest: bytes, use: Callable[[LooseFile], _T]) -> _T | None:
        return None

    def read(self, digest: bytes) -> bytes | None:
        return None

    def raw_many(self, digests: Iterable[bytes]) -> Iterator[bytes | None]:
        return (None for _ in digests)

    def read_many(self, digests: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def contains_many(self, digests: Sequence[bytes]) -> list[bool]:
        return [False] * len(digests)

    def check_copies(
        self,
        digests: Sequence[bytes],
        trust: Trust,
        durability: Durability,
        raws: Sequence[BytesLike] | None = None,
    ) -> list[Copy]:
        return [Copy.MISSING] * len(digests)

    def check(self, depth: Depth, sample: Sample) -> LooseCheck:
        return _NoCheck(self._layout, self.hash, (Codec.RAW,), depth, sample)

    def writer(self, known_packed: KnownCheck) -> LooseInsert:
        self._refuse()

    def place(self, digest: bytes, parts: Iterable[BytesLike]) -> str:
        self._refuse()

    def remove_empty_directories(self) -> None:
        return

    def expand(self, digest: bytes) -> None:
        return

    def quarantine_damaged(self, digest: bytes, quarantine: Quarantine) -> None:
        return
