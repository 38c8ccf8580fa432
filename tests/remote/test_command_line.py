"""The command line on URLs: every reading verb, without any container on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rsdos import Container, InvalidOption, ObjectNotFound, ReadOnlyContainer
from rsdos.storage.url import StorageUrl, parse_url
from rsdos.streams.writer import IN_MEMORY
from tests.patience import HANG
from tests.remote.little_s3 import BUCKET, LittleS3, refusal
from tests.warm import warm

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ONE = hashlib.sha256(b"one").hexdigest()


@pytest.fixture(params=["file", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageUrl]:
    """A URL and its options."""
    if request.param == "file":
        yield parse_url(f"file://{tmp_path}/store")
        return
    little: LittleS3 = request.getfixturevalue("little")
    yield parse_url(f"s3://{BUCKET}/store", {"endpoint": little.url})


@pytest.fixture
def run(where: StorageUrl, tmp_path: Path) -> Run:
    """Runs a command on the URL, in a directory of its own; it must succeed."""
    front = [item for pair in where.options for item in ("--option", f"{pair[0]}={pair[1]}")]
    environment = {name: value for name, value in os.environ.items() if name != "RSDOS_PATH"}

    def rsdos(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [*warm(), "-p", where.url, *front, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=HANG, env=environment)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done

    return rsdos


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "tree"
    (directory / "sub").mkdir(parents=True)
    (directory / "a").write_bytes(b"one")
    (directory / "sub" / "b").write_bytes(b"two")
    return directory


def test_the_verbs_of_objects_work_on_a_url(run: Run, where: StorageUrl, tree: Path) -> None:
    assert where.url in run("init").stdout
    assert "is a container already" in run("init", code=1).stderr
    added = run("add-files", "-r", "tree").stdout
    assert ONE in added
    assert run("cat-file", ONE[:8]).stdout == "one"
    assert len(run("list").stdout.split()) == 2
    assert json.loads(run("status", "--json").stdout)["packed_objects"] == 2
    run("extract", "out", ONE)
    assert [path.read_bytes() for path in (tree.parent / "out").iterdir()] == [b"one"]
    run("validate", "--full")
    assert "2 objects" in run("inspect", "packed").stdout
    run("inspect", "object", ONE)
    run("delete", ONE)
    assert ONE in run("cat-file", ONE, code=1).stderr
    run("optimize")
    assert len(run("list").stdout.split()) == 1


def test_the_verbs_of_snapshots_work_on_a_url(run: Run, tree: Path) -> None:
    run("init")
    run("save", "flowers", "tree")
    assert "flowers@1" in run("log").stdout
    assert run("ls", "flowers").stdout.split() == ["a", "sub"]
    assert "flowers@1" in run("show", "flowers").stdout
    run("status", "tree")
    (tree / "a").write_bytes(b"other")
    assert "a" in run("diff", "flowers", "tree").stdout
    run("checkout", "flowers", "again")
    assert (tree.parent / "again" / "a").read_bytes() == b"one"
    run("export", "-o", "flowers.tar", "flowers")
    with tarfile.open(tree.parent / "flowers.tar") as archive:
        assert sorted(archive.getnames()) == ["a", "sub", "sub/b"]


def test_options_are_for_urls_and_urls_are_checked(tmp_path: Path) -> None:
    def rsdos(*arguments: str) -> str:
        command = [*warm(), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=HANG)
        assert done.returncode == 2 and done.stdout == ""
        return done.stderr

    assert "are for URLs" in rsdos("-p", "store", "--option", "region=eu", "status")
    assert "NAME=VALUE" in rsdos("--option", "region", "status")
    assert "has no such option" in rsdos("-p", "s3://lab/x", "--option", "colour=red", "status")
    assert "not a kind of storage" in rsdos("-p", "ftp://lab/x", "status")
    assert "user or a password" in rsdos("-p", "s3://me:secret@lab/x", "list")
    assert list(tmp_path.iterdir()) == []


def test_a_url_is_a_container_with_the_same_verbs(where: StorageUrl) -> None:
    with Container.create(where) as container:
        keys = container.insert_many([b"one", b"two"])
        assert keys[0] == ONE and dict(container.extract_many(keys)) == {keys[0]: b"one", keys[1]: b"two"}
        with pytest.raises(InvalidOption):
            container.insert(b"x", to="loose")
        with container.writer(to="packed") as file:
            file.write(bytes(IN_MEMORY + 1))
        with container.open(file.key) as stream:
            assert isinstance(stream, io.BufferedIOBase) and len(stream.read()) == IN_MEMORY + 1
    for other in (Container(where), pickle.loads(pickle.dumps(container))):
        with other:
            assert other.extract(ONE) == b"one" and other.container_id == container.container_id
    container.delete([ONE])
    with pytest.raises(ObjectNotFound):
        container.extract(ONE)


def test_several_processes_share_the_work_on_a_url(where: StorageUrl, tmp_path: Path) -> None:
    container = Container.create(where)
    container.insert_many([b"%d" % number for number in range(300)])
    report = container.validate(depth="full", jobs=2)
    assert report.objects == 300 and not report.damaged


def test_a_url_is_opened_by_its_text_and_keywords(little: LittleS3) -> None:
    with Container.create(f"s3://{BUCKET}/store", endpoint=little.url) as container:
        (key,) = container.insert_many([b"one"])
    assert Container(f"s3://{BUCKET}/store", endpoint=little.url, deadline=5).extract(key) == b"one"


def test_a_keyword_of_a_url_is_none_of_a_directory(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'endpoint': only a container at a URL"):
        Container(tmp_path, endpoint="https://rgw.example.org")
    with pytest.raises(TypeError, match="'verfy'"):
        Container(str(tmp_path), verfy="hash")
    memory = Container("memory://only-here")
    with pytest.raises(TypeError, match="another process"):
        pickle.dumps(memory)


def test_a_container_is_read_from_a_web_server_that_cannot_list(little: LittleS3) -> None:
    writer = Container.create(f"s3://{BUCKET}/store", endpoint=little.url)
    keys = [writer.insert_many([b"%d" % number])[0] for number in range(5)]
    web = Container(f"{little.url}/{BUCKET}/store")
    assert [web.extract(key) for key in keys] == [b"0", b"1", b"2", b"3", b"4"]
    assert sorted(web.keys()) == sorted(keys)
    late = writer.insert_many([b"late"])[0]
    assert Container(f"{little.url}/{BUCKET}/store").extract(late) == b"late"
    with pytest.raises(ReadOnlyContainer, match="can only be read"):
        web.insert_many([b"other"])


def test_an_insert_without_the_permission_names_it(little: LittleS3) -> None:
    writer = Container.create(f"s3://{BUCKET}/store", endpoint=little.url)
    (key,) = writer.insert_many([b"one"])
    little.answer = lambda asked: refusal(403, "AccessDenied") if asked.method == "PUT" else None
    reader = Container(f"s3://{BUCKET}/store", endpoint=little.url)
    assert reader.extract(key) == b"one"
    with pytest.raises(PermissionError, match="s3:PutObject"):
        reader.insert_many([b"other"])


def test_a_container_is_read_without_the_permission_to_list(little: LittleS3) -> None:
    writer = Container.create(f"s3://{BUCKET}/store", endpoint=little.url)
    (key,) = writer.insert_many([b"one"])
    little.answer = lambda asked: refusal(403, "AccessDenied") if not asked.name else None
    assert Container(f"s3://{BUCKET}/store", endpoint=little.url).extract(key) == b"one"
