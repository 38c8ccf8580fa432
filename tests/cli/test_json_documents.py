"""What each command prints with ``--json`` is what the page of it promises, member by member."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections import defaultdict
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rsdos import Container
from rsdos.cli.json_documents import DOCUMENTS
from rsdos.cli.json_schema import DIALECT, SchemaWriter, commands_with_json, has_stats, schema_of_command
from rsdos.cli.main import rsdos
from tests.data import noise
from tests.helpers import ABSENT, flip

jsonschema = pytest.importorskip("jsonschema")  # Not where only the lowest versions of rsdos's own packages are.

DRY = "--dry-run"
CHANGES = ("each line but the last", "the last line")

Printed = dict[tuple[str, str], list[Any]]
"""Documents, by command and by what they are for."""


def name_of(words: list[str]) -> str:
    """The command of a command line."""
    rest = words[2:] if words[0] == "-p" else words
    return next(name for name in (" ".join(rest[:2]), rest[0]) if name in DOCUMENTS)


class Runs:
    """Runs command lines in this process, and keeps what they print."""

    def __init__(self) -> None:
        self.printed: Printed = defaultdict(list)

    def __call__(self, line: str, when: str = "", last: str = "", code: int = 0) -> None:
        words = line.split()
        done = CliRunner().invoke(rsdos, [*words, "--json"], input="from standard input", standalone_mode=False)
        assert (done.exception, done.return_value or 0) == (None, code), (line, done.output)
        lines = done.stdout.splitlines() if "line" in when else [done.stdout]
        if last:
            self.printed[name_of(words), last].append(json.loads(lines.pop()))
        assert lines, line
        self.printed[name_of(words), when] += map(json.loads, lines)

    def quietly(self, line: str) -> None:
        """Run what has no ``--json``, or is not looked at."""
        done = CliRunner().invoke(rsdos, line.split())
        assert done.exit_code == 0, (line, done.output, done.exception)


def keep_a_directory(run: Runs) -> None:
    Path("data/below").mkdir(parents=True)
    Path("data/a.txt").write_text("one\n")
    Path("data/b.txt").write_text("two\n")
    Path("data/c.txt").write_text("three\n" * 100)
    Path("data/below/link").symlink_to("../a.txt")
    Path(os.fsdecode(b"data/latin-\xe9")).write_text("a name that is no UTF-8\n")
    with tarfile.open("data.tar", "w") as archive:
        archive.add("data/a.txt", "a.txt")
    run("add-files -r data", "each line")
    run("add-files -r data - --dry-run", "each line, --dry-run")
    run("save flowers data --dry-run")
    run("save flowers data --stats --times --modes -m first --meta a=1")
    run("save flowers data")
    run("import archived data.tar")
    run("list", "each line")
    run("list --long", "each line, --long")
    run("status")
    run("doctor")
    run("ls -r flowers", "each line")
    run("ls -d flowers", "each line, --directories")
    run("show flowers")
    run("inspect loose", "each line")
    run("inspect packed")
    run("inspect pack 1")
    run("inspect object flowers:a.txt")
    run("checkout flowers out --dry-run")
    run("checkout flowers out")
    shutil.move("out/b.txt", "out/renamed.txt")
    Path("out/a.txt").write_text("changed\n")
    Path("out/new.txt").write_text("new\n")
    Path("out/c.txt").unlink()
    run("status out", "DIR, each line but the last", "DIR, the last line")
    run("checkout flowers out", code=1)
    run("diff flowers ./out", *CHANGES)
    run("save flowers out --times --modes")
    run("diff flowers@1 flowers", *CHANGES)
    run.quietly("tag first flowers@1")
    run("log", "each line")
    run("log flowers", "each line")
    run("log --operations", "each line, --operations")
    run("undo --dry-run")
    run("undo")
    run("forget flowers --keep-last 1 --dry-run")
    run("forget archived@1")
    run("gc --dry-run", DRY)
    run("gc")


def maintain(run: Runs) -> None:
    run("optimize --dry-run", DRY)
    run("optimize pack --dry-run", DRY)
    run("optimize pack --no-clean")
    run("optimize clean --dry-run", DRY)
    run("optimize clean")
    for number in range(3):
        Path(f"{number}.txt").write_bytes(noise(1000, number))
        run(f"add-files --to packed {number}.txt", "each line")
    run(f"delete {ABSENT}", code=1)
    run(f"delete {ABSENT} --dry-run --ignore-missing")
    listed = CliRunner().invoke(rsdos, ["list"]).stdout.split()
    Path("keys").write_text("\n".join(listed[1:]))
    run("delete --keep-from-file keys --dry-run", "--keep-from-file, --dry-run")
    run("delete --keep-from-file keys", "--keep-from-file")
    run("optimize repack --min-dead 0 --dry-run", DRY)
    run("optimize repack --min-dead 0")
    run("optimize --stats")
    run("validate --dry-run", DRY)
    run("validate --full")
    run("status")
    run("extract everything")
    run("backup backups --dry-run", DRY)
    run("backup backups --verify")
    run("status")
    run("restore backups restored --dry-run", DRY)
    run("restore backups restored --verify")
    run.quietly("-p other init")
    run("transfer container other --dry-run", DRY)
    run("transfer container other")
    run.quietly("-p old init --format 1")
    run("-p old add-files 0.txt", "each line")
    run("migrate old --dry-run", DRY)
    run("migrate old")


def copy_to_remotes(run: Runs) -> None:
    run.quietly("-p disk init")
    run.quietly("remote add disk disk")
    run("remote list", "each line")
    run("push disk --dry-run", DRY)
    run("push disk --stats")
    run("fetch disk")
    run("pull disk --dry-run", DRY)
    run("pull disk")
    run("-p other status")
    run("status --remote disk", "--remote")
    run("remote list", "each line")
    run("clone disk clone")
    url = f"file://{os.getcwd()}/bucket"
    run.quietly(f"init {url}")
    run(f"-p {url} add-files 0.txt 1.txt", "each line")
    run(f"-p {url} collect --dry-run", DRY)
    run(f"-p {url} collect")
    run(f"-p {url} optimize")
    run(f"-p {url} status")
    run(f"clone --lazy {url} lazy", "--lazy")
    run.quietly(f"remote add far {url}")
    run("remote probe far --dry-run", DRY)
    run("remote probe far")
    run("remote list", "each line")


def damage(run: Runs) -> None:
    """Findings and remedies are there only where something is damaged."""
    with Container("damaged") as container:
        container.init_container()
        keys = container.insert_many([noise(3000, 1), noise(3000, 2)])
        extent = container.meta(keys[0]).extent
    assert extent is not None
    flip(Path(f"damaged/packed/{extent.pack_id:010}.pack"), extent.offset + 10)
    run("-p damaged validate", code=1)
    run("-p damaged repair objects --dry-run", DRY, code=1)
    run("transfer damaged other", code=1)
    run("-p damaged repair objects --quarantine", code=1)
    shutil.rmtree("damaged/index")
    run("-p damaged repair index --dry-run", DRY, code=1)
    run("-p damaged repair index")


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Printed:
    """What all commands print."""
    run = Runs()
    with chdir(tmp_path_factory.mktemp("documents")):
        run.quietly("init")
        for part in (keep_a_directory, maintain, copy_to_remotes, damage):
            part(run)
    return run.printed


def test_every_command_with_json_has_its_documents_described() -> None:
    assert sorted(commands_with_json(rsdos)) == sorted(DOCUMENTS)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_a_document_has_the_members_that_are_promised_and_no_others(printed: Printed, name: str) -> None:
    command = commands_with_json(rsdos)[name]
    for document in DOCUMENTS[name]:
        writer = SchemaWriter(closed=True)
        schema = writer.document(document, has_stats(command))
        schema |= {"$schema": DIALECT, "$defs": writer.definitions}
        found = printed[name, document.when]
        assert found, f"no run of {name} prints this: {document.when}"
        for one in found:
            jsonschema.validate(one, schema)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_the_schema_of_a_command_is_one_and_takes_what_the_command_prints(printed: Printed, name: str) -> None:
    schema = schema_of_command(name, commands_with_json(rsdos)[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    for document in DOCUMENTS[name]:
        jsonschema.validate({**printed[name, document.when][0], "member of a later release": 1}, schema)


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_what_was_asked_for_is_no_part_of_the_answer(printed: Printed, name: str) -> None:
    """Its names would be a promise, and are those of Python. The options of a remote are those of its URL."""
    for (command, _), documents in printed.items():
        assert command != name or name == "remote list" or all("options" not in document for document in documents)


def test_what_is_no_such_document_is_refused(printed: Printed) -> None:
    schema = schema_of_command("save", commands_with_json(rsdos)["save"])
    (first, *_) = printed["save", ""]
    for member, value in (("files", "six"), ("version", None), ("changed", [])):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**first, member: value}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: value for name, value in first.items() if name != "tree"}, schema)
