"""Writing an object to a file of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos.storage import posix
from rsdos.stores.base import write_out


def test_interrupted_while_the_file_is_made_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes during the call raises behind it: the file is there by then."""

    def interrupted(path: str, fd: int) -> None:
        assert len(list(tmp_path.iterdir())) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(posix, "inherit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_out(iter((b"data",)), str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_be_made_the_error_has_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        write_out(iter((b"data",)), str(tmp_path / "nowhere" / "out"))
    assert raised.value.filename == str(tmp_path / "nowhere" / "out")
