"""disk-objectstore 1.5.0, name by name, over rsdos: each a thin translation to our own verbs.

``drop-in/`` in the repository installs it as the top-level package ``disk_objectstore``. What it does better than the
original, and where it answers otherwise, is in ``docs/drop-in.md``.
"""

import logging

import rsdos.version
from rsdos.compat.disk_objectstore.container import CompressMode, Container, ObjectType
from rsdos.compat.disk_objectstore.logs import forward

LOGGER = logging.getLogger("disk_objectstore")
forward(logging.getLogger("rsdos"), LOGGER)

__all__ = ("CompressMode", "Container", "ObjectType")

__version__ = f"1.5.0+rsdos.{rsdos.version.__version__}"
