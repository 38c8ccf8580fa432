"""disk-objectstore's names over rsdos: the modules of `rsdos.compat.disk_objectstore`, under the name they had."""

import sys

from rsdos.compat import disk_objectstore as _ours
from rsdos.compat.disk_objectstore import LOGGER, CompressMode, Container, ObjectType, __version__

# The same module objects: an exception caught by one name is the one raised by the other.
for _name in ("backup_utils", "container", "dataclasses", "exceptions", "utils"):
    sys.modules[f"{__name__}.{_name}"] = globals()[_name] = __import__(f"{_ours.__name__}.{_name}", fromlist=["_"])

__all__ = ("LOGGER", "CompressMode", "Container", "ObjectType", "__version__")
