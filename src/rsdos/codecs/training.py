"""Decides which dictionary the objects of a bulk insert are compressed with, and trains new ones. No tuning, no clock.

The same objects in the same order lead to the same dictionaries. What was measured, and what was turned down, is in
docs/adr/0018-when-a-dictionary-is-trained.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from math import gcd

import zstandard

from rsdos.codecs import zstd
from rsdos.codecs.auto import (
    clearly_smaller,
    encode_many_if_smaller,
    encode_many_with,
    level_with_dictionary,
    suited,
)
from rsdos.codecs.dictionary import Dictionary, KnownDictionaries
from rsdos.model import BytesLike, Codec, Compression

_LOOKED_AT = 512
"""Objects of a group that are looked at, at most."""

_WEIGHED = 32
"""Objects by which the raw bytes of a group are estimated: to add up all of 8,192 takes 0.3 ms."""

_JUDGED, _MOST_JUDGED = 6 << 10, 48 << 10
"""Raw bytes of the objects that judge a dictionary, which is not trained on them, if they are many and if they are few.

That is 34 records of 180 B. To compress 48 KiB twice takes 0.4 ms.
"""

_JUDGES = 12
"""Objects that are many enough to judge."""

_TAUGHT = 64 << 10
"""Raw bytes to train on. They take 8 ns each; 1 MiB gains 1 to 3 % more, 48 KiB loses 2 % of records of 1 KB."""

_HEAD, _TAIL = 1 << 10, 256
"""Bytes of the beginning and the end of an object that are trained on.

In the same time more objects teach more than longer ones: sources below 4 KiB take 5 % less than with 4 KiB of each.
"""

_LEAST_SIZE = 64 << 10
"""Raw bytes of small objects in a group from which on a dictionary may be brought into the pack."""

_SHARE = 32
"""A new dictionary has 1/32 of what a group's small objects take in one frame: twice that gains less than it costs.

That is 6 KB for 8,192 records of 180 B, and 10 KB for 1 MB of source files.
"""

_LEAST_LENGTH, _MOST_LENGTH = 1 << 10, 16 << 10
"""Bytes of a new dictionary. One of 32 KiB needs more lessons, and gains 1 % from sources and nothing from records."""

_COST = 2.5
"""What a dictionary costs that comes into a pack, of its length: it is there twice, and gains are measured on few."""

_TRIED = 4
"""Known dictionaries that are tried, of the pack and of other packs: the newest. Each takes 0.2 ms."""

_HOPE = 0.95
"""Training is tried where the judges, all in one frame, take at most this part of what they take one by one, ..."""

_CHANGE = 0.9
"""... and sooner than planned where it is this part of what it was after the last time: the content has changed."""

_PAUSE, _LONGEST_PAUSE = 4, 128
"""Groups from one look at other dictionaries to the next; one after it changed nothing, then 2, 4, ... and 64."""

_OBJECT, _BYTE = 4.0, 0.01
"""What an insert earns in bytes of training: 1.5 % of its 2.3 us an object and 5 ns a byte. Judging takes as much."""

_SEGMENT, _DMER, _FREQUENCIES, _ACCELERATION = 1000, 8, 16, 3
"""The parameters of zstd's trainer (k, d, f, accel), for one pass over three quarters of the lessons.

Four passes to find k, by zstd's defaults, take 20 times as long and gain 1 %.
"""

_GOLDEN_RATIO = 0.6180339887


class Chooser:
    """Chooses dictionaries for the groups of one writer. One thread.

    A dictionary is used where it makes objects that it was not trained on smaller than `rsdos.codecs.auto` does without
    one, and brought into the pack only where this group gains more than it costs there. Judging and training take about
    3 % of the time of a long insert. The first training takes 0.5 ms, however short that is.
    """

    def __init__(self) -> None:
        self._credit = 0.0
        """The bytes that may be trained on."""
        self._last: Dictionary | None = None
        """What was chosen last."""
        self._planned = 0
        """Groups until others are tried, if the content does not change."""
        self._pause = 1
        self._hope = 1.0
        """What was still to be hoped for when others were tried last; see `_Trial.hope`."""

    def choose(self, payloads: Sequence[bytes], level: int, known: KnownDictionaries) -> Dictionary | None:
        """Return one of the known dictionaries, a new one, or None for none."""
        trial = self._try(payloads, level, known)
        return trial.best if trial else None

    def choose_anew(
        self, payloads: Sequence[bytes], lengths: Sequence[int], level: int, known: KnownDictionaries
    ) -> Dictionary | None:
        """Return what `choose` does, or None where that saves less than a tenth of what they take now."""
        trial = self._try(payloads, level, known)
        return trial.best if trial and clearly_smaller(trial.whole, trial.sample.length_now(lengths)) else None

    def _try(self, payloads: Sequence[bytes], level: int, known: KnownDictionaries) -> _Trial | None:
        if not payloads or (len(payloads) < _JUDGES and next(known.here(), None) is None):
            return None
        objects = map(payloads.__getitem__, _places(len(payloads)))
        weighed = list(islice(objects, _WEIGHED))
        self._credit += len(payloads) * (_OBJECT + _BYTE * sum(map(len, weighed)) / len(weighed))
        self._planned -= 1
        sample = _Sample(chain(weighed, objects), len(payloads))
        if not sample.judges:
            return None
        trial = _Trial(sample, level)
        if self._last is not None and known.is_here(self._last):
            trial.consider(self._last)
        elif self._last is not None and known.has_room():
            trial.consider(self._last, _COST)
        if sample.size < _LEAST_SIZE:
            trial.consider_all(known.here())
        elif self._planned <= 0 or trial.hope() <= _CHANGE * self._hope:
            self._look_around(trial, known)
        self._last = trial.best or self._last
        return trial

    def _look_around(self, trial: _Trial, known: KnownDictionaries) -> None:
        """Try what there is, and train another if there is hope."""
        before = trial.best
        trial.consider_all(known.here())
        if known.has_room():
            trial.consider_all(known.elsewhere(), _COST)
            is_first = trial.best is None and self._last is None and self._credit > 0
            if trial.hope() <= _HOPE and (is_first or self._credit >= _TAUGHT):
                self._train(trial)
        self._pause = 1 if trial.best is not before else min(2 * self._pause, _LONGEST_PAUSE)
        self._planned = _PAUSE if trial.best is not before else self._pause // 2
        self._hope = trial.hope()

    def _train(self, trial: _Trial) -> None:
        lessons = trial.sample.lessons()
        self._credit -= sum(map(len, lessons))
        dictionary = _trained(lessons, trial.together() // _SHARE, trial.level)
        if dictionary is not None:
            trial.consider(dictionary, _COST)


def _places(count: int) -> Iterator[int]:
    """Yield the places of objects from all over a group of ``count``, each once, at most `_LOOKED_AT`.

    What comes by turns in the group, at a short period, does not come in runs here.
    """
    step = max(1, int(count * _GOLDEN_RATIO))
    while gcd(step, count) > 1:
        step += 1
    return (at * step % count for at in range(min(count, _LOOKED_AT)))


class _Sample:
    """Some small objects of a group: ``judges`` to measure with, and others to train on.

    ``judged`` is the raw bytes of the judges.
    """

    def __init__(self, objects: Iterator[bytes], count: int) -> None:
        self.judges: list[bytes] = []
        self.judged = 0
        self._numbers: list[int] = []
        """Which of the objects the judges are, counted from 1 on."""
        self._small = suited(objects)
        for number, data in self._small:
            looked_at = number
            self._numbers.append(number)
            self.judges.append(data)
            self.judged += len(data)
            if self.judged >= (_JUDGED if len(self.judges) >= _JUDGES else _MOST_JUDGED):
                break
            if count < _JUDGES and 4 * len(self.judges) >= count:
                break  # Each is compressed twice: for all of a small call that would take 0.2 ms.
        else:
            looked_at = min(count, _LOOKED_AT)
        self.size = self.judged * count // looked_at
        """The raw bytes of the small objects of the group, about."""

    def lessons(self) -> list[BytesLike]:
        """Return parts of objects to train on. Call it once."""
        lessons: list[BytesLike] = []
        taught = 0
        for _, data in self._small:
            if len(data) <= _HEAD + _TAIL:
                lessons.append(data)
                taught += len(data)
            else:
                lessons += data[:_HEAD], data[-_TAIL:]
                taught += _HEAD + _TAIL
            if taught >= _TAUGHT:
                break
        return lessons

    def length_now(self, lengths: Sequence[int]) -> int:
        """Return what the group's small objects take, about, where all objects of the group have ``lengths``."""
        places = list(islice(_places(len(lengths)), self._numbers[-1]))
        return self.in_group(sum(lengths[places[number - 1]] for number in self._numbers))

    def in_group(self, length: int) -> int:
        """Return the stored bytes of the group's small objects, if the judges take ``length``."""
        return length * self.size // self.judged


class _Trial:
    """The dictionary that makes a group smallest, of those that were considered."""

    def __init__(self, sample: _Sample, level: int) -> None:
        self.sample = sample
        self.level = level
        forms = encode_many_if_smaller(sample.judges, Compression(Codec.ZSTD, level))
        self._without = [
            len(raw if stored is None else stored) for raw, stored in zip(sample.judges, forms, strict=True)
        ]
        self.best: Dictionary | None = None
        self._length = sum(self._without)
        """Of the judges with the best."""
        self.whole = float(sample.in_group(self._length))
        """Of the group with the best, and what this costs."""
        self._together = 0

    def consider_all(self, dictionaries: Iterable[Dictionary], cost: float = 0) -> None:
        """`consider` the first of some dictionaries."""
        for dictionary in islice(dictionaries, _TRIED):
            self.consider(dictionary, cost)

    def consider(self, dictionary: Dictionary, cost: float = 0) -> None:
        """Make a dictionary the best if it makes the group smaller, by more than ``cost`` of its own length."""
        if dictionary == self.best:
            return
        forms = encode_many_with(dictionary, self.sample.judges, self.level)
        length = sum(
            without if stored is None else len(stored) for without, stored in zip(self._without, forms, strict=True)
        )
        whole = self.sample.in_group(length) + cost * len(dictionary)
        if whole < self.whole:
            self.best, self._length, self.whole = dictionary, length, whole

    def hope(self) -> float:
        """Return what the judges take in one frame, as a part of what they take with the best.

        A dictionary that is trained well comes near that: what the judges have in common is found once, there and here.
        """
        self.together()
        return self._together / self._length

    def together(self) -> int:
        """Return what the small objects of the group take in one frame, about."""
        if not self._together:
            self._together = len(zstd.compressor(self.level).compress(b"".join(self.sample.judges)))
        return self.sample.in_group(self._together)


def _trained(lessons: list[BytesLike], length: int, level: int) -> Dictionary | None:
    """Return a dictionary of about ``length`` bytes; None where zstd finds nothing to make one of."""
    try:
        trained = zstandard.train_dictionary(
            min(max(length, _LEAST_LENGTH), _MOST_LENGTH),
            lessons,
            k=_SEGMENT,
            d=_DMER,
            f=_FREQUENCIES,
            accel=_ACCELERATION,
            level=level_with_dictionary(level),
            steps=1,
        )
    except zstandard.ZstdError:
        return None
    return Dictionary(trained.as_bytes())
