"""The door to fsspec, with fsspec's own suite and with the libraries that read through it."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rsdos import Container, InvalidOption
from tests.integrations.conftest import LABELS, break_object, write_tree

fsspec = pytest.importorskip("fsspec", reason="the extra `fsspec`: `make doors` has it")
from fsspec.implementations.local import LocalFileSystem  # noqa: E402
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests  # noqa: E402

from rsdos.integrations.filesystem import RsdosFileSystem  # noqa: E402


@pytest.fixture
def options(container: Container) -> dict[str, str]:
    return {"container": str(container.path)}


@pytest.fixture
def fs(flowers: Path, options: dict[str, str]) -> Any:
    return fsspec.filesystem("rsdos", **options)


# --- names ------------------------------------------------------------------------------------------------------------


def test_the_protocol_is_known_from_the_entry_point(fs: Any) -> None:
    assert type(fs) is RsdosFileSystem
    assert fs.fsid.startswith("rsdos_")


def test_a_file_system_without_a_container_says_what_it_needs() -> None:
    with pytest.raises(InvalidOption, match="storage_options"):
        fsspec.filesystem("rsdos")


def test_the_container_comes_from_the_configuration_of_fsspec(flowers: Path, options: dict[str, str]) -> None:
    code = "import fsspec; print(fsspec.open('rsdos://flowers/labels.csv').open().read())"
    environment = {**os.environ, "FSSPEC_RSDOS_CONTAINER": options["container"]}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == repr(LABELS), done.stderr


def test_a_directory_named_by_a_year_is_read(fs: Any, container: Container) -> None:
    key = container.snapshots["team/flowers"].key
    for name in ("2024", "20241231", key[:6]):
        container.snapshots.tag(name, "flowers")
        assert fs.cat(f"rsdos://{name}/labels.csv") == LABELS
    assert {"2024", "20241231", key[:6]} < set(fs.ls("", detail=False))


@pytest.mark.parametrize("ref", ["flowers", "flowers@1", "v1"])
def test_every_kind_of_ref_names_a_directory(fs: Any, ref: str) -> None:
    assert fs.cat(f"rsdos://{ref}/labels.csv") == LABELS


def test_the_key_of_a_snapshot_names_a_directory(fs: Any, container: Container) -> None:
    assert fs.cat(f"{container.snapshots['flowers'].key}/labels.csv") == LABELS


def test_a_slash_in_a_ref_is_written_as_percent_2f(fs: Any) -> None:
    assert fs.cat("rsdos://team%2Fflowers/labels.csv") == LABELS.upper()
    assert not fs.exists("rsdos://team/flowers/labels.csv")


def test_the_root_has_all_names(fs: Any) -> None:
    assert fs.ls("", detail=False) == ["flowers", "team%2Fflowers", "v1"]
    assert {info["type"] for info in fs.ls("rsdos://")} == {"directory"}
    assert all(fs.isdir(name) for name in fs.ls("", detail=False))


def test_a_branch_is_followed_and_a_version_is_not(fs: Any, container: Container) -> None:
    assert fs.cat("flowers/labels.csv") == LABELS
    with container.snapshots.edit("flowers") as draft:
        draft["labels.csv"] = b"new"
    assert fs.cat("flowers/labels.csv") == b"new"
    assert fs.cat("flowers@1/labels.csv") == LABELS


@pytest.mark.parametrize(
    "path",
    ["absent", "absent/labels.csv", "flowers/absent", "flowers/labels.csv/below", "flowers@7", "a b/c", "outside"],
)
def test_what_is_not_there_is_a_file_not_found(fs: Any, path: str) -> None:
    assert not fs.exists(path)
    for call in (fs.info, fs.ls, fs.cat, fs.open):
        with pytest.raises(FileNotFoundError):
            call(path)


# --- what is there ----------------------------------------------------------------------------------------------------


def test_info_has_size_type_and_hash(fs: Any) -> None:
    info = fs.info("rsdos://flowers/labels.csv")
    assert (info["name"], info["type"], info["size"]) == ("flowers/labels.csv", "file", len(LABELS))
    assert info["sha256"] == hashlib.sha256(LABELS).hexdigest() == fs.ukey("flowers/labels.csv")
    assert fs.info("flowers/train")["type"] == fs.info("flowers/empty")["type"] == "directory"
    assert "sha256" not in fs.info("flowers/train")


def test_the_key_of_a_file_changes_with_its_content_alone(fs: Any) -> None:
    assert fs.ukey("flowers/train/rose/1.jpg") == fs.ukey("team%2Fflowers/train/rose/1.jpg")
    assert fs.ukey("flowers/labels.csv") != fs.ukey("team%2Fflowers/labels.csv")
    assert fs.checksum("flowers/labels.csv") != fs.checksum("team%2Fflowers/labels.csv")


def test_a_listing_is_that_of_the_directory(fs: Any, flowers: Path) -> None:
    assert fs.ls("flowers", detail=False) == sorted(f"flowers/{name}" for name in os.listdir(flowers))
    assert fs.ls("flowers/empty") == []
    assert fs.ls("flowers/labels.csv", detail=False) == ["flowers/labels.csv"]


def test_find_and_walk_end_although_a_link_leads_up(fs: Any, flowers: Path) -> None:
    files = {
        f"flowers/{path.relative_to(flowers)}" for path in flowers.rglob("*") if path.is_symlink() or path.is_file()
    }
    assert fs.find("flowers") == sorted(files)
    walked = {f"{top}/{name}" for top, _, names in fs.walk("flowers") for name in names}
    assert walked == files
    assert set(fs.find("flowers", withdirs=True)) - files == {
        "flowers", "flowers/empty", "flowers/odd", "flowers/test", "flowers/train", "flowers/train/rose",
        "flowers/train/tulip",
    }  # fmt: skip


def test_find_agrees_with_the_walk_of_fsspec(fs: Any) -> None:
    def plain(*arguments: Any, **named: Any) -> Any:
        return super(RsdosFileSystem, fs).find(*arguments, **named)

    for path in ("flowers", "flowers/train", "flowers/labels.csv", "flowers/absent", "flowers/empty", ""):
        for withdirs in (False, True):
            assert fs.find(path, withdirs=withdirs) == plain(path, withdirs=withdirs), (path, withdirs)
    assert fs.find("flowers/train", detail=True) == plain("flowers/train", detail=True)
    assert fs.find("flowers", maxdepth=1) == [name for name in fs.find("flowers") if name.count("/") == 1]


def test_glob_finds_names_at_any_depth(fs: Any) -> None:
    assert fs.glob("rsdos://flowers/**/*.jpg") == [
        "flowers/test/4.jpg", "flowers/train/rose/1.jpg", "flowers/train/tulip/2.jpg", "flowers/train/tulip/3.jpg",
    ]  # fmt: skip
    assert fs.glob("flowers/train/tulip/[2]*") == ["flowers/train/tulip/2.jpg"]


def test_links_are_followed_inside_of_the_snapshot_only(fs: Any) -> None:
    assert fs.cat("flowers/latest.csv") == fs.cat("flowers/train/up/labels.csv") == LABELS
    assert fs.cat("flowers/roses/1.jpg") == b"a rose" * 100
    assert fs.isdir("flowers/roses")
    assert fs.info("flowers/latest.csv")["destination"] == "labels.csv"
    assert not fs.exists("flowers/outside")


# --- contents ---------------------------------------------------------------------------------------------------------


def test_open_gives_a_seekable_stream_and_text(fs: Any, flowers: Path) -> None:
    with fs.open("flowers/large.bin") as stream:
        assert stream.size == 12_000 * 256
        assert stream.seek(-3, os.SEEK_END) == stream.size - 3
        assert stream.read() == b"\xfd\xfe\xff"
    with fs.open("flowers/labels.csv", "r") as stream:
        assert stream.readline() == "name,kind\n"
    assert fs.read_text("flowers/odd/na me é.txt") == "odd"


def test_cat_of_several_gives_all_of_them(fs: Any) -> None:
    assert fs.cat(["flowers/labels.csv"]) == {"flowers/labels.csv": LABELS}
    found = fs.cat("flowers/train", recursive=True)
    assert found["flowers/train/rose/1.jpg"] == b"a rose" * 100
    assert found["flowers/train/tulip/3.jpg"] == b""
    assert fs.cat("flowers/labels.*") == {"flowers/labels.csv": LABELS}


def test_cat_of_several_is_one_bulk_read(fs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    real = fs.container.extract_many

    def counted(keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        calls.append(list(keys))
        found: Iterator[tuple[str, bytes]] = real(calls[-1])
        return found

    monkeypatch.setattr(fs.container, "extract_many", counted)
    paths = fs.glob("flowers/**/*.jpg")
    assert len(fs.cat(paths)) == len(fs.cat_ranges(paths, 0, 3)) == 4
    assert [len(keys) for keys in calls] == [4, 4]


RANGES = [(0, 3), (2, None), (None, 4), (-4, None), (-6, -2), (5, 2), (0, 10**9), (None, None)]


@pytest.mark.parametrize("name", ["labels.csv", "large.bin", "train/tulip/3.jpg"])
def test_ranges_are_those_of_slices(fs: Any, flowers: Path, name: str) -> None:
    data = (flowers / name).read_bytes()
    path = f"flowers/{name}"
    expected = [data[start:end] for start, end in RANGES]
    assert [fs.cat_file(path, start, end) for start, end in RANGES] == expected
    starts, ends = [list(column) for column in zip(*RANGES, strict=True)]
    assert fs.cat_ranges([path] * len(RANGES), starts, ends) == expected


def test_ranges_of_many_files_come_in_the_order_asked_for(fs: Any, flowers: Path) -> None:
    names = ["large.bin", "labels.csv", "latest.csv", "large.bin", "labels.csv"]
    starts, ends = [7, 1, 2, 500_000, 0], [10, 5, 6, 500_008, 2]
    expected = [(flowers / name).read_bytes()[a:b] for name, a, b in zip(names, starts, ends, strict=True)]
    assert fs.cat_ranges([f"flowers/{name}" for name in names], starts, ends) == expected


def test_what_cannot_be_read_is_an_error_of_its_own(fs: Any, container: Container) -> None:
    break_object(container, hashlib.sha256(b"a tulip").hexdigest())
    paths = ["flowers/labels.csv", "flowers/train/tulip/2.jpg", "flowers/absent", "flowers/test/4.jpg"]
    found = fs.cat(paths, on_error="return")
    assert found["flowers/labels.csv"] == LABELS
    assert found["flowers/test/4.jpg"] == b"another"
    assert type(found["flowers/train/tulip/2.jpg"]).__name__ == "DamagedObject"
    assert isinstance(found["flowers/absent"], FileNotFoundError)
    assert set(fs.cat(paths, on_error="omit")) == {"flowers/labels.csv", "flowers/test/4.jpg"}
    with pytest.raises(FileNotFoundError):
        fs.cat(paths[2:])


def test_nothing_can_be_written(fs: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    calls: list[Callable[[], object]] = [
        lambda: fs.open("flowers/new", "wb"),
        lambda: fs.open("flowers/labels.csv", "ab"),
        lambda: fs.pipe("flowers/new", b"1"),
        lambda: fs.touch("flowers/new"),
        lambda: fs.rm("flowers/labels.csv"),
        lambda: fs.rm("flowers/train", recursive=True),
        lambda: fs.mkdir("flowers/new"),
        lambda: fs.makedirs("flowers/new"),
        lambda: fs.rmdir("flowers/empty"),
        lambda: fs.copy("flowers/labels.csv", "flowers/new"),
        lambda: fs.mv("flowers/labels.csv", "flowers/new"),
        lambda: fs.put(str(tmp_path / "file"), "flowers/new"),
    ]
    before = fs.find("flowers", withdirs=True)
    for call in calls:
        with pytest.raises(OSError, match="read-only"):
            call()
    assert fs.find("flowers", withdirs=True) == before


def test_a_file_system_can_be_sent_to_another_process(fs: Any) -> None:
    again = pickle.loads(pickle.dumps(fs))
    assert again == fs
    assert again.cat("flowers/labels.csv") == LABELS


def test_a_mapper_reads_as_a_mapping(fs: Any) -> None:
    mapper = fs.get_mapper("flowers/train")
    assert mapper["rose/1.jpg"] == b"a rose" * 100
    assert "rose/2.jpg" not in mapper
    assert mapper.getitems(["tulip/2.jpg", "absent"], on_error="omit") == {"tulip/2.jpg": b"a tulip"}


# --- fsspec's own suite: what reads -----------------------------------------------------------------------------------


class _Saved(AbstractFixtures):
    """The scenarios of fsspec's suite, made in a local directory and saved under the name of a ref."""

    @pytest.fixture
    def fs(self, options: dict[str, str]) -> Any:
        return fsspec.filesystem("rsdos", **options)

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def fs_path(self) -> str:
        return "saved"

    def _save(self, make: Callable[..., str], container: Container, tmp_path: Path) -> str:
        made = make(LocalFileSystem(auto_mkdir=True), os.path.join, str(tmp_path / "scenario"))
        container.snapshots.save("saved", tmp_path / "scenario")
        return f"saved/{Path(made).name}"

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, container: Container, tmp_path: Path) -> str:
        return self._save(self._bulk_operations_scenario_0, container, tmp_path)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, container: Container, tmp_path: Path) -> str:
        return self._save(self._glob_edge_cases_files, container, tmp_path)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, container: Container, tmp_path: Path) -> str:
        return self._save(self._dir_and_file_with_same_name_prefix, container, tmp_path)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, container: Container, tmp_path: Path) -> str:
        return self._save(self._10_files_with_hashed_names, container, tmp_path)


class TestGet(_Saved, AbstractGetTests):
    """Downloads, also of patterns and directories: the part of the suite that does not write to the file system."""

    def test_get_directory_recursive(self, fs: Any, container: Container, tmp_path: Path) -> None:
        """The test of this name makes its source on the file system: here it is saved."""
        container.snapshots.save("saved", write_tree(tmp_path / "made", {"src/file": b""}))
        target = tmp_path / "target"
        fs.get("saved/src", str(target), recursive=True)  # to what is not there: a copy of the directory
        assert os.listdir(target) == ["file"]
        fs.get("saved/src", str(target), recursive=True)  # to a directory: into it
        assert os.listdir(target / "src") == ["file"]


# --- libraries --------------------------------------------------------------------------------------------------------


def test_pandas_reads_csv_and_parquet(flowers: Path, container: Container, options: dict[str, str]) -> None:
    pandas = pytest.importorskip("pandas", reason="not installed: `make doors` has it")
    pytest.importorskip("pyarrow", reason="not installed: `make doors` has it")
    frame = pandas.read_csv("rsdos://flowers@1/labels.csv", storage_options=options)
    assert list(frame["kind"]) == ["rose", "tulip"]
    frame.to_parquet(flowers / "labels.parquet")
    container.snapshots.save("flowers", flowers)
    again = pandas.read_parquet("rsdos://flowers/labels.parquet", storage_options=options)
    assert again.equals(frame)


@pytest.mark.parametrize("place", ["loose", "packed"])
def test_pandas_writes_parquet_to_a_file_that_becomes_an_object(container: Container, place: str) -> None:
    """Without fsspec: by `Container.writer`. A buffer of Arrow is bytes, like one of numpy."""
    pandas = pytest.importorskip("pandas", reason="not installed: `make doors` has it")
    arrow = pytest.importorskip("pyarrow", reason="not installed: `make doors` has it")
    frame = pandas.DataFrame({"kind": ["rose", "tulip"], "petals": [5, 6]})
    with container.writer(to=place) as file:
        frame.to_parquet(file)
    with container.open(file.key) as stream:
        assert pandas.read_parquet(stream).equals(frame)
    assert container.extract(container.insert(arrow.py_buffer(LABELS), to=place)) == LABELS


def test_pyarrow_reads_a_dataset_of_parquet_files(
    container: Container, tmp_path: Path, options: dict[str, str]
) -> None:
    arrow = pytest.importorskip("pyarrow", reason="not installed: `make doors` has it")
    dataset = pytest.importorskip("pyarrow.dataset")
    table = arrow.table({"number": list(range(1000)), "even": [number % 2 == 0 for number in range(1000)]})
    parted = {"partitioning": ["even"], "partitioning_flavor": "hive"}
    dataset.write_dataset(table, tmp_path / "table", format="parquet", **parted)
    container.snapshots.save("table", tmp_path / "table")
    fs = fsspec.filesystem("rsdos", **options)
    read = dataset.dataset("table", filesystem=fs, format="parquet", partitioning="hive")
    assert read.count_rows() == 1000
    assert read.to_table(filter=dataset.field("number") < 10).num_rows == 10


def test_duckdb_queries_files(flowers: Path, fs: Any) -> None:
    duckdb = pytest.importorskip("duckdb", reason="not installed: `make doors` has it")
    with duckdb.connect() as connection:
        connection.register_filesystem(fs)
        query = "SELECT kind FROM read_csv('rsdos://flowers/labels.csv') ORDER BY kind"
        assert connection.sql(query).fetchall() == [("rose",), ("tulip",)]
        query = "SELECT count(*) FROM read_csv('rsdos://flowers/l*.csv')"
        assert connection.sql(query).fetchall() == [(4,)]


def test_datasets_of_hugging_face_load_from_it(
    flowers: Path, container: Container, options: dict[str, str], tmp_path: Path
) -> None:
    """By version: the library keeps what it has downloaded by the URL alone. A process reads the cache's place once."""
    pytest.importorskip("datasets", reason="not installed: `make doors` has it")
    code = (
        "import datasets, sys\n"
        "loaded = datasets.load_dataset('csv', data_files={'train': sys.argv[2]},\n"
        "    storage_options={'container': sys.argv[1]})\n"
        "print(loaded['train']['kind'][:])\n"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf")}
    with container.snapshots.edit("flowers") as draft:
        draft["labels.csv"] = b"name,kind\n1.jpg,daisy\n"
    for version, kinds in [(1, ["rose", "tulip"]), (2, ["daisy"])]:
        arguments = [sys.executable, "-c", code, options["container"], f"rsdos://flowers@{version}/*.csv"]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == str(kinds * 2), done.stderr


def test_a_universal_path_reads_like_a_path(flowers: Path, options: dict[str, str]) -> None:
    """No warning either: the entry point makes the class known."""
    upath = pytest.importorskip("upath", reason="not installed: `make doors` has it")
    top = upath.UPath("rsdos://flowers@1", **options)
    labels = top / "labels.csv"
    assert type(labels).__name__ == "RsdosPath"
    assert labels.read_bytes() == LABELS
    assert labels.stat().st_size == len(LABELS)
    assert (labels.name, labels.suffix, labels.parent) == ("labels.csv", ".csv", top)
    assert str(labels) == "rsdos://flowers@1/labels.csv"
    assert sorted(path.name for path in top.iterdir()) == sorted(os.listdir(flowers))
    assert sorted(path.name for path in (top / "train").glob("*/*.jpg")) == ["1.jpg", "2.jpg", "3.jpg"]
    assert (top / "train").is_dir()
    assert not (top / "absent").exists()
    with labels.open() as stream:
        assert stream.read() == LABELS.decode()
    with pytest.raises(OSError, match="read-only"):
        labels.write_bytes(b"")
