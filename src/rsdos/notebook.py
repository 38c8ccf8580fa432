"""HTML for notebooks: reports, containers and snapshots as tables.

Every text passes `escaped`: names, messages and paths of a stranger's container are shown as text, and are never
markup. The tables have no colours of their own, so that they follow the light or dark theme of the notebook. Nothing
else of the package is imported: every report imports this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from enum import Enum
from itertools import islice

MOST_ROWS = 20
"""Rows of a list that are shown. The number of the others is said."""

MOST_FIELDS = 40
"""Members of one object that are shown. A report has fewer; a stranger's metadata may have any number."""

MOST_CHARACTERS = 300
"""Characters of a text that are shown."""

_DEEPEST = 4
"""Tables inside of tables. No report has more; a circle of objects would have no end."""

_MARKUP = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;", ord("'"): "&#x27;"}

_LEFT = ' style="text-align:left;vertical-align:top"'
"""Notebooks align numbers of data frames to the right; here a column has texts, and tables, too."""


class ShownAsTable:
    """Base of reports: a notebook shows their fields as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return as_html(self)


def as_html(value: object) -> str:
    """Return a report, a dataclass or a named tuple, as a table under the name of its class. Never raises."""
    return titled(type(value).__name__, table_of(_fields(value) or {}))


def titled(title: str, *parts: str) -> str:
    """Return a title and what is below it. The parts are HTML already."""
    return f"<div><strong>{escaped(title)}</strong>{''.join(parts)}</div>"


def table_of(rows: Mapping[str, object]) -> str:
    """Return a table with a row for each name and its value."""
    return _table(rows, 0)


def columns(head: Sequence[str], rows: Iterable[Sequence[object]], rest: Iterator[object]) -> str:
    """Return a table with a row of names above, and whether there is a ``rest``. Without rows return ""."""
    more = "<em>… and more</em>" if next(rest, None) is not None else ""
    below = "".join(_row(zip(head, row, strict=True), 1) for row in rows)
    return _head(head) + below + "</tbody></table>" + more if below else ""


def escaped(text: str) -> str:
    """Return a text for HTML, at most 300 characters of it.

    Markup is escaped. What cannot be printed, as control characters, marks that turn the direction of writing, and
    bytes that are no UTF-8, is shown as in a Python string.
    """
    if len(text) > MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS] + "…"
    if not text.isprintable():
        text = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return text.translate(_MARKUP)


def _table(rows: Mapping[str, object], depth: int) -> str:
    below = "".join(_line(str(name), value, depth) for name, value in islice(rows.items(), MOST_FIELDS))
    return f"<table><tbody>{below}</tbody></table>{_others(len(rows) - MOST_FIELDS)}"


def _line(name: str, value: object, depth: int) -> str:
    return f"<tr><th{_LEFT}>{escaped(name.replace('_', ' '))}</th><td{_LEFT}>{_cell(name, value, depth)}</td></tr>"


def _row(cells: Iterable[tuple[str, object]], depth: int) -> str:
    return "<tr>" + "".join(f"<td{_LEFT}>{_cell(name, value, depth)}</td>" for name, value in cells) + "</tr>"


def _head(names: Iterable[str]) -> str:
    """Return the beginning of a table, with its row of names."""
    cells = "".join(f"<th{_LEFT}>{escaped(name.replace('_', ' '))}</th>" for name in names)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>"


def _others(more: int) -> str:
    return f"<em>… and {more:,} more</em>" if more > 0 else ""


def _cell(name: str, value: object, depth: int) -> str:  # noqa: PLR0911  one for each kind of value
    if value is None or (isinstance(value, Sequence | Set | Mapping) and not value):
        return "none" if value != "" else ""
    if isinstance(value, Enum):
        return escaped(str(value.name or "none").lower())  # No flag at all has no name.
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        # The words of the house: size is raw bytes, length is stored bytes.
        return f"{value:,} B" if name.endswith(("size", "length")) else f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, bytes):
        return value.hex()[:MOST_CHARACTERS]
    if isinstance(value, str):
        return escaped(value)
    if depth >= _DEEPEST:
        return "…"
    if (fields := _fields(value)) is not None:
        return _table(fields, depth + 1)
    if isinstance(value, Mapping):
        return _table(value, depth + 1)
    if isinstance(value, Sequence | Set):
        return _list(list(islice(value, MOST_ROWS)), len(value) - MOST_ROWS, depth + 1)
    return escaped(str(value))


def _list(shown: list[object], more: int, depth: int) -> str:
    """Return the items of a list: in columns if all of them have the same fields, else one a line."""
    fields = [_fields(item) for item in shown]
    first = fields[0]
    if first is None or any(item is None or item.keys() != first.keys() for item in fields):
        return "<br>".join(_cell("", item, depth) for item in shown) + ("<br>" if more > 0 else "") + _others(more)
    rows = "".join(_row(item.items(), depth) for item in fields if item is not None)
    return f"{_head(first)}{rows}</tbody></table>{_others(more)}"


def _fields(value: object) -> dict[str, object] | None:
    """Return the fields of a dataclass that its `repr` shows, or of a named tuple; None for anything else."""
    if isinstance(value, type):
        return None
    if isinstance(fields := getattr(value, "__dataclass_fields__", None), dict):
        return {name: getattr(value, name) for name, field in fields.items() if field.repr}
    if isinstance(value, tuple) and isinstance(names := getattr(value, "_fields", None), tuple):
        return dict(zip(names, value, strict=True))
    return None
