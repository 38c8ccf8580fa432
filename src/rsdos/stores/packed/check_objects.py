"""Checking the objects of a pack of version 2, and the dictionaries that they need."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from io import BytesIO

from rsdos import names
from rsdos.codecs.checksum import add_crc32s
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError
from rsdos.index.entries import Entries
from rsdos.index.runs import ReadRange, coalesce, rows
from rsdos.index.view import IndexView
from rsdos.model import FIRST_DICTIONARY, Codec, Record
from rsdos.storage.base import says_nothing
from rsdos.stores.findings import Checked, Depth, Finding, Sample, Shares
from rsdos.stores.packed.checked_run import read_checked_run
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.reader import codec_of_record

_OTHER_CRC = "its stored bytes have another CRC-32 than when they were written"
_OTHER_HASH = "its bytes have another hash than its key"
_CODECS = frozenset(Codec) - {Codec.MIXED}
"""Those of objects of at most one frame."""


class ObjectCheck:
    """Reads objects and dictionaries by one state of the index, and returns findings. One thread."""

    def __init__(self, context: PackedContext, view: IndexView, depth: Depth, sample: Sample) -> None:
        self._layout = context.layout
        self._storage = context.layout.storage
        self._hash = context.config.hash
        self._reader = context.records
        self._view = view
        self._depth = depth
        self._sample = sample
        self._lost: dict[int, frozenset[int]] = {}
        """The codecs of a pack whose dictionaries have no good copy anywhere."""

    def finding(
        self, pack_id: int, reason: str, offset: int | None = None, key: str | None = None, objects: int = 0
    ) -> Finding:
        """Return a finding about a place in a pack."""
        return Finding(self._layout.relative(self._layout.pack(pack_id)), reason, key, offset, objects=objects)

    def damage(self, error: DamagedContainer) -> Finding:
        """Return a finding about a file of the container."""
        return Finding(self._layout.relative(error.path), error.reason, offset=error.offset)

    def dictionaries(self, pack_id: int) -> Iterator[Finding]:
        """Check both copies of each dictionary of a pack."""
        dictionaries = self._reader.dictionaries
        lost = set()
        for codec, place in enumerate(self._view.dictionaries_of(pack_id), FIRST_DICTIONARY):
            bad = [offset for offset in place.offsets if not dictionaries.is_good(pack_id, place, offset)]
            if len(bad) == len(place.offsets) and not dictionaries.is_anywhere(place.digest):
                lost.add(codec)
            for offset in bad:
                yield self.finding(pack_id, f"a copy of dictionary {place.key} is damaged", offset)
        self._lost[pack_id] = frozenset(lost)

    def objects(self, pack_id: int, live: Entries) -> Iterator[Checked]:
        """Check objects of a pack, of the sample, a step for each range or frame that is read."""
        live = live.take(live.sampled(self._sample.bound)) if self._sample.share < 1 else live
        if self._depth is Depth.FULL:
            yield from self._one_by_one(pack_id, live)
            return
        reach = self._reader.reach
        for row in rows(live, reach.gap, reach.window):
            if self._is_as_written(pack_id, row):
                yield Checked(len(row), row.total.length)
            else:
                yield from self._one_by_one(pack_id, row)

    def _is_as_written(self, pack_id: int, row: Entries) -> bool:
        """Return whether objects that follow one another have their CRC-32s; False if not, or if they are others.

        It makes no list of what is only needed where something is wrong: 0.27 us an object instead of 0.49.
        """
        if row.records["flags"].any() or not row.follow_one_another:
            return False
        lengths = row.records["length"].tolist()
        try:
            data = self._read(pack_id, int(row.records["offset"][0]), sum(lengths))
        except OSError:
            return False
        sums = array("I")
        add_crc32s(sums, map(BytesIO(data).read, lengths))
        codecs = set(row.records["codec"].tobytes())
        return sums.tobytes() == row.crcs.tobytes() and not any(self._codec_fault(pack_id, codec) for codec in codecs)

    def _read(self, pack_id: int, offset: int, length: int) -> bytes:
        file = self._storage.open(names.pack(pack_id))
        try:
            return file.read(offset, length)
        finally:
            file.close()

    def _one_by_one(self, pack_id: int, live: Entries) -> Iterator[Checked]:
        """Check objects, and say what is wrong with which of them."""
        reach = self._reader.reach
        for run in coalesce(live, reach.gap, reach.window):
            told = 0
            if run.flags:
                bad = {}
                for at, record in enumerate(live.take(run.positions)):
                    shares = Shares(record.length, record.size)
                    try:
                        yield from self._framed(record, shares)
                    except (DecodeError, DamagedObject, OSError) as error:
                        if says_nothing(error):
                            raise
                        # A bit may have flipped on its way, see `read_best`.
                        if not self._storage.traits.is_remote or not self._reader.is_good(record):
                            bad[at] = str(error)
                    told += shares.told
            else:
                bad = self._run(live, run)
            findings = tuple(
                self.finding(pack_id, reason, run.offset[at], live.digest(run.positions[at]).hex())
                for at, reason in sorted(bad.items())
            )
            yield Checked(len(run.offset), sum(run.length) - told, findings)

    def _framed(self, record: Record, shares: Shares) -> Iterator[Checked]:
        """Read a large one, a step for each frame. Raises what is wrong with it."""
        codec_of_record(record)
        if self._depth is Depth.QUICK:
            if not self._reader.is_intact(record):
                raise DecodeError(_OTHER_CRC)
            return
        hasher = self._hash.new()
        for part in self._reader.frames(record):
            hasher.update(part)
            yield shares.step(part)
        if hasher.digest() != record.digest:
            raise DecodeError(_OTHER_HASH)

    def _run(self, live: Entries, run: ReadRange) -> dict[int, str]:
        """Return what is wrong with neighbours, by their place in the run."""
        try:
            file = self._storage.open(names.pack(run.pack_id))
            try:
                stored, _, unlike = read_checked_run(self._storage, file, run)
            finally:
                file.close()
        except OSError:
            # One by one, so that one bad sector is that of one object.
            records = list(live.take(run.positions))
            return {at: "it cannot be read" for at, record in enumerate(records) if not self._reader.is_intact(record)}
        bad = dict.fromkeys(unlike, _OTHER_CRC)
        faults = {codec: fault for codec in set(run.codec) if (fault := self._codec_fault(run.pack_id, codec))}
        if faults:
            bad |= {at: faults[codec] for at, codec in enumerate(run.codec) if codec in faults}
        if self._depth is Depth.FULL and not bad.keys() >= set(range(len(stored))):
            bad |= self._hashes(live, run, stored, bad)
        return bad

    def _codec_fault(self, pack_id: int, codec: int) -> str:
        """Return why an object of a pack cannot be decoded, whatever its bytes; an empty string for no reason."""
        if pack_id not in self._lost:
            list(self.dictionaries(pack_id))  # The findings are told with the pack, in whatever process.
        if codec in self._lost[pack_id]:
            return "the dictionary that it needs is damaged"
        count = len(self._view.dictionaries_of(pack_id))
        is_known = codec in _CODECS or FIRST_DICTIONARY <= codec < FIRST_DICTIONARY + count
        return "" if is_known else f"codec {codec} is not known"

    def _hashes(self, live: Entries, run: ReadRange, stored: list[bytes], bad: Mapping[int, str]) -> dict[int, str]:
        digest_of, decoded = self._hash.digest_of, self._reader.decoded
        digests = live.take(run.positions).digests()
        everything = run._replace(positions=list(range(len(stored))))
        if not bad and self._reader.are_good(digests, everything, decoded(run, stored)):
            return {}
        good = [at for at in range(len(stored)) if at not in bad]
        found = {}
        digests = [digests[at] for at in good]
        for at, digest, raw in zip(good, digests, decoded(run.part(good), [stored[at] for at in good]), strict=True):
            # One that does not decode spoils those that are decoded with it: alone it is found.
            own = decoded(run.part([at]), [stored[at]])[0] if raw is None else raw
            if own is None:
                found[at] = "it does not decode to its size"
            elif digest_of(own) != digest:
                found[at] = _OTHER_HASH
        return found
