"""The command ``dostore`` beside the real one, and the drop-in's backups."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from rsdos import Container as OurContainer
from rsdos.compat import disk_objectstore
from rsdos.compat.disk_objectstore import Container, backup_utils
from tests.compat.conftest import PEERS, start_real
from tests.data import key_of, noise, text
from tests.helpers import assert_holds, child_environment

OURS = (sys.executable, "-c", "from rsdos.compat.disk_objectstore.cli import main; main()")
THEIRS = (str(PEERS.with_name("dostore")),)

needs_rsync = pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")


def run(program: tuple[str, ...], place: Path, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr, without what no two containers have in common."""
    environment = {name: value for name, value in child_environment().items() if name != "DOSTORE_PATH"}
    done = subprocess.run(
        [*program, *arguments], cwd=place, input=stdin, capture_output=True, text=True, env=environment, check=False
    )
    said, complained = (
        re.sub(r"\d+\.\d+ M[bB]", "SIZE", text.replace(str(place), "PLACE")) for text in (done.stdout, done.stderr)
    )
    return done.returncode, said, complained


@pytest.mark.skipif(not PEERS.exists(), reason="needs .venv-peers, which make sets up")
def test_it_says_what_the_real_one_says(tmp_path: Path) -> None:
    answers = []
    for name, program in (("theirs", THEIRS), ("ours", OURS)):
        place = tmp_path / name
        place.mkdir()
        (place / "one").write_bytes(text(2000))
        (place / "two").write_bytes(noise(2000))
        answers.append(
            [
                run(program, place, "create"),
                run(program, place, "create")[:2],
                run(program, place, "add-files", "one", "two"),
                run(program, place, "status")[0],
                run(program, place, "optimize", "-n"),
                run(program, place, "optimize", stdin="n\n")[0],
                run(program, place, "validate")[:2],
                run(program, place, "-p", "nowhere", "status")[:2],
                run(program, place, "create", "-a", "lzma")[0],
            ]
        )
    assert answers[0] == answers[1]


def test_a_damaged_object_is_reported(tmp_path: Path) -> None:
    assert run(OURS, tmp_path, "create")[0] == 0
    (tmp_path / "one").write_bytes(noise(500))
    run(OURS, tmp_path, "add-files", "one")
    key = key_of(noise(500))
    (tmp_path / "dostore" / "loose" / key[:2] / key[2:]).write_bytes(b"other")
    code, shown, _ = run(OURS, tmp_path, "validate", "-v")
    assert code == 1
    assert shown.startswith("Error! 1 objects with error 'invalid_hashes_loose'") and key in shown


@needs_rsync
@pytest.mark.parametrize("version", [1, 2])
def test_backups_are_whole_and_share_what_did_not_change(tmp_path: Path, version: int) -> None:
    path = tmp_path / "container"
    objects = {key_of(data): data for data in (noise(5000, 1), text(70_000, 2), b"loose", b"also loose")}
    with OurContainer.create(path, container_version=version) as own:
        own.insert_many(list(objects.values())[:2])
        own.insert(b"loose")
        own.insert(b"also loose")
    for _ in range(2):
        code, *shown = run(OURS, tmp_path, "-p", "container", "backup", "backups", "--verbosity", "silent")
        assert code == 0, shown
    generations = sorted((tmp_path / "backups").glob("backup_*"))
    assert len(generations) == 2
    assert (tmp_path / "backups" / "last-backup").resolve() == generations[-1]
    first, second = (
        {file.relative_to(one): file.stat().st_ino for file in one.rglob("*") if file.is_file()} for one in generations
    )
    packs = {name for name in first if name.parts[0] in ("loose", "packs", "packed")}
    assert packs and {first[name] for name in packs} == {second[name] for name in packs}
    for generation in generations:
        assert Container(generation).is_initialised
        with OurContainer(generation) as copy:
            assert_holds(copy, objects)
    if version == 1:
        real = start_real()
        assert real.do("validate", path=str(generations[-1]))["valid"]
        real.close()


@needs_rsync
def test_a_container_without_loose_objects_is_backed_up_as_one(tmp_path: Path) -> None:
    # disk-objectstore's own backup of it has no loose/, and is no container.
    with Container(tmp_path / "container") as container:
        container.init_container()
        container.add_objects_to_pack([b"packed"])
        manager = backup_utils.BackupManager(str(tmp_path / "backups"), keep=0)
        manager.backup_auto_folders(lambda path, prev: backup_utils.backup_container(manager, container, path, prev))
    copy = Container(tmp_path / "backups" / "last-backup")
    assert copy.is_initialised and list(copy.list_all_objects()) == [key_of(b"packed")]


@needs_rsync
def test_rsync_of_a_container_takes_the_index_at_one_moment(tmp_path: Path) -> None:
    """As AiiDA's sqlite_dos calls it: the index's log, which a packer may be writing, is not copied beside it."""
    with Container(tmp_path / "container") as container:
        container.init_container()
        container.add_objects_to_pack([b"packed"])
        assert (tmp_path / "container" / "packs.idx-wal").exists()
        manager = backup_utils.BackupManager(str(tmp_path / "backups"))
        manager.call_rsync(container.get_folder(), tmp_path / "backups" / "live-backup", dest_trailing_slash=True)
    copied = tmp_path / "backups" / "live-backup" / "container"
    assert not list(copied.glob("packs.idx-*"))
    assert Container(copied).get_object_content(key_of(b"packed")) == b"packed"


def test_log_messages_use_the_logger_that_users_configure() -> None:
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    disk_objectstore.LOGGER.addHandler(handler)
    disk_objectstore.LOGGER.setLevel(logging.INFO)
    try:
        logging.getLogger("rsdos").warning("from below")
        logging.getLogger("rsdos").debug("not wanted")
    finally:
        disk_objectstore.LOGGER.setLevel(logging.NOTSET)
        disk_objectstore.LOGGER.removeHandler(handler)
    assert records == ["from below"]


def test_the_two_distributions_are_of_one_version() -> None:
    project = (Path(__file__).parents[2] / "drop-in" / "pyproject.toml").read_text()
    assert f'version = "{disk_objectstore.__version__}"' in project


def test_the_metadata_of_the_drop_in_lead_to_no_file() -> None:
    """A path broke each later installation of what wants disk-objectstore. `make test-install` tries it as well."""
    place = Path(__file__).parents[2] / "drop-in"
    project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    assert [re.match(r"[\w-]+", one)[0] for one in wanted] == ["rsdos", "sqlalchemy"]  # type: ignore[index]
    assert not [one for one in wanted if re.search(r"[@/]", one)]
    readme = (place / project["readme"]).read_text()
    assert re.findall(r"\]\((?!https:)[^)]*\)", readme) == []


@needs_rsync
def test_a_link_in_the_place_of_the_unfinished_backup_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "live-backup").symlink_to(tmp_path / "mine")
    with Container(tmp_path / "container") as container:
        container.init_container()
        manager = backup_utils.BackupManager(str(tmp_path / "backups"), keep=0)
        with pytest.raises(backup_utils.BackupError, match="symbolic link"):
            manager.backup_auto_folders(
                lambda path, prev: backup_utils.backup_container(manager, container, path, prev)
            )
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@needs_rsync
def test_the_newest_backup_is_never_deleted(tmp_path: Path) -> None:
    with Container(tmp_path / "container") as container:
        container.init_container()
        manager = backup_utils.BackupManager(str(tmp_path / "backups"), keep=0)
        for number in range(3):
            manager.backup_auto_folders(
                lambda path, prev: backup_utils.backup_container(manager, container, path, prev)
            )
            newest = (tmp_path / "backups" / "last-backup").resolve()
            assert newest.is_dir()
            if number == 0:
                newest.rename(tmp_path / "backups" / "backup_99991231235959_abcd")


@needs_rsync
@pytest.mark.parametrize("version", [1, 2])
def test_two_backups_of_one_second_are_two(tmp_path: Path, version: int) -> None:
    """Their indices are of one size, and rsync takes files of one size and one second for the same."""
    keys: list[str] = []
    with OurContainer.create(tmp_path / "container", container_version=version) as own:
        manager = backup_utils.BackupManager(str(tmp_path / "backups"), keep=5)
        container = Container(tmp_path / "container")
        for number in range(4):
            keys += own.insert_many([noise(100, number)])
            manager.backup_auto_folders(
                lambda path, prev: backup_utils.backup_container(manager, container, path, prev)
            )
            assert sorted(Container(tmp_path / "backups" / "last-backup").list_all_objects()) == sorted(keys)
