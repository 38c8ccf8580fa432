"""Sizes and counts as text: one unit of each size, separators in long numbers, and one noun or several."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rsdos.cli
from rsdos.figures import copies, count, figure, human


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (1 << 30, "1.1 GB")],
)
def test_a_size_has_a_decimal_unit(size: int, text: str) -> None:
    assert human(size) == text


def test_a_count_has_its_noun_in_the_right_number() -> None:
    assert [count(number, "object") for number in (0, 1, 2)] == ["0 objects", "1 object", "2 objects"]
    assert count(1, "entry", "entries") == "1 entry" and count(12_345, "entry", "entries") == "12,345 entries"
    assert copies(1) == "1 copy of an object" and copies(1000) == "1,000 copies of objects"


def test_a_note_without_a_number_is_shown_as_it_is() -> None:
    assert figure(None) == "None" and figure("many") == "many" and count(None, "object") == "None objects"


def test_no_command_spells_a_count_beside_a_noun_by_itself() -> None:
    """Each would have to think of "1 objects" and of the separators."""
    nouns = "objects|files|versions|packs|pages|tags|branches|entries|bytes|tables|names|copies|requests|conflicts"
    by_hand = re.compile(rf"\{{(?!count|figure|human)[^{{}}]*\}} (?!of )(?:\w+ )?(?:{nouns})\b")
    sources = [
        *Path(rsdos.cli.__path__[0]).glob("*.py"),
        *Path(rsdos.cli.__path__[0], "../maintenance/doctor").glob("*"),
    ]
    found = [
        f"{path.name}: {line.strip()}"
        for path in sources
        if path.suffix == ".py"
        for line in path.read_text().splitlines()
        if by_hand.search(line) and "help=" not in line and "MOST_JOBS" not in line
    ]
    assert found == []
