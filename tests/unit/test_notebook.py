"""What notebooks show: tables of reports, containers and snapshots, in which nobody's text is markup."""

from __future__ import annotations

import importlib
import os
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.notebook import as_html, escaped
from rsdos.storage.counted import CountingStorage
from rsdos.storage.memory import MemoryStorage
from tests.helpers import ROOT

SOURCE = ROOT / "src"
REPORTS = [
    (".".join(path.relative_to(SOURCE).with_suffix("").parts), name)
    for path in sorted(SOURCE.rglob("*.py"))
    for name in re.findall(r"^class ((?!_)\w*(?:Report|Diagnosis))\b", path.read_text(), re.MULTILINE)
]

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\u202egnp.exe\x1b[2J\udcff"


class Reader(HTMLParser):
    """Reads HTML as a browser does: the elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(attributes)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.text.append(text)


def shown(value: object) -> list[str]:
    """The texts of what a notebook shows, which are nothing but text."""
    html = value._repr_html_()  # type: ignore[attr-defined]  # IPython's name
    html.encode()
    reader = Reader(html)
    assert not reader.open
    assert reader.elements <= {"div", "strong", "table", "thead", "tbody", "tr", "th", "td", "br", "em"}
    assert reader.attributes <= {("style", "text-align:left;vertical-align:top")}
    assert all(text.isprintable() for text in reader.text)
    return reader.text


@pytest.mark.parametrize(("home", "name"), REPORTS)
def test_every_report_is_shown_as_a_table(home: str, name: str) -> None:
    report = getattr(importlib.import_module(home), name)
    assert callable(report._repr_html_)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Container]:
    """A container in a directory, of files, with messages and metadata that would be markup."""
    with Container.create(tmp_path / HOSTILE.replace("/", "")) as container:
        directory = tmp_path / "directory"
        directory.mkdir()
        (directory / HOSTILE.replace("/", "")).write_bytes(b"data")
        (directory / "link").symlink_to(HOSTILE)
        about = {HOSTILE[:-1]: [HOSTILE[:-1], {"deep": [[[[HOSTILE[:-1]]]]]}]}
        container.snapshots.save("flowers", directory, message=HOSTILE[:-1], author=HOSTILE[:-1], metadata=about)
        yield container


def test_names_of_a_stranger_are_no_markup(hostile: Container) -> None:
    snapshot = hostile.snapshots["flowers"]
    assert any("<script>alert(1)" in text and "\\u202e" in text for text in shown(hostile))
    texts = shown(snapshot)
    assert sum("<script>alert(1)" in text for text in texts) == 5  # author, message, metadata twice, the name
    assert any(text.endswith("\\x1b[2J\\udcff") for text in texts)


def test_reports_about_a_strangers_files_are_no_markup(hostile: Container, tmp_path: Path) -> None:
    packs = list(hostile.path.glob("packed/*.pack"))
    for pack in packs:
        os.truncate(pack, 100)
    report = hostile.validate("full")
    assert packs and not report.is_good
    assert any("<script>alert(1)" in text for text in shown(hostile.doctor()))
    shown(report)
    with Container.create(tmp_path / "other") as other:
        unreadable = tmp_path / HOSTILE.replace("/", "")
        added = other.add_files([unreadable / "no such file"])
        assert any("<script>alert(1)" in text for text in shown(added))


def test_a_container_shows_its_figures_and_its_snapshots(container: Container, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "labels.csv").write_bytes(b"rose,1\n")
    container.insert(b"a", to="loose")
    container.insert_many([b"%d" % number for number in range(1234)])
    assert "snapshot" not in shown(container)
    container.snapshots.save("flowers", tmp_path / "tree", message="first")
    texts = shown(container)
    assert texts[0] == repr(container)
    assert texts[texts.index("loose objects") + 1] == "1"
    assert texts[texts.index("loose length") + 1] == "1 B"
    packed = container.status().packed_objects
    assert packed > 1234 and texts[texts.index("packed objects") + 1] == f"{packed:,}"
    assert texts[-5:-3] == ["flowers@1", "1"] and texts[-3] == "7 B" and texts[-1] == "first"


def test_a_snapshot_shows_the_first_names(container: Container) -> None:
    with container.snapshots.edit("many") as draft:
        for number in range(50):
            draft[f"{number:02d}.txt"] = b"data"
    texts = shown(container.snapshots["many"])
    assert texts[0] == "Snapshot many@1"
    assert "19.txt" in texts and "20.txt" not in texts and texts[-1] == "… and more"


def test_damage_is_shown_and_not_raised(container: Container, tmp_path: Path) -> None:
    with container.snapshots.edit("flowers") as draft:
        draft["labels.csv"] = b"rose,1\n"
    assert "cannot be read" in shown(Container(tmp_path / "missing"))
    snapshot = container.snapshots["flowers"]
    for pack in container.path.glob("packed/*.pack"):
        pack.write_bytes(bytes(pack.stat().st_size))
    again = pickle.loads(pickle.dumps(snapshot))
    container.close()
    assert "names cannot be read" in shown(again)
    assert "cannot be read" in shown(container)
    (container.path / "config.json").write_bytes(b"{")
    assert "cannot be read" in shown(Container(container.path))


def test_showing_a_container_at_a_url_costs_no_request() -> None:
    storage = CountingStorage(MemoryStorage())
    container = Container.create(storage)
    container.insert(b"data", to="packed")
    before = storage.requests
    assert shown(container) == [repr(container)]
    assert storage.requests == before


@dataclass(frozen=True)
class _Item:
    name: str
    size: int


@dataclass(frozen=True)
class _Report:
    items: tuple[_Item, ...] = tuple(_Item(str(number), number) for number in range(30))
    numbers: tuple[int, ...] = tuple(range(1000, 1030))
    length: int = 1_234_567
    seconds: float = 0.123
    is_good: bool = True
    nothing: None = None
    hidden: object = field(default=None, repr=False)


def test_lists_of_a_report_are_tables_and_their_ends_are_counted() -> None:
    reader = Reader(as_html(_Report()))
    texts = reader.text
    assert texts[:4] == ["_Report", "items", "name", "size"] and texts[4:6] == ["0", "0 B"]
    assert texts.count("… and 10 more") == 2 and "1,019" in texts and "1,020" not in texts
    assert texts[-8:] == ["length", "1,234,567 B", "seconds", "0.12", "is good", "yes", "nothing", "none"]


def test_a_long_text_is_cut() -> None:
    assert escaped("<" * 1000) == "&lt;" * 300 + "…"
