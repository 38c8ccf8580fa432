"""The exceptions of disk-objectstore. None of them is an exception of ours, nor a builtin, as users of it expect."""


class NotExistent(Exception):
    """There is no object of this key."""


class NotInitialised(Exception):
    """There is no container here yet."""


class ModificationNotAllowed(Exception):
    """An object cannot be changed any more."""


class ClosingNotAllowed(Exception):
    """The file of an `ObjectWriter` was closed by hand."""


class InconsistentContent(Exception):
    """The container holds bytes that are not those of their key, and cannot put that right by itself."""


class IndexNotFound(NotInitialised, FileNotFoundError):
    """There is no container here yet: what disk-objectstore says when it reads, and when it writes, in one."""
