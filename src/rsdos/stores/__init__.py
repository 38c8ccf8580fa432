"""Where objects are kept: one file each (loose), or many in one file (packed)."""

from rsdos.late import late

TYPE_CHECKING = False  # Type checkers take the name for true, as that of `typing`, whose import is 3 ms.

if TYPE_CHECKING:
    from rsdos.stores.appending import PackAppender
    from rsdos.stores.checking import Checked, Depth, Finding, PacksCheck, Sample
    from rsdos.stores.encoding import Encoding
    from rsdos.stores.loose import LooseStore
    from rsdos.stores.loose_file import LooseFile
    from rsdos.stores.loose_names import SUFFIXES, LooseNames
    from rsdos.stores.packs import Listed, Packs, Piece, Whole
    from rsdos.stores.store import CHUNK, Store, ask_for_rest, first_good, rest_of, write_out
    from rsdos.stores.sums import PackedSums, PackSums
else:
    __getattr__ = late(
        __name__,
        {
            "PackAppender": "appending",
            "Checked": "checking",
            "Depth": "checking",
            "Finding": "checking",
            "PacksCheck": "checking",
            "Sample": "checking",
            "Encoding": "encoding",
            "LooseStore": "loose",
            "LooseFile": "loose_file",
            "SUFFIXES": "loose_names",
            "LooseNames": "loose_names",
            "Listed": "packs",
            "Packs": "packs",
            "Piece": "packs",
            "Whole": "packs",
            "CHUNK": "store",
            "Store": "store",
            "ask_for_rest": "store",
            "first_good": "store",
            "rest_of": "store",
            "write_out": "store",
            "PackedSums": "sums",
            "PackSums": "sums",
        },
    )

__all__ = [
    "CHUNK",
    "SUFFIXES",
    "Checked",
    "Depth",
    "Encoding",
    "Finding",
    "Listed",
    "LooseFile",
    "LooseNames",
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
