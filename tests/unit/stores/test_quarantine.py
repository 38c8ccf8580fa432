"""The quarantine: nothing is overwritten there, and nothing is made before it is needed."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rsdos import Container
from rsdos.stores.quarantine import Quarantine


def of(container: Container, name: str = "") -> Quarantine:
    return Quarantine(container.engine.layout, name)


def test_nothing_is_made_before_the_first_use(container: Container) -> None:
    quarantine = of(container, "index")
    assert not quarantine.is_used
    assert not (container.path / "quarantine").exists()
    assert Path(quarantine.directory) == container.path / "quarantine" / "index-1"
    assert quarantine.is_used


def test_each_run_has_a_directory_of_its_own(container: Container) -> None:
    assert [os.path.basename(of(container, "index").directory) for _ in range(3)] == ["index-1", "index-2", "index-3"]
    assert Path(of(container).directory) == container.path / "quarantine"


def test_files_of_the_same_name_are_all_kept(container: Container, tmp_path: Path) -> None:
    quarantine = of(container, "index")
    for content in (b"first", b"second", b"third"):
        (tmp_path / "file").write_bytes(content)
        quarantine.move(str(tmp_path / "file"))
        assert not (tmp_path / "file").exists()
    assert [Path(path).read_bytes() for path in quarantine.moved] == [b"first", b"second", b"third"]


def test_a_file_that_has_a_name_there_already_gets_no_second_one(container: Container, tmp_path: Path) -> None:
    quarantine = of(container, "index")
    (tmp_path / "file").write_bytes(b"bytes")
    for _ in range(2):  # The second is that of a run that was killed and goes on.
        quarantine.link(str(tmp_path / "file"))
    assert os.listdir(quarantine.directory) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"bytes"
    assert len(set(quarantine.moved)) == 1


def test_a_file_that_is_gone_is_passed_over(container: Container, tmp_path: Path) -> None:
    quarantine = of(container, "index")
    quarantine.link(str(tmp_path / "absent"))
    quarantine.copy(str(tmp_path / "absent"), 0, 10, "copy")
    assert quarantine.moved == []
    assert not quarantine.is_used or os.listdir(quarantine.directory) == []


def test_a_copy_is_what_there_is_of_a_range(container: Container, tmp_path: Path) -> None:
    quarantine = of(container)
    (tmp_path / "file").write_bytes(b"0123456789")
    quarantine.copy(str(tmp_path / "file"), 2, 3, "inside")
    quarantine.copy(str(tmp_path / "file"), 8, 100, "beyond the end")
    directory = container.path / "quarantine"
    assert (directory / "inside").read_bytes() == b"234"
    assert (directory / "beyond the end").read_bytes() == b"89"
    quarantine.copy(str(tmp_path / "file"), 0, 1, "inside")
    assert (directory / "inside").read_bytes() == b"0"


def test_a_report_replaces_the_one_of_its_name(container: Container) -> None:
    quarantine = of(container, "objects")
    for what in ({"run": 1}, {"run": 2}):
        path = quarantine.report("report.json", what)
        assert json.loads(Path(path).read_text()) == what
    assert os.listdir(quarantine.directory) == ["report.json"]
