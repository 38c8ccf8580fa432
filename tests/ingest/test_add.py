"""Adding files and trees from Python: what is stored, what is told, what is refused, and by how many processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pytest

from rsdos import Container, InvalidOption, Place, WorkerDied
from rsdos.ingest.add import AddOptions, add_walk
from rsdos.ingest.files import ChunkResult, StoredFile
from rsdos.ingest.walk import Directories, RefusedFile, Skipped, Stream, Walk
from rsdos.model import FRAME_SIZE
from tests.data import key_of, noise


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container.create(tmp_path / "container")


def make_tree(top: Path, count: int) -> dict[str, bytes]:
    contents = {}
    for number in range(count):
        path = top / str(number % 7) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = b"%d" % (number % (count - 3))
        path.write_bytes(data)
        contents[str(path)] = data
    return contents


def rows(contents: dict[str, bytes]) -> set[StoredFile]:
    return {StoredFile(path, key_of(data), len(data)) for path, data in contents.items()}


class Told:
    """A progress that adds up what it is told."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int | None, str]] = []
        self.done = self.finished = 0

    def start(self, description: str, total: int | None, unit: str) -> None:
        self.started.append((description, total, unit))

    def advance(self, amount: int) -> None:
        self.done += amount

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.parametrize(("count", "place"), [(99, Place.LOOSE), (100, Place.PACKED)])
def test_a_tree_goes_where_its_number_of_files_says(
    container: Container, tmp_path: Path, count: int, place: Place
) -> None:
    contents = make_tree(tmp_path / "tree", count)
    told: list[StoredFile] = []
    report = container.add_tree(tmp_path / "tree", tell=told.extend)
    assert set(told) == rows(contents) and len(told) == count
    assert (report.files, report.size, report.refused) == (count, sum(map(len, contents.values())), ())
    assert {container.meta(file.key).place for file in told} == {place}


@pytest.mark.parametrize("place", ["loose", "packed"])
def test_files_go_where_they_are_told(container: Container, tmp_path: Path, place: str) -> None:
    contents = make_tree(tmp_path / "tree", 5)
    container.add_files(map(Path, contents), to=place)  # type: ignore[arg-type]  # one of the two
    assert {container.meta(key_of(data)).place.value for data in contents.values()} == {place}
    with pytest.raises(InvalidOption, match="place is"):
        container.add_files([], to="elsewhere")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidOption, match="jobs"):
        container.add_files([], jobs=0)


def test_what_cannot_be_read_is_refused_and_the_rest_stored(container: Container, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "directory").mkdir()
    names = [tmp_path / name for name in ("missing", "directory", "good")]
    report = container.add_files(names)
    assert report.files == 1 and container.extract(key_of(b"good")) == b"good"
    assert set(report.refused) == {
        RefusedFile(str(tmp_path / "missing"), os.strerror(2)),
        RefusedFile(str(tmp_path / "directory"), "is a directory"),
    }


def test_a_directory_alone_is_refused(container: Container, tmp_path: Path) -> None:
    report = container.add_files([tmp_path])
    assert (report.files, report.refused) == (0, (RefusedFile(str(tmp_path), "is a directory"),))


@pytest.mark.parametrize("place", ["loose", "packed"])
def test_a_large_file_that_changes_while_it_is_read_is_left_out(
    container: Container, tmp_path: Path, place: str
) -> None:
    names = [tmp_path / name for name in ("small", "changing", "large")]
    for name, size in zip(names, (5, FRAME_SIZE + 1, FRAME_SIZE + 2), strict=True):
        name.write_bytes(bytes(size))

    class Writer(Told):
        """Another program, which writes to the file while it is read."""

        def advance(self, amount: int) -> None:
            super().advance(amount)
            with names[1].open("ab") as file:
                file.write(b"more")

    told: list[StoredFile] = []
    report = container.add_files(names, to=place, tell=told.extend, progress=Writer())  # type: ignore[arg-type]  # a literal
    assert [(Path(file.path).name, file.size) for file in told] == [("small", 5), ("large", FRAME_SIZE + 2)]
    assert report.refused == (RefusedFile(str(names[1]), "changed while it was read"),)
    assert {file.key for file in told} == set(container)


def test_links_and_the_container_itself_are_skipped_and_patterns_left_out(tmp_path: Path) -> None:
    container = Container.create(tmp_path / "container")
    (tmp_path / "file").write_bytes(b"file")
    (tmp_path / "file.tmp").write_bytes(b"left out")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "more").write_bytes(b"left out too")
    (tmp_path / "link").symlink_to("file")
    report = container.add_tree(tmp_path, exclude=["*.tmp", "build/"])
    assert set(container) == {key_of(b"file")}
    assert report.skipped == Skipped(irregular=1)
    assert container.add_tree(container.path).skipped == Skipped(own=1)


def test_a_file_is_told_when_it_can_be_read(container: Container, tmp_path: Path) -> None:
    contents = make_tree(tmp_path / "tree", 300)
    seen = 0

    def tell(files: Sequence[StoredFile]) -> None:
        nonlocal seen
        seen += len(files)
        with Container(container.path) as other:
            assert all(other.has_many([file.key for file in files]))

    container.add_files(contents, to="loose", tell=tell)
    assert seen == 300


def test_progress_is_told_every_byte(container: Container, tmp_path: Path) -> None:
    sizes = (0, 1, FRAME_SIZE, 3 * FRAME_SIZE + 7, *[100] * 600)
    names = []
    for number, size in enumerate(sizes):
        names.append(tmp_path / str(number))
        names[-1].write_bytes(noise(size, number))
    progress = Told()
    container.add_files(names, progress=progress)
    assert progress.started == [("Adding", sum(sizes), "bytes")]
    assert (progress.done, progress.finished) == (sum(sizes), 1)


# Several processes: in programs of their own, because a process that has threads or numpy starts them in another way.

PROGRAM = """
import sys
from rsdos import Container
from rsdos.ingest.files import StoredFile
{before}
def main():
    files = []
    report = Container("container").add_tree("tree", jobs=3, tell=files.extend)
    assert report.files == len(files) == 300, report
    assert not report.shortage
    print(*sorted(f"{{file.key}} {{file.path}}" for file in files), sep="\\n")
if __name__ == "__main__":
    main()
"""


def run_program(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "program.py").write_text(text)
    command = [sys.executable, "program.py"]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("before", ["", "import numpy", "Container('container').insert_many([b'a', b'b'])"])
def test_several_processes_store_a_tree(container: Container, tmp_path: Path, before: str) -> None:
    contents = make_tree(tmp_path / "tree", 300)
    done = run_program(tmp_path, PROGRAM.format(before=before))
    assert done.returncode == 0, done.stderr
    wanted = sorted(f"{key_of(data)} {os.path.relpath(path, tmp_path)}" for path, data in contents.items())
    assert done.stdout.splitlines() == wanted
    assert set(map(key_of, contents.values())) <= set(container)


KILLER = """
import os, signal
from rsdos import Container, WorkerDied
from rsdos.ingest import files

parent = os.getpid()
real = files.take
def take(source):
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(source)
files.take = take
try:
    Container("container").add_tree("tree", jobs=2)
except WorkerDied as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="where workers are no forks")
def test_a_worker_that_is_killed_is_an_error(container: Container, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", 300)
    done = run_program(tmp_path, KILLER)
    assert (done.returncode, done.stdout) == (0, "a worker has died (Killed): fewer jobs take less memory\n"), (
        done.stderr
    )
    assert issubclass(WorkerDied, ChildProcessError)


BROKEN_OFF = """
import os, gc
from rsdos import Container
container = Container("container")
container.close()
gc.collect()
before = os.listdir("/dev/fd")
def tell(files):
    raise KeyboardInterrupt
try:
    container.add_tree("tree", jobs=2, tell=tell)
except KeyboardInterrupt:
    pass
container.close()
assert os.listdir("/dev/fd") == before, (os.listdir("/dev/fd"), before)
assert open("/proc/thread-self/children").read() == "", "a worker is left"
print(len(os.listdir("container/sandbox")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_a_call_that_is_broken_off_leaves_no_worker_and_no_descriptor(container: Container, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", 300)
    done = run_program(tmp_path, BROKEN_OFF)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


FAILURE = """
import os
from rsdos import Container, WorkerDied
from rsdos.ingest import workers

parent = os.getpid()
def fail(*arguments):
    raise {error}
workers.store_files = fail
try:
    Container("container").add_tree("tree", jobs=2)
except Exception as error:
    print(f"{{type(error).__name__}}: {{error}}")
    assert "In a worker" in error.__notes__[0]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="where workers are no forks")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("OSError(28, 'No space left on device', 'pack')", "OSError: [Errno 28] No space left on device: 'pack'"),
        ("MemoryError()", "MemoryError: a worker has no memory left: fewer jobs take less"),
        ("WorkerDied('once more')", "WorkerDied: once more"),
        ("type('Odd', (Exception,), {})('odd')", "RuntimeError: Odd: odd"),
    ],
)
def test_what_a_worker_fails_with_is_raised(container: Container, tmp_path: Path, error: str, told: str) -> None:
    make_tree(tmp_path / "tree", 300)
    done = run_program(tmp_path, FAILURE.format(error=error))
    assert (done.returncode, done.stdout) == (0, f"{told}\n"), done.stderr


def add(container: Container, sources: Sequence[str | Stream], tell: Callable[[ChunkResult], None], jobs: int) -> None:
    walk = Walk(container.engine.layout.root)
    walk.add(sources, Directories.REFUSE)
    add_walk(container.engine, walk, AddOptions(Place.PACKED, jobs=jobs), tell=tell)


@pytest.mark.parametrize("data", [b"", b"small", noise(FRAME_SIZE + 1, 5)])
def test_a_stream_is_read_once_and_stored(container: Container, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(b"file")
    chunks: list[ChunkResult] = []
    add(container, [str(tmp_path / "file"), Stream("-", lambda: BytesIO(data))], chunks.append, 1)
    assert [file for chunk in chunks for file in chunk.files()] == [
        StoredFile(str(tmp_path / "file"), key_of(b"file"), 4),
        StoredFile("-", key_of(data), len(data)),
    ]
    assert container.extract(key_of(data)) == data
