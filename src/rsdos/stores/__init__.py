"""Where objects are kept: one file each (loose), or many in one file (packed)."""

from rsdos.stores.appending import PackAppender
from rsdos.stores.checking import Checked, Depth, Finding, PacksCheck, Sample
from rsdos.stores.encoding import Encoding
from rsdos.stores.loose import LooseStore
from rsdos.stores.loose_file import SUFFIXES, LooseFile
from rsdos.stores.packs import PackedSums, Packs, PackSums, Piece, Whole
from rsdos.stores.store import CHUNK, Store, ask_for_rest, first_good, rest_of, write_out

__all__ = [
    "CHUNK",
    "SUFFIXES",
    "Checked",
    "Depth",
    "Encoding",
    "Finding",
    "LooseFile",
    "LooseStore",
    "PackAppender",
    "PackSums",
    "PackedSums",
    "Packs",
    "PacksCheck",
    "Piece",
    "Sample",
    "Store",
    "Whole",
    "ask_for_rest",
    "first_good",
    "rest_of",
    "write_out",
]
