"""rsdos: a fast, server-less, content-addressed disk object store.

Examples:
    >>> from rsdos import Container
    >>> container = Container.create("/tmp/example")
    >>> key = container.insert(b"some bytes")
    >>> container.extract(key)
    b'some bytes'
"""

from rsdos.version import __version__

TYPE_CHECKING = False  # Type checkers take the name for true, as that of `typing`, whose import is 5 ms.

if TYPE_CHECKING:
    from rsdos.codecs.cores import set_threads
    from rsdos.container import Container
    from rsdos.errors import (
        AmbiguousKey,
        Busy,
        CommitUnknown,
        Conflicts,
        ContainerExists,
        ContainerReplaced,
        DamagedContainer,
        DamagedObject,
        DamagedTree,
        Expired,
        InvalidKey,
        InvalidName,
        InvalidOption,
        InvalidSource,
        NotAContainer,
        NotOurs,
        ObjectNotFound,
        ReadOnlyContainer,
        RefExists,
        RefMoved,
        RefNotFound,
        Refused,
        RemoteAfterFork,
        RemoteChanged,
        RemoteDiverged,
        RemoteUnavailable,
        RemoteWentBack,
        RsdosError,
        SourceChanged,
        StorageMismatch,
        Unavailable,
        UnreadableSource,
        UnsupportedContainer,
        WorkerDied,
        WriterPoisoned,
    )
    from rsdos.facade.snapshot import Snapshot
    from rsdos.model import (
        Codec,
        CompressMode,
        Durability,
        Extent,
        ObjectMeta,
        Place,
        ReadableBy,
        Sharing,
        Trust,
        Verify,
        WhenBusy,
    )
    from rsdos.protocols import Progress
    from rsdos.trees.policy import Policy

    Readers = ReadableBy

__all__ = [
    "AmbiguousKey",
    "Busy",
    "Codec",
    "CommitUnknown",
    "CompressMode",
    "Conflicts",
    "Container",
    "ContainerExists",
    "ContainerReplaced",
    "DamagedContainer",
    "DamagedObject",
    "DamagedTree",
    "Durability",
    "Expired",
    "Extent",
    "InvalidKey",
    "InvalidName",
    "InvalidOption",
    "InvalidSource",
    "NotAContainer",
    "NotOurs",
    "ObjectMeta",
    "ObjectNotFound",
    "Place",
    "Policy",
    "Progress",
    "ReadOnlyContainer",
    "ReadableBy",
    "Readers",
    "RefExists",
    "RefMoved",
    "RefNotFound",
    "Refused",
    "RemoteAfterFork",
    "RemoteChanged",
    "RemoteDiverged",
    "RemoteUnavailable",
    "RemoteWentBack",
    "RsdosError",
    "Sharing",
    "Snapshot",
    "SourceChanged",
    "StorageMismatch",
    "Trust",
    "Unavailable",
    "UnreadableSource",
    "UnsupportedContainer",
    "Verify",
    "WhenBusy",
    "WorkerDied",
    "WriterPoisoned",
    "__version__",
    "set_threads",
]

if not TYPE_CHECKING:  # A type checker would take every name for one that this knows.
    _HOMES = (
        *("rsdos.model", "rsdos.errors", "rsdos.container", "rsdos.codecs.cores", "rsdos.protocols"),
        *("rsdos.trees.policy", "rsdos.facade.snapshot"),
    )

    _OLD_NAMES = {"Readers": "ReadableBy"}

    def __getattr__(name):
        # Late: `rsdos --version` and `import rsdos` for its errors need not pay for the store.
        if name in __all__:
            import importlib

            today = _OLD_NAMES.get(name, name)
            for home in _HOMES:
                module = importlib.import_module(home)
                if hasattr(module, today):
                    globals()[name] = getattr(module, today)
                    return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
