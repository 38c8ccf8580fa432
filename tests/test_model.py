"""A container against a dict: any sequence of operations, with reopening and packing between them."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rsdos import CompressMode, Container, Durability, ObjectNotFound, Place
from rsdos.codecs import dictionary
from rsdos.model import FRAME_SIZE
from tests.data import key_of, noise, text
from tests.dictionaries import records, trained, using
from tests.helpers import ABSENT

SMALL = st.one_of(
    st.binary(max_size=40),
    st.builds(text, st.integers(800, 5000), st.integers(0, 3)),
    st.builds(noise, st.integers(800, 5000), st.integers(0, 3)),
)
LARGE = st.builds(
    lambda make, extra, seed: make(FRAME_SIZE + extra, seed),
    st.sampled_from([noise, text]),
    st.sampled_from([0, 1, FRAME_SIZE]),
    st.integers(0, 1),
)
MODES = st.sampled_from(CompressMode)
PLACES = st.sampled_from(Place)


class ContainerMachine(RuleBasedStateMachine):
    """Inserts, packs and reopens; whatever was inserted is there, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.model: dict[str, bytes] = {}

    @initialize(
        compression=st.sampled_from(["zstd", "zlib+1", "zstd:-1", "zlib:+9"]),
        loose_compression=st.sampled_from(["none", "none", "zstd", "zlib"]),
        pack_size=st.sampled_from([3000, 1 << 20, 1 << 32]),
        prefix=st.sampled_from([0, 1, 2]),
        durability=st.sampled_from(Durability),
    )
    def create(
        self, compression: str, loose_compression: str, pack_size: int, prefix: int, durability: Durability
    ) -> None:
        self.container = Container.create(
            self.directory / "container",
            compression=compression,
            loose_compression=loose_compression,
            pack_size_target=pack_size,
            loose_prefix_len=prefix,
            durability=durability,
        )
        self.reader = Container(self.directory / "container")

    def teardown(self) -> None:
        if hasattr(self, "container"):
            self.container.close()
            self.reader.close()
        shutil.rmtree(self.directory)

    def remember(self, *contents: bytes) -> list[str]:
        self.model.update((key_of(data), data) for data in contents)
        return [key_of(data) for data in contents]

    @rule(data=SMALL, to=PLACES)
    def insert(self, data: bytes, to: Place) -> None:
        assert [self.container.insert(data, to=to)] == self.remember(data)

    @rule(data=st.one_of(SMALL, LARGE), to=PLACES)
    def insert_stream(self, data: bytes, to: Place) -> None:
        assert [self.container.insert(io.BytesIO(data), to=to)] == self.remember(data)

    @rule(contents=st.lists(SMALL, max_size=12), to=PLACES, compress=MODES)
    def insert_many(self, contents: list[bytes], to: Place, compress: CompressMode) -> None:
        keys = self.container.insert_many((*contents, *contents[:2]), to=to, compress=compress)
        assert keys == self.remember(*contents, *contents[:2])

    @rule(compress=MODES, clean=st.booleans())
    def pack(self, compress: CompressMode, clean: bool) -> None:
        report = self.container.pack_all_loose(compress, clean)
        assert report.damaged == ()
        if clean:
            assert len(self.container.engine.loose) == 0

    @rule()
    def close_and_go_on(self) -> None:
        self.container.close()

    @rule()
    def reopen(self) -> None:
        self.container.close()
        self.container = Container(self.directory / "container")

    @rule(data=st.data())
    def read_one(self, data: st.DataObject) -> None:
        if self.model:
            key = data.draw(st.sampled_from(sorted(self.model)))
            wanted = self.model[key]
            for container in (self.container, self.reader):
                assert container.extract(key) == wanted
                assert container.meta(key).size == len(wanted)
                assert container.find(key) == key
                start = data.draw(st.integers(0, len(wanted)))
                with container.open(key) as stream:
                    stream.seek(start)
                    assert stream.read() == wanted[start:]

    @invariant()
    def everything_is_there(self) -> None:
        if not hasattr(self, "container"):
            return
        for container in (self.container, self.reader):
            assert len(container) == len(self.model)
            assert set(container) == set(self.model)
            assert dict(container.extract_many([*self.model, ABSENT], missing="skip")) == self.model
            assert container.has_many([*self.model, ABSENT]) == [True] * len(self.model) + [False]
        try:
            self.container.extract(ABSENT)
        except ObjectNotFound:
            pass
        else:
            raise AssertionError("an object that nobody inserted")

    @invariant()
    def no_dead_bytes(self) -> None:
        if hasattr(self, "container"):
            assert self.container.status().dead_length == 0


TestContainer = ContainerMachine.TestCase
TestContainer.settings = settings(max_examples=25, stateful_step_count=25)


class DictionaryMachine(ContainerMachine):
    """The same with objects that are compressed with one of two dictionaries in turn, or none, and repacks."""

    def __init__(self) -> None:
        super().__init__()
        self._chosen = using(trained(0, 256), None, trained(1, 256))
        self._chosen.__enter__()

    def teardown(self) -> None:
        self._chosen.__exit__(None, None, None)
        super().teardown()

    @rule(count=st.integers(1, 30), seed=st.integers(0, 20), to=PLACES, compress=MODES)
    def insert_records(self, count: int, seed: int, to: Place, compress: CompressMode) -> None:
        contents = records(count, seed)
        assert self.container.insert_many(contents, to=to, compress=compress) == self.remember(*contents)

    @rule(compression=st.sampled_from(["keep", "zstd:3", "none"]), every=st.booleans())
    def repack(self, compression: str, every: bool) -> None:
        packs = [pack.id for pack in self.container.inspect_packed().packs if pack.length]
        for pack_id in packs if every else packs[:1]:
            assert self.container.repack(compression, pack_id=pack_id).damaged == ()

    @rule()
    def forget(self) -> None:
        """Let every dictionary be read again."""
        dictionary._cached = {}

    @rule()
    def validate(self) -> None:
        assert self.container.validate("full").is_good


TestContainerWithDictionaries = DictionaryMachine.TestCase
TestContainerWithDictionaries.settings = settings(max_examples=12, stateful_step_count=25)
