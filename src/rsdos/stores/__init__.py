"""Where objects are kept: one file each (loose), or many in one file (packed)."""

from rsdos.stores.appending import PackAppender
from rsdos.stores.checking import Checked, Depth, Finding, PacksCheck, Sample
from rsdos.stores.encoding import Encoding
from rsdos.stores.loose import LooseStore
from rsdos.stores.loose_file import LooseFile
from rsdos.stores.packs import PackedSums, Packs, PackSums, Whole
from rsdos.stores.store import CHUNK, Store, ask_for_rest, first_good, write_out

__all__ = [
    "CHUNK",
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
    "Sample",
    "Store",
    "Whole",
    "ask_for_rest",
    "first_good",
    "write_out",
]
