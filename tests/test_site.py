"""What `make docs` would refuse, found without building the site. Pages with figures are what their JSON says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import page as figures
from benchmarks.plots import PLOTS
from tests.helpers import ROOT

TREES = ("docs", "examples", "drop-in", "benchmarks")
PAGES = sorted([*ROOT.glob("*.md"), *(page for tree in TREES for page in (ROOT / tree).rglob("*.md"))])

LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```+)[^\n]*\n.*?^\1", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`[^`\n]*`")


def text_of(page: Path) -> str:
    """A page without its code."""
    return FENCE.sub("", page.read_text())


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of the headings, as GitHub makes them. Where the site would make another, `make docs` fails."""
    headings = re.findall(r"^#+ +(.+?) *$", text_of(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower() for heading in headings)
    return frozenset(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain)


def links(page: Path) -> Iterator[str]:
    """The links of a page that stay in the checkout."""
    for match in LINK.finditer(SPAN.sub("", text_of(page))):
        if not re.match(r"[a-z]+:", match[1]):
            yield match[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        aimed = page.parent / target if target else page
        assert aimed.exists(), link
        assert not anchor or anchor in anchors(aimed), link


def test_there_are_links_to_look_at() -> None:
    assert sum(1 for page in PAGES for _ in links(page)) > 200
    assert sum("#" in link for page in PAGES for link in links(page)) > 15


@cache
def site() -> ModuleType:
    """What writes the pages of the site: a script, beside a package of PyPI that is called `packaging`."""
    spec = spec_from_file_location("rsdos_site", ROOT / "packaging" / "site.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_link_of_the_site_leads_to_what_the_site_has() -> None:
    for source in site().sources():
        for link in links(ROOT / source):
            if target := link.partition("#")[0]:
                site().page_link(target, source)


def test_a_link_to_a_page_that_the_site_has_not_ends_its_making() -> None:
    with pytest.raises(SystemExit, match=r"tests/golden/README\.md"):
        site().page_link("tests/golden/README.md", Path("README.md"))


def test_every_public_name_has_a_docstring() -> None:
    assert not sorted(set(site().undocumented()))


def test_an_example_in_a_docstring_is_under_examples() -> None:
    """A paragraph of `>>>` is a quotation to the page of names, in one line."""
    sources = {path: path.read_text() for path in (ROOT / "src").rglob("*.py")}
    assert sum("Examples:\n" in text for text in sources.values()) > 8
    assert not [path for path, text in sources.items() if re.search(r"\n\n *>>> ", text)]


def test_the_page_of_names_has_every_public_name_once() -> None:
    listed = re.findall(r"^::: rsdos\.(\w+)$", site().api_page(), re.MULTILINE)
    assert sorted(listed) == sorted(name for name in site().rsdos.__all__ if not name.startswith("__"))


def test_the_page_of_errors_has_every_public_error() -> None:
    """It ends the run if its table is not of all public errors, each once."""
    page = site().errors_page()
    assert "| `ObjectNotFound` | `KeyError` | The container has no object of this key. | `key` |" in page


def test_the_page_of_json_has_every_command_and_every_object_that_it_links_to() -> None:
    schemas = site().json_schemas()
    page = site().json_page(schemas)
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    assert {f"rsdos {name}" for name in schemas} <= set(headings)
    assert set(re.findall(r"\]\(#(\w+)\)", page)) <= {heading.lower() for heading in headings}
    assert "| `is_finished` | boolean |" in page
    assert '| `depth` | `"quick"`, `"full"` |' in page
    assert "| `damaged` | array of [Finding](#finding) |" in page
    assert "may be absent | With `--stats`" in page


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "zensical.toml").read_text()
    pages = {site().place_of(page.relative_to(ROOT)).as_posix() for page in (ROOT / "docs").rglob("*.md")}
    decisions = {page for page in pages if page.startswith("adr/")} - {"adr/README.md"}
    assert not {page for page in pages - decisions if f'"{page}"' not in navigation}


def test_the_pages_of_figures_are_what_their_json_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "performance", tmp_path / "performance", ignore=shutil.ignore_patterns("*.svg"))
    shutil.copy(ROOT / "docs" / "comparison.md", tmp_path)
    figures.main(tmp_path)
    written = [path for path in tmp_path.rglob("*") if path.suffix in (".md", ".svg")]
    assert len(written) == 2 + len(PLOTS) + 1
    for path in written:
        assert path.read_text() == (ROOT / "docs" / path.relative_to(tmp_path)).read_text(), "run benchmarks.page"
