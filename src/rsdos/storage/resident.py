"""How much of the process's memory is pages of mapped files."""

from __future__ import annotations

import os
from contextlib import suppress


def resident_files() -> int:
    """Return the bytes of mapped files that count as memory of this process; 0 if the system does not say: 15 us.

    Only Linux says, in the third number of ``/proc/self/statm``.
    """
    with suppress(OSError), open("/proc/self/statm", "rb", buffering=0) as file:
        return int(file.read(128).split()[2]) * os.sysconf("SC_PAGESIZE")
    return 0
