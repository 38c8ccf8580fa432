"""The line that says which manifest was committed last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer, Place
from rsdos.index import last_commit
from rsdos.index.last_commit import LastCommit, read_committed
from rsdos.storage.local import LocalStorage
from tests.data import key_of
from tests.helpers import flip, manifest_of


@pytest.fixture
def line(container: Container) -> Path:
    """Of a container in which something was committed."""
    container.insert(b"packed", to=Place.PACKED)
    return container.path / "locks" / "commit"


def committed(line: Path) -> LastCommit:
    """What the line says."""
    return read_committed(LocalStorage(str(line.parent.parent)))


def _newest(container: Container) -> Path:
    return max((container.path / "index").glob("manifest-*"))


def test_it_is_the_number_of_the_newest_manifest(container: Container, line: Path) -> None:
    for number in range(3, 30):
        container.insert(b"%d" % number, to=Place.PACKED)
        assert committed(line).number == number == manifest_of(container.path).number


def test_half_of_it_or_a_flipped_bit_says_nothing(container: Container, line: Path) -> None:
    whole = line.read_bytes()
    assert committed(line).number == 2
    for length in range(len(whole)):
        line.write_bytes(whole[:length])
        assert committed(line).encode() == LastCommit().encode()
    for at in range(len(whole)):
        line.write_bytes(whole)
        flip(line, at, 1)
        assert committed(line).encode() == LastCommit().encode()
    line.unlink()
    assert committed(line).encode() == LastCommit().encode()
    # And nobody is in need of it: a copy may be without locks.
    container.insert(b"more", to=Place.PACKED)
    assert committed(line).number == 3


def test_a_half_written_number_is_not_believed(tmp_path: Path) -> None:
    """From 99,999 to 100,000, of which a torn write could make 199,999."""
    old, new = LastCommit(99_999, 99_999).encode(), LastCommit(100_000, 100_000).encode()
    (tmp_path / "locks").mkdir()
    path = tmp_path / "locks" / "commit"
    for cut in range(1, len(old)):
        path.write_bytes(new[:cut] + old[cut:])
        assert committed(path).number in (0, 99_999, 100_000)


def test_a_relaxed_commit_counts_until_the_machine_starts_again(
    container: Container, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power loss may take its manifest, and leave its number."""
    with Container(container.path, durability="relaxed") as relaxed:
        relaxed.insert(b"relaxed", to=Place.PACKED)
    _newest(container).unlink()
    with Container(container.path) as other, pytest.raises(DamagedContainer, match="committed last, and is missing"):
        assert other.extract(key_of(b"relaxed")) == b"relaxed"
        other.insert(b"more", to=Place.PACKED)
    monkeypatch.setattr(last_commit, "_boot_id", lambda: "0" * 36)
    with Container(container.path) as other:
        assert other.extract(key_of(b"packed")) == b"packed"
        other.insert(b"more", to=Place.PACKED)
    assert committed(line).number == 3
    # What was durable before it is not forgotten with it.
    for durability in ("full", "relaxed"):
        with Container(container.path, durability=durability) as some:
            some.insert(durability.encode(), to=Place.PACKED)
    monkeypatch.setattr(last_commit, "_boot_id", lambda: "1" * 36)
    assert committed(line).number == 4
    _newest(container).unlink()
    _newest(container).unlink()
    with Container(container.path) as other, pytest.raises(DamagedContainer, match="committed last, and is missing"):
        other.insert(b"yet more", to=Place.PACKED)


def test_where_no_machine_says_when_it_was_started(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_commit, "_boot_id", lambda: last_commit._NO_BOOT)
    with Container(container.path, durability="relaxed") as relaxed:
        relaxed.insert(b"relaxed", to=Place.PACKED)
        _newest(container).unlink()
        relaxed.insert(b"more", to=Place.PACKED)


def test_a_line_that_cannot_be_written_stops_no_commit(
    container: Container, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def fail(fd: int, data: bytes, offset: int) -> int:
        if os.path.samestat(os.fstat(fd), os.stat(line)):
            raise OSError(28, "No space left on device")
        return write(fd, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        key = container.insert(b"more", to=Place.PACKED)
    assert Container(container.path).extract(key) == b"more"
    assert committed(line).number == 2


def test_a_reader_notices_a_manifest_that_is_removed_while_open(container: Container, line: Path) -> None:
    reader = Container(container.path)
    assert reader.extract(key_of(b"packed")) == b"packed"
    key = container.insert(b"more", to=Place.PACKED)
    _newest(container).unlink()
    assert reader.extract(key) == b"more"
    assert reader.extract(key_of(b"packed")) == b"packed"
    assert not reader.has("0" * 64)


def test_a_listing_that_is_behind_is_no_damage(
    container: Container, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a network file system may be."""
    key = container.insert(b"more", to=Place.PACKED)
    names, newest = os.listdir, _newest(container).name

    def listed(path: str) -> list[str]:
        return [name for name in names(path) if name != newest]

    monkeypatch.setattr(os, "listdir", listed)
    with Container(container.path) as other:
        assert other.extract(key) == b"more"
        other.insert(b"yet more", to=Place.PACKED)
