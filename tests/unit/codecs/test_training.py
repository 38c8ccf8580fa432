"""Which dictionary the chooser takes for groups of objects, when it trains one, and when it leaves it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsdos.codecs import training
from rsdos.codecs.auto import DICTIONARY_MOST_SIZE, encode_many_if_smaller, encode_many_with
from rsdos.codecs.cores import set_threads
from rsdos.codecs.dictionary import Dictionary
from rsdos.codecs.training import Chooser
from rsdos.model import BytesLike, Codec, Compression

ZSTD = Compression(Codec.ZSTD, 1)
GROUP = 2000


@dataclass
class Known:
    """What a container has, in memory."""

    mine: list[Dictionary] = field(default_factory=list)
    others: list[Dictionary] = field(default_factory=list)

    most: int = 240

    def here(self) -> Iterator[Dictionary]:
        return reversed(self.mine)

    def is_here(self, dictionary: Dictionary) -> bool:
        return dictionary in self.mine

    def has_room(self) -> bool:
        return len(self.mine) < self.most

    def elsewhere(self) -> Iterator[Dictionary]:
        return iter(self.others[::-1])


def records(most: int, seed: int = 0, kind: str = "reading") -> list[bytes]:
    chance = random.Random(seed)
    return [
        json.dumps(
            {f"{kind}-id": number, "station": f"hall-{chance.randrange(9)}", "value": round(chance.gauss(20, 5), 2),
             "unit": "degC", "operator": chance.choice(("miller", "smith", "jones")), "state": "ok"}
        ).encode()
        for number in range(most)
    ]  # fmt: skip


def invoices(most: int, seed: int = 0) -> list[bytes]:
    """Records of other names and words."""
    chance = random.Random(seed)
    return [
        b"<invoice><customer>%06d</customer><currency>EUR</currency><net>%d.%02d</net><country>Switzerland</country>"
        b"<terms>payable within thirty days without deduction</terms></invoice>"
        % (chance.randrange(10**6), chance.randrange(999), chance.randrange(100))
        for _ in range(most)
    ]


def noise(most: int, seed: int = 0, size: int = 1000) -> list[bytes]:
    chance = random.Random(seed)
    return [chance.randbytes(size) for _ in range(most)]


def strangers(most: int, seed: int = 0) -> list[bytes]:
    """Objects of 2 KB that have little in common: each is of forty words of its own, behind a short title."""
    chance = random.Random(seed)
    made = []
    for _ in range(most):
        words = [chance.randbytes(8) for _ in range(40)]
        made.append(b"a title of thirty characters: " + b"".join(chance.choice(words) for _ in range(250)))
    return made


KINDS: dict[str, Callable[[int, int], list[bytes]]] = {
    "records": records,
    "invoices": invoices,
    "noise": noise,
    "tiny noise": lambda most, seed: noise(most, seed, 100),
    "strangers": strangers,
    "large": lambda most, seed: [b"".join(records(120, seed + at)) for at in range(most // 10)],
}


def stored_by_auto(payloads: Sequence[bytes]) -> int:
    forms = encode_many_if_smaller(payloads, ZSTD)
    return sum(len(raw if form is None else form) for raw, form in zip(payloads, forms, strict=True))


def stored_with(dictionary: Dictionary | None, payloads: Sequence[bytes]) -> int:
    if dictionary is None:
        return stored_by_auto(payloads)
    forms = encode_many_with(dictionary, payloads, 1)
    rest = [raw for raw, form in zip(payloads, forms, strict=True) if form is None]
    return sum(len(form) for form in forms if form is not None) + stored_by_auto(rest)


def chosen(payloads: Sequence[bytes], known: Known | None = None, chooser: Chooser | None = None) -> Dictionary | None:
    return (chooser or Chooser()).choose(payloads, 1, known or Known())


def trained(payloads: Sequence[bytes]) -> Dictionary:
    dictionary = chosen(payloads)
    assert dictionary is not None
    return dictionary


def bring_in(chooser: Chooser, known: Known, payloads: Sequence[bytes]) -> Dictionary | None:
    """Do what a writer does with a group; return the dictionary that it is the first to use."""
    dictionary = chooser.choose(payloads, 1, known)
    if dictionary is None or dictionary in known.mine:
        return None
    known.mine.append(dictionary)
    return dictionary


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of lessons of each training."""
    done: list[int] = []
    train = training._trained

    def counted(lessons: list[BytesLike], length: int, level: int) -> Dictionary | None:
        done.append(len(lessons))
        return train(lessons, length, level)

    monkeypatch.setattr(training, "_trained", counted)
    return done


def test_small_records_take_a_fraction_with_a_dictionary_that_they_were_not_trained_on() -> None:
    dictionary = trained(records(GROUP))
    others = records(GROUP, seed=7)
    assert stored_by_auto(others) == sum(map(len, others))
    assert stored_with(dictionary, others) < 0.3 * sum(map(len, others))


def test_the_same_objects_lead_to_the_same_dictionary() -> None:
    assert trained(records(GROUP)).data == trained(records(GROUP)).data
    set_threads(0)
    try:
        assert trained(records(GROUP)).data == trained(records(GROUP)).data
    finally:
        set_threads(None)


def test_what_comes_by_turns_is_learnt_of_both_kinds() -> None:
    both = [data for pair in zip(records(GROUP), invoices(GROUP), strict=True) for data in pair]
    dictionary = trained(both)
    for kind in (records(GROUP, 3), invoices(GROUP, 3)):
        assert stored_with(dictionary, kind) < 0.4 * sum(map(len, kind))


@pytest.mark.parametrize("kind", ["noise", "tiny noise"])
def test_objects_that_have_nothing_in_common_get_none(kind: str) -> None:
    assert chosen(KINDS[kind](GROUP, 0)) is None


def test_a_dictionary_that_gains_less_than_it_costs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The strangers shrink a little: by not much more than the dictionary takes, twice in the pack."""
    group = strangers(100)
    monkeypatch.setattr(training, "_HOPE", 1.0)
    assert chosen(group) is None
    monkeypatch.setattr(training, "_COST", 0)
    dictionary = chosen(group)
    assert dictionary is not None
    assert 0 < stored_by_auto(group) - stored_with(dictionary, group) < 2.5 * len(dictionary)


def test_few_objects_bring_no_dictionary_in() -> None:
    few = records(400)
    assert sum(map(len, few)) < 64 << 10
    assert chosen(few) is None
    assert chosen(few, Known(others=[trained(records(GROUP))])) is None


def test_one_object_takes_the_dictionary_that_its_pack_has() -> None:
    dictionary = trained(records(GROUP))
    assert chosen(records(1, seed=9), Known(mine=[dictionary])) == dictionary
    assert chosen(noise(1), Known(mine=[dictionary])) is None
    assert chosen([b""], Known(mine=[dictionary])) is None
    assert chosen([], Known(mine=[dictionary])) is None


def test_of_the_dictionaries_of_a_pack_the_one_that_fits_is_taken(trainings: list[int]) -> None:
    fitting = trained(records(GROUP))
    known = Known(mine=[fitting, trained(invoices(GROUP))])
    trainings.clear()
    for some in (records(20, seed=5), records(400, seed=5)):
        assert chosen(some, known) == fitting
    assert not trainings


def test_the_dictionary_of_another_pack_is_taken_where_it_gains_more_than_it_costs(trainings: list[int]) -> None:
    dictionary = trained(records(GROUP))
    trainings.clear()
    assert chosen(records(GROUP, seed=5), Known(others=[dictionary])) == dictionary
    assert chosen(noise(GROUP), Known(others=[dictionary])) is None
    assert not trainings


def test_a_pack_that_is_full_of_dictionaries_gets_no_other(trainings: list[int]) -> None:
    """Its objects would be stored raw."""
    fitting, other = trained(records(GROUP)), trained(invoices(GROUP))
    trainings.clear()
    assert chosen(records(GROUP, 5), Known(mine=[other], others=[fitting], most=1)) is None
    assert chosen(records(GROUP, 5), Known(mine=[fitting, other], most=2)) == fitting
    chooser = Chooser()
    assert chooser.choose(records(GROUP, 5), 1, Known(mine=[fitting])) == fitting
    assert chooser.choose(records(GROUP, 6), 1, Known(mine=[other], most=1)) is None
    assert not trainings


def test_content_that_changes_is_trained_on_at_once() -> None:
    chooser, known = Chooser(), Known()
    for seed in range(4):
        bring_in(chooser, known, records(4 * GROUP, seed))
    assert len(known.mine) == 1
    # Noise in between uses none, and keeps none from coming.
    assert chooser.choose(noise(4 * GROUP), 1, known) is None
    fresh = bring_in(chooser, known, invoices(4 * GROUP))
    assert fresh is not None and len(known.mine) == 2
    assert chooser.choose(records(4 * GROUP, 9), 1, known) == known.mine[0]


def test_a_new_writer_trains_anew_when_the_gain_has_drifted() -> None:
    """As a repack does: the dictionary that there is was trained on other records."""
    old = trained(invoices(GROUP))
    group = records(4 * GROUP)
    for known in (Known(mine=[old]), Known(others=[old])):
        chooser = Chooser()
        for _ in range(4):
            last = chooser.choose(group, 1, known)
            if last is not None and last not in known.mine:
                known.mine.append(last)
        assert known.mine[-1] != old
        assert stored_with(known.mine[-1], group) + 2 * len(known.mine[-1]) < stored_with(old, group)


def test_training_that_gains_nothing_is_not_repeated_at_every_group(trainings: list[int]) -> None:
    chooser, known = Chooser(), Known()
    for seed in range(64):
        bring_in(chooser, known, records(GROUP, seed))
    assert len(known.mine) <= 2 and 1 <= len(trainings) <= 10, len(trainings)


def test_noise_is_not_trained_on(trainings: list[int]) -> None:
    chooser = Chooser()
    for seed in range(8):
        assert chooser.choose(noise(GROUP, seed), 1, Known()) is None
    assert not trainings


def test_large_objects_and_compressed_formats_are_stored_as_without_one() -> None:
    dictionary = trained(records(GROUP))
    text = b"".join(records(GROUP))
    large = text[: DICTIONARY_MOST_SIZE + 1]
    picture = b"\x89PNG\r\n\x1a\n" + text[:1000]
    at_most = text[:DICTIONARY_MOST_SIZE]
    assert [form is None for form in encode_many_with(dictionary, [large, picture, b"", at_most], 1)] == [
        True, True, True, False,
    ]  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    groups=st.lists(
        st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.integers(1, 600)), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    ),
    shuffle=st.booleans(),
)
def test_stored_bytes_are_never_more_than_without_dictionaries(
    groups: list[list[tuple[str, int]]], shuffle: bool
) -> None:
    chooser, known = Chooser(), Known()
    seeds = count(100)
    for parts in groups:
        # Each part is of objects that are new, as those are that a writer asks for.
        group = [data for kind, most in parts for data in KINDS[kind](most, 1000 * next(seeds))]
        if shuffle:
            random.Random(1).shuffle(group)
        used = chooser.choose(group, 1, known)
        is_new = used is not None and used not in known.mine
        if used is not None and is_new:
            known.mine.append(used)
        cost = 2 * len(used) if used is not None and is_new else 0
        # 1 % for a group whose judges are not quite like the others.
        assert stored_with(used, group) + cost <= 1.01 * stored_by_auto(group)


@settings(max_examples=50, deadline=None)
@given(payloads=st.lists(st.binary(max_size=40), max_size=60), times=st.sampled_from([1, 1, 400]))
def test_any_objects_get_an_answer(payloads: list[bytes], times: int) -> None:
    group = [data + b"%d" % at for at in range(times) for data in payloads] if times > 1 else payloads
    dictionary = chosen(group)
    if dictionary is not None:
        assert stored_with(dictionary, group) + 2 * len(dictionary) < stored_by_auto(group)
