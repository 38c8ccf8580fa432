"""A lazy clone has the names of its remote and none of its objects, until they are read."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from rsdos import CompressMode, Container, ContainerExists, RemoteChanged
from rsdos.maintenance.remotes import lazy
from rsdos.storage.url import open_storage
from tests.cli.conftest import Run, run
from tests.data import key_of, noise
from tests.remotes.opening import again, is_whole

__all__ = ["run"]


@pytest.fixture(params=["version 2", "version 3"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    """A remote with objects and a snapshot."""
    if request.param == "version 2":
        made = Container.create(tmp_path / "there")
    else:
        made = Container.create(open_storage(f"memory://{tmp_path.name}"), container_version=3)
    return made


@pytest.fixture
def url(there: Container, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}" if there.config.version == 3 else str(tmp_path / "there")


@pytest.fixture
def objects(there: Container) -> dict[str, bytes]:
    data = [noise(1000, seed) for seed in range(30)]
    return dict(zip(there.insert_many(data, compress=CompressMode.NO), data, strict=True))


@pytest.fixture
def files(there: Container, tmp_path: Path) -> dict[str, bytes]:
    """The files of a snapshot of the remote, `flowers`."""
    made = {f"{number % 3}/{number}.bin": noise(500 + number, 100 + number) for number in range(40)}
    made["large.bin"] = noise((2 << 20) + 5, 99)
    for name, data in made.items():
        (tmp_path / "flowers" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "flowers" / name).write_bytes(data)
    there.snapshots.save("flowers", tmp_path / "flowers")
    return made


def packed(container: Container) -> int:
    """The stored bytes that are here."""
    return sum(pack.length for pack in container.engine.packed.maintenance.stats().packs)


def test_what_is_read_is_brought_and_stays(
    there: Container, url: str, objects: dict[str, bytes], tmp_path: Path
) -> None:
    report = Container.clone_lazily(url, tmp_path / "clone")
    assert report.objects == 30
    first = next(iter(objects))
    with Container(tmp_path / "clone") as clone:
        assert len(clone) == 0
        assert clone.has(first)
        assert clone.extract(first) == objects[first]
        clone.close()
        assert list(clone) == [first]
        assert dict(clone.extract_many(objects)) == objects
        clone.close()
        assert sorted(clone) == sorted(objects)
        there.delete([first])
        assert clone.extract(first) == objects[first]
        clone.close()
    assert is_whole(Container(tmp_path / "clone"))


def test_a_snapshot_is_checked_out_of_what_was_never_here(
    there: Container, url: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    Container.clone_lazily(url, tmp_path / "clone")
    with Container(tmp_path / "clone") as clone:
        assert list(clone.snapshots) == ["flowers"]
        before = packed(clone)
        assert before < 10_000
        assert clone.snapshots["flowers"].path("1/1.bin").read_bytes() == files["1/1.bin"]
        clone.close()
        assert packed(clone) < 100_000
        clone.snapshots.checkout("flowers", tmp_path / "out")
        clone.close()
    for name, data in files.items():
        assert (tmp_path / "out" / name).read_bytes() == data
    # Everything is here now: the files, and the pages, which are not listed.
    with Container(tmp_path / "clone") as clone:
        assert sorted(clone) == sorted(key_of(data) for data in files.values())
        clone.remotes.remove("origin")
        clone.snapshots.checkout("flowers", tmp_path / "again")
    assert (tmp_path / "again" / "large.bin").read_bytes() == files["large.bin"]


def test_a_lazy_clone_is_pulled_whole(there: Container, url: str, objects: dict[str, bytes], tmp_path: Path) -> None:
    Container.clone_lazily(url, tmp_path / "clone")
    with Container(tmp_path / "clone") as clone:
        clone.extract(next(iter(objects)))
        clone.close()
        report = clone.remotes.pull()
        assert report.objects == 29
        assert sorted(clone) == sorted(objects)


def test_what_is_inserted_goes_into_the_clone_and_is_pushed(there: Container, url: str, tmp_path: Path) -> None:
    Container.clone_lazily(url, tmp_path / "clone")
    with Container(tmp_path / "clone") as clone:
        key = clone.insert(b"of the clone")
        assert not Container(there.engine.layout.root).has(key) if there.config.version == 2 else True
        assert clone.remotes.push().objects == 1
    there.close()
    assert there.extract(key) == b"of the clone"


def test_a_clone_without_its_remote_reads_what_is_here(
    there: Container, url: str, objects: dict[str, bytes], tmp_path: Path
) -> None:
    Container.clone_lazily(url, tmp_path / "clone")
    first = next(iter(objects))
    with Container(tmp_path / "clone") as clone:
        clone.extract(first)
        clone.close()
        clone.remotes.remove("origin")
    with Container(tmp_path / "clone") as clone:
        assert clone.extract(first) == objects[first]
        assert not clone.has(next(reversed(objects)))


def _read_all(directory: str, keys: list[str]) -> None:
    assert len(dict(Container(directory).extract_many(keys))) == len(keys)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_what_a_worker_reads_stays_although_it_closes_nothing(tmp_path: Path, how: str) -> None:
    """So work the loaders of torch: the next epoch has other workers."""
    url = f"file://{tmp_path}/there"
    keys = Container.create(url).insert_many(noise(1000, seed) for seed in range(30))
    Container.clone_lazily(url, tmp_path / "clone")
    clone = Container(tmp_path / "clone")
    clone.extract(keys[0])
    context: Any = get_context(how)
    worker = context.Process(target=_read_all, args=(str(clone.path), keys))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert sorted(again(clone)) == sorted(keys)
    clone.close()


@pytest.mark.parametrize("step", ["layout.make", "_publish_names", "fetch"])
def test_a_clone_that_was_killed_is_continued(
    there: Container,
    url: str,
    objects: dict[str, bytes],
    files: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if step == "layout.make":
            patched.setattr("rsdos.layout.Layout.make", killed)
        else:
            patched.setattr(lazy, step, killed)
        with pytest.raises(KeyboardInterrupt):
            Container.clone_lazily(url, tmp_path / "clone")
    Container.clone_lazily(url, tmp_path / "clone")
    Container.clone_lazily(url, tmp_path / "clone")
    with Container(tmp_path / "clone") as clone:
        assert dict(clone.extract_many(objects)) == objects
        assert list(clone.snapshots) == ["flowers"]
        clone.close()


def test_another_container_is_not_made_a_lazy_clone(there: Container, url: str, tmp_path: Path) -> None:
    with Container.create(tmp_path / "other") as other:
        other.insert(b"something")
    with pytest.raises(ContainerExists):
        Container.clone_lazily(url, tmp_path / "other")


def test_a_remote_that_is_another_one_now_is_not_read(tmp_path: Path) -> None:
    with Container.create(tmp_path / "there") as there:
        key = there.insert_many([b"one"])[0]
    Container.clone_lazily(tmp_path / "there", tmp_path / "clone")
    (tmp_path / "there").rename(tmp_path / "gone")
    with Container.create(tmp_path / "there") as other:
        other.insert_many([b"one"])
    with Container(tmp_path / "clone") as clone, pytest.raises(RemoteChanged):
        clone.extract(key)


def test_the_command_line(tmp_path: Path, run: Run) -> None:
    with Container.create(tmp_path / "there") as there:
        key = there.insert_many([b"one", b"two"])[0]
    told = run("clone", "--lazy", "there", "clone").stdout
    assert told == "[info] Cloned origin: 2 objects, to be read when they are needed\n"
    assert run("-p", "clone", "cat-file", key).stdout == "one"
    assert run("-p", "clone", "list").stdout == f"{key}\n"
    (tmp_path / "there").rename(tmp_path / "gone")
    assert run("-p", "clone", "cat-file", key).stdout == "one"
