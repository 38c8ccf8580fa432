"""For tests of programs that use rsdos or give it a storage of their own. The package itself imports nothing of it.

`StorageConformance` is the conformance suite for storages: subclass it in a test file, with a fixture ``storage``.
`FaultyStorage` and `RecordingStorage` stand around a storage, and fail at a call, or write the calls down.
"""

from rsdos.testing.doubles import FaultyStorage, RecordingStorage
from rsdos.testing.storage_suite import StorageConformance

__all__ = ["FaultyStorage", "RecordingStorage", "StorageConformance"]
