"""What one machine has of the bucket: each request is a step of the scheduler, and may go wrong on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NoReturn, TypeVar

from rsdos.errors import DamagedContainer, Unavailable
from rsdos.model import BytesLike
from rsdos.storage.base import FileInfo, Put, PutResult, Storage, Traits, Version, check_name
from rsdos.storage.opened import RandomAccess, View
from tests.protocol.bucket import Bucket, Kept
from tests.protocol.scheduler import Actor, Killed, Scheduler

_T = TypeVar("_T")


class _Fate(Enum):
    GOOD = "good"
    LOST = "lost"
    NEVER = "never"
    LATE = "late"
    TWICE = "twice"


class Medium(Storage):
    """The bucket as a storage: nothing goes wrong, and nobody else goes on."""

    traits = Traits("a simulated bucket")

    def __init__(self, bucket: Bucket, root: str = "simulated:bucket") -> None:
        self.bucket = bucket
        self.root = root
        self.sender: object = None
        """The operation that makes the requests."""

    def _ask(self, verb: str, name: str) -> None:
        """Make a request that changes nothing."""

    def _change(self, verb: str, name: str, do: Callable[[], _T], unknown: Callable[[], _T]) -> _T:
        """Make a request that changes something; ``unknown`` is the answer where none comes."""
        return do()

    # Reading.

    def read_with_version(self, name: str, most: int) -> tuple[bytes, Version]:
        kept = self.get("read", name)
        if len(kept.data) > most:
            raise OSError(27, f"larger than {most} bytes", self.path(name))
        return kept.data, (kept.version,)

    def get(self, verb: str, name: str) -> Kept:
        """Ask for an object."""
        self._ask(verb, check_name(name))
        return self.bucket.get(name)

    def open(self, name: str, length: int | None = None) -> RandomAccess:
        if length is None:
            kept = self.get("open", name)
            return _Reader(self, name, len(kept.data), (kept.version,))
        return _Reader(self, check_name(name), length, (0,))

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        self._ask("list", check_name(directory))
        return self.bucket.names(directory, after, most, self._late())

    def list_infos(self, directory: str, after: str = "", most: int | None = None) -> Iterator[FileInfo]:
        self._ask("list", check_name(directory))
        infos = (self._info(f"{directory}/{name}") for name in self.bucket.names(directory, after, most, self._late()))
        return iter([info for info in infos if info is not None])

    def _late(self) -> int:
        return 0

    def stat(self, name: str) -> FileInfo | None:
        self._ask("stat", check_name(name))
        return self._info(name)

    def _info(self, name: str) -> FileInfo | None:
        kept = self.bucket.objects.get(name)
        return None if kept is None else FileInfo(name, len(kept.data), (kept.version,), time=kept.time)

    # Writing.

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        check_name(name)
        if still is not None and not still():
            return PutResult(Put.TAKEN)
        sender, kept = self.sender, bytes(data)
        return self._change(
            "put_new", name, lambda: self.bucket.put_new(name, kept, sender), lambda: PutResult(Put.UNKNOWN)
        )

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        data = b"".join(parts)
        if len(data) != length:
            raise ValueError(f"{len(data)} bytes came of {length}")
        result = self.put_new(name, data)
        if result.outcome is Put.TAKEN:
            raise FileExistsError(17, "there is one", self.path(name))
        if result.outcome is Put.UNKNOWN:
            raise Unavailable(self.path(name), "no answer")

    def empty(self, name: str) -> None:
        sender = self.sender
        self._change("empty", check_name(name), lambda: self.bucket.empty(name, sender), self._no_answer(name))

    def remove(self, name: str) -> bool:
        sender = self.sender
        return self._change("remove", check_name(name), lambda: self.bucket.remove(name, sender), self._no_answer(name))

    def _no_answer(self, name: str) -> Callable[[], NoReturn]:
        def fail() -> NoReturn:
            raise Unavailable(self.path(name), "no answer")

        return fail


class Client(Medium):
    """What one machine has."""

    def __init__(self, scheduler: Scheduler, actor: Actor) -> None:
        super().__init__(scheduler.bucket, f"simulated:{actor.name}")
        self._scheduler = scheduler
        self._actor = actor
        self._is_dead = False

    def _step(self, verb: str, name: str) -> None:
        if self._is_dead:
            raise Killed
        try:
            self._scheduler.step(self._actor, f"{verb} {name}")
        except Killed:
            self._is_dead = True
            raise

    def _ask(self, verb: str, name: str) -> None:
        self._step(verb, name)
        scheduler = self._scheduler
        if scheduler.chance.random() < scheduler.weather.unreadable:
            scheduler.trace.append("      fails")
            raise Unavailable(self.path(name), "it is simulated")

    def _late(self) -> int:
        return self._scheduler.chance.randint(0, self._scheduler.weather.stale)

    def _change(self, verb: str, name: str, do: Callable[[], _T], unknown: Callable[[], _T]) -> _T:
        self._step(verb, name)
        fate = self._fate()
        if fate is not _Fate.GOOD:
            self._scheduler.trace.append(f"      {fate.value}")
        if fate in (_Fate.LATE, _Fate.TWICE):
            self._scheduler.later(lambda: _again(do))
        if fate in (_Fate.NEVER, _Fate.LATE):
            return unknown()
        answer = do()
        return unknown() if fate is _Fate.LOST else answer

    def _fate(self) -> _Fate:
        luck, weather = self._scheduler.chance.random(), self._scheduler.weather
        for fate, part in (
            (_Fate.LOST, weather.lost),
            (_Fate.NEVER, weather.never),
            (_Fate.LATE, weather.late),
            (_Fate.TWICE, weather.twice),
        ):
            if luck < part:
                return fate
            luck -= part
        return _Fate.GOOD


def _again(do: Callable[[], object]) -> None:
    """Deliver a request to which nobody hears the answer."""
    try:
        do()
    except FileNotFoundError:
        pass


class _Reader:
    """An object of the bucket, open for reading. Each range is a request, and after a removal there is none."""

    def __init__(self, medium: Medium, name: str, size: int, version: Version) -> None:
        self._medium = medium
        self._name = name
        self._size = size
        self.path = medium.path(name)
        self.version = version
        self.is_open = True

    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        data = self._medium.get("read", self._name).data[offset : offset + length]
        if len(data) != length:
            raise DamagedContainer(self.path, f"{len(data)} bytes of {length}", offset)
        return data

    def read_into(self, offset: int, buffer: memoryview) -> int:
        buffer[:] = self.read(offset, len(buffer))
        return len(buffer)

    def view(self, offset: int, length: int) -> View:
        return _View(memoryview(self.read(offset, length)))

    def is_cached(self, offset: int) -> bool | None:
        return True

    def will_need(self, offset: int, length: int) -> None:
        return

    def close(self) -> None:
        self.is_open = False


class _View:
    """A range that was read whole."""

    keeps_open = False

    def __init__(self, data: memoryview) -> None:
        self.data = data

    def need(self, start: int, end: int) -> None:
        return

    def will_need(self, start: int, end: int) -> None:
        return

    def copy(self, start: int, end: int) -> bytes:
        return bytes(self.data[start:end])

    def let_go(self, start: int, end: int) -> None:
        return
