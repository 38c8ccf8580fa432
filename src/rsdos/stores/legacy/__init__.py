"""The packed store of container version 1: bare packs and an SQLite index, as disk-objectstore and rsdos 0.1 have."""

from rsdos.stores.legacy.appender import try_pack
from rsdos.stores.legacy.connection import create_database
from rsdos.stores.legacy.database import Database
from rsdos.stores.legacy.row import Row
from rsdos.stores.legacy.store import LegacyPacks

__all__ = ["Database", "LegacyPacks", "Row", "create_database", "try_pack"]
