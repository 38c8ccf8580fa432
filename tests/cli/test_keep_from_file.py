"""``rsdos delete --keep-from-file``: what a list of keys may look like."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from rsdos import Container
from rsdos.cli import key_file
from rsdos.cli.main import rsdos
from tests.data import key_of

KEPT = [b"%d" % number for number in range(30)]
KEYS = [key_of(data) for data in KEPT]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    monkeypatch.chdir(tmp_path)
    container = Container.create("container")
    container.insert_many([*KEPT, b"goes"])
    return container


def keep_from(text: bytes) -> str:
    Path("keys").write_bytes(text)
    result = CliRunner().invoke(rsdos, ["delete", "--keep-from-file", "keys"])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("together", [1, 64, 65, 100, 1 << 20])
@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\n\n", " \n\t"])
def test_keys_on_lines_are_kept_wherever_the_file_is_cut(
    store: Container, monkeypatch: pytest.MonkeyPatch, together: int, end: str, line: str
) -> None:
    monkeypatch.setattr(key_file, "_TEXT", together)
    keep_from((line.join(KEYS) + end).encode())
    assert sorted(store) == sorted(KEYS)


@pytest.mark.parametrize(
    "bad", [b"x", KEYS[0][:-2].encode(), KEYS[0].encode() * 2, KEYS[0].upper().encode(), b"\xff" * 64, b"a" * 3_000_000]
)
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_is_no_key_deletes_nothing(store: Container, bad: bytes, end: bytes) -> None:
    Path("keys").write_bytes("\n".join(KEYS).encode() + b"\n" + bad + end)
    result = CliRunner().invoke(rsdos, ["delete", "--keep-from-file", "keys"])
    assert result.exit_code != 0
    assert len(store) == len(KEPT) + 1


@pytest.mark.parametrize("text", [b"", b"\n \n\n"])
def test_a_list_without_a_key_deletes_nothing(store: Container, text: bytes) -> None:
    Path("keys").write_bytes(text)
    result = CliRunner().invoke(rsdos, ["delete", "--keep-from-file", "keys"])
    assert result.exit_code != 0
    assert len(store) == len(KEPT) + 1
