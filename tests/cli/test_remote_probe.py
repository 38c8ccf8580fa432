"""``rsdos remote probe``, of a URL and of a name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsdos.engine.engine import Engine
from rsdos.maintenance.remotes.table import find_remote
from tests.ceph.fixtures import S3
from tests.cli.conftest import Run


def test_a_url_is_probed_without_any_container(run: Run, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    lines = run("remote", "probe", url).stdout.splitlines()
    assert lines[0] == f"[probe] {url}"
    assert lines[1].startswith("good    create: a name is given once")
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert not (tmp_path / "container").exists()


def test_what_would_be_sent_is_told_before(run: Run, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    assert "requests, 8.4 MB each way, below probe/" in run("remote", "probe", "--dry-run", url).stdout
    assert json.loads(run("remote", "probe", "--dry-run", "--json", url).stdout)["requests"] > 100
    assert not (tmp_path / "store").exists()


def test_the_answers_of_a_name_are_kept(run: Run, tmp_path: Path) -> None:
    run("init")
    run("remote", "add", "origin", f"file://{tmp_path}/store")
    told = json.loads(run("remote", "probe", "--json").stdout)
    kept = find_remote(Engine(str(tmp_path / "container"))).probe
    assert kept["create"] == told["create"] == "exclusive"
    assert kept["many_writers"] is told["many_writers"] is True
    assert {answer["name"] for answer in told["answers"]} >= {"create", "list", "speed"}


def test_what_cannot_be_probed_is_refused(run: Run, tmp_path: Path) -> None:
    run("init")
    run("-p", "disk", "init")
    run("remote", "add", "disk", "disk")
    assert "it is in a directory" in run("remote", "probe", "disk", code=2).stderr
    assert "no remote 'other'" in run("remote", "probe", "other", code=2).stderr
    assert "go with a URL" in run("remote", "probe", "disk", "--endpoint", "http://x", code=2).stderr


def test_ceph_is_probed_and_the_way_there_told(run: Run, s3_environment: S3) -> None:
    out = run("remote", "probe", s3_environment.url).stdout
    assert "good    create:" in out
    assert "note    transit: http:// is not encrypted" in out
    assert "AbortIncompleteMultipartUpload" in out


def test_a_store_that_is_not_safe_for_many_writers_fails(
    run: Run, swift_s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in swift_s3.environment.items():
        monkeypatch.setenv(name, value)
    out = run("remote", "probe", swift_s3.url, code=1).stdout
    assert "fault   create: the store refuses puts with a condition" in out
