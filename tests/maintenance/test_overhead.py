"""Overhead: bytes in packs that are of no object. `optimize` gives them back where they are most of a pack."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsdos import Container, Place
from rsdos.maintenance import optimize, repack
from rsdos.maintenance.repack import RepackOptions
from rsdos.stores.packed.active_pack import ActivePack
from rsdos.stores.stats import MIN_DEAD, MIN_OVERHEAD, worth_a_repack
from tests.data import noise
from tests.helpers import assert_holds, manifest_of, native, tree
from tests.unit.stores.test_stats import pack


def insert_one_by_one(container: Container, count: int, seed: int = 0) -> dict[str, bytes]:
    objects = [b"%04d %05d" % (seed, n) for n in range(count)]
    return {container.insert(data, to=Place.PACKED): data for data in objects}


def bytes_on_disk(path: Path) -> int:
    """All files of a container, but for the reserve for a full disk, which is a mebibyte in each."""
    return sum(length for name, length in tree(path).items() if name != "locks/reserve")


def test_a_thousand_single_inserts_take_200_bytes_each_after_optimize(tmp_path: Path) -> None:
    with Container.create(tmp_path) as container:
        objects = insert_one_by_one(container, 1000)
        before = container.status()
        assert before.repack == (1,)
        assert before.overhead_length == before.packs_length - before.packed_length > 4_000_000
        plan = optimize.plan(container.engine, optimize.OptimizeOptions())
        assert (plan.pack_ids, plan.dead, plan.overhead) == ((1,), 0, before.overhead_length)
        container.optimize()
        assert bytes_on_disk(tmp_path) <= 200 * 1000
        assert (container.status().repack, container.status().merge) == ((), 0)
        assert_holds(Container(tmp_path), objects)
        assert container.validate("full").is_good


@pytest.mark.parametrize("count", [1, 10])
def test_nothing_is_due_after_a_few_inserts(container: Container, count: int) -> None:
    insert_one_by_one(container, count)
    assert container.status().repack == ()
    container.optimize()
    assert [pack.id for pack in manifest_of(container.path).packs] == [1]


def test_a_repack_by_itself_goes_by_dead_bytes_alone(container: Container) -> None:
    insert_one_by_one(container, 40)
    assert repack.plan(container.engine, RepackOptions()).pack_ids == ()
    assert repack.plan(container.engine, RepackOptions(min_overhead=MIN_OVERHEAD)).pack_ids == (1,)


def test_small_packs_go_into_one(container: Container) -> None:
    """As parallel writers leave them: each has a pack of its own."""
    context = native(container.engine).context
    objects = insert_one_by_one(container, 12)
    with ActivePack(context):  # Pack 1 has a writer.
        objects |= insert_one_by_one(container, 12, 1)
        with ActivePack(context):
            objects |= insert_one_by_one(container, 12, 2)
    assert [pack.id for pack in manifest_of(container.path).packs] == [1, 2, 3]
    assert sorted(container.status().repack) == [1, 2, 3]
    container.optimize()
    assert [pack.id for pack in manifest_of(container.path).packs] == [4]
    assert container.status().repack == ()
    assert_holds(Container(container.path), objects)


def test_a_pack_with_much_in_it_is_not_rewritten_for_its_overhead(container: Container) -> None:
    container.insert_many([noise(500_000, 1)])
    insert_one_by_one(container, 40)
    assert container.status().overhead_length > 160_000
    assert container.status().repack == ()


def test_the_table_of_a_large_batch_is_no_overhead_that_a_repack_gives_back() -> None:
    objects = 100_000
    large = pack(objects * 4, 0, objects)._replace(length=objects * 4 + objects * 38 + 8192)
    assert worth_a_repack([large], MIN_DEAD, MIN_OVERHEAD) == ()
    assert worth_a_repack([large._replace(length=objects * 90)], MIN_DEAD, MIN_OVERHEAD) == (1,)
    assert worth_a_repack([large._replace(length=objects * 90)], MIN_DEAD, 1.0) == ()
