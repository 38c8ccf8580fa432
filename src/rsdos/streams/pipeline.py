"""Encodes and hashes the frames of an object, with threads if the object is large."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from functools import partial

from rsdos.codecs.cores import threads
from rsdos.codecs.sequential import SequenceEncoder
from rsdos.codecs.workers import Job, Workers
from rsdos.hashing import Hasher
from rsdos.model import BytesLike
from rsdos.streams.frames import FrameEncoder

_ALONE = 4
"""Frames before threads are started. Starting one takes 0.1 ms, a frame 1 ms (raw) to 3 ms (zstd 1)."""

_AHEAD = 2
"""Jobs beyond the number of threads, so that no thread waits while a piece is written."""


def encoded(
    source: Iterable[BytesLike], encoder: FrameEncoder | SequenceEncoder, hasher: Hasher
) -> Generator[tuple[BytesLike, BytesLike]]:
    """Yield each frame and its stored bytes, in order. At the end the hasher has hashed all frames.

    The calling thread reads ``source``, at most one frame for each thread and two more ahead. An error of a thread is
    raised here. When the generator is exhausted or closed, all threads have ended.
    """
    if isinstance(encoder, FrameEncoder) and encoder.is_mixed:
        return _both_aside(source, encoder, hasher)
    if isinstance(encoder, FrameEncoder) and encoder.most_threads:
        return _encoded_aside(source, encoder, hasher)
    return _hashed_aside(source, encoder, hasher)


def _encoded_aside(
    source: Iterable[BytesLike], encoder: FrameEncoder, hasher: Hasher
) -> Generator[tuple[BytesLike, BytesLike]]:
    """Encode the frames in threads, and hash them in the calling thread."""
    pending: deque[tuple[BytesLike, Job[BytesLike]]] = deque()

    def first() -> tuple[BytesLike, BytesLike]:
        frame, job = pending.popleft()
        piece = job.result()
        encoder.append(frame, piece)
        return frame, piece

    with Workers(min(encoder.most_threads, threads())) as workers:
        for number, frame in enumerate(source):
            if number == _ALONE:
                workers.start()
            pending.append((frame, workers.submit(partial(encoder.encode, frame))))
            hasher.update(frame)
            while len(pending) > (len(workers) and len(workers) + _AHEAD):
                yield first()
        while pending:
            yield first()


def _hashed_aside(
    source: Iterable[BytesLike], encoder: FrameEncoder | SequenceEncoder, hasher: Hasher
) -> Generator[tuple[BytesLike, BytesLike]]:
    """Hash the frames in one thread, in order, and encode them in the calling thread."""
    pending: deque[Job[None]] = deque()
    with Workers(min(1, threads())) as workers:
        for number, frame in enumerate(source):
            if number == _ALONE:
                workers.start()
            pending.append(workers.submit(partial(hasher.update, frame)))
            yield frame, encoder.add(frame)
            while len(pending) > (len(workers) and len(workers) + _AHEAD):
                pending.popleft().result()
        for job in pending:
            job.result()


def _both_aside(
    source: Iterable[BytesLike], encoder: FrameEncoder, hasher: Hasher
) -> Generator[tuple[BytesLike, BytesLike]]:
    """Hash the frames in one thread, in order, and encode those that are tried in the others.

    The others are started by the first frame that is tried: an object of noise has the one thread of a raw object.
    """
    hashing: deque[Job[None]] = deque()
    pending: deque[tuple[BytesLike, Job[BytesLike] | None]] = deque()

    def first() -> tuple[BytesLike, BytesLike]:
        frame, job = pending.popleft()
        piece = job.result() if job else frame
        encoder.append(frame, piece)
        return frame, piece

    with (
        Workers(min(1, threads())) as hashers,
        Workers(min(encoder.most_threads, max(threads() - 1, 0))) as encoders,
    ):
        for number, frame in enumerate(source):
            if number == _ALONE:
                hashers.start()
            hashing.append(hashers.submit(partial(hasher.update, frame)))
            is_tried = encoder.is_tried(frame)
            if is_tried and number >= _ALONE:
                encoders.start()
            pending.append((frame, encoders.submit(partial(encoder.encode, frame)) if is_tried else None))
            while len(pending) > (len(encoders) and len(encoders) + _AHEAD):
                yield first()
            while len(hashing) > (len(hashers) and len(hashers) + _AHEAD):
                hashing.popleft().result()
        while pending:
            yield first()
        for job in hashing:
            job.result()
