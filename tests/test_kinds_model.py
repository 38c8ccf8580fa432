"""A container against three dicts, one for each kind of pack: the same bytes live by key and for snapshots."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rsdos import Container, Durability, Place
from rsdos.index.entries import Entries
from rsdos.maintenance import repack
from rsdos.maintenance.repair import index as repair_index
from rsdos.model import PackKind
from rsdos.stores.packed.delete import write_tombstones
from rsdos.stores.packed.store import PackedStore
from tests.data import key_of, noise
from tests.helpers import flip, native

CONTENTS = [b"", b"x", *(noise(100 * seed, seed) for seed in range(1, 8))]
"""Few, so that most of them live in several ways."""

SOME = st.lists(st.sampled_from(CONTENTS), min_size=1, max_size=5)
KINDS = st.sampled_from(PackKind)


class KindsMachine(RuleBasedStateMachine):
    """Inserts of each kind, and all that moves or takes away copies. Snapshots are played by the model."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.by_key: dict[str, bytes] = {}
        self.held: dict[str, bytes] = {}
        """What a snapshot relies on: a held copy, or, until that is deleted, a plain one."""
        self.pages: dict[str, bytes] = {}

    @initialize(pack_size=st.sampled_from([300, 1 << 32]))
    def create(self, pack_size: int) -> None:
        self.path = self.directory / "container"
        self.container = Container.create(self.path, pack_size_target=pack_size, durability="relaxed")

    def teardown(self) -> None:
        if hasattr(self, "container"):
            self.container.close()
        shutil.rmtree(self.directory)

    @property
    def packed(self) -> PackedStore:
        return native(self.container.engine)

    def copies(self, key: str, *kinds: PackKind) -> Entries:
        return self.packed.index.refresh().of_kinds(kinds).live_copies([bytes.fromhex(key)])

    @rule(contents=SOME, to=st.sampled_from(Place))
    def insert_by_key(self, contents: list[bytes], to: Place) -> None:
        self.container.insert_many(contents, to=to)
        self.by_key.update((key_of(data), data) for data in contents)

    @rule(contents=SOME, kind=st.sampled_from([PackKind.HELD, PackKind.TREES]))
    def insert_for_snapshots(self, contents: list[bytes], kind: PackKind) -> None:
        self.container.engine.objects.insert_many(contents, kind=kind)
        (self.held if kind is PackKind.HELD else self.pages).update((key_of(data), data) for data in contents)

    @rule(data=st.data())
    def delete_by_key(self, data: st.DataObject) -> None:
        if self.by_key:
            key = data.draw(st.sampled_from(sorted(self.by_key)))
            is_held = len(self.copies(key, PackKind.HELD)) > 0
            assert self.container.delete([key]) == [key]
            del self.by_key[key]
            if not is_held:
                # No snapshot is there to reach it, so nobody has written a held copy first.
                self.held.pop(key, None)

    @rule(kind=st.sampled_from([PackKind.HELD, PackKind.TREES]))
    def collect(self, kind: PackKind) -> None:
        for entries in self.packed.index.refresh().of_kinds((kind,)).live_tables():
            if len(entries):
                write_tombstones(self.packed.context, Durability.RELAXED, entries)
        (self.held if kind is PackKind.HELD else self.pages).clear()

    @rule()
    def pack(self) -> None:
        self.container.pack_all_loose()

    @rule()
    def pack_and_keep(self) -> None:
        self.container.pack_all_loose(clean=False)

    @rule()
    def clean(self) -> None:
        self.container.clean_storage()

    @rule(data=st.data())
    def repack_one(self, data: st.DataObject) -> None:
        packs = self.packed.index.refresh().manifest.pack_ids
        if packs:
            options = repack.RepackOptions(pack_id=data.draw(st.sampled_from(packs)))
            repack.execute(self.container.engine, repack.plan(self.container.engine, options))

    @rule()
    def optimize(self) -> None:
        self.container.optimize()

    @rule()
    def lose_the_manifest_and_repair(self) -> None:
        self.container.close()
        for manifest in (self.path / "index").glob("manifest-*"):
            flip(manifest, 100)
        assert repair_index.execute(self.container.engine, repair_index.plan(self.container.engine)).is_good

    @invariant()
    def everything_is_there_and_counted(self) -> None:
        if not hasattr(self, "container"):
            return
        listed = self.by_key | self.held
        every = listed | self.pages
        self.container.close()
        assert dict(self.container.extract_many(every)) == every
        assert set(self.container) == set(listed)
        assert len(self.container) == len(listed)
        for key in self.pages:
            assert len(self.copies(key, PackKind.TREES)) == 1
        view = self.packed.index.refresh()
        # A merge forgets what is dead.
        assert [pack.live for pack in view.counted()] == [pack.live for pack in view.manifest.packs]


TestKinds = KindsMachine.TestCase
TestKinds.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
