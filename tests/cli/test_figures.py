"""Counts and sizes in what the commands print: for people with separators and units, for programs as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rsdos import Container
from tests.cli.conftest import Run


def test_counts_have_separators_for_people_and_none_for_programs(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        container.insert_many([b"%d" % number for number in range(1234)])
    text = run("status").stdout
    assert "Packs = 1,234\n" in text and "Total = 1,234 objects: 0 in files of their own, 1,234 in 1 pack file" in text
    assert json.loads(run("status", "--json").stdout)["packed_objects"] == 1234
    assert re.search(r'"} 1234$', run("status", "--format", "prometheus").stdout, re.MULTILINE)
    assert "Checked 1,234 copies of objects" in run("validate").stdout
    assert "pack 1: 1,234 objects" in run("inspect", "packed").stdout
    assert "1,234 packed and 0 loose objects" in run("doctor").stdout


def test_doctor_has_the_units_of_the_other_commands(run: Run, tmp_path: Path) -> None:
    run("init")
    done = run("doctor").stdout
    assert re.search(r"space: [0-9.]+ ([kMGTP]?)B of [0-9.]+ [kMGTP]?B are free", done)
    assert "iB" not in done.split("container:")[0].split("space:")[1]


def test_one_of_a_kind_is_said_in_the_singular(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        key = container.insert(b"1", to="packed")
    assert "packs: 1 pack of the right length" in run("doctor").stdout
    assert ": 1 byte raw, 1 stored, raw" in run("inspect", "object", key).stdout
    run("backup", "backups")
    assert "removed the oldest backup (--keep)" in run("backup", "--keep", "0", "backups").stdout
