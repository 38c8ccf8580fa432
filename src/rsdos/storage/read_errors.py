"""What an error of reading says of the bytes that were asked for: that they are gone, or nothing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from rsdos.errors import DecodeError, Refused, Unavailable

_NO_ROOM = frozenset((errno.ENOMEM, errno.EMFILE, errno.ENFILE))


def says_nothing(error: Exception) -> bool:
    """Return whether an error says nothing of what is stored: a lack of memory or descriptors, or of an answer.

    What could not be read for that reason is neither missing nor damaged.
    """
    return isinstance(error, OSError) and (isinstance(error, (Unavailable, Refused)) or error.errno in _NO_ROOM)


def may_be_whole(error: OSError) -> bool:
    """Return whether what could not be read may be whole nevertheless. A repair raises such an error, and stops.

    Beside `says_nothing`, that is a lack of permission.
    """
    return says_nothing(error) or isinstance(error, PermissionError)


@contextmanager
def passing_over_damage() -> Iterator[None]:
    """Leave the block at an error that means damage, for a repair that looks for the next copy."""
    try:
        yield
    except DecodeError:
        return
    except OSError as error:
        if may_be_whole(error):
            raise
