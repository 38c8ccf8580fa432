"""For tests of programs that use rsdos or give it a storage of their own. The rest of the package does not import it.

`StorageConformance` is the conformance suite for storages: subclass it in a test file, with a fixture ``storage``.
`FaultyStorage`, `RecordingStorage` and `WaitingStorage` wrap a storage: the first fails at chosen calls, the second
records all calls, the third holds chosen calls back.
"""

from rsdos.testing.doubles import FaultyStorage, RecordingStorage, WaitingStorage
from rsdos.testing.storage_suite import StorageConformance

__all__ = ["FaultyStorage", "RecordingStorage", "StorageConformance", "WaitingStorage"]
