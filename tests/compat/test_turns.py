"""disk-objectstore and the drop-in on one container: in turns, and at once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rsdos import Container
from tests.compat.conftest import PEERS, Side, start_ours, start_real
from tests.data import key_of, noise, text
from tests.helpers import child_environment
from tests.patience import HANG

CONTENTS = [make(size, size) for size in (0, 1, 400, 5000, 70_000) for make in (noise, text)]
KEYS = list(map(key_of, CONTENTS))

numbers = st.lists(st.integers(0, len(CONTENTS) - 1), min_size=1, max_size=4)
modes = st.sampled_from(["NO", "YES", "AUTO", "KEEP"])
turns = st.tuples(
    st.booleans(),
    st.one_of(
        st.tuples(st.just("add"), numbers),
        st.tuples(st.just("add_to_pack"), numbers),
        st.tuples(st.just("pack"), modes),
        st.tuples(st.just("clean"), st.booleans()),
        st.tuples(st.just("repack"), modes),
        st.tuples(st.just("delete"), numbers),
    ),
)


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(history=st.lists(turns, min_size=1, max_size=10), is_made_by_us=st.booleans())
def test_they_take_turns(
    real: Side, ours: Side, history: list[tuple[bool, tuple[str, object]]], is_made_by_us: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/container"
        (ours if is_made_by_us else real).do("init", path=path, pack_size_target=20_000)
        model: set[str] = set()
        for is_ours, (order, argument) in history:
            side = ours if is_ours else real
            play(side, path, order, argument, model)
            for reader in (ours, real):
                assert set(reader.do("listed", path=path)) == model
                # The real one keeps an old snapshot of the index until it is closed: its users close after each use.
                reader.do("close", path=path)
        for reader in (ours, real):
            issues = reader.do("validate", path=path)
            assert issues["valid"], issues
            found = reader.do("get_many", path=path, keys=sorted(model))
            assert found == {key: CONTENTS[KEYS.index(key)].hex() for key in model}
            reader.do("close", path=path)


def play(side: Side, path: str, order: str, argument: object, model: set[str]) -> None:
    """One turn, and what becomes of the model."""
    chosen = argument if isinstance(argument, list) else []
    keys = [KEYS[at] for at in chosen]
    match order:
        case "add":
            assert [side.do("add", path=path, data=CONTENTS[at].hex()) for at in chosen] == keys
            model.update(keys)
        case "add_to_pack":
            data = [CONTENTS[at].hex() for at in chosen]
            assert side.do("add_to_pack", path=path, data=data, compress=bool(len(chosen) % 2))["keys"] == keys
            model.update(keys)
        case "pack":
            side.do("pack", path=path, mode=argument)
        case "clean":
            side.do("clean", path=path, vacuum=argument)
        case "repack":
            side.do("repack", path=path, mode=argument)
        case "delete":
            assert set(side.do("delete", path=path, keys=keys)) == model & set(keys)
            model.difference_update(keys)


WRITER = """
import sys
sys.argv = ["", *sys.argv[1:]]
from importlib import import_module
Container = import_module(sys.argv[1]).Container
container = Container(sys.argv[2])
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    print(container.add_object(b"object %d " % number * (number % 200 + 1)), flush=True)
"""

PACKER = """
import sys
from importlib import import_module
Container = import_module(sys.argv[1]).Container
container = Container(sys.argv[2])
for _ in range(int(sys.argv[3])):
    with container:
        container.pack_all_loose(compress=True)
        container.clean_storage()
print("done")
"""

READER = """
import hashlib, sys
from importlib import import_module
Container = import_module(sys.argv[1]).Container
container = Container(sys.argv[2])
for line in sys.stdin:
    key = line.strip()
    with container:
        assert container.has_objects([key]) == [True], key
        with container.get_object_stream(key) as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == key, key
print("done")
"""

OURS = (sys.executable, "rsdos.compat.disk_objectstore")
REAL = (str(PEERS), "disk_objectstore")


def start(code: str, side: tuple[str, str], *arguments: object) -> subprocess.Popen[str]:
    command = [side[0], "-c", code, side[1], *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=child_environment())


@pytest.mark.skipif(not PEERS.exists(), reason="needs .venv-peers, which make sets up")
@pytest.mark.parametrize("packer, others", [(REAL, OURS), (OURS, REAL)], ids=["they pack", "we pack"])
def test_one_packs_and_cleans_while_the_other_writes_and_reads(
    tmp_path: Path, packer: tuple[str, str], others: tuple[str, str]
) -> None:
    path = tmp_path / "container"
    Container.create(path, container_version=1, pack_size_target=50_000).close()
    packing = start(PACKER, packer, path, 20)
    writers = [start(WRITER, others, path, begin, begin + 150) for begin in (0, 150)]
    reader = start(READER, others, path)
    assert reader.stdin
    keys = []
    for writer in writers:
        assert writer.stdout
        for line in writer.stdout:
            keys.append(line.strip())
            reader.stdin.write(line)
            reader.stdin.flush()
    reader.stdin.close()
    reader.stdin = None
    for process in (*writers, packing, reader):
        _, errors = process.communicate(timeout=HANG)
        assert process.returncode == 0, errors
    assert len(set(keys)) == 300
    for side in (start_ours(), start_real()):
        assert set(side.do("listed", path=str(path))) == set(keys)
        assert side.do("validate", path=str(path))["valid"]
        side.close()
