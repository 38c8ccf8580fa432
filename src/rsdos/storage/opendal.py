"""Object stores behind a network, through OpenDAL: the only module that imports it.

What was found by running OpenDAL 0.47, and is built against here (each has a test):

- A file that is open for writing completes its upload when its ``with`` block raises. No block is used: an upload is
  closed after its last part, and only then.
- A service that checks the MD5 of a put refuses uploads in parts. So there are several operators.
- A timeout must be below the retries: above them, it would end all tries together. Without one a server that stalls
  holds a call forever. The library's 10 seconds for a request would end a put of 32 MiB on a slow line. Of a read it
  is that of each piece that comes: all reads have one operator, whose credentials are looked for once.
- Retries must not be above conditional puts: the second try of a put that was stored finds its own object in the way.
- After a fork any operator waits forever, if the parent ever made one.
- The lister holds Python's lock while it waits. Lists go through the asynchronous operator, on a thread of its own.
- An operator holds the credentials, and shows them when it is pickled. None is ever pickled.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import math
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from enum import Enum
from itertools import islice
from typing import Any

from rsdos.errors import DamagedContainer, InvalidOption, Refused, RemoteAfterFork, Unavailable
from rsdos.model import BytesLike
from rsdos.storage.base import FileInfo, Put, PutResult, Span, Version, check_name, is_name
from rsdos.storage.error_texts import read_error
from rsdos.storage.profiles import profile_settings
from rsdos.storage.ranged import RangedStorage
from rsdos.storage.services import Service

PART = 8 << 20
"""Bytes of a part of a large upload."""

IN_FLIGHT = 4
"""Parts of one upload that are under way at once: with `PART`, 32 MiB of memory."""

SHORTEST_TIMEOUT = 60.0
"""Seconds that one request may take, ..."""

SLOWEST = 1 << 16
"""... and more where its bytes need more at this many a second."""

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
"""Seconds between the first two tries of a request, and the most between two. In between they double."""

_PIECE = 1 << 16
"""Bytes of a whole object that are taken at a time: more than most manifests have."""

_PAGE = 1000
"""Names that a request lists: the most that S3 gives."""

_AHEAD = 64
"""Names of a page that are left over where no further page is wanted: the library asks for that once it has given out,
or keeps for later, all but some fifty."""


class _Process:
    """What is known of this process: whether an operator was made in it, or in a parent before it was forked."""

    is_used = False
    is_forked = False
    loop: asyncio.AbstractEventLoop | None = None
    starting = threading.Lock()

    @classmethod
    def after_fork(cls) -> None:
        cls.is_forked = cls.is_forked or cls.is_used
        cls.starting = threading.Lock()

    @classmethod
    def lists(cls) -> asyncio.AbstractEventLoop:
        """Return the loop of the thread that lists."""
        with cls.starting:
            if cls.loop is None:
                cls.loop = asyncio.new_event_loop()
                threading.Thread(target=cls.loop.run_forever, name="rsdos-list", daemon=True).start()
            return cls.loop


os.register_at_fork(after_in_child=_Process.after_fork)


class _Use(Enum):
    """What an operator is for: which checks and layers it has."""

    AGAIN = "requests that may be tried again, and uploads in parts"
    ONCE = "puts of one request, checked by the service, and never tried again"
    WHOLE = "puts of one request, checked by the service, that may be tried again"


def timeout_of(length: int) -> float:
    """Return the seconds that a request of so many bytes may take, from few different ones: each is an operator."""
    seconds = max(SHORTEST_TIMEOUT, length / SLOWEST)
    return float(SHORTEST_TIMEOUT * 2 ** math.ceil(math.log2(seconds / SHORTEST_TIMEOUT)))


def tries_in(deadline: float) -> int:
    """Return after how many waits between tries a deadline is over."""
    count, wait, waited = 0, _FIRST_WAIT, 0.0
    while waited < deadline:
        waited += wait
        wait = min(2 * wait, _LONGEST_WAIT)
        count += 1
    return count


class OpendalStorage(RangedStorage):
    """The objects below a prefix of a bucket. Any number of threads, one process: see `RemoteAfterFork`.

    It is made without a request. When it is pickled, only the service is sent: the other process reads its own
    credentials.
    """

    def __init__(self, service: Service, deadline: float) -> None:
        """``deadline``: seconds for which requests that may be tried again are, before `Unavailable` is raised."""
        self.root = service.url
        self.traits = service.traits
        self._service = service
        self._deadline = deadline
        self._operators: dict[tuple[_Use, float], Any] = {}
        self._making = threading.Lock()
        self._is_bucket_known = not service.is_bucket
        """Whether an answer has shown that the bucket exists."""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._service, self._deadline)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r})"

    # Operators.

    def _operator(self, use: _Use, length: int = 0) -> Any:
        if _Process.is_forked:
            raise RemoteAfterFork(self.root)
        key = use, timeout_of(length)
        operator = self._operators.get(key)
        if operator is None:
            with self._making:
                operator = self._operators.setdefault(key, self._make(*key))
        return operator

    def _make(self, use: _Use, timeout: float) -> Any:
        try:
            from opendal.layers import RetryLayer, TimeoutLayer
        except ImportError as error:
            reason = "needs the package opendal: pip install 'rsdos[remote]'"
            raise InvalidOption(f"{self.root}: {reason} ({error})") from error
        service = self._service
        _Process.is_used = True
        # The keys of a profile go from its file into the operator, and no variable keeps them.
        settings = profile_settings(service.profile) if service.profile else {}
        settings |= dict(service.settings) | dict(() if use is _Use.AGAIN else service.checks)
        try:
            operator = self._first_operator(settings)
        except Exception as error:  # noqa: BLE001  the library's errors have no common base
            raise read_error(error).error(self.root) from None
        finally:
            settings.clear()
        operator = operator.layer(TimeoutLayer(timeout=SHORTEST_TIMEOUT, io_timeout=timeout))
        if use is not _Use.ONCE:
            tries = tries_in(self._deadline)
            retries = RetryLayer(tries, factor=2.0, jitter=True, max_delay=_LONGEST_WAIT, min_delay=_FIRST_WAIT)
            operator = operator.layer(retries)
        return operator

    def _first_operator(self, settings: dict[str, str]) -> Any:
        """Return an operator without layers. The library wants a region, also for servers that ignore it."""
        import opendal

        try:
            return opendal.Operator(self._service.kind, **settings)
        except opendal.exceptions.ConfigInvalid as error:
            # Neither in the options nor in the environment.
            if "region" in settings or "endpoint" not in settings or "region" not in str(error):
                raise
        return opendal.Operator(self._service.kind, **settings, region="us-east-1")

    def _ask(self, action: str, name: str, do: Callable[[Any], Any], length: int = 0, use: _Use = _Use.AGAIN) -> Any:
        """Make a request that may be tried again. Raise what its answer means."""
        operator = self._operator(use, length)
        try:
            told = do(operator)
        except Exception as error:  # noqa: BLE001  the library's errors have no common base
            raise self._error(error, action, name) from None
        self._is_bucket_known = True
        return told

    def _error(self, error: Exception, action: str, name: str) -> OSError:
        return read_error(error).error(self.path(name) if name else self.root, self._service.actions.get(action, ""))

    def close(self) -> None:
        super().close()
        with self._making:
            self._operators.clear()

    # Reading.

    def read(self, name: str, most: int) -> bytes:
        """See `Storage.read`. One request, whatever the length; of an object that is too large no more is kept."""
        path = self.path(name)
        operator = self._operator(_Use.AGAIN)
        pieces, length = [], 0
        try:
            file = operator.open(name, "rb")
            while length <= most and (piece := file.read(min(_PIECE, most + 1 - length))):
                pieces.append(piece)
                length += len(piece)
        except Exception as error:  # noqa: BLE001  the library's errors have no common base
            raise self._error(error, "read", name) from None
        if length > most:
            raise OSError(errno.EFBIG, f"larger than {most} bytes", path)
        return b"".join(pieces)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        path = self.path(name)
        operator = self._operator(_Use.AGAIN)
        try:
            data: bytes = operator.read(name, offset=offset, size=length)
        except Exception as error:  # noqa: BLE001  the library's errors have no common base
            told = read_error(error)
            if told.is_beyond_end:
                raise DamagedContainer(path, "cut short", offset) from None
            raise told.error(path, self._service.actions.get("read", "")) from None
        if len(data) != length:
            raise DamagedContainer(path, f"cut short: {len(data)} bytes came of {length}", offset)
        return data

    def read_spans(self, spans: Iterable[Span]) -> Iterator[bytes]:
        self._operator(_Use.AGAIN)  # In a forked child the threads that read are missing.
        return super().read_spans(spans)

    def stat(self, name: str) -> FileInfo | None:
        check_name(name)
        try:
            told = self._ask("read", name, lambda operator: operator.stat(name))
        except FileNotFoundError:
            self._refuse_missing_bucket(name)
            return None
        return _info(name, told)

    def _refuse_missing_bucket(self, name: str) -> None:
        """Raise `StorageMismatch` if the bucket is missing, and not the object. An answer to `stat` does not tell."""
        if not self._is_bucket_known:
            with suppress(FileNotFoundError):
                self.read(name, 0)
            self._is_bucket_known = True

    def list(self, directory: str, after: str = "", most: int | None = None) -> Iterator[str]:
        skipped = len(directory) + 1
        return (info.name[skipped:] for info in self.list_infos(directory, after, most))

    def list_infos(self, directory: str, after: str = "", most: int | None = None) -> Iterator[FileInfo]:
        prefix = f"{check_name(directory)}/"
        if not self._service.is_bucket:
            raise Refused(self.path(directory), f"{self.traits.medium} cannot list")
        return islice(self._listed(prefix, after, most), most)

    def _listed(self, prefix: str, after: str, most: int | None) -> Iterator[FileInfo]:
        """Yield the objects directly below a prefix, page by page."""
        operator = self._operator(_Use.AGAIN).to_async_operator()
        count = _PAGE if most is None else max(1, min(most, _PAGE - _AHEAD))
        limit = count if most is None else count + _AHEAD
        options = {"start_after": prefix + after} if after else {}
        loop = _Process.lists()
        entries: AsyncIterator[Any] | None = None

        async def page() -> list[Any]:
            nonlocal entries
            if entries is None:
                entries = aiter(await operator.list(prefix, limit=limit, **options))
            found = []
            async for entry in entries:
                found.append(entry)
                if len(found) >= count:
                    break
            return found

        while True:
            try:
                found = asyncio.run_coroutine_threadsafe(page(), loop).result()
            except Exception as error:  # noqa: BLE001  the library's errors have no common base
                raise self._error(error, "list", prefix.rstrip("/")) from None
            for entry in found:
                name: str = entry.path
                own = name.removeprefix(prefix)
                if own > after and "/" not in own and is_name(name):
                    yield _info(name, entry.metadata)
            if len(found) < count:
                return

    # Writing.

    def put_new(self, name: str, data: bytes, still: Callable[[], bool] | None = None) -> PutResult:
        """See `Storage.put_new`. One request, never tried again; the service checks the MD5 where it can.

        `Put.UNKNOWN` wherever the request may have been carried out, or may still be.
        """
        path = self.path(name)
        self._refuse_writing(path)
        operator = self._operator(_Use.ONCE, len(data))
        if still is not None and not still():
            return PutResult(Put.TAKEN)
        try:
            operator.write(name, data, if_not_exists=True)
        except Exception as error:  # noqa: BLE001  the library's errors have no common base
            told = read_error(error)
            if told.is_taken:
                return PutResult(Put.TAKEN)
            if told.is_final:
                raise told.error(path, self._service.actions.get("write", "")) from None
            return PutResult(Put.UNKNOWN)
        return PutResult(Put.OURS)

    def put_stream(self, name: str, parts: Iterable[BytesLike], length: int) -> None:
        """See `Storage.put_stream`. Parts of 8 MiB, four under way at once; the outcome is checked.

        Not conditional: some services ignore conditions of such uploads. Of two that put one name at the same time the
        last wins, so give each object a name of its own.
        """
        path = self.path(name)
        self._refuse_writing(path)
        if self.exists(name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        sums = _PartSums()
        # The length of a request is that of a part, and four share the line.
        file = self._ask(
            "write",
            name,
            lambda operator: operator.open(name, "wb", chunk=PART, concurrent=IN_FLIGHT),
            IN_FLIGHT * PART,
        )
        # From here on the file is closed at the one place where that is meant: closing stores what came so far.
        done = 0
        for part in parts:
            done += len(memoryview(part).cast("B"))
            if done > length:
                break
            sums.add(part)
            self._upload(name, file.write, bytes(part))
        if done != length:
            raise ValueError(f"{path}: {done} bytes came of {length}")
        try:
            self._upload(name, file.close)
        except (Unavailable, FileNotFoundError) as error:
            # A lost answer: the next try finds no such upload any more, and the object is there.
            if self.stat(name) is None:
                raise Unavailable(path, "the upload could not be completed") from error
        self._check_upload(name, length, sums)

    def _upload(self, name: str, do: Callable[..., Any], *arguments: bytes) -> None:
        try:
            do(*arguments)
        except Exception as error:  # noqa: BLE001  the library's errors have no common base
            raise self._error(error, "write", name) from None

    def _check_upload(self, name: str, length: int, sums: _PartSums) -> None:
        """Raise `DamagedContainer`, and remove the object, if it is not what was sent."""
        info = self._info(name)
        is_right = info.length == length
        if self.traits.etag_is_md5 and info.etag.count("-") == 1:
            is_right = is_right and info.etag == sums.etag()
        if not is_right:
            self.remove(name)
            raise DamagedContainer(self.path(name), "what was stored is not what was sent")

    def empty(self, name: str) -> None:
        self._refuse_writing(self.path(name))
        self._info(name)
        # With its MD5: a bucket with a default retention refuses puts without.
        self._ask("write", name, lambda operator: operator.write(name, b""), use=_Use.WHOLE)

    def remove(self, name: str) -> bool:
        """Remove an object. Return True: object stores do not tell whether it was there."""
        self._refuse_writing(self.path(name))
        self._ask("delete", name, lambda operator: operator.delete(name))
        return True

    def _refuse_writing(self, path: str) -> None:
        if not self._service.is_bucket:
            raise OSError(errno.EROFS, f"{self.traits.medium} can only be read", path)


class _PartSums:
    """The ETag that most services give to an upload in parts: the MD5 of the MD5s of the parts, and their number."""

    def __init__(self) -> None:
        self._sums: list[bytes] = []
        self._sum = hashlib.md5(usedforsecurity=False)
        self._length = 0

    def add(self, data: BytesLike) -> None:
        view = memoryview(data).cast("B")
        while view:
            now = view[: PART - self._length]
            self._sum.update(now)
            self._length += len(now)
            view = view[len(now) :]
            if self._length == PART:
                self._end_part()

    def _end_part(self) -> None:
        self._sums.append(self._sum.digest())
        self._sum = hashlib.md5(usedforsecurity=False)
        self._length = 0

    def etag(self) -> str:
        if self._length:
            self._end_part()
        return f"{hashlib.md5(b''.join(self._sums), usedforsecurity=False).hexdigest()}-{len(self._sums)}"


def _info(name: str, told: Any) -> FileInfo:
    etag = (told.etag or "").removeprefix("W/").strip('"')
    time = told.last_modified.timestamp() if told.last_modified else 0.0
    is_versioned = bool(told.version) and told.version != "null"
    return FileInfo(name, told.content_length, _version(told.content_length, etag), 1, time, etag, is_versioned)


def _version(length: int, etag: str) -> Version:
    return length, int.from_bytes(hashlib.blake2b(etag.encode(), digest_size=8).digest())
