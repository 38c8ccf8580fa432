"""Sizes and counts as text for people. What programs read has plain numbers: JSON, metrics, lists of objects."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000


def human(size: int) -> str:
    """Return bytes as text: ``0 B``, ``1.2 MB``."""
    if size < _STEP:
        return f"{size} B"
    amount = float(size)
    unit = 0
    while amount >= _STEP - 0.05 and unit < len(_UNITS) - 1:
        amount /= _STEP
        unit += 1
    return f"{amount:.1f} {_UNITS[unit]}"


def figure(number: object) -> str:
    """Return a count as text: ``1,234``. What is no number, in notes that were read from the disk, stays as it is."""
    return f"{number:,}" if isinstance(number, int) else str(number)


def count(number: object, noun: str, plural: str = "") -> str:
    """Return a count with its noun: ``1 object``, ``2,000 loose objects``. The plural has an s, or is given."""
    return f"{figure(number)} {noun if number == 1 else plural or f'{noun}s'}"


def copies(number: object) -> str:
    """Return a number of copies. An object may have several: loose and packed, or in two packs."""
    return count(number, "copy of an object", "copies of objects")
