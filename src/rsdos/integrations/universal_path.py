"""The door to universal_pathlib: ``UPath("rsdos://REF/PATH", container=…)``."""

from __future__ import annotations

from rsdos.integrations.extras import missing_extra

try:
    from upath import UPath
except ImportError:
    raise missing_extra("upath", "universal_pathlib") from None

# Imported for its registration: without it universal_pathlib warns, and guesses how paths of "rsdos" are split.
import rsdos.integrations.filesystem  # noqa: F401


class RsdosPath(UPath):
    """A path of `rsdos.integrations.filesystem.RsdosFileSystem`, with the interface of `pathlib.Path`. Read-only."""

    __slots__ = ()
