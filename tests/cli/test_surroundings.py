"""The command line where things around it are not as they should be: streams, names, files, and what is imported."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from rsdos.model import FRAME_SIZE
from tests.cli.conftest import Run


def key_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def imported_by(tmp_path: Path, *arguments: str) -> set[str]:
    """The modules that a command imports."""
    code = (
        "import sys\nfrom rsdos.cli.entry import main\n"
        "try:\n    main()\nfinally:\n    open('modules', 'w').write(' '.join(sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, check=True)
    return set((tmp_path / "modules").read_text().split())


def of_rsdos(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] == "rsdos"}


def test_the_version_costs_no_store(tmp_path: Path) -> None:
    imported = imported_by(tmp_path, "--version")
    assert of_rsdos(imported) == {"rsdos", "rsdos.version", "rsdos.cli", "rsdos.cli.entry"}
    assert not imported & {"click", "typing"}


STATUS = {
    "rsdos", "rsdos.cli", "rsdos.cli.entry", "rsdos.cli.exit_codes", "rsdos.cli.fast_path", "rsdos.cli.process",
    "rsdos.cli.render", "rsdos.cli.session", "rsdos.cli.show_status", "rsdos.codecs", "rsdos.codecs.checksum",
    "rsdos.codecs.spec", "rsdos.config", "rsdos.cpu", "rsdos.engine", "rsdos.engine.engine", "rsdos.engine.formats",
    "rsdos.errors", "rsdos.figures", "rsdos.hashing", "rsdos.index", "rsdos.index.cache", "rsdos.index.commits",
    "rsdos.index.index", "rsdos.index.last_commit", "rsdos.index.loading",
    "rsdos.index.manifest", "rsdos.index.opening", "rsdos.index.pack_entry",
    "rsdos.index.packs", "rsdos.index.partial", "rsdos.index.pruning",
    "rsdos.index.runs", "rsdos.index.segment", "rsdos.index.segment_layout",
    "rsdos.index.state",
    "rsdos.index.view", "rsdos.layout",
    "rsdos.maintenance", "rsdos.maintenance.backup", "rsdos.maintenance.backup.last_backup",
    "rsdos.maintenance.status", "rsdos.model", "rsdos.names", "rsdos.pack", "rsdos.pack.format", "rsdos.pack.reader",
    "rsdos.root",
    "rsdos.standard", "rsdos.storage", "rsdos.storage.base", "rsdos.storage.checked_json",
    "rsdos.storage.descriptors", "rsdos.storage.directory", "rsdos.storage.local",
    "rsdos.storage.local_views", "rsdos.storage.locks",
    "rsdos.storage.mounts", "rsdos.storage.permissions", "rsdos.storage.posix", "rsdos.stores", "rsdos.stores.loose",
    "rsdos.stores.loose.paths", "rsdos.stores.order", "rsdos.stores.packed", "rsdos.stores.packed.stats",
    "rsdos.stores.stats", "rsdos.version",
}  # fmt: skip
"""All of rsdos that counting may cost."""


def test_a_status_costs_what_counts_and_nothing_else(run: Run, tmp_path: Path) -> None:
    run("init")
    (tmp_path / "data").write_bytes(b"data")
    run("add-files", "--to", "packed", "data")
    run("add-files", "--to", "loose", "data")
    for flags in ([], ["--json"]):
        imported = imported_by(tmp_path, "status", *flags)
        assert of_rsdos(imported) == STATUS
        assert not imported & {
            "click",
            "dataclasses",
            "inspect",
            "logging",
            "numpy",
            "rich",
            "sqlite3",
            "uuid",
            "zstandard",
        }


OF_CHECKS = {
    "rsdos.pack.scanning",
    "rsdos.stores.findings",
    "rsdos.stores.loose.check",
    "rsdos.stores.pack_maintenance",
}


@pytest.mark.parametrize("arguments", [["list"], ["cat-file", key_of(b"data")]])
def test_a_small_read_costs_no_numpy_and_no_maintenance(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    run("init")
    (tmp_path / "data").write_bytes(b"data")
    run("add-files", "data")
    imported = imported_by(tmp_path, *arguments)
    assert "rsdos.stores.loose.store" in imported
    assert not imported & {"rich", "sqlite3", "logging", "rsdos.stores.packed.writer"}
    assert not imported & OF_CHECKS


@pytest.mark.parametrize(
    "arguments", [["status", "many"], ["ls", "-r", "many"], ["diff", "many@1", "many@2"]], ids=lambda some: some[0]
)
def test_what_reads_the_pages_of_two_thousand_names_costs_no_numpy(
    run: Run, tmp_path: Path, arguments: list[str]
) -> None:
    run("init")
    for number in range(2000):
        directory = tmp_path / "many" / str(number % 40)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"a file with a long name, {number}").write_bytes(b"")
    run("save", "many", "many")
    for number in range(40):
        (tmp_path / "many" / str(number) / "another").write_bytes(b"")
    run("save", "many", "many")
    assert "numpy" not in imported_by(tmp_path, *arguments)


@pytest.mark.parametrize("place", ["loose", "packed"])
def test_an_insert_costs_nothing_that_only_checks_need(run: Run, tmp_path: Path, place: str) -> None:
    run("init")
    (tmp_path / "data").write_bytes(b"data")
    imported = imported_by(tmp_path, "add-files", "--to", place, "data")
    assert "rsdos.stores.loose.insert" in imported
    assert not imported & OF_CHECKS


def shell(tmp_path: Path, redirection: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    line = f'exec "$0" -m rsdos "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", line, sys.executable, *arguments], cwd=tmp_path, capture_output=True, check=False
    )


@pytest.mark.parametrize("arguments", [["--version"], ["list"], ["add-files", "data"]])
def test_a_closed_stdout_is_one_line_and_nothing_is_stored(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "data").write_bytes(b"data")
    run("init")
    done = shell(tmp_path, ">&-", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(b"rsdos: error: standard output is closed") and done.stderr.count(b"\n") == 1
    assert run("list").stdout == ""


def test_a_closed_stderr_gets_nothing_into_the_container(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    run("init")
    done = shell(tmp_path, "2>&-", "add-files", "--to", "packed", "missing", "data")
    assert done.returncode == 1
    assert run("list").stdout == key_of(b"data") + "\n"
    assert run("cat-file", key_of(b"data")).stdout == "data"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["status", "list", "cat-file"])
def test_a_full_stdout_is_one_line(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "data").write_bytes(b"data")
    run("init")
    run("add-files", "data")
    arguments = [command, key_of(b"data")] if command == "cat-file" else [command]
    done = shell(tmp_path, ">/dev/full", *arguments)
    assert done.returncode == 1
    assert done.stderr == b"rsdos: error: standard output: No space left on device\n"


def test_usage_errors_are_one_line(run: Run) -> None:
    for arguments in (["nonsense"], ["optimize", "nothing"], ["init", "--nonsense"], ["add-files"]):
        stderr = run(*arguments, code=2).stderr
        assert stderr.startswith("rsdos: error: ") and stderr.count("\n") == 1
        assert "--help')" in stderr


def test_no_two_names_look_the_same_and_none_reaches_the_terminal(run: Run, tmp_path: Path) -> None:
    names = {b"a\nb": "a\\nb", b"a\\nb": "a\\\\nb", b"\x1b[31mred": "\\x1b[31mred", b"\xff": os.fsdecode(b"\xff")}
    (tmp_path / "tree").mkdir()
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"tree", name))).write_bytes(name)
    run("init")
    lines = run("add-files", "-r", "./tree//").stdout.splitlines()
    assert set(lines) == {f"{key_of(name)} - tree/{shown}: {len(name)} B" for name, shown in names.items()}
    rows = [json.loads(line) for line in run("add-files", "-r", "tree", "--json").stdout.splitlines()]
    assert {row["key"]: os.fsencode(row["path"]) for row in rows} == {key_of(name): b"tree/" + name for name in names}


def test_links_are_followed_when_named_and_passed_over_in_a_tree(run: Run, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "target").write_bytes(b"target")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "target")
    (tmp_path / "tree" / "loop").symlink_to(tmp_path / "tree")
    os.mkfifo(tmp_path / "tree" / "fifo")
    run("init")
    done = run("add-files", "-r", "tree")
    assert done.stdout == ""
    assert "skipped 3 names of links and special files" in done.stderr
    assert run("add-files", "tree/link").stdout == f"{key_of(b'target')} - tree/link: 6 B\n"
    assert "not a regular file" in run("add-files", "tree/fifo", code=1).stderr


def test_a_tree_that_holds_the_container_is_stored_without_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    run("init")
    assert run("add-files", "-r", ".").stdout == f"{key_of(b'data')} - data: 4 B\n"
    assert run("add-files", "-r", ".").stdout == f"{key_of(b'data')} - data: 4 B\n"


@pytest.mark.parametrize("place", ["loose", "packed"])
def test_a_file_that_changes_is_named_and_the_rest_of_its_chunk_stored(run: Run, tmp_path: Path, place: str) -> None:
    """/proc/self/mem says that it has no bytes, opens, and then cannot be read: it goes bad behind the check."""
    if not os.path.exists("/proc/self/mem"):
        pytest.skip("needs /proc")
    large = bytes(FRAME_SIZE + 1)
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(large)
    run("init")
    done = run("add-files", "--to", place, "large", "/proc/self/mem", "small", code=1)
    assert done.stdout == f"{key_of(large)} - large: 1.0 MB\n{key_of(b'small')} - small: 5 B\n"
    assert done.stderr.count("\n") == 1 and "/proc/self/mem" in done.stderr
    assert set(run("list").stdout.split()) == {key_of(large), key_of(b"small")}


def test_a_list_of_names_with_newlines_in_them(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a\nb").write_bytes(b"odd")
    (tmp_path / "c").write_bytes(b"even")
    run("init")
    done = run("add-files", "--from-file", "-", stdin=b"a\nb\0c\0")
    assert done.stdout == f"{key_of(b'odd')} - a\\nb: 3 B\n{key_of(b'even')} - c: 4 B\n"
    assert run("add-files", "-0", "--from-file", "-", stdin=b"a\nb").stdout == f"{key_of(b'odd')} - a\\nb: 3 B\n"


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_command_has_no_threads_of_numpy_unless_the_user_asks(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom rsdos.cli.entry import main\nsys.argv = ['rsdos', '--version']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nimport numpy\nprint(len(os.listdir('/proc/self/task')))"
    )
    own = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for more in ({}, {"OPENBLAS_NUM_THREADS": "2"}):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=own | more, check=True
        )
        expected = min(int(more.get("OPENBLAS_NUM_THREADS", 1)), len(os.sched_getaffinity(0)))
        assert done.stdout.split()[-1] == str(expected)


@pytest.mark.parametrize(
    "command",
    [
        ("add-files", "--from-file", "-"),
        ("delete", "--from-file", "-"),
        ("delete", "--keep-from-file", "-"),
        ("extract", "out", "--from-file", "-"),
        ("transfer", "container", "other", "--from-file", "-"),
    ],
    ids=" ".join,
)
def test_closed_standard_input_is_reported(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    run("init")
    run("-p", "other", "init")
    line = '"$@" <&-'
    done = subprocess.run(
        ["sh", "-c", line, "sh", sys.executable, "-m", "rsdos", *command], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2 and "standard input is closed" in done.stderr, done.stderr


@pytest.mark.skipif(os.geteuid() == 0 and not which("setpriv"), reason="root reads everything")
def test_a_named_file_without_permission_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good").write_text("good")
    (tmp_path / "secret").touch(mode=0)
    (tmp_path / "closed").mkdir(mode=0)
    run("init")
    # Root without its rights.
    prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    command = (*prefix, sys.executable, "-m", "rsdos", "add-files", "-r", "good", "secret", "closed")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == f"{key_of(b'good')} - good: 4 B\n", done.stderr
    for name in ("secret", "closed"):
        assert f"rsdos: error: {name}: Permission denied" in done.stderr
