"""rsdos: a fast, server-less, content-addressed disk object store.

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
        ContainerExists,
        ContainerReplaced,
        DamagedContainer,
        DamagedObject,
        InvalidKey,
        InvalidOption,
        InvalidSource,
        NotAContainer,
        NotOurs,
        ObjectNotFound,
        ReadOnlyContainer,
        RsdosError,
        SourceChanged,
        UnreadableSource,
        UnsupportedContainer,
        WorkerDied,
        WriterPoisoned,
    )
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

    Readers = ReadableBy

__all__ = [
    "AmbiguousKey",
    "Busy",
    "Codec",
    "CompressMode",
    "Container",
    "ContainerExists",
    "ContainerReplaced",
    "DamagedContainer",
    "DamagedObject",
    "Durability",
    "Extent",
    "InvalidKey",
    "InvalidOption",
    "InvalidSource",
    "NotAContainer",
    "NotOurs",
    "ObjectMeta",
    "ObjectNotFound",
    "Place",
    "Progress",
    "ReadOnlyContainer",
    "ReadableBy",
    "Readers",
    "RsdosError",
    "Sharing",
    "SourceChanged",
    "Trust",
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
    _HOMES = ("rsdos.model", "rsdos.errors", "rsdos.container", "rsdos.codecs.cores", "rsdos.protocols")

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
