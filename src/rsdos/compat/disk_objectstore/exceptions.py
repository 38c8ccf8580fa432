"""The exceptions of disk-objectstore. As there, none is a builtin or an exception of rsdos."""


class NotExistent(Exception):
    """The container has no object of this key."""


class NotInitialised(Exception):
    """The directory has no container yet."""


class ModificationNotAllowed(Exception):
    """The object cannot be changed any more."""


class ClosingNotAllowed(Exception):
    """The file of an `ObjectWriter` was closed by hand."""


class InconsistentContent(Exception):
    """The container has an object with another hash than its key, and cannot repair it."""


class IndexNotFound(NotInitialised, FileNotFoundError):
    """The directory has no container yet: the errors of disk-objectstore for reading and for writing, in one class."""
