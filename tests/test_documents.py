"""What the documents show runs, and what the format page says is what the code does.

Every block marked ``python`` runs; one that must not is marked ``text``.
"""

from __future__ import annotations

import re
import shlex
import shutil
import struct
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

import pytest

import rsdos
from rsdos import Container
from rsdos.cli import exit_codes
from rsdos.index import segment_layout
from rsdos.index.entries import Entries
from rsdos.index.segment_layout import encode_segment
from rsdos.model import FRAME_SIZE, Codec, Compression
from rsdos.pack import format as pack_format
from rsdos.pack.format import Batch
from rsdos.stores.loose import file
from rsdos.streams.frames import FrameEncoder
from tests.data import noise
from tests.helpers import ROOT, child_environment
from tests.pages import pattern_of, write_flowers
from tests.test_house import homes

PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]

DOORS = "docs/integrations.md"
"""Its examples need other libraries: tests/integrations/test_examples.py."""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python") and page != DOORS])
def test_python_blocks_run(page: str, tmp_path: Path) -> None:
    """In a directory with a large_file.bin, one block after another; /path/to is that directory."""
    (tmp_path / "large_file.bin").write_bytes(b"large " * 500_000)
    code = "\n".join(blocks(page, "python")).replace("/path/to", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_older_names_are_shown_and_one_link_away_from_the_readme() -> None:
    assert any("cnt.pack_all_loose(CompressMode.YES)" in block for block in blocks("docs/python.md", "python"))
    assert "(docs/python.md#the-names-of-rsdos-01)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console") and page != DOORS])
def test_console_blocks_run(page: str, tmp_path: Path) -> None:
    """All of a page one after another, to the letter but for what varies, and for lines that follow at the end."""
    (tmp_path / "mydata1.txt").write_bytes(noise(1_200_000, 1))
    (tmp_path / "mydata2.bin").write_bytes(noise(3_400_000, 2))
    write_flowers(tmp_path)
    environment = console()
    for step in "".join(blocks(page, "console")).removeprefix("$ ").split("\n$ "):
        command, _, shown = step.partition("\n")
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            environment[name] = value
            continue
        function = f'rsdos() {{ {shlex.quote(sys.executable)} -m rsdos "$@"; }}'
        done = subprocess.run(
            ["sh", "-c", f"{function}\n{command}"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=environment,
        )
        assert re.match(pattern_of(shown.rstrip()), done.stdout), f"{command}\n{done.stdout}"


def console() -> dict[str, str]:
    """The environment of somebody who has set nothing."""
    return {name: value for name, value in child_environment().items() if name != "RSDOS_PATH"} | {"LANG": "C.UTF-8"}


def test_the_floors_of_the_design_are_those_that_are_checked() -> None:
    (contract,) = (
        contract
        for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if contract["id"] == "floors"
    )
    (block,) = re.findall(
        r"^```\n( *\d+  cli .*?)^```", (ROOT / "docs/design.md").read_text(), re.MULTILINE | re.DOTALL
    )
    shown = (re.split(r"\s{3,}", line[4:].rstrip())[0] for line in block.splitlines())
    assert list(shown) == contract["layers"]


def test_the_exit_codes_of_the_page_are_those_of_the_code() -> None:
    page = (ROOT / "docs/command-line.md").read_text().split("## Exit codes")[1].split("\n## ")[0]
    listed = sorted(int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE))
    assert listed == sorted(code for name, code in vars(exit_codes).items() if name.isupper())


def test_the_glossary_has_every_public_class_and_no_other() -> None:
    """But for the options, plans and reports of operations, which one row stands for, and the errors."""
    listed = set(
        re.findall(r"`([A-Z][A-Za-z0-9]+)`", (ROOT / "docs/glossary.md").read_text().split("## The classes")[1])
    )
    classes = {name for name, places in homes().items() if name[0].isupper() and any(map(is_explained, places))}
    exported = {name for name in rsdos.__all__ if isinstance(getattr(rsdos, name), type)}
    errors = {name for name in exported if issubclass(getattr(rsdos, name), rsdos.RsdosError)}
    wanted = {name for name in classes if not re.search("(Options|Plan|Report)$", name)} | (exported - errors)
    assert not sorted(wanted - listed), "missing in docs/glossary.md"
    assert not sorted(listed - classes - exported), "not there any more"


def is_explained(module: str) -> bool:
    """Whether the glossary has the public classes of a module: of the facade and the command line it has none."""
    rooms = ("engine", "index", "ingest", "maintenance", "pack", "storage", "stores", "testing", "trees", "worktree")
    return any(module.startswith(f"rsdos.{room}.") for room in rooms)


def test_the_page_for_contributors_lists_every_target() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    listed = re.findall(r"^\| `make ([a-z-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(targets) and len(targets) > 20


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
    assert table_end("An immutable table of entries") == segment_layout.HEADER_SIZE
    assert (
        table_end("The rest of an entry:")
        == struct.calcsize("<24sQQQIIBB")
        == segment_layout.SegmentLayout(1).table - 72
    )
    assert table_end("is its stored form as in a pack, and then:") == file.TRAILER_LENGTH


def test_the_magic_values_of_the_format_page_are_those_of_the_code() -> None:
    page = (ROOT / "docs/format.md").read_text()
    footer = pack_format.encode_footer(Batch(4096, 4096, 64, 0, 8128, 0), bytes(16), 1)
    for data in (pack_format.encode_header(bytes(16), 1), footer, encode_segment(Entries.empty())):
        assert f"| 0 | 8 | `{data[:8].decode()}` |" in page
        assert data[8:10] == b"\2\0"


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.ZLIB, Codec.ZSTD])
def test_the_frame_tables_of_the_format_page_are_those_of_the_code(codec: Codec) -> None:
    page = (ROOT / "docs/format.md").read_text()
    encoder = FrameEncoder(Compression(codec, 1))
    pieces = [bytes(encoder.add(frame)) for frame in (noise(FRAME_SIZE, 1), b"the last one")]
    end = encoder.finish()
    if codec is Codec.ZSTD:
        assert "| 0 | 4 | `0x184D2A5E` |" in page and "| 13 + 12 n | 4 | `0x8F92EAB1` |" in page
        assert struct.unpack("<II", end[:8]) == (0x184D2A5E, 12 * 2 + 9)
        assert struct.unpack("<IBI", end[8 + 12 * 2 :]) == (2, 0x80, 0x8F92EAB1)
        rows = list(struct.iter_unpack("<III", end[8 : 8 + 12 * 2]))
        assert rows == [
            (len(piece), size, struct.unpack("<I", piece[-4:])[0])
            for piece, size in zip(pieces, (FRAME_SIZE, 12), strict=True)
        ]
    else:
        table = end[6:] if codec is Codec.ZLIB else end
        assert "| 8 n + 12 | 4 | `RSFT` |" in page and len(table) == 8 * 2 + 16
        assert struct.unpack("<IIII", table[:16])[::2] == tuple(map(len, pieces))
        assert struct.unpack("<IIII", table[:16])[3] == zlib.crc32(b"the last one")
        assert struct.unpack("<III4s", table[16:]) == (FRAME_SIZE, 2, zlib.crc32(table[:24]), b"RSFT")
        if codec is Codec.ZLIB:
            assert zlib.decompress(b"".join(pieces) + end[:6]) == noise(FRAME_SIZE, 1) + b"the last one"


@pytest.mark.parametrize(("page", "least"), [("durability", 60), ("security", 16), ("concurrency", 18)])
def test_every_test_that_a_page_of_hazards_names_is_there(page: str, least: int) -> None:
    """A name that is not there is in the directory of the name before it."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    named, path = 0, ROOT / "tests"
    for match in re.finditer(r"`([\w/]+\.py)?(?:::(test_\w+))?`", text):
        if name := match[1]:
            whole = ROOT / "tests" / name.removeprefix("tests/")
            path = whole if whole.exists() else path.parent / name
        if match[1] or match[2]:
            assert not match[2] or f"def {match[2]}(" in path.read_text(), f"{path}::{match[2]}"
            assert path.is_file(), path
            named += 1
    assert named >= least


def in_a_container(place: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run shell commands in a directory with a container of version 1 in PATH, and NEW where a command wants it."""
    with Container.create(place / "PATH", container_version=1) as container:
        container.insert_many([b"packed", b"as well"])
        container.insert(b"loose")
    if command.startswith("rsdos transfer"):
        Container.create(place / "NEW").close()
    if command.startswith("rsdos init") and "PATH" in command:
        shutil.rmtree(place / "PATH")
    function = f'rsdos() {{ {shlex.quote(sys.executable)} -m rsdos "$@"; }}'
    return subprocess.run(
        ["sh", "-ec", f"{function}\n{command}"], cwd=place, capture_output=True, text=True, check=False, env=console()
    )


def inline_commands(page: str) -> list[str]:
    """The commands of rsdos in a page's sentences and tables whose words are all to be had: PATH and NEW."""
    found = re.findall(r"`(rsdos [^`]+)`", (ROOT / page).read_text())
    whole = (line for line in found if not re.search(r"\[|delete", line))
    return sorted({line for line in whole if set() < {*re.findall(r"[A-Z]{2,}", line)} <= {"PATH", "NEW"}})


@pytest.mark.parametrize("command", inline_commands("docs/migration.md"))
def test_the_commands_of_the_migration_page_run(command: str, tmp_path: Path) -> None:
    done = in_a_container(tmp_path, command)
    assert done.returncode == 0, done.stderr


def test_the_shell_block_of_the_migration_page_runs(tmp_path: Path) -> None:
    (block,) = blocks("docs/migration.md", "sh")
    done = in_a_container(tmp_path, block)
    assert done.returncode == 0, done.stderr
    for name, version in (("PATH", 1), ("NEW", 2)):
        with Container(tmp_path / name) as container:
            assert (container.config.version, len(container)) == (version, 3)
