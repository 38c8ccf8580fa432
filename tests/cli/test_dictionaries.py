"""What the command line shows of objects that need a dictionary."""

from __future__ import annotations

from pathlib import Path

from rsdos import Container
from tests.cli.conftest import Run
from tests.data import key_of
from tests.dictionaries import records, trained, using


def test_inspect_names_the_dictionary_of_an_object_and_list_its_codec(run: Run, tmp_path: Path) -> None:
    objects = records(40)
    with Container.create(tmp_path / "store") as container, using():
        container.insert_many(objects)
    key = key_of(objects[0])
    shown = run("-p", "store", "inspect", "object", key[:10]).stdout
    assert f"zstd with dictionary {trained().key}" in shown
    lines = run("-p", "store", "list", "-l").stdout.splitlines()
    assert {line.split()[3] for line in lines} == {"zstd"} and len(lines) == len(objects)
