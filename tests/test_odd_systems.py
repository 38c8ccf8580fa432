"""Systems that refuse one call: directories that cannot be synced, processes that may not be started."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rsdos import Container, ReadOnlyContainer
from tests.cli.conftest import Run, run  # noqa: F401  a fixture
from tests.data import key_of


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
@pytest.mark.parametrize("version", [1, 2])
def test_all_works_if_directories_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, version: int
) -> None:
    real = os.fsync

    def refuse(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))
        real(fd)

    monkeypatch.setattr(os, "fsync", refuse)
    with Container.create(tmp_path / "container", container_version=version) as container:
        keys = [container.insert(b"loose"), *container.insert_many([b"one", b"two"])]
        container.pack_all_loose()
        container.delete(keys[1:2])
        container.clean_storage()
        assert sorted(container) == sorted((keys[0], keys[2]))
        container.backup(tmp_path / "backups")
        report = container.validate("full")
        assert report.is_good
        assert any("cannot sync directories" in finding.reason for finding in report.leftovers)


def test_a_sync_that_fails_is_an_error_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Container.create(tmp_path / "container") as container:

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            container.insert(b"loose")
        monkeypatch.undo()


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
@pytest.mark.parametrize("version", [1, 2])
def test_a_file_system_without_hard_links_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, version: int
) -> None:
    def refuse(*names: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(ReadOnlyContainer, match="no hard links"):
        Container.create(tmp_path / "container", container_version=version)
    monkeypatch.undo()
    with Container.create(tmp_path / "container", container_version=version) as container:
        assert container.extract(container.insert(b"data", to="packed")) == b"data"


LIMITED = """
import errno, os, sys
left, real = int(sys.argv.pop(1)), os.fork
def fork():
    global left
    left -= 1
    if left < 0:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return real()
os.fork = fork
from rsdos.cli.entry import main
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="where workers are no forks")
@pytest.mark.parametrize("allowed", [0, 1])
def test_where_no_more_processes_may_be_started_fewer_do_the_work(run: Run, tmp_path: Path, allowed: int) -> None:  # noqa: F811
    run("init")
    names = [f"{number}.txt" for number in range(120)]
    for name in names:
        (tmp_path / name).write_text(name)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(allowed), "add-files", "--jobs", "3", *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"rsdos: note: {allowed} of 3 workers could be started: Resource temporarily unavailable\n"
    assert set(run("list").stdout.split()) == {key_of(name.encode()) for name in names}
