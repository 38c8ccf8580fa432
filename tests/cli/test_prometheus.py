"""`rsdos status --format prometheus`: what node_exporter's textfile collector reads."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rsdos import Container
from rsdos.cli.show_prometheus import metrics
from tests.cli.conftest import Run

Samples = dict[tuple[str, str], float]


def samples(text: str) -> Samples:
    """All samples by the name of their metric and their own label, as Prometheus itself parses them."""
    assert text.endswith("\n")
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge" and family.documentation, family.name
        for sample in family.samples:
            assert sample.timestamp is None  # The collector refuses a file with times.
            own = [value for label, value in sample.labels.items() if label != "container"]
            key = sample.name, own[0] if len(own) == 1 else ""
            assert key not in found
            found[key] = sample.value
    return found


def test_the_figures_are_those_of_json(run: Run, tmp_path: Path) -> None:
    run("init")
    with Container(tmp_path / "container") as container:
        container.insert_many([b"one" * 100, b"two" * 100], to="packed")
        container.insert(b"loose")
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers" / "rose").write_text("red")
    run("save", "flowers", "flowers")
    run("validate")
    told = json.loads(run("status", "--format", "json").stdout)
    assert told == json.loads(run("status", "--json").stdout)
    found = samples(run("status", "--format", "prometheus").stdout)
    for key, name in {
        ("rsdos_objects", "loose"): "loose_objects",
        ("rsdos_objects", "packed"): "packed_objects",
        ("rsdos_packed_size_bytes", ""): "packed_size",
        ("rsdos_stored_bytes", "packed"): "packed_length",
        ("rsdos_dead_bytes", ""): "dead_length",
        ("rsdos_pack_files", ""): "packs",
        ("rsdos_files_bytes", "packs"): "packs_length",
        ("rsdos_files_bytes", "index"): "index_length",
    }.items():
        assert found[key] == told[name], name
    assert found["rsdos_snapshots", "versions"] == 1
    assert found["rsdos_damaged", ""] == found["rsdos_attention", ""] == 0
    assert found["rsdos_last_validation_seconds", ""] > 1e9
    assert found["rsdos_last_validation_damage", "damaged"] == 0
    assert ("rsdos_last_backup_seconds", "") not in found  # There was none: an alert asks whether it is absent.


def test_damage_and_limits_show_in_the_metrics_and_the_exit_code_is_that_of_check(run: Run, tmp_path: Path) -> None:
    run("init")
    with Container(tmp_path / "container") as container:
        container.insert(b"loose")
    done = run("status", "--format", "prometheus", "--max-loose", "0")
    assert samples(done.stdout)["rsdos_attention", ""] == 1
    run("status", "--format", "prometheus", "--max-loose", "0", "--check", code=1)
    with Container(tmp_path / "container") as container:
        container.optimize()
    os.truncate(next((tmp_path / "container" / "packed").glob("*.pack")), 4096)
    assert samples(run("status", "--format", "prometheus").stdout)["rsdos_damaged", ""] == 1


def test_any_path_is_a_label_that_can_be_read_back(run: Run, tmp_path: Path) -> None:
    name = 'a "quoted"\\path\nof two lines'
    run("-p", name, "init")
    text = run("-p", name, "status", "--format", "prometheus").stdout
    (info,) = (family for family in text_string_to_metric_families(text) if family.name == "rsdos_container_info")
    assert info.samples[0].labels["container"] == str(tmp_path / name)
    with Container(tmp_path / name) as container:
        assert info.samples[0].labels["id"] == container.config.container_id


def test_nothing_is_printed_for_what_is_no_container(run: Run, tmp_path: Path) -> None:
    assert run("status", "--format", "prometheus", code=1).stdout == ""
    run("init")
    shutil.copytree(tmp_path / "container", tmp_path / "other")
    for options in (["--json"], ["--remote"], ["."]):
        assert "--format" in run("status", "--format", "prometheus", *options, code=2).stderr


@pytest.mark.parametrize("note", [{"finished": 7}, {"finished": "never", "damaged": "x"}, {"finished": None}])
def test_a_note_without_a_time_is_left_out(tmp_path: Path, note: dict[str, object]) -> None:
    with Container.create(tmp_path / "c") as container:
        report = container.status()._replace(validation=note)
    assert "rsdos_last_validation_seconds" not in {metric.name for metric in metrics(report, 0)}
