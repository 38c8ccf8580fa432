"""The door to git-annex: its own test of special remotes, and what a container keeps of its keys."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.integrations import annex
from rsdos.integrations.annex import AnnexRemote
from rsdos.model import Place
from tests.integrations.conftest import break_object

UUID = "52dc13aa-3cd4-481f-a052-de442d400265"
BRANCH = f"annex/{UUID}"


# --- conversations ----------------------------------------------------------------------------------------------------


def _talk(container: Container | str, *requests: str, known: str = "") -> list[str]:
    """Prepare the remote, make requests, and return the answers to them."""
    path = container if isinstance(container, str) else str(container.path)
    lines = ["PREPARE", f"VALUE {path}", f"VALUE {known}", f"VALUE {UUID}", *requests]
    answers = io.BytesIO()
    AnnexRemote(io.BytesIO(os.fsencode("".join(f"{line}\n" for line in lines))), answers).serve()
    said = os.fsdecode(answers.getvalue()).splitlines()
    begin = ["VERSION 2", "GETCONFIG container", "GETCONFIG container-id", "GETUUID", "PREPARE-SUCCESS"]
    return said[len(begin) :] if said[: len(begin)] == begin else said[1:]


def _sha256(data: bytes, ending: str = "") -> str:
    backend = "SHA256E" if ending else "SHA256"
    return f"{backend}-s{len(data)}--{hashlib.sha256(data).hexdigest()}{ending}"


OTHERS = [
    "MD5E-s4--8d777f385d3dfec8815d20f7496026dc.txt",
    "WORM-s4-m1700000000--a file/of a directory".replace(" ", "_"),
    "URL-s4--http&c%%example.com%" + "long" * 100,
    f"SHA256E-s9-S4-C1--{hashlib.sha256(b'data').hexdigest()}.txt",
    f"GPGHMACSHA1--{'0' * 40}",
    f"SHA512-s4--{'0' * 128}",
    "XDG--.." + "é" * 10,
]
"""Keys that do not name their object's hash. The one with -S and -C is a chunk, and has the hash of the whole file."""


@pytest.mark.parametrize("key", [_sha256(b"data"), _sha256(b"data", ".tar.gz"), *OTHERS])
def test_a_key_is_stored_found_retrieved_and_removed(container: Container, tmp_path: Path, key: str) -> None:
    source, target = tmp_path / "a source", tmp_path / "a target"
    source.write_bytes(b"data")
    target.write_bytes(b"longer than the data")  # of a retrieval that was broken off
    answers = _talk(
        container,
        f"CHECKPRESENT {key}",
        f"TRANSFER STORE {key} {source}",
        f"TRANSFER STORE {key} {source}",
        f"CHECKPRESENT {key}",
        f"TRANSFER RETRIEVE {key} {target}",
        f"REMOVE {key}",
        f"CHECKPRESENT {key}",
        f"REMOVE {key}",
        f"TRANSFER RETRIEVE {key} {target}",
    )
    assert answers[:-1] == [
        f"CHECKPRESENT-FAILURE {key}",
        f"TRANSFER-SUCCESS STORE {key}",
        f"TRANSFER-SUCCESS STORE {key}",
        f"CHECKPRESENT-SUCCESS {key}",
        "PROGRESS 4",
        f"TRANSFER-SUCCESS RETRIEVE {key}",
        f"REMOVE-SUCCESS {key}",
        f"CHECKPRESENT-FAILURE {key}",
        f"REMOVE-SUCCESS {key}",
    ]
    assert answers[-1].startswith(f"TRANSFER-FAILURE RETRIEVE {key} ")
    assert target.read_bytes() == b"data"


def test_a_key_with_our_hash_is_an_object_inserted_by_key(container: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    _talk(container, f"TRANSFER STORE {_sha256(b'data', '.txt')} {tmp_path / 'file'}")
    assert list(container) == [hashlib.sha256(b"data").hexdigest()]
    assert container.meta(hashlib.sha256(b"data").hexdigest()).place is Place.PACKED
    assert len(container.snapshots) == 0


def test_other_keys_are_the_files_of_a_branch(container: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    _talk(container, *(f"TRANSFER STORE {key} {tmp_path / 'file'}" for key in OTHERS))
    snapshot = container.snapshots[BRANCH]
    assert {path.read_bytes() for path in snapshot.root.iterdir()} == {b"data"}
    assert snapshot.files == len(OTHERS)
    assert OTHERS[0] in snapshot


def test_the_branch_does_not_grow_without_bounds(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annex, "_VERSIONS", 3)
    (tmp_path / "file").write_bytes(b"data")
    keys = [f"MD5--{number}" for number in range(10)]
    _talk(container, *(f"TRANSFER STORE {key} {tmp_path / 'file'}" for key in keys))
    assert len(container.snapshots.branches()[BRANCH]) <= 3
    container.snapshots.gc()
    answers = _talk(container, *(f"CHECKPRESENT {key}" for key in keys))
    assert answers == [f"CHECKPRESENT-SUCCESS {key}" for key in keys]


def test_several_remotes_change_the_branch_at_the_same_time(container: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    keys = [f"MD5--{number}" for number in range(24)]
    with ThreadPoolExecutor(4) as pool:
        stores = [[f"TRANSFER STORE {key} {tmp_path / 'file'}" for key in keys[at::4]] for at in range(4)]
        answers = [line for lines in pool.map(lambda requests: _talk(container, *requests), stores) for line in lines]
    assert sorted(answers) == sorted(f"TRANSFER-SUCCESS STORE {key}" for key in keys)
    assert container.snapshots[BRANCH].files == 24


def test_what_only_a_snapshot_holds_is_not_present(container: Container, tmp_path: Path) -> None:
    """It would be gone with the snapshot, and git-annex would have counted it as a copy."""
    with container.snapshots.edit("flowers") as draft:
        draft["file"] = b"data"
    key = _sha256(b"data")
    assert _talk(container, f"CHECKPRESENT {key}") == [f"CHECKPRESENT-FAILURE {key}"]
    (tmp_path / "file").write_bytes(b"data")
    _talk(container, f"TRANSFER STORE {key} {tmp_path / 'file'}")
    container.snapshots.forget("flowers")
    container.snapshots.gc()
    assert _talk(container, f"CHECKPRESENT {key}") == [f"CHECKPRESENT-SUCCESS {key}"]


def test_removing_a_key_leaves_the_file_of_a_snapshot(container: Container, tmp_path: Path) -> None:
    container.insert(b"data")
    with container.snapshots.edit("flowers") as draft:
        draft["file"] = b"data"
    key = _sha256(b"data")
    answers = _talk(container, f"CHECKPRESENT {key}", f"REMOVE {key}", f"CHECKPRESENT {key}")
    assert answers == [f"CHECKPRESENT-SUCCESS {key}", f"REMOVE-SUCCESS {key}", f"CHECKPRESENT-FAILURE {key}"]
    assert (container.snapshots["flowers"] / "file").read_bytes() == b"data"


def test_content_of_another_hash_is_no_success(container: Container, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"changed")
    key = _sha256(b"data")
    (answer,) = _talk(container, f"TRANSFER STORE {key} {tmp_path / 'file'}")
    assert answer.startswith(f"TRANSFER-FAILURE STORE {key} ")
    assert "hash" in answer
    (answer,) = _talk(container, f"TRANSFER STORE {key} {tmp_path / 'absent'}")
    assert answer.startswith(f"TRANSFER-FAILURE STORE {key} ")


def test_damage_is_a_failure_in_one_line(container: Container, tmp_path: Path) -> None:
    key = _sha256(b"data")
    (tmp_path / "file").write_bytes(b"data")
    _talk(container, f"TRANSFER STORE {key} {tmp_path / 'file'}")
    break_object(container, hashlib.sha256(b"data").hexdigest())
    answers = _talk(container, f"TRANSFER RETRIEVE {key} {tmp_path / 'target'}")
    assert [answer.split(" ")[:3] for answer in answers] == [["TRANSFER-FAILURE", "RETRIEVE", key]]


def test_a_place_without_the_container_is_refused(container: Container, tmp_path: Path) -> None:
    for path, known, message in [
        (str(tmp_path / "absent"), "", "not a container"),
        ("relative", "", "absolute path"),
        ("", "", "absolute path"),
        (str(container.path), "0" * 32, "is not the container"),
    ]:
        (failure,) = [line for line in _talk(path, known=known) if line.startswith("PREPARE-")]
        assert failure.startswith("PREPARE-FAILURE ")
        assert message in failure
    assert _talk(container, "GETCOST", known=container.container_id) == ["COST 100"]


def test_requests_that_are_not_known_are_answered(container: Container) -> None:
    answers = _talk(
        container, "EXTENSIONS INFO ASYNC", "GETAVAILABILITY", "CLAIMURL http://x", "EXPORTSUPPORTED", "NEW"
    )
    assert answers == ["EXTENSIONS", "AVAILABILITY LOCAL", *["UNSUPPORTED-REQUEST"] * 3]


# --- git-annex itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of git-annex with the container as its remote `store`."""
    if not shutil.which("git-annex"):
        pytest.skip("git-annex is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "git-annex-remote-rsdos"
    program.write_text(f"#!{sys.executable}\nfrom rsdos.integrations.annex import main\nmain()\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("HOME", str(tmp_path))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "a test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    made = tmp_path / "repository"
    _run(tmp_path, "git", "init", "--quiet", made)
    _run(made, "git", "annex", "init", "--quiet", "here")
    return made


def _run(where: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _add_remote(repository: Path, container: Container, *options: str) -> None:
    settings = ["type=external", "externaltype=rsdos", f"container={container.path}", *options]
    _run(repository, "git", "annex", "initremote", "--quiet", "store", *settings)


@pytest.mark.parametrize("options", [("encryption=none",), ("encryption=none", "chunk=64KiB")])
def test_git_annex_passes_its_test_of_remotes(container: Container, repository: Path, options: tuple[str, ...]) -> None:
    _add_remote(repository, container, *options)
    assert "tests passed" in _run(repository, "git", "annex", "testremote", "store", "--fast")


@pytest.mark.parametrize("backend", ["SHA256E", "MD5"])
def test_a_file_goes_to_the_container_and_comes_back(container: Container, repository: Path, backend: str) -> None:
    _add_remote(repository, container, "encryption=none")
    (repository / "a file.txt").write_bytes(b"data")
    _run(repository, "git", "annex", "add", "--quiet", f"--backend={backend}", "a file.txt")
    _run(repository, "git", "annex", "copy", "--quiet", "--to=store", ".")
    assert container.has(hashlib.sha256(b"data").hexdigest())
    assert container.snapshots.get("annex") is None
    _run(repository, "git", "annex", "drop", "--quiet", ".")
    assert not (repository / "a file.txt").exists()
    _run(repository, "git", "annex", "get", "--quiet", ".")
    assert (repository / "a file.txt").read_bytes() == b"data"
    _run(repository, "git", "annex", "fsck", "--quiet", "--from=store")
