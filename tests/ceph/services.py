"""``python3 -m tests.ceph.services``: says in one line which object stores the tests find here.

For the log of CI: tests that want a store that is missing are skipped. Standard library only.
"""

from __future__ import annotations

from tests.ceph import swift
from tests.ceph.cluster import missing
from tests.remote import azurite


def found() -> dict[str, bool]:
    """Return for each store whether the tests find it, by what they ask themselves."""
    return {"Ceph": not missing(), "Azurite": azurite.found() is not None, "Swift": swift.is_installed()}


def described() -> str:
    """Return the line."""
    return "object stores for the tests: " + ", ".join(
        name if is_there else f"no {name}" for name, is_there in found().items()
    )


if __name__ == "__main__":
    print(described())
