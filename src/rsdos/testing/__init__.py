"""For tests of programs that use rsdos or give it a storage of their own. The rest of the package does not import it.

`StorageConformance` is the conformance suite for storages: subclass it in a test file, with a fixture ``storage``.
`FaultyStorage` and `RecordingStorage` wrap a storage: one fails at chosen calls, the other records all calls.
"""

from rsdos.testing.doubles import FaultyStorage, RecordingStorage
from rsdos.testing.storage_suite import StorageConformance

__all__ = ["FaultyStorage", "RecordingStorage", "StorageConformance"]
