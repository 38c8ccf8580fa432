"""The bytes of pack files: their format, and reading, writing and scanning them. Records are the index's business."""

from rsdos.late import late

TYPE_CHECKING = False  # Type checkers take the name for true, as that of `typing`, whose import is 3 ms.

if TYPE_CHECKING:
    from rsdos.pack.format import ALIGNMENT, FOOTER_SIZE, Batch, batch_end, decode_footer
    from rsdos.pack.reader import BarePack, PackFile, check_header, true_id
    from rsdos.pack.scanning import Scan, scan
    from rsdos.pack.writer import PackWriter
else:
    __getattr__ = late(
        __name__,
        {
            "ALIGNMENT": "format",
            "Batch": "format",
            "FOOTER_SIZE": "format",
            "batch_end": "format",
            "decode_footer": "format",
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
    "FOOTER_SIZE",
    "BarePack",
    "Batch",
    "PackFile",
    "PackWriter",
    "Scan",
    "batch_end",
    "check_header",
    "decode_footer",
    "scan",
    "true_id",
]
