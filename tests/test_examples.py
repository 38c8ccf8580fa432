"""Each file of `examples/` does what it says.

Those whose libraries are missing are skipped here: `make examples` and `make doors` have them. AiiDA's session is a
step of `make aiida`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rsdos import Container
from tests.helpers import ROOT, flip

EXAMPLES = ROOT / "examples"
NOTEBOOK = EXAMPLES / "tour.ipynb"
FILES = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb"))
HEADER = re.compile(r"Shows: +\S.*\n+Needs: +\S.*\n+Run: +\S")


def needs(*libraries: str, target: str = "make examples") -> pytest.MarkDecorator:
    missing = [library for library in libraries if find_spec(library) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed: `{target}` has it")


def run(name: str, *arguments: str | Path, code: int = 0) -> str:
    """Run an example, and return what it prints."""
    command = [sys.executable, EXAMPLES / name, *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def cells(kind: str) -> list[str]:
    """The sources of the notebook's cells of one kind."""
    notebook = json.loads(NOTEBOOK.read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("name", FILES)
def test_an_example_says_what_it_shows_and_needs_and_how_it_is_run(name: str) -> None:
    beginning = cells("markdown")[0] if name == NOTEBOOK.name else (EXAMPLES / name).read_text()
    assert HEADER.search(beginning.replace("  \n", "\n"))
    assert name in beginning


def test_the_index_has_every_example() -> None:
    assert re.findall(r"^\| \[(\S+)\]\(\1\) ", (EXAMPLES / "README.md").read_text(), re.MULTILINE) == [
        "tour.ipynb",
        *("train.py", "cube.py", "aiida_session.py", "maintain.py", "dask_ingest.py"),
    ]
    assert len(FILES) == 6


def test_the_notebook_is_kept_without_outputs() -> None:
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@needs("nbclient", "ipykernel", "pandas")
def test_the_notebook_runs_and_shows_tables(tmp_path: Path) -> None:
    done = tmp_path / "done.ipynb"
    program = (
        "import sys, nbformat, nbclient\n"
        "notebook = nbformat.read(sys.argv[1], 4)\n"
        "nbclient.NotebookClient(notebook, timeout=None, kernel_name='python3').execute()\n"
        "nbformat.write(notebook, sys.argv[2])"
    )
    # No user's settings of Jupyter.
    own = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "JUPYTER_NO_CONFIG": "1"}
    subprocess.run([sys.executable, "-c", program, NOTEBOOK, done], env=own, check=True, capture_output=True)
    results = [
        output["data"]
        for cell in json.loads(done.read_text())["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "execute_result"
    ]
    tables = ["".join(data["text/html"]) for data in results if "text/html" in data]
    assert [re.findall(r"<strong>(\w+)", table) for table in tables if "<strong>" in table] == [
        ["SaveReport"],
        ["Container"],
        ["Snapshot"],
        ["SaveReport"],
        ["OptimizeReport"],
        ["ValidateReport"],
    ]
    texts = ["".join(data["text/plain"]) for data in results]
    changed = {("modified", "labels.csv"), ("removed", "images/007.raw"), ("added", "images/200.raw")}
    assert any(text.startswith("[(") and set(eval(text)) == changed for text in texts)
    assert texts.count("True") == 1 and any("left_only" in text and "right_only" in text for text in texts)


@needs("torch")
def test_training_learns_from_the_files_of_a_snapshot(tmp_path: Path) -> None:
    printed = run("train.py", tmp_path / "container")
    assert int(re.findall(r"epoch 5: (\d+)% right", printed)[0]) > 85
    snapshot = Container(tmp_path / "container").snapshots["images@1"]
    assert printed.endswith(f"trained on images@1, 2000 files, {snapshot.key[:8]}\n")


@needs("zarr", "xarray")
def test_a_cube_is_read_by_slices_and_its_second_version_stores_the_chunk_that_changed(tmp_path: Path) -> None:
    printed = run("cube.py", tmp_path / "container")
    assert "mean of six hours in the north: 15.0" in printed
    assert "changed in weather@2: cube.zarr/temperature/c/7/0/0\nnew objects: 1\n" in printed


@needs("distributed", target="make unit")
def test_the_workers_of_dask_store_a_directory(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / "data" / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / f"{number % 3}" / f"{number}.txt").write_text(f"file {number // 2}\n")
    for _ in range(2):  # The second run stores nothing twice.
        printed = run("dask_ingest.py", tmp_path / "container", tmp_path / "data")
        assert printed.startswith("30 files, ") and printed.endswith(" bytes, 15 objects\ngood\n")
        assert len(Container(tmp_path / "container")) == 15


def figures_in(path: Path) -> dict[str, float]:
    """The figures of a file in the text format of Prometheus, without the label of the container."""
    lines = [line.rsplit(" ", 1) for line in path.read_text().splitlines() if not line.startswith("#")]
    return {re.sub(r'container="[^"]*",?', "", name): float(value) for name, value in lines}


def test_the_service_packs_validates_and_backs_up_and_tells_prometheus(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        key = container.insert(b"data")
    run("maintain.py", tmp_path / "container", tmp_path / "backups", "--metrics", tmp_path / "rsdos.prom")
    figures = figures_in(tmp_path / "rsdos.prom")
    assert figures["rsdos_attention{}"] == 0 and figures['rsdos_last_validation_damage{kind="damaged"}'] == 0
    assert (figures['rsdos_objects{place="loose"}'], figures['rsdos_objects{place="packed"}']) == (0, 1)
    assert {f'rsdos_maintenance_seconds{{step="{step}"}}' for step in ("optimize", "validate", "backup")} <= set(
        figures
    )
    Container.restore(tmp_path / "backups", tmp_path / "restored")
    assert Container(tmp_path / "restored").extract(key) == b"data"


def test_the_service_makes_no_backup_of_a_damaged_container_and_says_so(tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        key = container.insert(b"data" * 100, to="packed")
        extent = container.meta(key).extent
    assert extent is not None
    (pack,) = (tmp_path / "container" / "packed").glob("*.pack")
    flip(pack, extent.offset)
    metrics = tmp_path / "rsdos.prom"
    run("maintain.py", tmp_path / "container", tmp_path / "backups", "--metrics", metrics, code=1)
    figures = figures_in(metrics)
    assert figures["rsdos_attention{}"] == 1 and figures['rsdos_last_validation_damage{kind="damaged"}'] == 1
    assert 'rsdos_maintenance_seconds{step="backup"}' not in figures
    assert not (tmp_path / "backups").exists()
    run("maintain.py", tmp_path / "missing", tmp_path / "backups", "--metrics", metrics, code=1)
    assert not figures_in(metrics)
