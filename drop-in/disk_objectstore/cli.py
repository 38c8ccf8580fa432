"""The command ``dostore``."""

from disk_objectstore import __version__
from rsdos.compat.disk_objectstore.cli import (
    Container,
    ContainerContext,
    add_files,
    backup,
    backup_utils,
    create,
    main,
    optimize,
    pass_dostore,
    status,
    validate,
)

__all__ = (
    "Container",
    "ContainerContext",
    "__version__",
    "add_files",
    "backup",
    "backup_utils",
    "create",
    "main",
    "optimize",
    "pass_dostore",
    "status",
    "validate",
)
