"""Work that is handed out to executors: parts in order or as they are done, errors, workers that die."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from rsdos import Busy, Container, InvalidOption
from rsdos.engine.engine import Engine
from rsdos.engine.executors import AHEAD, HandedOut, executor_of, result_of
from rsdos.errors import ObjectNotFound, WorkerDied
from rsdos.maintenance.repack import rewrite_beside
from tests.data import key_of


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, get_context("spawn")) as made:
        yield made


def _size(engine: Engine, key: str) -> tuple[str, int, int]:
    return key, len(engine.objects.extract(key)), os.getpid()


def _die(engine: Engine, key: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_parts_are_done_elsewhere_by_engines_of_the_same_container(container: Container, pool: Executor) -> None:
    keys = container.insert_many(b"x" * size for size in range(3 * AHEAD))
    handed_out = HandedOut(pool, container.engine)
    done = sorted(handed_out.as_done(_size, keys), key=lambda one: one[1])
    assert [(key, size) for key, size, _ in done] == list(zip(keys, range(3 * AHEAD), strict=True))
    assert os.getpid() not in {worker for _, _, worker in done}
    futures = [handed_out.submit(_size, key) for key in keys[:3]]
    assert [result_of(future)[1] for future in futures] == [0, 1, 2]


def test_an_error_of_a_worker_is_raised_here(container: Container, pool: Executor) -> None:
    key = container.insert(b"x")
    handed_out = HandedOut(pool, container.engine)
    with pytest.raises(ObjectNotFound) as caught:
        list(handed_out.as_done(_size, [key, key_of(b"absent"), key]))
    assert "In a worker" in "".join(caught.value.__notes__)
    assert len(list(handed_out.as_done(_size, [key]))) == 1


def test_a_worker_that_dies_is_told(container: Container) -> None:
    key = container.insert(b"x")
    with executor_of(2) as executor, pytest.raises(WorkerDied, match="a worker has died"):
        list(HandedOut(executor, container.engine).as_done(_die, [key] * 3))


def test_no_more_than_some_parts_are_handed_out_ahead(container: Container) -> None:
    taken = 0

    def parts() -> Iterator[str]:
        nonlocal taken
        key = container.insert(b"x")
        for _ in range(10 * AHEAD):
            taken += 1
            yield key

    with ThreadPoolExecutor(1) as executor:
        done = HandedOut(executor, container.engine).as_done(_size, parts())
        next(done)
        assert taken <= AHEAD + 1
        done.close()  # type: ignore[attr-defined]  # a generator


def test_files_are_added_checked_and_repacked_with_an_executor(
    container: Container, pool: Executor, tmp_path: Path
) -> None:
    made = {}
    for number in range(500):
        path = tmp_path / "tree" / str(number % 7) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content %d" % number)
        made[str(path)] = key_of(b"content %d" % number)
    (tmp_path / "tree" / "gone.txt").symlink_to("nowhere")
    told: dict[str, str] = {}
    report = container.add_files(
        [*made, str(tmp_path / "tree" / "gone.txt")],
        jobs=pool,
        tell=lambda files: told.update((file.path, file.key) for file in files),
    )
    assert (
        told == made
        and report.files == 500
        and [bad.path for bad in report.refused] == [str(tmp_path / "tree" / "gone.txt")]
    )
    assert container.add_tree(tmp_path / "tree", jobs=pool).files == 500
    assert sorted(container) == sorted(made.values())
    for depth in ("quick", "full"):
        checked = container.validate(depth, jobs=pool)
        assert checked.is_good and checked.objects == 500
    deleted = list(made.values())[::2]
    container.delete(deleted)
    repacked = container.repack(min_dead=0, jobs=pool)
    assert repacked.objects == 250 and repacked.freed > 0
    assert container.repack("zstd:3", jobs=2).objects == 250
    assert sorted(container) == sorted(set(made.values()) - set(deleted))
    assert container.validate("full").is_good


def test_damage_is_found_with_an_executor(container: Container, pool: Executor) -> None:
    key = container.insert_many([b"first" * 50, b"second" * 50], compress="no")[0]
    (extent,) = (copy.extent for copy in container.inspect_object(key).copies)
    assert extent is not None
    path = container.engine.layout.pack(extent.pack_id)
    with open(path, "r+b") as file:
        file.seek(extent.offset)
        file.write(b"F")
    report = container.validate("full", jobs=pool)
    assert [finding.key for finding in report.damaged] == [key]


def test_jobs_are_a_number_or_an_executor(container: Container) -> None:
    for jobs in (0, -1, "2", 1.5):
        with pytest.raises(InvalidOption, match="jobs is 1 or more"):
            container.add_files([], jobs=jobs)  # type: ignore[arg-type]
        with pytest.raises(InvalidOption, match="jobs is 1 or more"):
            container.validate(jobs=jobs)  # type: ignore[arg-type]
        with pytest.raises(InvalidOption, match="jobs is 1 or more"):
            container.repack(jobs=jobs)  # type: ignore[arg-type]


def test_a_container_at_a_url_is_opened_in_other_processes(pool: Executor, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.txt" for number in range(300)]
    for number, path in enumerate(files):
        path.write_bytes(b"content %d" % number)
    with Container.create(f"file://{tmp_path}/shared") as container:
        for jobs in (pool, 2):
            assert container.add_files(files, jobs=jobs).files == 300
            assert container.validate("full", jobs=jobs).is_good
        container.delete([key_of(b"content %d" % number) for number in range(100)])
        assert container.repack(min_dead=0, jobs=pool).objects == 200
        assert sorted(container) == sorted(key_of(b"content %d" % number) for number in range(100, 300))


def test_a_container_of_this_process_alone_is_refused(pool: Executor) -> None:
    with (
        Container.create("memory://test-executors") as container,
        pytest.raises(InvalidOption, match="several processes"),
    ):
        container.validate(jobs=pool)


def test_a_part_of_a_repack_keeps_other_maintenance_out_and_other_parts_not(container: Container) -> None:
    keys = container.insert_many([b"one" * 100, b"two" * 100], compress="no")
    container.delete(keys[:1])
    done = []

    def advance(length: int) -> None:
        other = Container(container.path)
        with pytest.raises(Busy):
            other.clean()
        with other.engine.maintenance_of_many():
            done.append(length)

    (pack,) = container.engine.packed.maintenance.stats().packs
    outcome = rewrite_beside(container.engine, (pack.id,), None, (), advance)
    assert done and outcome.rewritten and outcome.rewritten.objects == 1
    container.clean()
    assert list(container) == keys[1:]
