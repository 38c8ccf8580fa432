"""The packed store of container version 1: bare packs and an SQLite index, as disk-objectstore and rsdos 0.1 have."""
