"""From frames to their pieces and a hash, with the help of threads where the object is large enough for that."""

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
"""Frames before threads are started: they cost 0.1 ms each, and a frame 1 ms (raw) to 3 (zstd 1)."""

_AHEAD = 2
"""Jobs more than there are threads, so that none of these waits while a piece is written."""


def encoded(
    source: Iterable[BytesLike], encoder: FrameEncoder | SequenceEncoder, hasher: Hasher
) -> Generator[tuple[BytesLike, BytesLike]]:
    """Each frame, and what is to be stored of it, in order; at the end the hasher has had them all.

    ``source`` is read by the caller's thread, and no further ahead than there are threads, and two frames. What a
    thread raises is raised here. When this is left, in whatever way, no thread is at work any more: exhaust it, or
    close it.
    """
    if isinstance(encoder, FrameEncoder) and encoder.most_threads:
        return _encoded_aside(source, encoder, hasher)
    return _hashed_aside(source, encoder, hasher)


def _encoded_aside(
    source: Iterable[BytesLike], encoder: FrameEncoder, hasher: Hasher
) -> Generator[tuple[BytesLike, BytesLike]]:
    """The frames are encoded by threads, and hashed by the caller's."""
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
    """One thread hashes the frames, in order; the caller's does the rest."""
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
