"""All groups of operations of the model: `python -m tests.model.run --help`. Prints counts; 1 when a group fails.

`make model` tries every three and four operations, the same kind more than once too, in all states of the object, and
every five different ones in two of these states. "ask", which changes nothing, is among the threes and fours.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations, combinations_with_replacement

from tests.model.explore import explore
from tests.model.kinds import KINDS
from tests.model.search import Wrong
from tests.model.world import World

WORLDS = {
    "absent": World(),
    "loose": World(loose=1, made=1),
    "packed": World(packed=frozenset({1}), made=1),
    "in both": World(loose=1, packed=frozenset({2}), made=2),
    "loose, damaged": World(loose=1, bad=frozenset({1}), made=1),
    "in both, the packed one is damaged": World(loose=1, packed=frozenset({2}), bad=frozenset({2}), made=2),
}

Group = tuple[str, tuple[str, ...]]
"""The name of a state, and the kinds of the operations."""

_FEW = 4
"""Operations up to which any kinds are taken. All fives, with equal ones, would take eight hours."""

_LARGEST = ("absent", "in both")


def groups(together: int) -> Iterator[Group]:
    """The groups of so many operations."""
    if together <= _FEW:
        chosen = [(world, kinds) for world in WORLDS for kinds in combinations_with_replacement(KINDS, together)]
    else:
        others = [kind for kind in KINDS if kind != "ask"]
        chosen = [(world, kinds) for world in _LARGEST for kinds in combinations(others, together)]
    yield from chosen


def play(group: Group) -> tuple[int, str]:
    """How many states a group has, and what is wrong."""
    world, kinds = group
    try:
        return explore(WORLDS[world], kinds), ""
    except Wrong as error:
        return 0, f"{world}: {' + '.join(kinds)}: {error}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--together", type=int, nargs="+", default=[2, 3, 4, 5], help="operations of a group")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    chosen = parser.parse_args(arguments)
    failed = 0
    with ProcessPoolExecutor(chosen.workers) as pool:
        for together in chosen.together:
            states = count = 0
            for more, wrong in pool.map(play, groups(together), chunksize=8):
                states, count = states + more, count + 1
                failed += bool(wrong)
                if wrong:
                    print(wrong, flush=True)
            print(f"{count:,} groups of {together} operations: {states:,} states", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
