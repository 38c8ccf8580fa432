from __future__ import annotations

import io
import os

from rsdos.model import FRAME_SIZE
from rsdos.streams.buffers import Buffers


def address(view: memoryview) -> int:
    return id(view.obj)


def test_a_held_frame_does_not_change_and_its_memory_is_reused_afterwards() -> None:
    data = os.urandom(6 * FRAME_SIZE + 5)
    stream, buffers = io.BytesIO(data), Buffers()
    first = buffers.fill(stream.readinto)
    second = buffers.fill(stream.readinto)
    part = first[10:20]
    memory = address(first), address(second)
    assert memory[0] != memory[1]
    del first
    third = buffers.fill(stream.readinto)
    assert address(third) not in memory
    assert part == data[10:20]
    del part, third
    fourth = buffers.fill(stream.readinto)
    assert address(fourth) == memory[0]
    assert second == data[FRAME_SIZE : 2 * FRAME_SIZE]
    assert fourth == data[3 * FRAME_SIZE : 4 * FRAME_SIZE]


def test_short_reads_make_whole_frames_and_the_last_is_what_is_left() -> None:
    data = os.urandom(2 * FRAME_SIZE + 5)
    stream, buffers = io.BytesIO(data), Buffers()

    def readinto(view: memoryview) -> int:
        return stream.readinto(view[:70_000])

    frames = []
    while frame := buffers.fill(readinto):
        frames.append(bytes(frame))
    assert list(map(len, frames)) == [FRAME_SIZE, FRAME_SIZE, 5]
    assert b"".join(frames) == data
