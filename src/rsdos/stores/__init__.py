"""Where objects are kept: one file each (loose), or many in one file (packed)."""
