"""What the packs say of themselves: without the index, with a damaged one, and when they are damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container, DamagedContainer, Place
from rsdos.index.view import IndexView
from rsdos.stores.packed.recovery import ScannedPacks, scan_packs, view_from_packs
from rsdos.stores.packed.store import PackedStore
from tests.data import key_of
from tests.helpers import flip

ONE, TWO, THREE = b"one" * 30, b"two" * 30, b"three" * 30


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """One pack with two batches, ONE and TWO in the first and THREE in the second."""
    with Container.create(tmp_path / "container", compression="none") as container:
        container.insert_many([ONE, TWO])
        container.insert(THREE, to=Place.PACKED)
        yield container


def scanned(container: Container, busy: tuple[int, ...] = ()) -> ScannedPacks:
    engine, packed = container.engine, container.engine.packed
    assert isinstance(packed, PackedStore)
    ids = engine.layout.pack_ids()
    return scan_packs(engine.layout, engine.config.container_id, packed.index, ids, busy)


def recovered(container: Container) -> IndexView:
    return view_from_packs(container.engine.layout, container.engine.config.container_id, None)


def keys(view: IndexView) -> set[str]:
    return {key for entries in view.tables() for key in entries.hex_keys()}


def the_pack(container: Container) -> Path:
    (path,) = (Path(container.path) / "packed").iterdir()
    return path


def older_manifest(container: Container, steps: int = 1) -> None:
    """Remove the newest manifests, as if an older index had come back."""
    manifests = sorted((Path(container.path) / "index").glob("manifest-*.json"))
    for path in manifests[-steps:]:
        path.unlink()
    (Path(container.path) / "locks" / "commit").unlink()


def test_an_undamaged_pack_has_no_faults_and_counts_what_the_manifest_counts(container: Container) -> None:
    result = scanned(container)
    assert result.base is not None and not result.gone and not result.rest
    (entry,) = result.base.packs
    pack = result.packs[entry.id]
    assert (pack.faults, pack.length, pack.total) == ([], entry.length, entry.total)


def test_without_any_manifest_the_packs_give_every_object_and_the_counts(container: Container) -> None:
    counts = [(pack.total, pack.dead) for pack in container.engine.packed.maintenance.stats().packs]
    older_manifest(container, 10)
    view = recovered(container)
    assert keys(view) == set(map(key_of, (ONE, TWO, THREE)))
    assert [(pack.total, pack.dead) for pack in view.manifest.packs] == counts
    assert view.damage is None


def test_deleted_objects_stay_deleted_without_the_index(container: Container) -> None:
    container.delete([key_of(TWO)])
    assert keys(recovered(container)) == {key_of(ONE), key_of(THREE)}


def test_a_batch_beyond_an_older_manifest_counts_unless_its_writer_is_alive(container: Container) -> None:
    container.close()
    older_manifest(container)
    with Container(container.path) as again:
        (pack,) = scanned(again).packs.values()
        assert pack.total.objects == 3
        (pack,) = scanned(again, busy=(pack.id,)).packs.values()
        assert pack.total.objects == 2 and not pack.faults


def test_a_damaged_footer_is_a_fault_and_hides_only_its_own_batch(container: Container) -> None:
    path = the_pack(container)
    first = scanned(container).packs[1].ranges[0][1]
    data = path.read_bytes()
    end = -(-(first + 1) // 4096) * 4096
    assert data[end - 64 : end - 56] == b"RSDOSFTR"
    flip(path, end - 60)
    (pack,) = scanned(container).packs.values()
    assert pack.faults and "no footer" in pack.faults[0]
    view = recovered(container)
    record = view.find(bytes.fromhex(key_of(THREE)))
    assert record is not None
    with pytest.raises(DamagedContainer):
        view.find(bytes.fromhex(key_of(ONE)))


def test_a_pack_that_is_cut_into_its_committed_bytes_is_damaged_and_a_tail_beyond_them_is_not(
    container: Container,
) -> None:
    path = the_pack(container)
    length = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"a dead writer's tail")
    assert [pack.faults for pack in scanned(container).packs.values()] == [[]]
    with path.open("r+b") as file:
        file.truncate(length - 4096)
    (pack,) = scanned(container).packs.values()
    assert pack.faults and pack.length <= length - 4096


def test_a_missing_pack_is_damage_and_not_the_absence_of_its_objects(container: Container) -> None:
    the_pack(container).unlink()
    (pack,) = scanned(container).packs.values()
    assert not pack.is_there and pack.faults


def test_a_pack_that_a_repack_has_replaced_is_left_out(container: Container) -> None:
    old = the_pack(container)
    data = old.read_bytes()
    container.delete([key_of(TWO)])
    container.repack(pack_id=1)
    assert not old.exists()
    old.write_bytes(data)  # It was killed before it could unlink the pack.
    older_manifest(container, 20)
    view = recovered(container)
    assert keys(view) == {key_of(ONE), key_of(THREE)}
    assert 1 not in view.manifest.pack_ids
