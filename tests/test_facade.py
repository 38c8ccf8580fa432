"""Whatever the command line does, `Container` does too."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import pytest

import rsdos
from rsdos import Container, InvalidOption, Place, Progress, ReadableBy
from rsdos.cli.main import rsdos as command_line
from rsdos.facade.old_names import OldNames
from rsdos.facade.remotes import RemoteContainers
from rsdos.facade.snapshots import Snapshots
from tests.data import key_of, noise
from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text()
ROWS = dict(re.findall(r"^\| `([a-z-]+)[^|]* \| (.*) \|$", PAGE, re.MULTILINE))
PRINTS = {"completion"}
"""Commands that print what is about the command line itself."""

DOORS = {"mount"}
"""Commands whose function is in `rsdos.integrations`, a floor above `Container`."""

SAME = {
    "output", "batch", "batch_check", "long", "as_json", "stats", "quiet", "dry_run", "run", "check", "max_loose",
    "max_dead", "listed", "kept", "arguments", "paths", "files", "recursive", "from_file", "null", "ignore_missing",
    "part", "where", "key", "keys", "is_full", "is_quick", "number", "wait", "help", "operations",
    "directories", "stat", "name_only", "exit_code", "yes", "file", "name", "repack", "as_format",
}  # fmt: skip
"""Options that say what is printed, or in which way names and keys are given."""

NAMES = {
    "version": "container_version", "pack_size": "pack_size_target", "shared": "sharing", "patterns": "exclude",
    "no_link": "link", "rsync_exe": "rsync", "rsh": "shell", "timeout": "silence", "no_compress": "compress",
    "no_clean": "clean", "quarantine": "unrepairable", "extract destination": "path", "form": "format",
    "as_name": "name", "without_snapshots": "snapshots",
    "scheduler": "jobs", "remote": "name", "push pack_size": "pack_size",
    "option": "options", "endpoint": "options",
    "moment": "time", "forget names": "names", "branch name": "name", "tag tag": "name", "keep_last": "policy",
    "keep_daily": "policy", "keep_weekly": "policy", "keep_monthly": "policy", "keep_within": "policy",
}  # fmt: skip
"""Options that have another name there."""


METHODS = {"lazy"}
"""Options for which there is a method of its own."""


def commands() -> list[tuple[str, click.Command]]:
    found = []
    for name in command_line.list_commands(click.Context(command_line)):
        command = command_line.get_command(click.Context(command_line), name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(name, below) for below in command.commands.values()]
    return found


def test_every_command_has_its_methods() -> None:
    assert ROWS.keys() | PRINTS | DOORS == {name for name, _ in commands()}


def method_of(name: str) -> Callable[..., object]:
    """The method of `Container`, of its snapshots, or of its remotes."""
    kind, _, rest = name.rpartition(".")
    found: Callable[..., object] = getattr(
        {"": Container, "snapshots": Snapshots, "remotes": RemoteContainers}[kind], rest
    )
    return found


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_methods_of_a_command_exist_and_take_its_options(name: str) -> None:
    methods = re.findall(r"`((?:snapshots\.|remotes\.)?\w+)(?:\(.*?\))?`", ROWS[name])
    assert methods
    taken = {parameter for method in methods for parameter in inspect.signature(method_of(method)).parameters}
    options = {option.name for other, command in commands() if other == name for option in command.params}
    there = {option: NAMES.get(f"{name} {option}", NAMES.get(str(option), option)) for option in options}
    missing = {option for option, parameter in there.items() if parameter not in taken} - SAME - METHODS
    assert not missing


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in (Container, Snapshots)
        for name, _ in inspect.getmembers(kind, inspect.isroutine)
        if not name.startswith("_")
    ],
)
def test_a_method_describes_its_arguments(kind: type, name: str) -> None:
    method = getattr(kind, name)
    doc = inspect.getdoc(method) or ""
    assert doc
    if hasattr(OldNames, name) and name in vars(OldNames):
        return  # It names the method of ours that it is.
    wanted = {parameter for parameter in inspect.signature(method).parameters if parameter != "self"}
    if len(wanted) > 1:
        described = set(re.findall(r"^    (\w+): ", doc, re.MULTILINE)) | set(re.findall(r"``(\w+)``", doc))
        assert wanted <= described


def test_old_names_lead_to_new_ones() -> None:
    assert rsdos.Readers is ReadableBy
    assert {"add_object", "get_object_content", "pack_all_loose", "init_container"} <= vars(OldNames).keys()


WRONG: list[Callable[[Container], object]] = [
    lambda container: container.insert(b"", to="elsewhere"),
    lambda container: container.insert_many([], to="elsewhere"),
    lambda container: container.insert_many([], compress="elsewhere"),
    lambda container: container.insert_many([], trust="elsewhere"),
    lambda container: container.writer(to="elsewhere"),
    lambda container: container.keys("elsewhere"),
    lambda container: container.pack("elsewhere"),
    lambda container: container.validate("elsewhere"),
    lambda container: container.repair_objects(depth="elsewhere"),
    lambda container: container.repair_objects(unrepairable="elsewhere"),
    lambda container: container.engine.objects.insert_many([], to="elsewhere"),
    lambda container: Container.create(container.path / "x", sharing="elsewhere"),
    lambda container: Container.create(container.path / "x", readers="elsewhere"),
    lambda container: Container.create(container.path / "x", durability="elsewhere"),
]


@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_string_is_named_with_the_right_ones(tmp_path: Path, call: Callable[[Container], object]) -> None:
    container = Container.create(tmp_path / "container")
    with pytest.raises(InvalidOption, match=r" is \".* or \".*, not 'elsewhere'"):
        call(container)


def test_the_operations_do_what_the_commands_do(tmp_path: Path) -> None:
    objects = {key_of(data): data for data in (noise(3000, seed) for seed in range(20))}
    with Container.create(tmp_path / "container") as container:
        keys = container.insert_many(objects.values(), to="loose")
        assert set(container.keys("loose")) == objects.keys() and not set(container.keys(Place.PACKED))
        assert container.pack(clean=False).objects == 20
        assert set(container.keys("packed")) == set(container.keys("loose")) == set(container.keys()) == objects.keys()
        assert container.clean().cleaned == 20
        assert {copy.place for copy in container.inspect_object(keys[0]).copies} == {Place.PACKED}
        assert container.inspect_pack(1).pack_id == 1 and len(container.inspect_packed().packs) == 1
        assert not list(container.inspect_loose())
        assert container.delete(keys[:5]) == keys[:5]
        assert container.repack(pack_id=1, min_dead=1.0).pack_ids == (1,)
        assert container.merge().after <= container.merge().before
        assert container.retain(keys[5:15]).deleted == 5
        assert container.optimize().repack is not None
        assert container.validate("full", share=0.5).is_good
        backup = container.backup(tmp_path / "backups", link=False)
        assert backup.is_good

        extent = container.meta(keys[6]).extent
        assert extent is not None
        with Path(container.engine.layout.pack(extent.pack_id)).open("r+b") as pack:
            pack.seek(extent.offset)
            pack.write(bytes(8))
        assert len(container.repair_objects().beyond_help) == 1
        assert len(container.repair_objects([backup.generation]).repaired) == 1
        assert container.extract(keys[6]) == objects[keys[6]]
        assert not container.repair_index().is_changed

        assert Container.restore(tmp_path / "backups", tmp_path / "restored", verify=True).objects == 10
        with Container.create(tmp_path / "other", container_version=1) as other:
            told: list[str] = []
            report = other.transfer_from(container, keys[5:8], tell=lambda theirs, ours: told.extend(ours))
            assert (report.objects, sorted(told)) == (3, sorted(keys[5:8]))
            assert other.transfer_from(tmp_path / "restored").objects == 7

        # In place: the same object goes on with the container of the other version.
        assert container.migrate(1).objects == 10
        assert container.config.version == 1 and container.extract(keys[6]) == objects[keys[6]]
        assert container.migrate(2, tmp_path / "new").path == str(tmp_path / "new")
        assert container.config.version == 1 and set(Container(tmp_path / "new")) == set(keys[5:15])


def test_the_parts_of_the_facade_are_found_where_they_are_said_to_be() -> None:
    for name in ("maintenance", "exchange", "old_names"):
        assert import_module(f"rsdos.facade.{name}").__doc__
    assert inspect.isclass(Progress)
