"""A pack that one writer has to itself is given back at the end of its block, whatever comes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from rsdos import Container, Durability, names
from rsdos.index.entries import Entries
from rsdos.index.manifest import Manifest
from rsdos.model import Codec, PackKind, RecordFlag
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.packed.context import PackedContext
from tests.data import key_of, noise
from tests.helpers import assert_holds, manifest_of, native

DATA = noise(3000, 7)


@pytest.fixture
def context(container: Container) -> PackedContext:
    container.insert_many([b"first"])
    return native(container.engine).context


def length(container: Container) -> int:
    return (container.path / "packed" / "0000000001.pack").stat().st_size


def append(pack: ActivePack) -> Entries:
    offset = pack.writer.write([DATA])
    columns = {"offset": offset, "length": len(DATA), "size": len(DATA), "crc": 0, "codec": Codec.RAW}
    return Entries.of([bytes.fromhex(key_of(DATA))], pack_id=pack.pack.id, flags=RecordFlag.NONE, **columns)


def test_what_was_not_committed_is_cut_off_at_the_end(container: Container, context: PackedContext) -> None:
    before = length(container)
    with ActivePack(context) as pack:
        append(pack)
        assert length(container) > before
    assert length(container) == before
    container.insert_many([b"second"])
    assert_holds(container, {key_of(data): data for data in (b"first", b"second")})


def test_what_was_not_committed_is_cut_off_when_the_block_raises(container: Container, context: PackedContext) -> None:
    before = length(container)
    with pytest.raises(ZeroDivisionError), ActivePack(context) as pack:
        append(pack)
        raise ZeroDivisionError
    assert length(container) == before


def test_what_was_committed_stays_when_the_block_raises_before_it_is_noted(
    container: Container, context: PackedContext
) -> None:
    """As when the last sync of a commit fails: the manifest is there, and the writer does not know."""
    with pytest.raises(ZeroDivisionError), ActivePack(context) as pack:
        segment = pack.finish_batch(append(pack).keyed())
        synced = pack.sync(Durability.FULL)

        def change(newest: Manifest) -> Manifest:
            entry = pack.entry_after(newest, synced)
            size = len(DATA)
            entry = entry._replace(objects=entry.objects + 1, size=entry.size + size, stored=entry.stored + size)
            return newest.with_pack(entry).with_segments((), segment)

        committed = context.index.commit(change, Durability.FULL)
        raise ZeroDivisionError
    assert length(container) == committed.packs[0].length
    assert Container(container.path).has(key_of(DATA))


def test_a_pack_is_free_for_the_next_writer_behind_the_block(container: Container, context: PackedContext) -> None:
    with ActivePack(context) as pack, ActivePack(context) as other:
        assert (pack.pack.id, other.pack.id) == (1, 2)
    with ActivePack(context) as pack:
        assert pack.pack.id == 1
    assert [pack.id for pack in manifest_of(container.path).packs] == [1]


def test_a_refused_pack_is_not_taken(context: PackedContext) -> None:
    with ActivePack(context, refused=(1,)) as pack:
        assert pack.pack.id == 2


def test_a_new_pack_that_nothing_was_committed_to_leaves_no_file(container: Container, context: PackedContext) -> None:
    with ActivePack(context, refused=(1,)) as pack:
        append(pack)
        assert Path(pack.writer.path).exists()
    assert [path.name for path in (container.path / "packed").iterdir()] == ["0000000001.pack"]


def test_a_new_pack_that_became_one_of_another_kind_while_it_was_locked_is_left_alone(
    container: Container, context: PackedContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id was free when it was chosen; by the time of the lock another writer has made a held pack of it."""
    storage = context.layout.storage
    lock = storage.lock

    def lock_late(name: str, **how: bool) -> object:
        monkeypatch.undo()
        assert name == names.pack_lock(2)
        Container(container.path).engine.objects.insert_many([b"held"], kind=PackKind.HELD)
        return lock(name, **how)

    container.engine.packed.refresh()
    monkeypatch.setattr(storage, "lock", lock_late)
    with ActivePack(context, refused=[1]) as pack:
        assert (pack.pack.id, pack.pack.kind) == (3, PackKind.PLAIN)
    assert [entry.kind for entry in manifest_of(container.path).packs] == [PackKind.PLAIN, PackKind.HELD]


def test_a_pack_whose_header_says_another_kind_is_not_written_to(container: Container, context: PackedContext) -> None:
    first = manifest_of(container.path).packs[0]
    context.index.commit(lambda newest: newest.with_pack(first._replace(kind=PackKind.HELD)), Durability.FULL)
    before = length(container)
    container.engine.objects.insert_many([b"held"], kind=PackKind.HELD)
    assert length(container) == before
    assert [*manifest_of(container.path).pack_ids] == [1, 2]


def test_what_a_writer_of_another_kind_left_of_a_pack_that_was_never_committed_is_written_over(
    container: Container, context: PackedContext
) -> None:
    with suppress(ZeroDivisionError), ActivePack(context, kind=PackKind.HELD) as pack:
        append(pack)
        left = (container.path / "packed" / "0000000002.pack").read_bytes()
        raise ZeroDivisionError
    (container.path / "packed" / "0000000002.pack").write_bytes(left)
    (container.path / "packed" / "0000000001.pack").rename(container.path / "elsewhere")
    container.insert_many([DATA])
    assert [(entry.id, entry.kind) for entry in manifest_of(container.path).packs][1:] == [(2, PackKind.PLAIN)]
    (container.path / "elsewhere").rename(container.path / "packed" / "0000000001.pack")
    assert_holds(Container(container.path), {key_of(data): data for data in (b"first", DATA)})
