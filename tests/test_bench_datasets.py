"""The benchmark of directories: its data is the same each time, its table says what is reached, and what is missing."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from benchmarks.datasets import DatasetFigures, DatasetResults, DatasetSample
from benchmarks.datasets_data import Edit, file_path, make_files
from benchmarks.datasets_report import FIGURES, PLACEHOLDER, STEPS, TARGETS, datasets_section
from benchmarks.datasets_sides import DATASET_SIDES, Restic


def digest(root: Path) -> str:
    found = sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        found.update(b"%s %d " % (str(path.relative_to(root)).encode(), path.stat().st_size))
        found.update(path.read_bytes())
    return found.hexdigest()


def test_the_files_are_the_same_each_time_and_an_edit_is_undone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_files(tmp_path / name, 250)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    assert len(list((tmp_path / "one").rglob("*.dat"))) == 250
    before = digest(tmp_path / "one")
    with Edit(tmp_path / "one", 250):
        assert digest(tmp_path / "one") != before
    assert digest(tmp_path / "one") == before


def test_files_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    make_files(tmp_path / "data", 10)
    file_path(tmp_path / "data", 3).write_bytes(b"other")
    make_files(tmp_path / "data", 10)
    assert file_path(tmp_path / "data", 3).read_bytes() == b"other"
    make_files(tmp_path / "data", 11)
    assert file_path(tmp_path / "data", 3).read_bytes() != b"other"


def sample(side: str, step: str, cpu: float, files: int = 100_000, *, is_stopped: bool = False) -> DatasetSample:
    return DatasetSample(files, side, step, 2 * cpu, cpu, cpu / 2, 10**8, 10**6, 9, 5000, is_stopped)


def results(*samples: DatasetSample) -> DatasetResults:
    figures = [DatasetFigures(100_000, 1.0, 1.0, 100.0, 50.0, 0.1)]
    return DatasetResults("small", {"date": "today"}, list(samples), {"borg": "borg is not installed"}, figures)


def test_the_table_says_what_is_reached_and_what_is_missed() -> None:
    text = "\n".join(datasets_section(results(sample("rsdos", "first", 1.0), sample("restic", "first", 1.1))))
    assert "| first save, times restic's, 100,000 files | CPU | 0.91 × (≤ 0.8) | MISSED |" in text  # noqa: RUF001
    text = "\n".join(datasets_section(results(sample("rsdos", "first", 1.0), sample("restic", "first", 2.0))))
    assert "| first save, times restic's, 100,000 files | wall | 0.50 × (≤ 0.8) | reached |" in text  # noqa: RUF001
    assert "| tree on disk, an entry, 100,000 files | | 50 B (≤ 42) | MISSED |" in text
    assert "- borg did not take part: borg is not installed" in text
    assert "| rsdos | 1 (0.5), 2 | – |" in text  # noqa: RUF001


def test_a_missed_line_has_its_floor_or_reason_with_the_figures_of_the_run() -> None:
    slow = results(sample("rsdos", "first", 3.0), sample("add-files", "first", 1.25), sample("restic", "first", 9.0))
    text = "\n".join(datasets_section(slow))
    assert "\n- first save, times `add-files -r`, 100,000 files: `add-files -r` is the floor: " in text
    assert " in 1.25 s of processor time." in text
    assert "\n- tree on disk, an entry, 100,000 files: why is not known." in text
    assert "\n- first save, times restic's" not in text
    assert "{" not in text


def test_nothing_is_explained_where_nothing_is_missed() -> None:
    good = results(sample("rsdos", "first", 1.0), sample("restic", "first", 9.0))
    good.figures.clear()
    assert "Missed" not in "\n".join(datasets_section(good))


def test_every_figure_of_a_reason_is_one_that_there_is() -> None:
    named = [match.groups() for target in TARGETS for match in PLACEHOLDER.finditer(target.reason)]
    assert len(named) > 5
    assert all(side in DATASET_SIDES and step in STEPS for side, step, _ in named)
    assert all("{" not in PLACEHOLDER.sub("", target.reason) for target in TARGETS)


def test_the_bounds_do_not_count_where_start_up_is_most_of_it() -> None:
    few = results(sample("rsdos", "first", 1.0, 5000), sample("restic", "first", 1.1, 5000))
    assert "| CPU | 0.91 × (≤ 0.8) | – |" in "\n".join(datasets_section(few))  # noqa: RUF001


def test_what_was_stopped_is_no_figure() -> None:
    text = "\n".join(
        datasets_section(results(sample("rsdos", "first", 1.0), sample("git", "first", 9.0, is_stopped=True)))
    )
    assert "times `git add`" not in text
    assert "stopped after 18 s" in text


def test_the_targets_name_sides_and_steps_that_there_are() -> None:
    for target in TARGETS:
        assert target.other in DATASET_SIDES and {target.step, target.other_step or target.step} <= set(STEPS)
    assert len(FIGURES) == 10


def test_a_program_that_is_not_installed_says_where_it_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("benchmarks.datasets_sides.ROOT", Path("/nowhere"))
    assert Restic.fault() == "restic is not installed (apt install restic)"
