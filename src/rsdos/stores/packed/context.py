"""The parts of an open packed store of version 2 that its operations work on."""

from __future__ import annotations

from dataclasses import dataclass

from rsdos.codecs.dictionary import DictionaryChooser
from rsdos.config import Config
from rsdos.index.index import Index
from rsdos.layout import Layout
from rsdos.pack.reader import PackFile, open_pack
from rsdos.stores.packed.reader import RecordReader


@dataclass(frozen=True, slots=True)
class PackedContext:
    """The parts of the packed store for its writers and its maintenance. Any number of threads."""

    layout: Layout
    config: Config
    container_id: bytes
    index: Index
    records: RecordReader

    @staticmethod
    def new_chooser() -> DictionaryChooser:
        """Return what decides which dictionaries objects are compressed with, for one writer or repack."""
        # Imported here: a short command compresses nothing.
        from rsdos.codecs.training import Chooser

        return Chooser()

    def open_pack(self, pack_id: int) -> PackFile:
        """Open a pack to read from it. Raises FileNotFoundError, and `DamagedContainer` when it is not itself."""
        return open_pack(self.layout.storage, pack_id, self.container_id)

    def close(self) -> None:
        """Let go of packs and index; the next use opens them again."""
        self.records.close()
        self.index.close()
