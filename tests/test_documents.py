"""What the documents show runs, and what the format page says is what the code does."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos.index import segment
from rsdos.pack import format as pack_format
from tests.helpers import ROOT

PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_blocks_run(page: str, tmp_path: Path) -> None:
    """In a directory with a large_file.bin, one block after another; /path/to is that directory."""
    (tmp_path / "large_file.bin").write_bytes(b"large " * 500_000)
    code = "\n".join(blocks(page, "python")).replace("/path/to", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_readme_has_the_quick_start() -> None:
    assert any("cnt.pack_all_loose(CompressMode.YES)" in block for block in blocks("README.md", "python"))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


def table_end(heading: str) -> int:
    """The end of the last field of fixed place in the first table behind a heading or sentence of the format page."""
    text = (ROOT / "docs/format.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \|", text[text.index(heading) :].split("\n\n", 2)[1], re.MULTILINE)
    ends = [int(offset) + int(size) for offset, size in rows]
    starts = [int(offset) for offset, _ in rows]
    assert starts == [0, *ends[:-1]]
    return ends[-1]


def test_the_tables_of_the_format_page_have_the_sizes_of_the_code() -> None:
    assert table_end("Header, at offset 0:") == pack_format.HEADER_SIZE
    assert table_end("Footer, the last 64 bytes of a batch:") == pack_format.FOOTER_SIZE
    assert table_end("An immutable table of entries") == segment.HEADER_SIZE
    assert table_end("The rest of an entry:") == struct.calcsize("<24sQQQIIBB") == segment.SegmentLayout(1).table - 72
