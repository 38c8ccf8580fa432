"""Calls from signals' handlers, finalizers and ``atexit``, in the middle of another operation of the same thread.

They are right, or `Busy` at once. Nothing waits forever, and nothing that was acknowledged is lost.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import run_python

PREAMBLE = """
import gc, os, signal, sys, threading
from rsdos import Busy, Container, Place
Container.create(sys.argv[1], container_version=int(sys.argv[2])).close()
container = Container(sys.argv[1], when_busy=sys.argv[3])
kept = {}
fresh = iter(range(10**9))
here = answered = refused = 0

def store(to):
    data = [b"%d " % next(fresh) * 50 for _ in range(3)]
    kept.update(zip(container.insert_many(data, to=to), data))

def ask():
    key = next(iter(kept))
    assert container.has(key) and container.extract(key) == kept[key]

def delete():
    (key,) = container.insert_many([b"to go %d" % next(fresh)])
    assert container.delete([key]) == [key] and key not in container

CALLS = [lambda: store(Place.LOOSE), lambda: store(Place.PACKED), ask, delete]

def call(number):
    global answered, refused
    try:
        CALLS[number % 4]()
        answered += 1
    except Busy:
        refused += 1

def operations():
    yield lambda: store(Place.LOOSE)
    yield lambda: store(Place.PACKED)
    yield container.pack_all_loose
    yield lambda: container.repack(min_dead=0)
    yield container.clean_storage
    yield delete

store(Place.PACKED)
store(Place.LOOSE)
"""

CHECK = """
assert dict(container.extract_many(kept)) == kept
report = container.validate("full")
assert report.is_good, report
container.close()
assert [name for _, _, names in os.walk(container.path / "sandbox") for name in names] == []
assert answered, (answered, refused)
print("done")
"""

AT_EACH_STEP = """
# A handler runs between two steps of Python's: here at some calls of functions of ours, and of C from these.
seen = next_call = 0

def step(frame, event, argument):
    global here, seen, next_call
    if event not in ("call", "c_call") or "rsdos" not in frame.f_code.co_filename:
        return
    seen += 1
    if seen >= next_call:
        here += 1
        next_call = next_call * 5 // 4 + 7
        sys.setprofile(None)
        INTERRUPT
        sys.setprofile(step)

for first in range(3):
    for operation in operations():
        seen, next_call = 0, first * 3
        sys.setprofile(step)
        try:
            operation()
        except Busy:
            pass  # What it waits for the handler has not: that has returned.
        finally:
            sys.setprofile(None)
assert here > 50, here
"""

INTERRUPTS = {
    "the handler of a signal": """
signal.signal(signal.SIGUSR1, lambda number, frame: call(here))
""",
    "a finalizer": """
class Last:
    def __del__(self):
        call(here)
""",
}
HOW = {"the handler of a signal": "signal.raise_signal(signal.SIGUSR1)", "a finalizer": "Last()"}


@pytest.mark.parametrize("when_busy", ["raise", "wait"])
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("version", [2, 1])
def test_a_call_in_the_middle_of_another_is_right_or_busy(
    tmp_path: Path, how: str, version: int, when_busy: str
) -> None:
    code = PREAMBLE + INTERRUPTS[how] + AT_EACH_STEP.replace("INTERRUPT", HOW[how]) + CHECK
    assert run_python(code, tmp_path / "container", version, when_busy) == "done\n"


@pytest.mark.parametrize("version", [2, 1])
def test_the_end_of_the_program_in_the_middle_of_an_operation(tmp_path: Path, version: int) -> None:
    """An exit in a callback: what ``atexit`` calls finds nothing held by what was broken off."""
    code = (
        PREAMBLE
        + """
import atexit

def end():
    for number in range(4):
        call(number)
    assert refused == 0
    container.pack_all_loose()
"""
        + "".join("    " + line + "\n" for line in CHECK.splitlines())
        + """
atexit.register(end)

def sources():
    yield b"never acknowledged"
    sys.exit(0)

container.insert_many(sources())
"""
    )
    assert run_python(code, tmp_path / "container", version, "raise") == "done\n"


def test_a_fork_while_another_thread_swaps_the_index(tmp_path: Path) -> None:
    """The lock that the thread holds is held by nobody in the child."""
    code = (
        PREAMBLE
        + """
index = container.engine.packed.index
inside, on = threading.Event(), threading.Event()

def hold():
    with index._swapping:
        inside.set()
        on.wait()

thread = threading.Thread(target=hold)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    store(Place.PACKED)
    store(Place.LOOSE)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
on.set()
thread.join()
answered = 1
"""
        + CHECK
    )
    assert run_python(code, tmp_path / "container", 2, "raise") == "done\n"
