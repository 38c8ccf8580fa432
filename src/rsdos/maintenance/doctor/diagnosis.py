"""The outcome of an examination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from rsdos.notebook import ShownAsTable

LEAST_FREE = 2 << 20
"""Free bytes below which even a small insert fails: a pack, its table and a manifest take some."""

FEW_INODES = 16
"""Free inodes below which an insert may fail: a new pack, its tables and a manifest are some files."""

PACKING = "rsdos optimize packs loose objects: fewer files"


class Verdict(Enum):
    """What one answer means for the user."""

    GOOD = "good"
    NOTE = "note"
    """Nothing is wrong. The user may want to know."""
    WARNING = "warning"
    """It works, and will not for long, or not as promised."""
    FAULT = "fault"
    """Something fails, or is damaged, now."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one question about a container: ``name`` says which. ``advice`` is what to do; "" for nothing.

    ``figures`` are the numbers and names that support it. Lengths are bytes.
    """

    name: str
    verdict: Verdict
    message: str
    advice: str = ""
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Diagnosis(ShownAsTable):
    """All answers about the container at ``path``, in a fixed order of questions."""

    path: str
    answers: tuple[Answer, ...]

    @property
    def faults(self) -> tuple[Answer, ...]:
        """The answers that say that something fails or is damaged now."""
        return tuple(answer for answer in self.answers if answer.verdict is Verdict.FAULT)
