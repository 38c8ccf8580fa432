"""The bytes of pack files: their format, and reading, writing and scanning them. Records are the index's business."""

from rsdos.pack.format import ALIGNMENT, Batch
from rsdos.pack.reader import BarePack, PackFile, check_header, true_id
from rsdos.pack.scan import Scan, scan
from rsdos.pack.writer import PackWriter

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
