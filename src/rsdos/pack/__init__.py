"""The bytes of pack files: their format, and reading, writing and scanning them. Records are the index's business."""

from rsdos.late import late

TYPE_CHECKING = False  # Type checkers take the name for true, as that of `typing`, whose import is 3 ms.

if TYPE_CHECKING:
    from rsdos.pack.format import ALIGNMENT, Batch
    from rsdos.pack.reader import BarePack, PackFile, check_header, true_id
    from rsdos.pack.scanning import Scan, scan
    from rsdos.pack.writer import PackWriter
else:
    __getattr__ = late(
        __name__,
        {
            "ALIGNMENT": "format",
            "Batch": "format",
            "BarePack": "reader",
            "PackFile": "reader",
            "check_header": "reader",
            "true_id": "reader",
            "Scan": "scanning",
            "scan": "scanning",
            "PackWriter": "writer",
        },
    )

__all__ = [
    "ALIGNMENT",
    "BarePack",
    "Batch",
    "PackFile",
    "PackWriter",
    "Scan",
    "check_header",
    "scan",
    "true_id",
]
