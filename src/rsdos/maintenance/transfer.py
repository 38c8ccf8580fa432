"""Transfer: copy objects into a container from another of any version and hash. Options → plan → execute → report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from time import monotonic

from rsdos.codecs.spec import parse_compression
from rsdos.engine.engine import Engine
from rsdos.errors import Busy, DamagedContainer, DamagedObject, DecodeError, InvalidOption, ObjectNotFound
from rsdos.maintenance.copier import CopyStats, ObjectCopier, StoredFormPolicy, in_storage_order
from rsdos.model import Copy, Trust
from rsdos.progress import SILENCE
from rsdos.protocols import Progress
from rsdos.stores import order
from rsdos.streams.plain import hashed
from rsdos.streams.sources import in_frames

_CHUNK = 1 << 15
"""Keys that are carried together: their order in storage is found for as many."""

Tell = Callable[[Sequence[str], Sequence[str]], None]
"""Is told the keys there and the keys here of objects that are acknowledged."""


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """What is wanted: these keys of the source, or all; in their stored form, or compressed anew by a specification."""

    keys: Iterable[str] | None = None
    compression: str | None = None


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """What there is to copy: so many objects at most."""

    options: TransferOptions
    source: Engine
    form: StoredFormPolicy
    objects: int | None


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What a transfer did, in ``seconds``.

    ``objects`` of ``size`` raw bytes were stored, ``copied`` of them byte for byte; ``known`` were there before (not
    told apart where the hashes differ). ``rescued`` are the keys of those whose first copy there is damaged, and
    another is not. ``damaged``: the keys of those that could not be read, and why. ``missing``: the keys of those that
    were there at the start, and were not any more when their turn came: deleted by somebody, or lost.
    """

    objects: int = 0
    size: int = 0
    copied: int = 0
    known: int = 0
    rescued: tuple[str, ...] = ()
    damaged: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    seconds: float = 0.0


def plan(engine: Engine, source: Engine, options: TransferOptions) -> TransferPlan:
    """Check the options. Raises `InvalidOption`, also when both are the same container."""
    if source.layout.root == engine.layout.root:
        raise InvalidOption("a container cannot be transferred into itself")
    compression = None if options.compression is None else parse_compression(options.compression)
    if compression and compression.codec not in engine.packed.codecs:
        raise InvalidOption(f"the container cannot store {options.compression} so that all its readers read it")
    kept = StoredFormPolicy.kept(engine.packed, engine.config.codec)
    form = kept if compression is None else StoredFormPolicy.encoded(compression)
    objects = len(source.objects) if options.keys is None else None
    return TransferPlan(options, source, form, objects)


def execute(
    engine: Engine, plan: TransferPlan, progress: Progress = SILENCE, tell: Tell = lambda theirs, ours: None
) -> TransferReport:
    """Copy into packs; everything is hashed on the way. Readers and writers of both go on, and maintenance of both.

    All that is there at the start is copied, wherever it is moved to before its turn comes, or is named in the report.
    What is here already, by a last look behind the commit, is not copied. With another hash every object gets another
    key, which ``tell`` hears of. Damaged and missing objects are reported, and the rest goes on. Killed at any moment
    the next run goes on from there: batches of 262,144 objects or 1 GiB are committed on the way. Raises
    `ObjectNotFound`, `ReadOnlyContainer`, OSError.
    """
    begun = monotonic()
    same = engine.config.hash is plan.source.config.hash
    carried = CopyStats()
    with engine.objects.writing(), plan.source.protect_packs():
        progress.start("Transferring objects", plan.objects, "objects")
        try:
            for digests in _digest_chunks(plan):
                (_carry if same else _insert)(engine, plan, digests, carried, tell)
                progress.advance(len(digests))
        finally:
            progress.finish()
    return TransferReport(
        carried.objects,
        carried.size,
        carried.copied,
        carried.known,
        tuple(carried.rescued),
        tuple(carried.damaged.items()),
        tuple(carried.missing),
        monotonic() - begun,
    )


def _digest_chunks(plan: TransferPlan) -> Iterator[Sequence[bytes]]:
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
    """The objects that are here, by name alone, and as durable as they should be."""
    copies = engine.objects.check_copies(digests, Trust.INDEX, engine.durability) if digests else ()
    return [digest for digest, copy in zip(digests, copies, strict=True) if copy is Copy.GOOD]


def _carry(engine: Engine, plan: TransferPlan, digests: Sequence[bytes], carried: CopyStats, tell: Tell) -> None:
    todo = list(digests)
    for _ in range(order.MOST_ROUNDS):
        believed = _there(engine, todo)
        fresh = order.lost(todo, set(believed))
        carried.known += len(believed)
        with engine.packed.appender() as appender:
            carrier = ObjectCopier(plan.source, appender, plan.form, carried)
            carrier.copy(fresh)
            appender.commit()
        # The last look, behind the commit: what was deleted here since is carried after all.
        believed += carrier.believed
        todo = order.lost(believed, set(_there(engine, believed)))
        if not todo:
            break
        carried.known -= len(todo)
    else:
        raise Busy(engine.layout.root, "others, which delete what was transferred")
    bad = carried.damaged.keys() | set(carried.missing)
    keys = [digest.hex() for digest in digests if digest.hex() not in bad]
    tell(keys, keys)


def _insert(engine: Engine, plan: TransferPlan, digests: Sequence[bytes], carried: CopyStats, tell: Tell) -> None:
    """Another hash: every object is read, and named anew. What is known already cannot be told beforehand."""
    ours: dict[str, str] = {}
    objects = plan.source.objects
    with engine.packed.appender() as appender:
        for digest in digests:
            key = digest.hex()
            try:
                size = objects.meta(key).size
                parts = hashed(objects.parts(key), digest, objects.hash)
                first = next(parts, b"")
                second = next(parts, None)
                if second is None:
                    (name,) = appender.add_many([bytes(first)], plan.form.packed)
                else:
                    name = appender.add_frames(in_frames(chain((first, second), parts)), plan.form.packed)
            except ObjectNotFound:
                carried.missing.append(key)
            except (DamagedObject, DamagedContainer, DecodeError) as error:
                carried.damaged[key] = str(error)
            else:
                ours[key] = name.hex()
                carried.objects += 1
                carried.size += size
        appender.commit()
    tell(list(ours), list(ours.values()))
