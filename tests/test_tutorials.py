"""The tutorials: every line is typed in an empty directory, and prints what the page shows.

That for users of AiiDA is typed by `make aiida`.
"""

from __future__ import annotations

import doctest
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.pages import blocks, play, steps, told
from tests.test_documents import console

TUTORIALS = ROOT / "docs" / "tutorials"


@pytest.mark.parametrize("name", ["directory.md", "two-machines.md"])
def test_a_tutorial_prints_what_it_shows(name: str, tmp_path: Path) -> None:
    page = steps((TUTORIALS / name).read_text())
    assert len(page) > 20
    differing = play(page, tmp_path, console() | {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert not differing, told(differing)


def test_the_tutorial_of_python_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its part with pandas where pandas and fsspec are installed: `make doors`."""
    monkeypatch.chdir(tmp_path)
    parts = blocks((TUTORIALS / "python.md").read_text(), "pycon")
    if not (find_spec("pandas") and find_spec("fsspec")):
        parts = [part for part in parts if "pandas" not in part]
    page = doctest.DocTestParser().get_doctest("\n".join(parts), {}, "python.md", None, None)
    assert len(page.examples) > 25
    failed, _ = doctest.DocTestRunner().run(page)
    assert not failed, capsys.readouterr().out


def test_every_tutorial_is_typed_somewhere() -> None:
    assert {path.name for path in TUTORIALS.iterdir()} == {"aiida.md", "directory.md", "python.md", "two-machines.md"}
