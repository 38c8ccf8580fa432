"""The command ``dostore``."""

from rsdos.compat.disk_objectstore.cli import ContainerContext, main, pass_dostore

__all__ = ("ContainerContext", "main", "pass_dostore")
