"""Encoding objects anew while their packs are rewritten: in another compression, or where a dictionary would pay."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate

from rsdos.codecs.auto import DICTIONARY_MOST_SIZE
from rsdos.codecs.checksum import crc32_of_each
from rsdos.codecs.dictionary import Dictionary, DictionaryChooser
from rsdos.errors import DamagedContainer, DamagedObject, DecodeError
from rsdos.index.entries import Entries
from rsdos.index.runs import ReadRange
from rsdos.model import FIRST_DICTIONARY, Codec, CompressMode, RecordFlag
from rsdos.pack.reader import PackFile
from rsdos.stores.batch import BUFFER, GROUP
from rsdos.stores.encoding import Encoding, Forms
from rsdos.stores.packed.context import PackedContext
from rsdos.stores.packed.rewrite import PackRewrite

_EVERY = range(1 << 8)
"""All codecs."""


class Recoder:
    """Decides which objects of at most one frame are encoded anew, and how. One repack; one thread.

    With an encoding of its own all of them are. Without one (``encoding`` None) stored bytes are copied, except where a
    dictionary of the old pack does not pay in the new one, and where the small compressed objects of a group would
    become a tenth smaller with a new dictionary. Behind a network it does not look for that: each object of
    the sample would be a request.
    """

    def __init__(self, context: PackedContext, encoding: Encoding | None) -> None:
        self._context = context
        self._encoding = encoding
        self._codecs: Collection[int] = ()
        """Those whose objects in the open group are encoded anew."""
        self._new: Dictionary | None = None
        """The dictionary by which the small ones among them become smaller."""
        self._pending: dict[bytes, bytes] = {}
        """Objects that are encoded anew, decoded, until there are enough to be compressed together."""
        self._pending_size = 0
        self.damaged: list[str] = []
        """The keys of objects that could not be decoded."""

    @cached_property
    def _chooser(self) -> DictionaryChooser:
        """Made by the first group that could be compressed with a dictionary."""
        return self._context.new_chooser()

    def begin(self, file: PackFile, live: Entries, rewrite: PackRewrite) -> None:
        """Decide for a group of a pack.

        Raise `DamagedContainer` where a dictionary that is needed is lost.
        """
        saved = live.saved()
        self._new, self._codecs = None, self._left_behind(file, saved, rewrite)
        if self._encoding is not None:
            self._codecs = _EVERY
        elif self._context.index.appends:
            self._choose_anew(file.pack_id, live, saved, rewrite)

    def _choose_anew(self, pack_id: int, live: Entries, codecs: Iterable[int], rewrite: PackRewrite) -> None:
        compressed = {codec for codec in codecs if codec == Codec.ZSTD or codec >= FIRST_DICTIONARY}
        if not compressed:
            return
        small = live.take(live.of_codecs(compressed, DICTIONARY_MOST_SIZE))
        self._new = self._chosen_anew(pack_id, small, rewrite)
        if self._new is not None:
            self._codecs = compressed

    def _left_behind(self, file: PackFile, saved_by: Mapping[int, int], rewrite: PackRewrite) -> set[int]:
        """Return the codecs of dictionaries that save less in the new pack than they take there."""
        left = set()
        for codec, saved in saved_by.items():
            if codec >= FIRST_DICTIONARY:
                try:
                    dictionary = self._context.records.dictionaries.named(file.pack_id, codec)
                except DecodeError as error:
                    raise DamagedContainer(file.path, f"{error}; nothing is repacked before a repair") from error
                if not rewrite.dictionaries.takes(dictionary, saved):
                    left.add(codec)
        return left

    def _chosen_anew(self, pack_id: int, small: Entries, rewrite: PackRewrite) -> Dictionary | None:
        compression = self._context.config.codec
        old = self._context.index.view.manifest.packs.dictionaries_of(pack_id)
        # What stays as it is may need all the old ones.
        if compression.codec is not Codec.ZSTD or rewrite.dictionaries.room <= len(old):
            return None
        payloads = _Payloads(self._context, small)
        lengths = small.records["length"].tolist()
        return self._chooser.choose_anew(payloads, lengths, compression.level, rewrite.dictionaries)

    def wanted(self, run: ReadRange) -> list[int]:
        """Return which objects of a run are encoded anew."""
        if not self._codecs:
            return []
        most = DICTIONARY_MOST_SIZE if self._new is not None else None
        return [
            at
            for at, codec in enumerate(run.codec)
            if codec in self._codecs and (most is None or codec >= FIRST_DICTIONARY or run.size[at] <= most)
        ]

    def take(self, live: Entries, run: ReadRange, stored: list[bytes], wanted: Sequence[int]) -> set[int]:
        """Decode some objects of a run, to be written later; return which of them were good."""
        taken = set()
        decoded = self._context.records.decoded
        digest_of = self._context.config.hash.digest_of
        digests = live.take([run.positions[at] for at in wanted]).digests()
        raws = decoded(run.part(wanted), [stored[at] for at in wanted]) if wanted else ()
        for at, digest, raw in zip(wanted, digests, raws, strict=True):
            # One that does not decode spoils those that are decoded with it.
            own = decoded(run.part([at]), [stored[at]])[0] if raw is None else raw
            if own is not None and digest_of(own) == digest:
                taken.add(at)
                self._pending[digest] = own
                self._pending_size += len(own)
            else:
                self.damaged.append(digest.hex())
        return taken

    @property
    def is_full(self) -> bool:
        """Whether enough was taken to be compressed together."""
        return self._pending_size >= BUFFER or len(self._pending) >= GROUP

    def write(self, rewrite: PackRewrite) -> None:
        """Encode and write what was taken."""
        if not self._pending:
            return
        digests, payloads = list(self._pending), list(self._pending.values())
        rewrite.make_room(len(digests))
        sizes = list(map(len, payloads))
        stored, codecs = rewrite.dictionaries.placed(self._encoded(payloads, rewrite), sizes)
        lengths = list(map(len, stored))
        table = Entries.of(
            digests,
            pack_id=rewrite.target_id,
            offset=list(accumulate(lengths[:-1], initial=rewrite.writer.write(stored))),
            length=lengths,
            size=sizes,
            crc=crc32_of_each(stored),
            codec=codecs,
            flags=RecordFlag.NONE,
        )
        rewrite.add(table.keyed())
        self._pending.clear()
        self._pending_size = 0

    def _encoded(self, payloads: Sequence[bytes], rewrite: PackRewrite) -> Forms:
        if self._encoding is None:
            # With the new dictionary, or without the one that did not pay.
            return Encoding(CompressMode.AUTO, self._context.config.codec).encode_many(payloads, self._new)
        dictionary = None
        if self._encoding.can_use_dictionaries:
            dictionary = self._chooser.choose(payloads, self._encoding.compression.level, rewrite.dictionaries)
        return self._encoding.encode_many(payloads, dictionary)


class _Payloads(Sequence[bytes]):
    """The raw bytes of some objects, read when they are asked for; of a damaged one none."""

    def __init__(self, context: PackedContext, entries: Entries) -> None:
        self._context = context
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, at: int) -> bytes:  # type: ignore[override]
        record = next(iter(self._entries.take([at])))
        try:
            return self._context.records.read_object(record)
        except (DecodeError, DamagedObject, DamagedContainer):
            return b""
