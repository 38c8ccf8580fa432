"""The names of disk-objectstore 1.5.0, each a thin translation to rsdos.

``drop-in/`` in the repository installs it as the top-level package ``disk_objectstore``. ``docs/drop-in.md``
lists its improvements and differences.
"""

import logging

import rsdos.version
from rsdos.compat.disk_objectstore.container import CompressMode, Container, ObjectType
from rsdos.compat.disk_objectstore.logs import forward

LOGGER = logging.getLogger("disk_objectstore")
forward(logging.getLogger("rsdos"), LOGGER)

__all__ = ("CompressMode", "Container", "ObjectType")

__version__ = f"1.5.0+rsdos.{rsdos.version.__version__}"
