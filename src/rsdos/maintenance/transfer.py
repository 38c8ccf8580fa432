"""Transfer: copy objects into a container from another of any version and hash. Options → plan → execute → report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from rsdos.codecs.spec import parse_compression
from rsdos.engine.engine import Engine
from rsdos.engine.publish import read_refs
from rsdos.errors import Busy, InvalidOption, ObjectNotFound
from rsdos.maintenance.copier import (
    CopyStats,
    ObjectCopier,
    SourceDamage,
    StoredFormPolicy,
    in_storage_order,
    of_source,
    reading_source,
)
from rsdos.maintenance.forget import NamedVersion
from rsdos.maintenance.transfer_refs import bring, names_to_bring, with_names
from rsdos.model import CompressMode, Copy, Trust
from rsdos.notebook import ShownAsTable
from rsdos.progress import SILENCE, Stopwatch, step
from rsdos.protocols import Progress
from rsdos.stores import order
from rsdos.stores.encoding import Encoding
from rsdos.streams.plain import hashed

_CHUNK = 1 << 15
"""Keys that are copied together, in their storage order."""

Tell = Callable[[Sequence[str], Sequence[str]], None]
"""Receives the keys in the source and the keys in the target of objects that are acknowledged."""


class SnapshotPolicy(Enum):
    """What a transfer of everything does with the snapshots of the source."""

    BRING = "bring"
    """Copy them too. Raise `InvalidOption` for a target of version 1, which cannot have snapshots."""
    LEAVE_BEHIND = "leave behind"
    """Copy only objects that were inserted by key."""


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """The options of a transfer.

    The objects of ``keys`` are copied; None means all objects, with all branches and tags. ``refs`` are branches,
    versions, tags or snapshots of the source: if given, only what they lead to is copied, and gets these names in the
    target. A single ref gets the name ``name``, if that is given.

    ``compression`` is a specification with which all copied objects are compressed; with ``compress`` AUTO only those
    that become clearly smaller. None copies stored bytes unchanged where the target supports them. ``snapshots`` is for
    a transfer of everything.
    """

    keys: Iterable[str] | None = None
    compression: str | None = None
    compress: CompressMode = CompressMode.YES
    refs: Sequence[str] = ()
    name: str = ""
    snapshots: SnapshotPolicy = SnapshotPolicy.BRING

    @property
    def has_all(self) -> bool:
        """Whether everything is copied."""
        return self.keys is None and not self.refs


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """The number of ``objects`` to copy at most (None: not known), and their stored ``form`` in the target.

    ``names`` are the versions and tags of the source that are copied too.
    """

    options: TransferOptions
    source: Engine
    form: StoredFormPolicy
    objects: int | None
    names: tuple[NamedVersion, ...] = ()


@dataclass(frozen=True, slots=True)
class TransferReport(ShownAsTable):
    """The result of a transfer, which took ``seconds``.

    ``objects`` of ``size`` raw bytes were stored, ``copied`` of them byte for byte. ``known`` objects were in the
    target before (not counted where the hashes differ). ``rescued`` are the keys of objects whose first copy in the
    source is damaged, and that were read from another one. ``damaged`` has the keys of unreadable objects, each with
    the reason. ``missing`` has the keys of objects that were listed, and were deleted or lost before they were copied.
    ``names`` are the versions and tags that are new in the target.
    """

    objects: int = 0
    size: int = 0
    copied: int = 0
    known: int = 0
    rescued: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    seconds: float = 0.0
    names: tuple[NamedVersion, ...] = ()


def plan(engine: Engine, source: Engine, options: TransferOptions) -> TransferPlan:
    """Check the options.

    Args:
        engine: the open target.
        source: the other open container, of any version and hash.
        options: a `TransferOptions`.

    Returns:
        The number of objects to copy at most, and their stored form.

    Raises:
        InvalidOption: both are the same container, the target cannot store the compression, or it has no snapshots and
            the source has.
        RefNotFound: the source has no such branch, version, tag or snapshot.
        RefExists: the target has one of the names for something else.
        DamagedTree: the newest refs of one of the containers cannot be read.
    """
    if source.layout.root == engine.layout.root:
        raise InvalidOption("a container cannot be transferred into itself")
    compression = None if options.compression is None else parse_compression(options.compression)
    if compression and compression.codec not in engine.packed.codecs:
        raise InvalidOption(f"not all programs that read this container can read {options.compression}")
    kept = StoredFormPolicy.kept(engine.packed, engine.config.codec)
    form = kept if compression is None else StoredFormPolicy.encoded(Encoding.anew(options.compress, compression))
    objects = len(source.objects) if options.has_all else None
    return TransferPlan(options, source, form, objects, _names(engine, source, options))


def _names(engine: Engine, source: Engine, options: TransferOptions) -> tuple[NamedVersion, ...]:
    """Return the names that are copied too, after a check that the target can take them."""
    if options.keys is not None:
        if options.refs:
            raise InvalidOption("give either keys, or branches and tags")
        return ()
    if options.has_all and (options.snapshots is SnapshotPolicy.LEAVE_BEHIND or not source.packed.live().refs):
        return ()
    names = names_to_bring(source, options.refs or None, options.name)
    if names:
        _ = engine.packed.publisher  # Raises where the target has no snapshots.
        with_names(read_refs(engine)[0], names, (), "")
    return names


def execute(
    engine: Engine, plan: TransferPlan, progress: Progress = SILENCE, tell: Tell = lambda theirs, ours: None
) -> TransferReport:
    """Copy the objects into packs of the target, and hash each on the way.

    Readers, writers and maintenance of both containers are not blocked. Every object that exists in the source at the
    beginning is copied or named in the report, also if it is packed or repacked before it is copied. An object that
    the target has is not copied; it is looked up once more after the commit. If the hashes differ, every object gets
    another key. Damaged and missing objects are reported and skipped. A run that is killed at any moment is continued
    by the next run: batches of 262,144 objects or 1 GiB are committed.

    Branches and tags are copied with all objects that they lead to. They are published at the end, in one operation.

    Args:
        engine: the open target.
        plan: what `plan` returned.
        progress: receives the number of objects.
        tell: receives the keys in the source and in the target, when the objects are durable.

    Returns:
        The counts and keys of the objects.

    Raises:
        ObjectNotFound: the source has no object of one of the ``keys``.
        RefExists: a name has come to mean something else in the target.
        DamagedObject, DamagedTree: what a branch or tag leads to cannot be read in the source. No name is published.
        Busy: other processes delete the copied objects again and again.
        ReadOnlyContainer: the target cannot be written.
        OSError: a system call failed.
    """
    watch = Stopwatch()
    same = engine.config.hash is plan.source.config.hash
    stats = CopyStats()
    with (
        engine.objects.writing(),
        plan.source.protect_packs(),
        step(progress, "Transferring objects", plan.objects, "objects"),
    ):
        for digests in _digest_chunks(plan):
            (_copy_chunk if same else _insert_chunk)(engine, plan, digests, stats, tell)
            progress.advance(len(digests))
        # Last: what was inserted by key in the source as well is not stored twice.
        names = bring(engine, plan.source, plan.names, stats, progress) if plan.names else ()
    return TransferReport(
        stats.objects,
        stats.size,
        stats.copied,
        stats.known,
        tuple(stats.rescued),
        tuple(stats.damaged.items()),
        tuple(stats.missing),
        watch.seconds,
        names,
    )


def _digest_chunks(plan: TransferPlan) -> Iterator[Sequence[bytes]]:
    if plan.options.refs:
        return
    if plan.options.keys is None:
        yield from in_storage_order(plan.source)
        return
    keys = iter(plan.options.keys)
    while chunk := list(dict.fromkeys(islice(keys, _CHUNK))):
        for key, is_there in zip(chunk, plan.source.objects.has_many(chunk), strict=True):
            if not is_there:
                raise ObjectNotFound(key)
        yield plan.source.config.hash.parse_keys(chunk)


def _there(engine: Engine, digests: Sequence[bytes]) -> list[bytes]:
    """Return the objects that the target lists and has made durable. Their bytes are not read."""
    copies = engine.objects.check_copies(digests, Trust.INDEX, engine.durability) if digests else ()
    return [digest for digest, copy in zip(digests, copies, strict=True) if copy is Copy.GOOD]


def _copy_chunk(engine: Engine, plan: TransferPlan, digests: Sequence[bytes], stats: CopyStats, tell: Tell) -> None:
    todo = list(digests)
    for _ in range(order.MOST_ROUNDS):
        believed = _there(engine, todo)
        fresh = order.lost(todo, set(believed))
        stats.known += len(believed)
        with engine.packed.writer() as writer:
            copier = ObjectCopier(plan.source, writer, plan.form, stats)
            copier.copy(fresh)
            writer.commit()
        # The last lookup, after the commit: an object that was deleted in the target since then is copied after all.
        believed += copier.believed
        todo = order.lost(believed, set(_there(engine, believed)))
        if not todo:
            break
        stats.known -= len(todo)
    else:
        raise Busy(engine.layout.root, "other processes, which delete the transferred objects")
    bad = stats.damaged.keys() | set(stats.missing)
    keys = [digest.hex() for digest in digests if digest.hex() not in bad]
    tell(keys, keys)


def _insert_chunk(engine: Engine, plan: TransferPlan, digests: Sequence[bytes], stats: CopyStats, tell: Tell) -> None:
    """Insert objects into a container of another hash: each is read and gets a new key."""
    ours: dict[str, str] = {}
    objects = plan.source.objects
    with engine.packed.writer() as writer:
        for digest in digests:
            key = digest.hex()
            try:
                with reading_source():
                    size = objects.meta(key).size
                    parts = objects.parts(key)
                name = writer.add_parts(of_source(hashed(parts, digest, objects.hash)), plan.form.packed)
            except ObjectNotFound:
                stats.missing.append(key)
            except SourceDamage as error:
                stats.damaged[key] = error.reason
            else:
                ours[key] = name.hex()
                stats.objects += 1
                stats.size += size
        writer.commit()
    tell(list(ours), list(ours.values()))
