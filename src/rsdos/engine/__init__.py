"""What an open container is made of: its configuration, its two stores, and both of them as one."""

from rsdos.engine.engine import Engine
from rsdos.engine.formats import format_of
from rsdos.engine.make import clear_container, make_container, write_config
from rsdos.engine.objects import Objects
from rsdos.engine.reserve import give_up, prepare

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
