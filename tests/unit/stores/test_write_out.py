"""Writing an object to a file of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import fsio
from rsdos.stores import write_out


@pytest.mark.parametrize("is_made", [True, False])
def test_interrupted_while_the_file_is_made_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    """A signal that comes during the call raises behind it: the file is there, and nobody has its descriptor."""
    create = fsio.create

    def interrupted(path: str) -> int:
        if is_made:
            create(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(fsio, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_out(iter((b"data",)), str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_where_it_cannot_be_made_the_error_has_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        write_out(iter((b"data",)), str(tmp_path / "nowhere" / "out"))
    assert raised.value.filename == str(tmp_path / "nowhere" / "out")
