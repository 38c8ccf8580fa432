"""The SQLAlchemy models of ``packs.idx``."""

from rsdos.compat.disk_objectstore.database import Base, Obj, get_session

__all__ = ("Base", "Obj", "get_session")
