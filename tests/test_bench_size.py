"""`make bench-size` on little data: it measures, and its part of the page shows what was measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.corpora import CORPORA
from benchmarks.size import SizeResults, SizeSample, read_sizes
from benchmarks.size_report import size_section
from tests.helpers import ROOT


def test_sides_are_measured_and_shown(tmp_path: Path) -> None:
    sides = ("ours", "ours-plain", "zip", "frames")
    command = [sys.executable, "-m", "benchmarks.size", "sources-4k", "--json", str(tmp_path / "size.json")]
    command += ["--work", str(tmp_path), *(f"--sides={side}" for side in sides)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    results = read_sizes(tmp_path / "size.json")
    samples = {sample.side: sample for sample in results.samples}
    assert set(samples) == set(sides)
    assert 0 < samples["ours"].stored < samples["ours-plain"].stored < samples["ours"].size
    assert samples["frames"].length < samples["zip"].length < samples["ours"].size
    assert samples["ours"].reads == samples["ours"].objects and samples["frames"].reads == 0
    assert samples["ours"].bulk and samples["ours-plain"].bulk and samples["zip"].bulk is None
    training, choosing = samples["ours"].training, samples["ours"].choosing
    assert training and choosing and 0 < training < choosing < samples["ours"].insert
    assert samples["ours-plain"].training is None
    page = "\n".join(size_section(results))
    assert "| its objects below 4 KB |" in page and "not measured" in page
    shares = (f" {100 * share / samples['ours'].insert:.2g} % |" for share in (training, choosing))
    assert f"| its objects below 4 KB |{''.join(shares)}" in page


def test_figures_that_an_older_run_has_not_are_shown_as_not_measured() -> None:
    sample = SizeSample("json-180", "ours", 1000, 180_000, 150_000, 45_000, 0.1, 0.0, 10, 0.1)
    page = "\n".join(size_section(SizeResults("quick", {}, [sample], [])))
    assert "| training alone, of the time of an insert, records | not measured (≤ 0.03) | open |" in page
    assert "Dictionaries, of the time" not in page


def test_the_page_says_why_a_side_has_no_figure_at_a_million_records() -> None:
    def sample(corpus: str, side: str, objects: int, insert: float) -> SizeSample:
        return SizeSample(corpus, side, objects, 180 * objects, 150 * objects, 0, insert, 1.0, 0, 0.0)

    samples = [sample("json-180", side, 100_000, 59.0) for side in ("ours", "sqlite", "git", "zip")]
    large = [sample("json-180-1m", side, 1_000_000, 9.0) for side in ("ours", "sqlite")]
    told = "A dash at 1,000,000 records: the side was not run with them. At the rates of 100,000"
    page = "\n".join(size_section(SizeResults("full", {}, samples + large, [])))
    assert f"{told} these sides would take 20 minutes more." in page
    for others in (samples, samples[:2] + large):
        assert told not in "\n".join(size_section(SizeResults("full", {}, others, [])))


@pytest.mark.parametrize(
    "corpus", [corpus for corpus in CORPORA if corpus.most > 1 and not corpus.full_only], ids=lambda one: one.name
)
def test_a_corpus_is_the_same_in_every_run(corpus: type[object]) -> None:
    first, second = (list(corpus.objects(0.001)) for _ in range(2))  # type: ignore[attr-defined]
    assert first == second and all(first)
