"""Every command, through real processes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from rsdos import CompressMode, Container, Durability
from rsdos.engine.workers import default_jobs
from rsdos.ingest import workers
from rsdos.model import Copy, PackKind
from rsdos.stores.encoding import Encoding
from tests.cli.conftest import Run
from tests.helpers import native


def key_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_transcript(run: Run, tmp_path: Path) -> None:
    """The transcript of the README, to the letter but for keys, id and figures of the data."""
    one, two = random.Random(1).randbytes(1_200_000), random.Random(2).randbytes(3_400_000)
    (tmp_path / "mydata1.txt").write_bytes(one)
    (tmp_path / "mydata2.bin").write_bytes(two)
    assert run("init", "--pack-size=512", "--compression=zstd").stdout == (
        "[info] Container initialized at ./container\n"
    )
    assert run("add-files", "--to", "loose", "./mydata1.txt", "./mydata2.bin").stdout == (
        f"{key_of(one)} - mydata1.txt: 1.2 MB\n{key_of(two)} - mydata2.bin: 3.4 MB\n"
    )
    assert run("optimize", "pack").stdout == "[info] Packed 2 loose objects into pack file #1\n"
    status = run("status").stdout
    identity = re.search(r"^Id = ([0-9a-f]{32})$", status, re.MULTILINE)
    assert identity is not None
    assert status.startswith(
        f"[container]\nLocation = ./container\nId = {identity[1]}\nZipAlgo = zstd\n\n"
        "[container.count]\nLoose = 0\nPacks = 2\nPack Files = 1\n\n"
        "[container.size]\nLoose = 0 B\nPacks = 4.6 MB\nPacks Files = 4.6 MB\n"
    )


def test_version_and_help(run: Run) -> None:
    assert run("--version").stdout.startswith("rsdos ")
    commands = ["add-files", "cat-file", "completion", "extract", "init", "inspect", "list", "optimize", "status"]
    listed = run("--help").stdout
    for name in commands:
        assert name in listed
        assert "Usage" in run(name, "--help").stdout
    assert "Usage" in run("optimize", "pack", "--help").stdout
    assert "_RSDOS_COMPLETE" in run("completion", "bash").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["init", "--pack-size=0"],
        ["init", "--pack-size=-1"],
        ["init", "--pack-size=many"],
        ["init", "--compression=lzma"],
        ["init", "--compression=zstd:99"],
        ["init", "--loose-prefix-len=-3"],
        ["--durability", "none", "init"],
        ["add-files"],
        ["cat-file"],
        ["completion", "tcsh"],
    ],
)
def test_wrong_arguments_exit_2_and_make_nothing(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    assert run(*arguments, code=2).stderr
    assert not (tmp_path / "container").exists()


def test_errors_are_one_line(run: Run, tmp_path: Path) -> None:
    assert run("status", code=1).stderr.count("\n") == 1
    run("init")
    assert "is a container already" in run("init", code=1).stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert "not empty" in run("-p", "full", "init", code=1).stderr
    for key in ("../../etc/passwd", "AB" * 32, "abc", ""):
        assert "not a key" in run("cat-file", key, code=2).stderr
    assert "no such object" in run("cat-file", "0" * 64, code=1).stderr


@pytest.mark.parametrize(("size", "target"), [("512", 512 << 20), ("4GiB", 4 << 30), ("500MB", 500_000_000)])
def test_pack_sizes(run: Run, tmp_path: Path, size: str, target: int) -> None:
    run("init", f"--pack-size={size}")
    assert json.loads((tmp_path / "container" / "config.json").read_text())["pack_size_target"] == target


def test_path_from_the_environment(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("-p", "elsewhere", "init")
    environment = os.environ | {"RSDOS_PATH": str(tmp_path / "elsewhere")}
    done = subprocess.run([sys.executable, "-m", "rsdos", "status"], env=environment, capture_output=True, check=True)
    assert f"Location = {tmp_path / 'elsewhere'}".encode() in done.stdout


def tree(top: Path, count: int) -> dict[str, bytes]:
    contents = {}
    for number in range(count):
        path = top / f"d{number % 7}" / f"file {number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = f"content {number % (count - 5)}\n".encode() * (number % 90 + 1)
        path.write_bytes(data)
        contents[os.path.relpath(path, top.parent)] = data
    return contents


def test_a_list_says_of_each_object_what_inspect_says(run: Run, tmp_path: Path) -> None:
    contents = tree(tmp_path / "tree", 150)
    run("init")
    run("add-files", "-r", "tree")
    with Container(tmp_path / "container") as container:
        container.insert_many([b"loose", contents.popitem()[1]], to="loose")
    for place in ((), ("--loose",), ("--packed",)):
        documents = [json.loads(line) for line in run("list", "--long", "--json", *place).stdout.splitlines()]
        keys = [document["key"] for document in documents]
        assert keys == run("list", *place).stdout.split()
        assert [{"key": key} for key in keys] == list(
            map(json.loads, run("list", "--json", *place).stdout.splitlines())
        )
        for line, document in zip(run("list", "--long", *place).stdout.splitlines(), documents, strict=True):
            members = ("key", "size", "length", "codec", "place")
            assert line.split() == [str(document[member]) for member in members]
            with Container(tmp_path / "container") as container:
                extent = container.meta(document["key"]).extent
            assert place == ("--loose",) or document["extent"] == (extent and extent._asdict())


@pytest.mark.parametrize("compress", ["no", "yes", "auto", "keep"])
def test_a_tree_goes_in_and_comes_out(run: Run, tmp_path: Path, compress: str) -> None:
    contents = tree(tmp_path / "tree", 150)
    (tmp_path / "tree" / "link").symlink_to("d0")
    run("init")
    lines = run("add-files", "-r", "tree", "--compress", compress, "--json").stdout.splitlines()
    added = {entry["path"]: entry for entry in map(json.loads, lines)}
    assert added.keys() == contents.keys()
    for path, data in contents.items():
        assert (added[path]["key"], added[path]["size"]) == (key_of(data), len(data))
    status = json.loads(run("status", "--json").stdout)
    assert (status["loose_objects"], status["packed_objects"]) == (0, len(set(contents.values())))
    assert status["overhead_length"] == status["packs_length"] - status["packed_length"] - status["dead_length"]
    assert set(run("list").stdout.split()) == set(map(key_of, contents.values()))
    path, data = next(iter(contents.items()))
    assert run("cat-file", added[path]["key"][:12]).stdout.encode() == data


def test_names_from_standard_input(run: Run, tmp_path: Path) -> None:
    contents = tree(tmp_path / "tree", 12)
    odd = tmp_path / "tree" / "two\nlines"
    odd.write_bytes(b"odd")
    run("init")
    lines = run("add-files", "--from-file", "-", stdin="\n".join(contents).encode()).stdout.splitlines()
    assert [line[:64] for line in lines] == [key_of(data) for data in contents.values()]
    text = run("add-files", "--from-file", "-", stdin=b"tree/two\nlines\0").stdout
    assert text == f"{key_of(b'odd')} - tree/two\\nlines: 3 B\n"
    assert json.loads(run("status", "--json").stdout)["packed_objects"] == 0  # auto: fewer than 100 stay loose


def test_bad_files_are_named_and_the_others_stored(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    run("init")
    done = run("add-files", "missing", "directory", "fifo", "good", code=1)
    assert done.stdout == f"{key_of(b'good')} - good: 4 B\n"
    for name in ("missing", "directory", "fifo"):
        assert f"rsdos: error: {name}: " in done.stderr


def test_cat_file(run: Run, tmp_path: Path) -> None:
    data = bytes(range(256)) * 12_000  # three frames
    (tmp_path / "data").write_bytes(data)
    run("init")
    run("add-files", "data")
    run("optimize", "pack")
    key = key_of(data)
    run("cat-file", key, "-o", "whole")
    assert (tmp_path / "whole").read_bytes() == data
    for text, part in {"5:9": data[5:9], "1048570:1048590": data[1048570:1048590], "3071990:": data[3071990:]}.items():
        run("cat-file", key, "--range", text, "-o", "part")
        assert (tmp_path / "part").read_bytes() == part
    for text in ("9:5", "-1:4", "x"):
        run("cat-file", key, f"--range={text}", code=2)


@pytest.mark.parametrize("command", ["cat-file", "list"])
def test_a_reader_that_goes_away_is_no_error(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "data").write_bytes(bytes(3 << 20))
    run("init")
    run("add-files", "data")
    arguments = [command, key_of(bytes(3 << 20))] if command == "cat-file" else [command]
    process = subprocess.Popen(
        [sys.executable, "-m", "rsdos", *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_optimize_pack(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one " * 1000)
    run("init")
    assert run("optimize", "pack").stdout == "[info] No loose objects to pack\n"
    run("add-files", "one")
    assert "1 loose object to pack" in run("optimize", "pack", "--dry-run").stdout
    assert run("optimize", "pack", "--no-compress", "--no-clean").stdout == (
        "[info] Packed 1 loose object into pack file #1\n"
    )
    key = key_of(b"one " * 1000)
    copies = json.loads(run("inspect", "object", key, "--json").stdout)["copies"]
    assert [(copy["place"], copy["codec"]) for copy in copies] == [("packed", "raw"), ("loose", "raw")]
    report = json.loads(run("optimize", "pack", "--json").stdout)
    assert (report["objects"], report["known"], report["cleaned"]) == (0, 1, 1)


def codecs_of(run: Run, *contents: bytes) -> list[str]:
    copies = [json.loads(run("inspect", "object", key_of(data), "--json").stdout)["copies"] for data in contents]
    return [copy["codec"] for own in copies for copy in own]


def test_a_named_compression_is_for_all_objects(run: Run, tmp_path: Path) -> None:
    contents = [b"tiny", random.Random(1).randbytes(5000)]
    for name, data in zip(("one", "two"), contents, strict=True):
        (tmp_path / name).write_bytes(data)
    run("init")
    run("add-files", "one", "--compress", "yes")
    assert codecs_of(run, contents[0]) == ["zstd"]
    run("add-files", "two")
    run("optimize", "pack")
    assert codecs_of(run, *contents) == ["zstd", "raw"]
    run("optimize", "repack", "--compression", "zstd:3", "--compress", "auto")
    assert codecs_of(run, *contents) == ["raw", "raw"]
    run("optimize", "repack", "--compression", "zstd:3")
    assert codecs_of(run, *contents) == ["zstd", "zstd"]
    run("init", "other")
    run("transfer", "container", "other", "--compression", "zlib")
    assert codecs_of(lambda *arguments: run("-p", "other", *arguments), *contents) == ["zlib", "zlib"]


def test_loose_objects_are_all_compressed_on_request(run: Run, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(5000)
    (tmp_path / "one").write_bytes(data)
    run("init")
    run("add-files", "one")
    run("optimize", "pack", "--compress", "yes")
    assert codecs_of(run, data) == ["zstd"]
    assert "--no-compress" in run("optimize", "pack", "--compress", "yes", "--no-compress", code=2).stderr


def test_what_is_stored_already_is_not_compressed_and_a_note_says_so(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    run("init")
    run("add-files", "one", "--to", "packed", "--compress", "no")
    done = run("add-files", "one", "two", "--compress", "yes")
    assert done.stderr == (
        "rsdos: note: 1 file had been stored before, in a form that stays; "
        "`rsdos optimize repack --compression` changes it\n"
    )
    assert codecs_of(run, b"one" * 1000, b"two" * 1000) == ["raw", "zstd"]
    assert run("add-files", "one", "--compress", "yes", "--quiet").stderr == ""
    (tmp_path / "three").write_bytes(b"three" * 1000)
    assert run("add-files", "three", "--compress", "yes").stderr == ""


def test_a_damaged_loose_object_is_named_and_left(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one")
    (tmp_path / "two").write_bytes(b"two")
    run("init")
    run("add-files", "one", "two")
    key = key_of(b"one")
    damaged = tmp_path / "container" / "loose" / key[:2] / key[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(b"eno")
    done = run("optimize", "pack", code=1)
    assert done.stdout == "[info] Packed 1 loose object into pack file #1\n"
    assert key in done.stderr
    assert damaged.read_bytes() == b"eno"
    assert "damaged" in run("cat-file", key, code=1).stderr


def test_inspect(run: Run, tmp_path: Path) -> None:
    contents = tree(tmp_path / "tree", 20)
    run("init")
    run("add-files", "-r", "tree")
    loose = [json.loads(line) for line in run("inspect", "loose", "--json").stdout.splitlines()]
    assert {entry["key"] for entry in loose} == set(map(key_of, contents.values()))
    run("optimize", "pack")
    packs = json.loads(run("inspect", "packed", "--json").stdout)["packs"]
    assert [(pack["id"], pack["objects"]) for pack in packs] == [(1, len(loose))]
    pack = json.loads(run("inspect", "pack", "1", "--json").stdout)
    assert [batch["entries"] for batch in pack["batches"]] == [len(loose)]
    assert "there is no pack 7" in run("inspect", "pack", "7", code=2).stderr


def test_interrupted_in_the_middle(run: Run, tmp_path: Path) -> None:
    """Ctrl-C while files go in: it is said how many are stored; every key that was printed is there, and what is stored
    is not written again.
    """
    contents = tree(tmp_path / "tree", 300)
    run("init")
    process = subprocess.Popen(
        [sys.executable, "-m", "rsdos", "add-files", "--from-file", "-"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Where the tests run in the background of a shell, SIGINT is ignored, and so by every child: forever, then.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  no threads yet
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    names = "\n".join(list(contents)[:100] * 170).encode() + b"\n"  # More than one insert, and then it waits for more.
    stdin = process.stdin

    def feed() -> None:
        with suppress(BrokenPipeError):
            stdin.write(names + b"\n" * (1 << 17))
            stdin.flush()

    feeder = threading.Thread(target=feed)
    feeder.start()
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    with process.stdout, process.stderr:
        stdout, stderr = process.stdout.read(), process.stderr.read()
    assert process.wait() == 130
    feeder.join()
    with suppress(BrokenPipeError):
        stdin.close()
    note, last = stderr.splitlines()
    assert note.startswith(b"rsdos: note: 16,384 files stored so far, ")
    assert last == b"rsdos: error: interrupted"
    stored = set(run("list").stdout.split())
    assert {line[:64] for line in (first + stdout).decode().splitlines()} <= stored
    before = json.loads(run("status", "--json").stdout)["packs_length"]
    assert run("add-files", "--from-file", "-", stdin=names).stdout.count("\n") == 17000
    assert json.loads(run("status", "--json").stdout)["packs_length"] == before
    run("add-files", "-r", "tree")
    assert set(run("list").stdout.split()) == set(map(key_of, contents.values()))


def test_add_files_in_two_processes(run: Run, tmp_path: Path) -> None:
    run("init")
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(300):
        (tree / f"{number}.txt").write_text(f"number {number % 290}")
    os.symlink("/etc", tree / "link")
    alone = run("add-files", "-r", "tree").stdout
    together = run("add-files", "-r", "--jobs", "2", "tree").stdout
    assert sorted(together.splitlines()) == sorted(alone.splitlines())
    assert len(run("list").stdout.splitlines()) == 290


def test_a_bad_file_does_not_stop_two_processes(run: Run, tmp_path: Path) -> None:
    """One that cannot be read, one that is not there, and one that goes bad half-way, if /proc has such."""
    large = bytes((1 << 20) + 1)
    names = [str(number) for number in range(200)]
    for name in names:
        (tmp_path / name).write_text(name)
    (tmp_path / "large").write_bytes(large)
    (tmp_path / "directory").mkdir()
    bad = ["missing", "directory", *(["/proc/self/mem"] if os.path.exists("/proc/self/mem") else [])]
    run("init")
    done = run("add-files", "--jobs", "2", *names[:100], "large", *bad, *names[100:], code=1)
    assert {line.split(" - ")[1] for line in done.stdout.splitlines()} == {
        "large: 1.0 MB", *(f"{name}: {len(name)} B" for name in names)
    }  # fmt: skip
    assert len(done.stderr.splitlines()) == len(bad)
    assert all(name in done.stderr for name in bad)
    assert set(run("list").stdout.split()) == {key_of(large), *(key_of(name.encode()) for name in names)}


def test_standard_input_among_files_of_two_processes_is_stored(run: Run, tmp_path: Path) -> None:
    names = [str(number) for number in range(200)]
    for name in names:
        (tmp_path / name).write_text(name)
    run("init")
    lines = run("add-files", "--jobs", "2", *names[:100], "-", *names[100:], stdin=b"typed").stdout.splitlines()
    assert f"{key_of(b'typed')} - -: 5 B" in lines and len(lines) == 201
    assert run("cat-file", key_of(b"typed")).stdout == "typed"


def test_a_large_tree_gets_all_cores_and_a_list_its_order(run: Run, tmp_path: Path) -> None:
    names = []
    for directory in range(33):
        (tmp_path / "tree" / str(directory)).mkdir(parents=True)
        for number in range(500):
            names.append(f"tree/{directory}/{number}")
            (tmp_path / names[-1]).write_text(str(number))
    run("init")
    lines = run("add-files", "-r", "./tree").stdout.splitlines()
    assert sorted(line.split(" - ")[1].partition(":")[0] for line in lines) == sorted(names)
    assert len(json.loads(run("inspect", "packed", "--json").stdout)["packs"]) == default_jobs()
    listed = run("add-files", "--from-file", "-", stdin="\n".join(names).encode()).stdout.splitlines()
    assert [line.split(" - ")[1].partition(":")[0] for line in listed] == names
    assert set(listed) == set(lines)


def test_a_slow_worker_gets_fewer_names(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(workers, "monotonic", lambda: now)
    portion = workers.Portion()
    sizes = []
    for seconds in (0.001,) * 8 + (1.0,) * 12:
        now += seconds
        sizes.append(portion.size())
    assert sizes[:8] == [16, 32, 64, 128, 256, 512, 1024, 1024]
    assert sizes[8:10] == [512, 256] and sizes[-1] == 1


@pytest.mark.parametrize("list_name", ["-", "/dev/stdin", "list"])
def test_keys_to_delete_come_from_anything_that_can_be_read(run: Run, tmp_path: Path, list_name: str) -> None:
    run("init")
    contents = [b"%d" % number for number in range(5)]
    Container(tmp_path / "container").insert_many(contents)
    keys = "\n".join(map(key_of, contents[:3])).encode()
    (tmp_path / "list").write_bytes(keys)
    stdin = None if list_name == "list" else keys
    assert "3 objects" in run("delete", "--dry-run", "--from-file", list_name, stdin=stdin).stdout
    assert "Deleted 3 objects; missing: 0" in run("delete", "--from-file", list_name, stdin=stdin).stdout
    assert len(run("list").stdout.split()) == 2


def test_a_container_is_not_made_where_nothing_can_be_made(run: Run) -> None:
    assert "/proc/x" in run("-p", "/proc/x", "init", code=1).stderr


def test_a_backup_says_how_many_it_has_removed(run: Run) -> None:
    run("init")
    said = [run("backup", "--keep", "1", "backups").stdout for _ in range(4)]
    assert ["removed the oldest backup" in text for text in said] == [False, False, True, True]


def _all_missing(digests: Sequence[bytes], _: object, /, raws: object = None) -> list[Copy]:
    return [Copy.MISSING] * len(digests)


def test_inspect_says_what_an_object_is_stored_for(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        container.insert_many([b"by key", b"both"])
        held = container.engine.packed.writer(_all_missing, kind=PackKind.HELD)
        with held as writer:
            writer.add_many([b"held", b"both"], Encoding(CompressMode.NO, container.config.codec))
            writer.commit()
    key = key_of(b"both")
    assert run("inspect", "object", key[:8]).stdout.splitlines() == [
        f"{key} inserted by key and held by snapshots",
        "  pack 1, byte 4102: 4 bytes raw, 4 stored, raw",
        "  pack 2, byte 4100, held: 4 bytes raw, 4 stored, raw",
    ]
    assert run("inspect", "object", key_of(b"by key")).stdout.startswith(f"{key_of(b'by key')} inserted by key\n")
    assert run("inspect", "object", key_of(b"held")).stdout.startswith(f"{key_of(b'held')} held by snapshots\n")
    shown = json.loads(run("inspect", "object", key, "--json").stdout)
    assert (shown["kinds"], shown["stored_for"]) == (["plain", "held"], ["key", "snapshots"])
    packs = run("inspect", "packed").stdout.splitlines()[1:]
    assert [line.endswith(", held") for line in packs] == [False, True]


def test_a_migration_to_version_1_asks_what_to_do_about_snapshots(run: Run, tmp_path: Path) -> None:
    with Container.create(tmp_path / "container") as container:
        container.insert_many([b"by key"])
        packed = native(container.engine)
        packed.index.commit(lambda newest: newest._replace(refs=key_of(b"document"), epoch=1), Durability.FULL)
    done = run("migrate", "--to", "1", code=2)
    assert "--without-snapshots" in done.stderr
    assert "version 1" in run("migrate", "--to", "1", "--without-snapshots").stdout
