"""Lists of differences: those of ``rsdos diff`` and ``rsdos status DIR``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

from rsdos.cli.paths import echo_all, echo_null, json_line, path_members
from rsdos.cli.render import echo, one_line
from rsdos.figures import figure, human

if TYPE_CHECKING:
    from rsdos.facade.differences import Difference
    from rsdos.facade.entry import SnapshotEntry

LETTERS = {"modified": "M", "added": "A", "removed": "D", "kind": "T", "renamed": "R"}
_KINDS = ("file", "executable", "link", "directory")
_EXECUTABLE = 1


class ChangeForm(Enum):
    """How differences are printed."""

    LINES = "lines"
    SIZES = "sizes"
    NAMES = "names"
    NULL = "lines that end with NUL"
    NULL_NAMES = "names that end with NUL"
    JSON = "json"

    @classmethod
    def of(cls, stat: bool, name_only: bool, null: bool, as_json: bool) -> ChangeForm:
        """Return the form that the options ask for. Raise `click.UsageError` if they contradict each other."""
        if stat + name_only + as_json > 1 or null + stat + as_json > 1:
            raise click.UsageError(
                "--stat, --name-only and --json exclude each other, and --stat and --json exclude -0"
            )
        if as_json:
            return cls.JSON
        if null:
            return cls.NULL_NAMES if name_only else cls.NULL
        return cls.SIZES if stat else cls.NAMES if name_only else cls.LINES


class ChangeOutput:
    """Prints differences, and counts them."""

    def __init__(self, form: ChangeForm) -> None:
        self._form = form
        self._counts: Counter[str] = Counter()
        self._growth = 0

    @property
    def number(self) -> int:
        """How many differences there were."""
        return self._counts.total()

    def show(self, found: Iterable[Difference]) -> None:
        """Print differences as they come."""
        spell = {ChangeForm.SIZES: _sized, ChangeForm.NAMES: _named, ChangeForm.JSON: _json}.get(self._form, _line)
        counted = self._counted(found)
        if self._form is ChangeForm.NULL:
            echo_null(text for difference in counted for text in _texts(difference))
        elif self._form is ChangeForm.NULL_NAMES:
            echo_null(difference.path for difference in counted)
        else:
            echo_all(map(spell, counted))

    def _counted(self, found: Iterable[Difference]) -> Iterator[Difference]:
        for difference in found:
            self._counts[difference.change] += 1
            self._growth += _size(difference.new) - _size(difference.old)
            yield difference

    def summary(self) -> str:
        """Return the counts as a phrase: ``1 modified, 1 added, 1 removed``."""
        always = ("modified", "added", "removed")
        more = [f"{figure(self._counts[kind])} {name}" for kind, name in _RARE if self._counts[kind]]
        return ", ".join([f"{figure(self._counts[kind])} {kind}" for kind in always] + more)

    def finish(self, more: dict[str, Any] | None = None) -> None:
        """Print the summary: the last document of JSON, with ``more`` members, or the totals of ``--stat``."""
        if self._form is ChangeForm.JSON:
            counts = {kind: self._counts[kind] for kind in LETTERS}
            echo(json_line({"summary": {**counts, **(more or {"growth": self._growth})}}))
        elif self._form is ChangeForm.SIZES:
            growth = f"{human(abs(self._growth))} {'more' if self._growth >= 0 else 'less'}"
            echo(f"[info] {self.summary()}; {growth}")


_RARE = (("kind", "of another kind"), ("renamed", "renamed"))


def _size(entry: SnapshotEntry | None) -> int:
    return entry.size if entry is not None and entry.is_file else 0


def _texts(difference: Difference) -> Iterator[str]:
    """The parts of a line with NUL: the old path of a renamed file comes first, with the letter."""
    letter = LETTERS[difference.change]
    if difference.change == "renamed" and difference.old is not None:
        yield f"{letter}  {difference.old.path}"
        yield difference.path
    else:
        yield f"{letter}  {difference.path}"


def _line(difference: Difference) -> str:
    old = ""
    if difference.change == "renamed" and difference.old is not None:
        old = f"{one_line(difference.old.path)} -> "
    return f"{LETTERS[difference.change]}  {old}{one_line(difference.path)}{_what(difference)}"


def _what(difference: Difference) -> str:
    """Return what differs, to follow a path; "" where it is the content, or the target of a link, alone."""
    old, new = difference.old, difference.new
    if old is None or new is None:
        return ""
    if difference.change == "kind":
        return f"  ({_KINDS[old.kind]} -> {_KINDS[new.kind]})"
    words = {name: name for name in difference.differs}
    if "executable" in words and new.kind != _EXECUTABLE:
        words["executable"] = "not executable"
    if "mode" in words and old.mode is not None and new.mode is not None:
        words["mode"] = f"mode {old.mode:03o} -> {new.mode:03o}"
        words.pop("executable", None)  # The mode says it.
    has_content = not words.keys().isdisjoint(("content", "target"))
    if has_content:
        words.pop("time", None)  # Writing a file changes its time.
    return f"  ({', '.join(words.values())})" if words and (len(words) > 1 or not has_content) else ""


def _named(difference: Difference) -> str:
    return one_line(difference.path)


def _sized(difference: Difference) -> str:
    sizes = [human(entry.size) for entry in (difference.old, difference.new) if entry is not None]
    if difference.change == "renamed":
        sizes = sizes[:1]
    return f"{_line(difference)}  {' -> '.join(sizes)}"


def _json(difference: Difference) -> str:
    document: dict[str, Any] = path_members(difference.path)
    document |= {"change": difference.change, "differs": difference.differs, **_entry(difference.new)}
    document["old"] = None if difference.old is None else _entry(difference.old)
    if difference.change == "renamed" and difference.old is not None:
        document |= path_members(difference.old.path, "from")
    else:
        document["from"] = None
    return json_line(document)


def _entry(entry: SnapshotEntry | None) -> dict[str, Any]:
    if entry is None:
        return {"kind": None, "size": None, "key": None}
    return {"kind": _KINDS[entry.kind], "size": entry.size, "key": entry.key or None}
