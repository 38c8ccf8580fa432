"""The bytes of pack files: their format, and reading, writing and scanning them. Records are the index's business."""
