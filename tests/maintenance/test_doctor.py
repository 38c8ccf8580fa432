"""`rsdos doctor`: every trouble that a user has is named, nothing is changed, and nothing raises."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from rsdos import Container
from rsdos.cli.main import rsdos
from rsdos.maintenance.doctor.diagnosis import Diagnosis, Verdict
from rsdos.maintenance.doctor.quota import judge_quota, quotas, read_quota
from rsdos.storage.memory import MemoryStorage
from tests.helpers import let_others_pass, run_python, writable_as_nobody
from tests.watch import watched

QUESTIONS = [
    "version", "codecs", "open files", "file system", "locks", "space", "inodes", "quota", "permissions", "clock",
    "container", "index", "packs", "validation", "backup", "optimize",
]  # fmt: skip
OF_THE_FILE_SYSTEM = QUESTIONS[3:10]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Container.create(tmp_path / "c") as container:
        container.insert_many([b"one", b"two"])
        container.insert(b"loose")
    return tmp_path / "c"


def verdict(diagnosis: Diagnosis, name: str) -> Verdict:
    return next(answer.verdict for answer in diagnosis.answers if answer.name == name)


def contents(path: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for directory, _, names in os.walk(path):
        for name in (".", *names):
            status = os.lstat(f"{directory}/{name}")
            found[f"{directory}/{name}"] = status.st_mtime_ns, status.st_size
    return found


def test_a_good_container_gets_an_answer_to_every_question_and_stays_as_it_is(path: Path) -> None:
    before = contents(path)
    diagnosis = Container(path).doctor()
    assert [answer.name for answer in diagnosis.answers] == QUESTIONS
    assert not diagnosis.faults
    assert contents(path) == before


def _without_index(path: Path) -> None:
    shutil.rmtree(path / "index")


def _short_pack(path: Path) -> None:
    os.truncate(next((path / "packed").glob("*.pack")), 4096)


def _bad_config(path: Path) -> None:
    (path / "config.json").write_bytes(b"{}")


def _link(path: Path) -> None:
    (path / "packed").rename(path.parent / "elsewhere")
    (path / "packed").symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "name"),
    [(_without_index, "index"), (_short_pack, "packs"), (_bad_config, "container"), (_link, "container")],
)
def test_damage_is_a_fault_with_advice(path: Path, damage: Callable[[Path], None], name: str) -> None:
    damage(path)
    faults = Container(path).doctor().faults
    assert name in {fault.name for fault in faults}
    assert all(fault.advice for fault in faults)


def test_what_is_no_container_is_a_fault_and_the_machine_and_the_file_system_are_examined(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    for name in ("none", "none/below", "file", "file/below", "directory"):
        diagnosis = Container(tmp_path / name).doctor()
        assert [fault.name for fault in diagnosis.faults] == ["container"], name
        assert diagnosis.faults[0].advice
        # What was changed last says something about the clock only in a container.
        assert [answer.name for answer in diagnosis.answers if answer.name != "clock"] == [
            question for question in QUESTIONS[:11] if question != "clock"
        ]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "directory", tmp_path / "file"]


@pytest.mark.skipif(not writable_as_nobody(), reason="becomes another user")
def test_a_directory_that_the_user_may_not_read_is_a_fault_and_no_exception(path: Path) -> None:
    let_others_pass(path)
    path.chmod(0o700)
    # The first run imports what the other user could not: the interpreter may be where only root can read.
    code = (
        "import os, sys\nfrom rsdos import Container\n"
        "Container(sys.argv[1]).doctor()\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"
        "print(*(fault.name for fault in Container(sys.argv[1]).doctor().faults))"
    )
    assert run_python(code, path).split() == ["permissions", "container"]
    path.parent.chmod(0o700)
    assert run_python(code, path).split() == ["permissions", "container"]  # those of the directory above it


@contextmanager
def small_file_system(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def faults_of(path: Path) -> list[str]:
    return [fault.name for fault in Container(path).doctor().faults]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a tmpfs")
def test_a_full_disk_and_the_last_inodes_are_faults_and_a_read_only_disk_is_a_note(path: Path, tmp_path: Path) -> None:
    with small_file_system(tmp_path / "small", "size=9m,nr_inodes=64") as place:
        copy = shutil.copytree(path, place / "c")
        assert faults_of(copy) == []
        (place / "filler").write_bytes(bytes(7 << 20))
        assert faults_of(copy) == ["space"]
        (place / "filler").unlink()
        for number in range(45):
            (place / str(number)).touch()
        assert faults_of(copy) == ["inodes"]
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        assert verdict(Container(copy).doctor(), "permissions") is Verdict.NOTE
        assert faults_of(copy) == ["inodes"]


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ((0, 0, 5 << 30, 0, 0, 90), None),  # none
        ((8 << 20, 6 << 20, 1 << 30, 1000, 900, 90), None),
        ((8 << 20, 6 << 20, (8 << 30) - 1, 0, 0, 90), Verdict.FAULT),  # the last byte
        ((0, 0, 1 << 30, 1000, 900, 999), Verdict.FAULT),  # the last file
        ((8 << 20, 6 << 20, 7 << 30, 0, 0, 90), Verdict.WARNING),  # days of grace
        ((0, 0, 1 << 30, 1000, 900, 950), Verdict.WARNING),
    ],
)
def test_the_kernels_answer_about_a_quota_is_judged(limits: tuple[int, ...], wanted: Verdict | None) -> None:
    """Not every kernel can mount a file system with quotas: the answer is packed as `linux/quota.h` says."""
    quota = read_quota("user", struct.pack("=8QI4x", *limits, 0, 0, 63))
    answer = judge_quota(quota)
    assert (answer and answer.verdict) == wanted


def test_a_file_system_without_quotas_has_none(tmp_path: Path) -> None:
    assert not quotas(str(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="inotify")
def test_no_file_is_opened_for_writing_made_or_removed(path: Path) -> None:
    with watched(path) as changes:
        Container(path).doctor()
        assert changes() == []
        (path / "config.json").open("ab").close()
        assert changes() != []  # The watch does see it.


def test_a_container_behind_a_url_is_examined_without_a_file_system(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/c"
    with Container.create(url) as container:
        container.insert_many([b"one", b"two"])
        answers = {answer.name: answer.verdict for answer in container.doctor().answers}
    assert list(answers) == [name for name in QUESTIONS if name not in OF_THE_FILE_SYSTEM]
    assert Verdict.FAULT not in answers.values()
    assert [fault.name for fault in Container(f"file://{tmp_path}/none").doctor().faults] == ["container"]


def test_a_file_from_the_future_is_told(path: Path) -> None:
    os.utime(path / "config.json", (4e9, 4e9))
    assert verdict(Container(path).doctor(), "clock") is Verdict.WARNING


def test_the_last_validation_and_what_is_due_are_told(path: Path) -> None:
    with Container(path) as container:
        assert verdict(container.doctor(), "validation") is Verdict.NOTE
        container.validate("quick")
        assert verdict(container.doctor(), "validation") is Verdict.GOOD
        container.insert_many([b"%d" % number for number in range(100)], to="loose")
        assert verdict(container.doctor(), "optimize") is Verdict.NOTE
        container.optimize()
        assert verdict(container.doctor(), "optimize") is Verdict.GOOD


def test_a_container_of_version_1_is_examined_too(tmp_path: Path) -> None:
    with Container.create(tmp_path / "old", container_version=1) as container:
        container.insert_many([b"one"])
    # SQLite takes its log into the index as the last reader ends, as it does for every reader.
    before = {name: size for name, size in contents(tmp_path / "old").items() if "/packs.idx" not in name}
    assert faults_of(tmp_path / "old") == []
    after = contents(tmp_path / "old")
    assert {name: after.get(name) for name in before if not name.endswith("/.")} == {
        name: size for name, size in before.items() if not name.endswith("/.")
    }


def test_a_container_in_memory_has_no_surroundings() -> None:
    diagnosis = Container.create(MemoryStorage()).doctor()
    assert [answer.name for answer in diagnosis.answers][3:5] == ["container", "index"]
    assert not diagnosis.faults


def test_the_command_prints_a_line_for_each_answer_and_exits_with_1_for_a_fault(path: Path) -> None:
    done = CliRunner().invoke(rsdos, ["-p", str(path), "doctor"], standalone_mode=False)
    assert len(done.output.splitlines()) == 1 + len(QUESTIONS)
    assert done.return_value == 0
    _without_index(path)
    done = CliRunner().invoke(rsdos, ["-p", str(path), "doctor", "--json"], standalone_mode=False)
    assert done.return_value == 1
    answers = json.loads(done.output)["answers"]
    assert [answer["verdict"] for answer in answers if answer["name"] == "index"] == ["fault"]
