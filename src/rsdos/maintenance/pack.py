"""Pack: move loose objects into packs. Options → plan → execute → report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from rsdos.engine.engine import Engine
from rsdos.errors import DamagedObject, DecodeError
from rsdos.maintenance.clean import batches, collect_garbage, remove_safe
from rsdos.model import FRAME_SIZE, Codec, CompressMode, Durability
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores.batch import BatchWriter
from rsdos.stores.encoding import Encoding, Forms
from rsdos.stores.loose.file import LooseFile

_GROUP = 4096
"""The most loose objects that are read, encoded and appended together: about 1 MiB of small objects."""

_GROUP_BYTES = 8 << 20
"""Bytes of files from which on they are appended together."""


@dataclass(frozen=True, slots=True)
class PackOptions:
    """The options of a pack run.

    ``compress`` says what happens to loose objects that are compressed. AUTO and KEEP copy their stored form. YES
    compresses them anew, unless packs and loose objects have the same compression. NO decodes them. ``clean`` removes
    the loose files of objects that are safely packed.
    """

    compress: CompressMode = CompressMode.AUTO
    clean: bool = True


@dataclass(frozen=True, slots=True)
class PackPlan:
    """The number of loose ``objects`` to pack, and the ``length`` of their files in bytes."""

    options: PackOptions = field(repr=False)
    objects: int
    length: int


@dataclass(frozen=True, slots=True)
class PackReport(ShownAsTable):
    """The result of a pack run, which took ``seconds``.

    ``objects`` of ``size`` raw bytes were packed, into the packs ``pack_ids``. ``known`` objects were packed before.
    ``cleaned`` loose objects were removed. ``damaged`` are the keys of loose objects that cannot be read or have
    another hash: they are left where they are.
    """

    objects: int = 0
    size: int = 0
    known: int = 0
    cleaned: int = 0
    pack_ids: tuple[int, ...] = ()
    damaged: tuple[str, ...] = ()
    seconds: float = 0.0


def plan(engine: Engine, options: PackOptions) -> PackPlan:
    """Count the loose objects.

    Args:
        engine: the open container.
        options: a `PackOptions`.

    Returns:
        The number of loose objects, and the bytes of their files.

    Raises:
        InvalidOption: the options do not fit the container.
    """
    Encoding(options.compress, engine.config.codec)
    objects = length = 0
    for path in engine.loose.names.paths():
        try:
            length += os.stat(path, follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
        objects += 1
    return PackPlan(options, objects, length)


def pack_all(engine: Engine, options: PackOptions, progress: Progress = SILENCE) -> PackReport:
    """Call `plan` and `execute`.

    Without a progress callback the files are not counted first: counting takes as long as reading a third of them.
    """
    if progress is not SILENCE:
        return execute(engine, plan(engine, options), progress)
    Encoding(options.compress, engine.config.codec)
    return execute(engine, PackPlan(options, 0, 0))


def execute(engine: Engine, plan: PackPlan, progress: Progress = SILENCE) -> PackReport:
    """Pack the loose objects in batches: append and commit, verify the packed copies, remove the loose files.

    The steps are numbered in the code. Readers and writers are not blocked. A run that is killed at any moment loses
    nothing, and the next run continues: a loose file is removed only after its packed copy was synced, committed and
    read back. Packed objects are put on stable storage even in a container with relaxed durability, because their
    loose copies may have been durable for years.

    Args:
        engine: the open container.
        plan: what `plan` returned.
        progress: receives the bytes of loose files.

    Returns:
        The counts, the packs, and the keys of damaged objects.

    Raises:
        Busy: another maintenance operation is running.
        ReadOnlyContainer: the container cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    with engine.maintenance("pack"):
        collect_garbage(engine)
        run = _Packing(engine, plan.options, progress)
        with (
            step(progress, "Packing loose objects", plan.length, "bytes"),
            engine.packed.writer(durability=Durability.FULL) as writer,
        ):
            for batch in batches(engine):
                run.pack(writer, batch)
        engine.loose.remove_empty_directories()
        return run.report(writer.pack_ids, watch.seconds)


class _Packing:
    """One run: its encoding and its counts."""

    def __init__(self, engine: Engine, options: PackOptions, progress: Progress) -> None:
        self._engine = engine
        self._options = options
        self._progress = progress
        self._encoding = Encoding(options.compress, engine.config.codec)
        self._objects = self._size = self._known = self._cleaned = 0
        self._damaged: list[str] = []

    def pack(self, writer: BatchWriter, digests: Sequence[bytes]) -> None:
        """Pack one batch, and remove its loose files."""
        # 1. Append the objects that are not packed yet.
        fresh = [digests[at] for at in writer.unknown(digests)]
        missing = set(fresh)
        done = [digest for digest in digests if digest not in missing]
        self._known += len(done)
        if self._progress is not SILENCE:
            self._progress.advance(self._engine.loose.names.length_of(done))
        done += self._append(writer, fresh)
        # 2. Commit them: synced, and in the manifest.
        writer.commit()
        if self._options.clean:
            # 3. Read the packed copies back, decode and hash them; 4. only then remove the loose files.
            self._cleaned += len(done) - len(remove_safe(self._engine, done))

    def _append(self, writer: BatchWriter, digests: Sequence[bytes]) -> list[bytes]:
        """Append loose objects. Return those that were present and undamaged."""
        done: list[bytes] = []
        rest: list[bytes] = []
        payloads: list[bytes] = []
        length = flushed = 0
        digest_of = self._engine.config.hash.digest_of
        # Most objects are small and raw. Each takes three system calls, and its hash while its bytes are in the
        # processor's cache; all other work is done in bulk.
        for digest, data in zip(digests, self._engine.loose.raw_many(digests), strict=True):
            if data is None or digest_of(data) != digest:
                rest.append(digest)
                continue
            done.append(digest)
            payloads.append(data)
            length += len(data)
            if length >= _GROUP_BYTES or len(payloads) >= _GROUP:
                self._append_raw(writer, done[flushed:], payloads)
                flushed, payloads, length = len(done), [], 0
        self._append_raw(writer, done[flushed:], payloads)
        return done + self._append_others(writer, rest)

    def _append_raw(self, writer: BatchWriter, digests: Sequence[bytes], payloads: Sequence[bytes]) -> None:
        """Append raw objects whose hash was verified."""
        if digests:
            writer.append_payloads(digests, payloads, self._encoding)
            size = sum(map(len, payloads))
            self._objects += len(payloads)
            self._size += size
            self._progress.advance(size)

    def _append_others(self, writer: BatchWriter, digests: Sequence[bytes]) -> list[bytes]:
        """Append objects one by one: those that are large, compressed, damaged or gone."""
        done = []
        group = _LooseGroup()
        for digest in digests:
            try:
                file = self._open(digest)
                if file is None:
                    continue  # Another process has removed it.
                size = file.stored.size
                if size > FRAME_SIZE:
                    self._append_large(writer, file)
                else:
                    group.add(file, self._takes_over(file))
            except (DecodeError, DamagedObject):
                self._damaged.append(digest.hex())
                continue
            done.append(digest)
            self._objects += 1
            self._size += size
            if group.is_full:
                self._progress.advance(group.flush(writer, self._encoding))
        self._progress.advance(group.flush(writer, self._encoding))
        return done

    def _open(self, digest: bytes) -> LooseFile | None:
        try:
            return self._engine.loose.file(digest)
        except PermissionError as error:
            raise DamagedObject(digest.hex(), str(error)) from error

    def _append_large(self, writer: BatchWriter, file: LooseFile) -> None:
        if self._takes_over(file):
            for _ in file.frames():
                pass  # Verify the object before its stored bytes are copied.
            writer.add_stored(file.digest, file.stored, file.stored_parts())
        else:
            writer.add_frames(file.frames(), self._encoding)
        self._progress.advance(file.stored.length)

    def _takes_over(self, file: LooseFile) -> bool:
        """Return whether the stored bytes are copied unchanged."""
        if file.stored.codec is Codec.RAW:
            return False
        if self._options.compress is CompressMode.YES:
            return self._engine.config.loose_codec == self._engine.config.codec
        return self._options.compress is not CompressMode.NO

    def report(self, pack_ids: Sequence[int], seconds: float) -> PackReport:
        return PackReport(
            self._objects, self._size, self._known, self._cleaned, tuple(pack_ids), tuple(self._damaged), seconds
        )


class _LooseGroup:
    """Loose objects of at most one frame, read and verified: those to encode, and those to copy as they are stored."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._raw: list[tuple[bytes, bytes]] = []
        self._stored: list[tuple[bytes, bytes, int, int]] = []
        self._length = self._stored_length = 0

    @property
    def is_full(self) -> bool:
        return self._length >= _GROUP_BYTES or len(self._raw) + len(self._stored) >= _GROUP

    def add(self, file: LooseFile, take_over: bool) -> None:
        """Read an object and close its file. Raise `DecodeError` when it has another hash."""
        data = file.read()
        self._length += len(data)
        self._stored_length += file.stored.length
        if take_over:
            stored = file.read_stored()
            self._stored.append((file.digest, stored, file.stored.codec, len(data)))
        else:
            self._raw.append((file.digest, data))
        file.close()

    def flush(self, writer: BatchWriter, encoding: Encoding) -> int:
        """Append all objects. Return the bytes of their files."""
        length = self._stored_length
        if self._raw:
            digests, payloads = zip(*self._raw, strict=True)
            writer.append_payloads(digests, payloads, encoding)
        if self._stored:
            digests, stored, codecs, sizes = zip(*self._stored, strict=True)
            writer.append(digests, Forms(stored, codecs), sizes)
        self._clear()
        return length
