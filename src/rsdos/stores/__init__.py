"""Where objects are kept: one file each (loose), or many in one file (packed)."""

from rsdos.stores.appender import Appender
from rsdos.stores.encoding import Encoding
from rsdos.stores.loose import LooseStore
from rsdos.stores.loose_file import LooseFile
from rsdos.stores.packed import PackedStore
from rsdos.stores.store import CHUNK, Store, ask_for_rest, first_good, write_out

__all__ = [
    "CHUNK",
    "Appender",
    "Encoding",
    "LooseFile",
    "LooseStore",
    "PackedStore",
    "Store",
    "ask_for_rest",
    "first_good",
    "write_out",
]
