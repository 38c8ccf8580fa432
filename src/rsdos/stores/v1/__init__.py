"""The packed store of container version 1, that of disk-objectstore and rsdos 0.1: bare packs and an SQLite index."""
