"""The memory that a process may use: of the machine, or less by a limit that a batch system sets."""

from __future__ import annotations

import pytest

from rsdos.storage import memory_limit

MACHINE = memory_limit.memory_limit.__wrapped__


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/proc/self/cgroup": "0::/job/step\n", "/sys/fs/cgroup/job/step/memory.max": "1000\n"}, 1000),
        # A limit of the group that the group is in counts as well; "max" is none.
        (
            {
                "/proc/self/cgroup": "0::/job/step\n",
                "/sys/fs/cgroup/job/step/memory.max": "max\n",
                "/sys/fs/cgroup/job/memory.max": "2000\n",
            },
            2000,
        ),
        # Version 1, and both at once.
        (
            {
                "/proc/self/cgroup": "4:cpu,memory:/job\n1:name=systemd:/x\n0::/\n",
                "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "3000\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            3000,
        ),
    ],
)
def test_the_least_limit_counts(monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int) -> None:
    monkeypatch.setattr(memory_limit, "_read", lambda path: files.get(path, ""))
    assert MACHINE() == expected


def test_without_a_limit_it_is_the_memory_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limit, "_CGROUPS", "/nowhere")
    assert 1 << 26 < MACHINE() <= 1 << 62
