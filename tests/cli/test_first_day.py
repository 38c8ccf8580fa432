"""What a newcomer tries on the first day: trees with the container in them, one rule for names, streams, monitoring."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import which

import click
import pytest

from rsdos import Container
from rsdos.ingest.patterns import Excluded
from rsdos.model import FRAME_SIZE
from tests.cli.conftest import Run
from tests.data import key_of, noise
from tests.helpers import flip, tree
from tests.warm import warm


def keys_in(run: Run, *path: str) -> set[str]:
    return set(run(*path, "list").stdout.split())


# A command never stores or overwrites the container that it works on.


def test_a_list_of_names_leaves_the_container_out(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more").write_bytes(b"more")
    run("init")
    run("add-files", "data")
    os.symlink("container", tmp_path / "other-way")
    found = subprocess.run(["find", "-L", ".", "-print0"], cwd=tmp_path, capture_output=True, check=True).stdout
    done = run("add-files", "-0", "--from-file", "-", stdin=found)
    assert sorted(line.split(" - ")[1] for line in done.stdout.splitlines()) == ["data: 4 B", "sub/more: 4 B"]
    assert "of the container itself" in done.stderr and "of directories" in done.stderr
    assert keys_in(run) == {key_of(b"data"), key_of(b"more")}


@pytest.mark.parametrize("name", ["container", "container/loose", "container/config.json", "way/index", "."])
def test_a_name_in_the_container_is_passed_over(run: Run, tmp_path: Path, name: str) -> None:
    run("init")
    os.symlink("container", tmp_path / "way")
    run("add-files", "-r", name)
    run("add-files", "--from-file", "-", stdin=name.encode())
    assert keys_in(run) == set()


@pytest.mark.parametrize("name", ["container", "container/loose/new", "way", "container/../container/x/y"])
def test_nothing_is_extracted_into_the_container(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "data").write_bytes(b"data")
    run("init")
    os.symlink("container", tmp_path / "way")
    run("add-files", "data")
    before = sorted(tmp_path.rglob("*"))
    assert "is inside the container itself" in run("extract", name, code=2).stderr
    assert "is inside the container itself" in run("cat-file", key_of(b"data"), "-o", f"{name}/file", code=2).stderr
    assert sorted(tmp_path.rglob("*")) == before
    run("cat-file", key_of(b"data"), "-o", "container/config.json", code=2)
    run("extract", "elsewhere")


# One rule for each: where the container is, what a key is, what a missing one is.


def test_init_takes_the_path_of_the_container(run: Run, tmp_path: Path) -> None:
    assert run("init", "here").stdout == "[info] Container initialized at here\n"
    assert (tmp_path / "here" / "config.json").exists()
    assert "either" in run("-p", "there", "init", "here", code=2).stderr
    assert "is a container already" in run("init", "here", code=1).stderr


@pytest.mark.parametrize("name", ["container/new", "container/loose/ab/new", "link/new", "backups/last-backup/new"])
@pytest.mark.parametrize("command", ["init", "migrate container", "restore backups", "clone source"])
def test_no_container_is_made_inside_another(run: Run, tmp_path: Path, command: str, name: str) -> None:
    """It was a foreign file of that, in no backup of it, and gone where that was cleared."""
    run("init")
    run("add-files", "-", stdin=b"data")
    run("backup", "backups")
    run("init", "source")
    (tmp_path / "link").symlink_to("container")
    before = tree(tmp_path / "container")
    code = 2 if command == "restore backups" and name.startswith("backups") else 1  # That it knew already.
    assert "inside" in run(*command.split(), name, code=code).stderr
    assert tree(tmp_path / "container") == before


def test_a_configuration_of_somebody_else_above_is_no_container(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"name": "of another program"}')
    run("init", "deep/er/container")


def test_a_usage_error_is_one_line(run: Run) -> None:
    message = run("completion", code=2).stderr
    assert message.count("\n") == 1 and "\\n" not in message


def test_the_option_for_the_path_is_obeyed_by_all(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    key = key_of(b"data")
    run("-p", "one", "init", "--format", "1")
    run("-p", "one", "add-files", "data")
    run("-p", "one", "migrate", "two")
    assert keys_in(run, "-p", "two") == {key}
    run("-p", "three", "init")
    run("-p", "three", "transfer", "two", key[:8])
    assert keys_in(run, "-p", "three") == {key}
    run("-p", "three", "backup", "backups")
    run("-p", "four", "restore", "backups")
    assert keys_in(run, "-p", "four") == {key}
    run("-p", "one", "migrate")
    assert json.loads((tmp_path / "one" / "config.json").read_text())["container_version"] == 2
    run("-p", "four", "restore", "backups", "five", code=2)
    run("-p", "one", "migrate", "x", "y", code=2)


def test_the_beginning_of_a_key_will_do(run: Run, tmp_path: Path) -> None:
    run("init")
    run("init", "other")
    contents = [b"%d" % number for number in range(4)]
    with Container(tmp_path / "container") as container:
        container.insert_many(contents)
    keys = [key_of(data) for data in contents]
    run("extract", "out", keys[0][:6], keys[1])
    assert sorted(os.listdir(tmp_path / "out")) == sorted(keys[:2])
    run("transfer", "container", "other", keys[2][:10])
    assert keys_in(run, "-p", "other") == {keys[2]}
    assert "Deleted 1 object; missing: 0" in run("delete", keys[3][:8]).stdout
    assert keys_in(run) == set(keys[:3])
    assert "not a key" in run("delete", keys[0][:5], code=2).stderr
    assert "not a key" in run("delete", "--from-file", "-", stdin=keys[0][:8].encode(), code=2).stderr
    assert keys_in(run) == set(keys[:3])


def test_a_missing_file_is_a_failure_and_the_rest_is_done(run: Run, tmp_path: Path) -> None:
    run("init")
    with Container(tmp_path / "container") as container:
        keys = container.insert_many([b"one", b"two"])
    done = run("delete", keys[0], "0" * 64, "ffffff", code=1)
    assert "Deleted 1 object; missing: 2" in done.stdout
    assert "0" * 64 in done.stderr and "ffffff" in done.stderr
    run("delete", keys[0], "--ignore-missing")
    assert "no such object: ffffff" in run("extract", "out", "ffffff", keys[1], code=1).stderr
    assert os.listdir(tmp_path / "out") == [keys[1]]
    run("transfer", "container", "out2", "ffffff", code=1)


@pytest.mark.parametrize(("group", "command"), [((), "add-files"), (("inspect",), "loose"), (("repair",), "index")])
def test_a_group_alone_shows_its_commands(run: Run, group: tuple[str, ...], command: str) -> None:
    done = run(*group, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: rsdos ") and re.search(rf"^  {command} ", done.stderr, re.MULTILINE)


def test_objects_are_not_given_up_before_the_index_is_repaired(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        container.insert_many([b"one", noise(4000)])
        container.insert_many([b"two", noise(5000)])
    pack = tmp_path / "container" / "packed" / "0000000001.pack"
    pack.write_bytes(pack.read_bytes()[:4096])
    done = run("repair", "objects", "--dry-run", code=1)
    assert "without a good copy" not in done.stdout + done.stderr
    assert "first run: rsdos repair index" in done.stderr
    assert "repair the index first" in run("repair", "objects", "--quarantine", code=2).stderr
    run("repair", "index", code=1)


def test_monitoring_hears_of_damage_and_of_what_is_due(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        keys = container.insert_many([noise(4000 + number) for number in range(4)])
        container.insert(b"loose")
    assert run("status", "--check").stderr == ""
    assert "1 loose object, more than 0" in run("status", "--check", "--max-loose", "0", code=1).stderr
    run("delete", *keys[:3])
    warned = run("status", "--check", code=1)
    assert "are dead" in warned.stderr and "Due = repack 1 pack\n" in warned.stdout
    assert run("status", "--check", "--max-dead", "100%").stderr == ""
    pack = tmp_path / "container" / "packed" / "0000000001.pack"
    pack.write_bytes(pack.read_bytes()[:10_000])
    assert "cut short" in run("status", "--check", "--max-dead", "100%", code=1).stderr
    run("status")


def test_monitoring_hears_of_what_a_validation_has_found(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        (key,) = container.insert_many([noise(4000)])
        extent = container.meta(key).extent
    assert extent is not None
    flip(tmp_path / "container" / "packed" / "0000000001.pack", extent.offset)
    run("status", "--check")
    run("validate", code=1)
    assert "the last validation" in run("status", "--check", "--json", code=1).stderr


@pytest.mark.parametrize("version", [1, 2])
def test_a_validation_says_that_it_counts_copies(run: Run, tmp_path: Path, version: int) -> None:
    with Container.create(tmp_path / "container", container_version=version) as container:
        container.insert_many([b"in two places", b"in one"], to="loose")
        container.pack_all_loose(clean=False)
        container.delete([key_of(b"in one")])
        assert len(container) == 1
    assert "Checked 2 copies of objects, " in run("validate", "--full").stdout
    assert ", full, 2 copies of objects, " in run("status").stdout
    run("optimize", "clean")
    assert "Checked 1 copy of an object, " in run("validate", "--full").stdout


# Streams, patterns, dry runs.


@pytest.mark.parametrize("size", [0, 4, FRAME_SIZE + 1, 3 * FRAME_SIZE])
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_a_file(run: Run, tmp_path: Path, size: int, name: str) -> None:
    data = noise(size)
    run("init")
    for place in ("loose", "packed"):
        line = run("add-files", "--to", place, name, stdin=data).stdout
        assert line.startswith(f"{key_of(data)} - {name}: ")
    assert keys_in(run) == {key_of(data)}


def test_a_stream_among_files_keeps_its_place(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    run("init")
    lines = run("add-files", "one", "-", "missing", "two", stdin=b"stream", code=1).stdout.splitlines()
    assert [line.split(" - ")[0] for line in lines] == [key_of(b"one"), key_of(b"stream"), key_of(b"two")]
    assert "either" in run("add-files", "-", "--from-file", "-", code=2).stderr


def test_what_the_shell_has_opened_is_a_file(run: Run, tmp_path: Path) -> None:
    if which("bash") is None:
        pytest.skip("needs bash")
    run("init")
    line = f"{sys.executable} -m rsdos add-files <(printf one) <(printf two)"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == [key_of(b"one"), key_of(b"two")]


def test_excluded_names_are_left_out(run: Run, tmp_path: Path) -> None:
    for name in ("a.txt", "a.tmp", "sub/b.tmp", "sub/c.txt", ".git/config", "sub/.git/x", "raw/d.txt", "sub/raw/e.txt"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    run("init")
    options = ("--exclude", "*.tmp", "--exclude", ".git/", "--exclude", "/raw")
    stored = run("add-files", "-r", "tree", *options).stdout.splitlines()
    assert sorted(line.split(" - ")[1].partition(":")[0] for line in stored) == [
        "tree/a.txt", "tree/sub/c.txt", "tree/sub/raw/e.txt",
    ]  # fmt: skip
    assert "--exclude needs -r" in run("add-files", "tree/a.txt", "--exclude", "x", code=2).stderr


@pytest.mark.parametrize(
    ("pattern", "path", "is_excluded"),
    [
        ("*.tmp", "a.tmp", True),
        ("*.tmp", "x/y/a.tmp", True),
        ("*.tmp", "a.tmp.txt", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[!a-c]x", "dx", True),
        ("[]]x", "]x", True),
        ("/top", "top", True),
        ("/top", "sub/top", False),
        ("a/b", "a/b", True),
        ("a/b", "c/a/b", False),
        ("**/b", "b", True),
        ("**/b", "x/y/b", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/*.x", "a/b/c.x", False),
        ("x/**", "x/y/z", True),
        ("a+(b)", "a+(b)", True),
        ("dir/", "dir", False),
        ("two\nlines*", "two\nlines here", True),
    ],
)
def test_patterns_mean_what_they_mean_to_git(tmp_path: Path, pattern: str, path: str, is_excluded: bool) -> None:
    assert Excluded([pattern]).file(path) is is_excluded
    if which("git") is None or "\n" in pattern:
        return
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text(f"{pattern}\n")
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).touch()
    done = subprocess.run(["git", "check-ignore", "-q", path], cwd=tmp_path)
    assert (done.returncode == 0) is is_excluded


def test_a_dry_run_stores_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    run("init")
    assert run("add-files", "--dry-run", "data").stdout == "data: 4 B\n[info] 1 file to store, 4 B\n"
    assert json.loads(run("add-files", "--dry-run", "--json", "data").stdout) == {"path": "data", "size": 4}
    assert "missing" in run("add-files", "--dry-run", "missing", code=1).stderr
    assert keys_in(run) == set()


def test_quiet_prints_nothing_but_what_is_wrong(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    run("init")
    assert run("add-files", "--quiet", "data").stdout == ""
    done = run("add-files", "-q", "missing", code=1)
    assert done.stdout == "" and "missing" in done.stderr
    for command in (
        ("optimize",),
        ("validate",),
        ("optimize", "pack"),
        ("backup", "backups"),
        ("delete", key_of(b"data")),
    ):
        done = run(*command, "--quiet")
        assert (done.stdout, done.stderr) == ("", "")
    assert json.loads(run("validate", "--quiet", "--json").stdout)["is_finished"]


# Many objects through one pipe.


def test_a_batch_has_the_framing_of_git(run: Run, tmp_path: Path) -> None:
    if which("git") is None:
        pytest.skip("needs git")
    contents = [b"", b"one\n", b"no newline", noise(5000), noise(FRAME_SIZE + 5)]
    git = ("git", "-C", str(tmp_path / "repository"))
    subprocess.run(["git", "init", "-q", "repository"], cwd=tmp_path, check=True)
    names = []
    for data in contents:
        hashed = subprocess.run((*git, "hash-object", "-w", "--stdin"), input=data, capture_output=True, check=True)
        names.append(hashed.stdout.strip().decode())
    run("init")
    with Container(tmp_path / "container") as container:
        container.insert_many(contents)
    keys = [key_of(data) for data in contents]
    for option in ("--batch", "--batch-check"):
        asked = "".join(f"{name}\n" for name in (*names, "nonsense", "0" * 40)).encode()
        theirs = subprocess.run((*git, "cat-file", option), input=asked, capture_output=True, check=True).stdout
        for name, key in zip((*names, "0" * 40), (*keys, "0" * 64), strict=True):
            theirs = theirs.replace(name.encode(), key.encode())
        asked = "".join(f"{key}\n" for key in (*keys, "nonsense", "0" * 64)).encode()
        command = [*warm(), "cat-file", option]
        ours = subprocess.run(command, cwd=tmp_path, input=asked, capture_output=True, check=True).stdout
        assert ours == theirs


def test_a_batch_answers_before_the_next_is_asked(run: Run, tmp_path: Path) -> None:
    run("init")
    with Container(tmp_path / "container") as container:
        keys = container.insert_many([b"one", b"two"])
    command = [*warm(), "cat-file", "--batch"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for key, data in zip(keys, ("one", "two"), strict=True):
            process.stdin.write(f"{key[:9]}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{key} blob 3\n"
            assert process.stdout.readline() == f"{data}\n"
    assert process.returncode == 0
    run("cat-file", code=2)
    run("cat-file", "--batch", keys[0], code=2)


# Words.


def test_every_command_has_an_example(run: Run) -> None:
    from rsdos.cli.main import rsdos

    def all_of(group: click.Group, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        found = []
        with click.Context(group) as context:
            for name in group.list_commands(context):
                command = group.get_command(context, name)
                assert command is not None
                found.append((*path, name))
                if isinstance(command, click.Group):
                    found += all_of(command, (*path, name))
        return found

    commands = all_of(rsdos, ())
    assert len(commands) > 20
    with click.Context(rsdos) as context:
        for path in commands:
            command: click.Command = rsdos
            for name in path:
                assert isinstance(command, click.Group)
                inner = command.get_command(context, name)
                assert inner is not None
                command = inner
            assert "Example: " in command.get_help(click.Context(command, info_name=" ".join(path))), path


def test_nothing_is_due_after_one_add(run: Run, tmp_path: Path) -> None:
    run("init")
    for number in range(150):
        (tmp_path / f"{number}").write_text(f"{number}")
    run("add-files", "--to", "packed", "1", "2", "3")
    run("add-files", "4")
    status = run("status").stdout
    assert "Due = nothing" in status
    assert "Total = 4 objects: 1 in files of their own, 3 in 1 pack file" in status
    run("add-files", "--to", "loose", *map(str, range(150)))
    assert "Due = pack 147 loose objects" in run("status").stdout


@pytest.mark.parametrize(("loose", "tables"), [(0, 1), (1, 2), (99, 11), (100, 12), (101, 13)])
@pytest.mark.parametrize("dead", [0, 1])
def test_text_and_json_say_the_same_to_be_due(run: Run, tmp_path: Path, loose: int, tables: int, dead: int) -> None:
    with Container.create(tmp_path / "container") as container:
        first = container.insert(noise(400_000), to="packed")
        for number in range(1, tables):
            container.insert(noise(4000, number), to="packed")
        container.insert_many((b"%d" % number for number in range(loose)), to="loose")
        if dead:
            container.delete([first])
    report = json.loads(run("status", "--json").stdout)
    due = [f"pack {report['pack']} loose objects"] if report["pack"] else []
    due += [f"repack {len(report['repack'])} pack"] if report["repack"] else []
    due += [f"merge {report['merge']} tables of the index"] if report["merge"] else []
    assert f"Due = {', '.join(due) or 'nothing'}\n" in run("status").stdout
    assert (report["pack"], len(report["repack"])) == (loose if loose >= 100 else 0, dead)
    if not dead:
        assert report["merge"] == (tables if tables >= 12 else 0)
