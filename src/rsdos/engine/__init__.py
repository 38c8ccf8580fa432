"""What an open container is made of: its configuration, its two stores, and both of them as one."""

from rsdos.late import late

TYPE_CHECKING = False  # Type checkers take the name for true, as that of `typing`, whose import is 3 ms.

if TYPE_CHECKING:
    from rsdos.engine.engine import Engine
    from rsdos.engine.formats import format_of
    from rsdos.engine.make import clear_container, make_container, write_config
    from rsdos.engine.objects import Objects
    from rsdos.engine.reserve import give_up, prepare
else:
    __getattr__ = late(
        __name__,
        {
            "Engine": "engine",
            "format_of": "formats",
            "clear_container": "make",
            "make_container": "make",
            "write_config": "make",
            "Objects": "objects",
            "give_up": "reserve",
            "prepare": "reserve",
        },
    )

__all__ = [
    "Engine",
    "Objects",
    "clear_container",
    "format_of",
    "give_up",
    "make_container",
    "prepare",
    "write_config",
]
