"""Trees as archives: out as tar or a list, in from tar, zip and lists; what a stranger puts in leads nowhere."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rsdos import Container
from rsdos.errors import DamagedObject, InvalidName, InvalidOption, ObjectNotFound, UnreadableSource
from rsdos.model import FRAME_SIZE, Place
from rsdos.trees.entry import Attributes
from rsdos.worktree.archive_export import ExportFormat, ExportOptions, ExportTimes, export
from rsdos.worktree.archive_import import ImportFormat, ImportOptions, import_archive
from rsdos.worktree.checkout import CheckoutOptions, checkout
from rsdos.worktree.checkout_files import OnDamage
from rsdos.worktree.named_tree import named_tree
from rsdos.worktree.options import Description
from rsdos.worktree.save import SaveReport
from tests.data import key_of, noise
from tests.helpers import flip
from tests.worktree.saving import Directory, File, Link, Things, read_back, save, with_parents

EVERYTHING: Things = {
    b"a.txt": b"first\n",
    b"again/b.txt": b"first\n",
    b"empty": Directory(),
    b"nothing": b"",
    b"run.sh": File(b"#!/bin/sh\n", 0o755),
    b"link": Link(b"again/b.txt"),
    b"far": Link(b"../" * 60 + b"x"),
    b"d" * 120 + b"/" + b"f" * 200: b"a long name",
    b"large": bytes(range(256)) * 4096 * 2 + b"end",
    b"\xff\xfe": b"no UTF-8",
    b"caf\xc3\xa9": Link(b"\xff"),
    b"512": b"x" * 512,
}


def tar_of(container: Container, reference: str = "flowers", **options: object) -> bytes:
    stream = io.BytesIO()
    export(container.engine, ExportOptions(reference, **options), stream)  # type: ignore[arg-type]
    return stream.getvalue()


def take_in(
    container: Container,
    data: bytes,
    kind: ImportFormat = ImportFormat.TAR,
    attributes: Attributes = Attributes.NONE,
    name: str = "flowers",
) -> SaveReport:
    return import_archive(container.engine, ImportOptions(Description(name), kind, attributes), io.BytesIO(data))


def things_of(container: Container, place: Path, reference: str = "flowers") -> dict[bytes, File | Link | Directory]:
    checkout(container.engine, CheckoutOptions(reference, str(place)))
    return read_back(place)


def test_an_archive_is_the_same_bytes_whatever_container_it_comes_from(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", EVERYTHING)
    with Container.create(tmp_path / "other", pack_size_target=5000) as other:
        save(other, "roses", {b"more": b"before"})
        save(other, "roses", dict(reversed(list(EVERYTHING.items()))))
        assert tar_of(container) == tar_of(other, "roses")


@pytest.mark.parametrize("program", ["tar", "python"])
def test_every_program_reads_it(program: str, container: Container, tmp_path: Path) -> None:
    save(container, "flowers", EVERYTHING)
    data = tar_of(container)
    assert len(data) % 10240 == 0
    (tmp_path / "new").mkdir()
    if program == "tar":
        subprocess.run(["tar", "-x", "-C", tmp_path / "new"], input=data, check=True, capture_output=True)
    else:
        with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
            archive.extractall(tmp_path / "new", filter="fully_trusted")
    assert read_back(tmp_path / "new") == with_parents(EVERYTHING)


def test_a_part_of_a_tree_is_exported_without_the_names_above_it(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", {b"train/a": b"1", b"train/in/b": b"2", b"test": b"3"})
    with tarfile.open(fileobj=io.BytesIO(tar_of(container, under=b"train"))) as archive:
        assert archive.getnames() == ["a", "in", "in/b"]
    with pytest.raises(NotADirectoryError):
        tar_of(container, under=b"test")


def test_times_are_left_out_unless_they_are_asked_for(container: Container) -> None:
    moment = 1_234_567_890_123_456_789
    save(container, "flowers", {b"a": File(b"1", 0o640, moment)}, Attributes.TIMES | Attributes.MODES)
    with tarfile.open(fileobj=io.BytesIO(tar_of(container))) as archive:
        assert (archive.getmember("a").mtime, archive.getmember("a").mode) == (0, 0o640)
    data = tar_of(container, times=ExportTimes.KEPT)
    before = named_tree(container.engine, "flowers").tree.root.hex()
    assert take_in(container, data, attributes=Attributes.TIMES | Attributes.MODES).tree == before


def test_an_archive_comes_back_as_the_same_tree(container: Container, tmp_path: Path) -> None:
    save(container, "flowers", EVERYTHING)
    tree = named_tree(container.engine, "flowers").tree.root.hex()
    with Container.create(tmp_path / "other") as other:
        report = take_in(other, tar_of(container))
        assert (report.tree, report.version, report.unchanged) == (tree, 1, False)
        assert report.files == 8
        assert report.stored.objects == 7
        assert things_of(other, tmp_path / "new") == with_parents(EVERYTHING)
        again = take_in(other, tar_of(container))
        assert (again.unchanged, again.version, again.snapshot) == (True, 1, report.snapshot)
        third = take_in(other, tar_of(other, under=b"again"))
        assert (third.version, third.parent) == (2, report.snapshot)
        assert third.changed.removed == len(with_parents(EVERYTHING))


def test_an_import_reads_a_pipe_and_writes_no_temporary_file(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(
        container, "flowers", {b"large": noise(3 * FRAME_SIZE, 1), **{b"%d" % n: noise(n * 40, n) for n in range(300)}}
    )
    expected = named_tree(container.engine, "flowers").tree.root.hex()
    (tmp_path / "a.tar").write_bytes(tar_of(container))
    (tmp_path / "none").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no such directory"))
    with Container.create(tmp_path / "other") as other:
        with subprocess.Popen(["gzip", "-c", tmp_path / "a.tar"], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            options = ImportOptions(Description("flowers"))
            assert import_archive(other.engine, options, child.stdout).tree == expected  # type: ignore[arg-type]


def test_what_the_tar_program_makes_is_read(container: Container, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (top / "d" / ("n" * 180)).write_bytes(b"long")
    (top / "one").write_bytes(b"linked")
    os.link(top / "one", top / "two")
    os.symlink("one", top / "l")
    os.mkfifo(top / "fifo")
    (top / "sparse").write_bytes(b"x")
    os.truncate(top / "sparse", 1 << 20)
    data = subprocess.run(["tar", "-c", "-S", "-C", top, "."], check=True, capture_output=True).stdout
    report = take_in(container, data)
    assert report.skipped.special == 1
    (top / "fifo").unlink()
    assert things_of(container, tmp_path / "new") == read_back(top)


def member(
    name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, to: str = ""
) -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, to
        info.size = len(data) if kind == tarfile.REGTYPE else 0
        archive.addfile(info, io.BytesIO(data))

    return add


def archive_of(*members: Callable[[tarfile.TarFile], None]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for add in members:
            add(archive)
    return stream.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [member("../a")],
        [member("d/../../a")],
        [member("d/..")],
        [member("/etc/passwd")],
        [member("n" * 256)],
        [member("/".join(["d"] * 1100))],
        [member("a"), member("a/b")],
        [member("l", kind=tarfile.SYMTYPE, to="/etc"), member("l/passwd")],
        [member("h", kind=tarfile.LNKTYPE, to="nowhere")],
        [member("h", kind=tarfile.LNKTYPE, to="../outside")],
        [member("l", kind=tarfile.SYMTYPE, to="")],
    ],
)
def test_members_that_no_tree_can_have_are_refused_and_nothing_is_published(
    container: Container, members: list[Callable[[tarfile.TarFile], None]]
) -> None:
    with pytest.raises(InvalidName):
        take_in(container, archive_of(member("good"), *members))
    with pytest.raises(KeyError):
        named_tree(container.engine, "flowers")


def test_odd_names_of_good_members_are_made_plain(container: Container, tmp_path: Path) -> None:
    data = archive_of(
        member("./a"),
        member("b//c/./d"),
        member("e/", kind=tarfile.DIRTYPE),
        member("a", b"the last one counts"),
        member("dev", kind=tarfile.CHRTYPE),
        member("h", kind=tarfile.LNKTYPE, to="./a"),
    )
    report = take_in(container, data)
    assert (report.skipped.special, report.special) == (1, (b"dev",))
    assert things_of(container, tmp_path / "new") == with_parents(
        {b"a": b"the last one counts", b"b/c/d": b"x", b"e": Directory(), b"h": b"the last one counts"}
    )


@pytest.mark.parametrize("length", [0, 100, 700, 5000])
def test_a_damaged_archive_is_an_error_that_names_it(length: int, container: Container) -> None:
    data = archive_of(member("a", noise(10_000, 1)), member("b"))
    with pytest.raises(UnreadableSource, match="damaged"):
        take_in(container, data[:length] if length else b"no archive at all" * 100)
    with pytest.raises(KeyError):
        named_tree(container.engine, "flowers")


@pytest.mark.parametrize("size", [1 << 70, 1 << 63])
def test_a_size_that_no_file_can_have_is_damage(container: Container, size: int) -> None:
    info = tarfile.TarInfo("a")
    info.size = size
    with pytest.raises(UnreadableSource, match="damaged"):
        take_in(container, info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_a_damaged_version_is_no_obstacle_to_the_import_of_the_next_one(container: Container) -> None:
    save(container, "flowers", {b"a": b"1"})
    tree = named_tree(container.engine, "flowers").tree.root.hex()
    extent = container.meta(tree).extent
    assert extent is not None
    flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset + extent.length // 2)
    with Container(container.path) as another:
        report = take_in(another, archive_of(member("b")))
    assert (report.version, report.changed.added) == (2, 1)


def test_a_zip_archive_is_imported(container: Container, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"1" * 3000)
        archive.writestr("d/é", noise(FRAME_SIZE + 5, 1))
        archive.writestr("empty/", b"")
        link, run = zipfile.ZipInfo("l"), zipfile.ZipInfo("run")
        link.external_attr, run.external_attr = 0o120777 << 16, 0o100755 << 16
        archive.writestr(link, b"d/x")
        archive.writestr(run, b"2")
    take_in(container, stream.getvalue(), ImportFormat.ZIP)
    assert things_of(container, tmp_path / "new") == with_parents(
        {
            b"a": b"1" * 3000,
            "d/é".encode(): noise(FRAME_SIZE + 5, 1),
            b"empty": Directory(),
            b"l": Link(b"d/x"),
            b"run": File(b"2", 0o755),
        }
    )


def test_a_zip_archive_that_leads_out_is_refused(container: Container) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../a", b"1")
    with pytest.raises(InvalidName):
        take_in(container, stream.getvalue(), ImportFormat.ZIP)
    with pytest.raises(UnreadableSource):
        take_in(container, stream.getvalue()[:30], ImportFormat.ZIP)


def zip_of_one_file(at: dict[int, bytes]) -> bytes:
    """A zip archive with a file, and some bytes of its entry in the list of members replaced."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"1")
    data = bytearray(stream.getvalue())
    entry = data.index(b"PK\1\2")
    for offset, new in at.items():
        data[entry + offset : entry + offset + len(new)] = new
    return bytes(data)


def test_a_zip_archive_without_dates_is_imported(container: Container, tmp_path: Path) -> None:
    take_in(container, zip_of_one_file({12: bytes(4)}), ImportFormat.ZIP, Attributes.TIMES)
    assert things_of(container, tmp_path / "new") == {b"a": File(b"1")}
    assert (tmp_path / "new/a").stat().st_mtime == 0


@pytest.mark.parametrize(("at", "reason"), [({8: b"\1"}, "encrypted"), ({10: b"\x09"}, "compression")])
def test_a_zip_archive_that_cannot_be_read_is_an_error_that_says_why(
    container: Container, at: dict[int, bytes], reason: str
) -> None:
    with pytest.raises(UnreadableSource, match=reason):
        take_in(container, zip_of_one_file(at), ImportFormat.ZIP)


def test_a_zip_archive_in_a_pipe_is_refused_by_name(container: Container) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb") as stream, pytest.raises(InvalidOption, match="zip"):
        import_archive(container.engine, ImportOptions(Description("flowers"), ImportFormat.ZIP), stream)


def test_a_list_of_stored_files_becomes_a_tree(container: Container, tmp_path: Path) -> None:
    loose, packed = container.insert(b"loose"), container.insert(b"packed" * 400_000, to=Place.PACKED)
    rows = [{"key": loose, "path": "data/a", "size": 5}, {"key": packed, "path": "/data/b", "size": 7}]
    take_in(container, "".join(json.dumps(row) + "\n" for row in rows).encode(), ImportFormat.LIST)
    assert things_of(container, tmp_path / "new") == with_parents({b"data/a": b"loose", b"data/b": b"packed" * 400_000})
    container.delete([loose])
    assert things_of(container, tmp_path / "other")[b"data/a"] == File(b"loose")


def test_a_list_goes_out_and_comes_back(container: Container, tmp_path: Path) -> None:
    things: Things = {b"a": b"1", b"d/\xff": b"2", b"run": File(b"3", 0o755)}
    save(container, "flowers", things)
    take_in(container, tar_of(container, format=ExportFormat.LIST), ImportFormat.LIST, name="roses")
    assert things_of(container, tmp_path / "new", "roses") == with_parents(things)


def test_a_list_of_what_is_not_there_or_no_list_is_an_error(container: Container) -> None:
    with pytest.raises(ObjectNotFound):
        take_in(container, json.dumps({"key": "0" * 64, "path": "a", "size": 1}).encode(), ImportFormat.LIST)
    for line in (b"{", b"[]", b'{"key": "zz", "path": "a", "size": 1}', b'{"key": 7, "path": "a", "size": 1}'):
        with pytest.raises(UnreadableSource):
            take_in(container, line, ImportFormat.LIST)
    key = container.insert(b"1")
    for row in ({"key": ""}, {"key": key[:10]}, {"key": key + key}, {"size": -1}, {"size": 1 << 64}, {"size": 1e999}):
        with pytest.raises(UnreadableSource):
            take_in(container, json.dumps({"key": key, "path": "a", "size": 1} | row).encode(), ImportFormat.LIST)
    with pytest.raises(UnreadableSource):
        take_in(container, b"[" * 100_000, ImportFormat.LIST)
    line = json.dumps({"key": key, "path": "../a", "size": 1}).encode()
    with pytest.raises(InvalidName):
        take_in(container, line, ImportFormat.LIST)


def test_what_is_damaged_is_left_out_of_an_archive_if_the_user_says_so(container: Container) -> None:
    save(container, "flowers", {b"a": b"will be damaged", b"b": b"1"})
    extent = container.meta(key_of(b"will be damaged")).extent
    assert extent is not None
    flip(Path(container.engine.layout.pack(extent.pack_id)), extent.offset)
    with pytest.raises(DamagedObject):
        tar_of(container)
    with tarfile.open(fileobj=io.BytesIO(tar_of(container, on_damage=OnDamage.CONTINUE))) as archive:
        assert archive.getnames() == ["b"]
