"""The state of an unfinished validation: a small document in the container, so that it can be spread over days."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from rsdos.layout import Layout
from rsdos.storage import posix
from rsdos.storage.checked_json import decode_document, encode_document
from rsdos.stores.findings import Depth, Finding
from rsdos.stores.sandbox import replace_without_lock

MOST_FINDINGS = 10_000
"""Findings that are kept (3 MB); further ones are counted."""

_MOST_BYTES = 1 << 23
_VERSION = 1


@dataclass(slots=True)
class ValidationState:
    """The position and the findings of a validation.

    ``packs`` has the byte up to which each pack was checked, ``loose`` the last checked directory of loose objects ("":
    none yet). ``objects`` of ``length`` stored bytes were checked in ``seconds``. ``most`` findings are kept, and
    ``unlisted`` ones were only counted.
    """

    depth: Depth
    share: float
    packs: dict[int, int] = field(default_factory=dict)
    loose: str = ""
    objects: int = 0
    length: int = 0
    seconds: float = 0.0
    unlisted: int = 0
    findings: dict[Finding, None] = field(default_factory=dict)
    most: int = MOST_FINDINGS

    def add(self, findings: Iterable[Finding]) -> None:
        """Add findings, each once."""
        for finding in findings:
            if finding in self.findings:
                continue
            if len(self.findings) < self.most:
                self.findings[finding] = None
            else:
                self.unlisted += finding.is_damage


def save_state(layout: Layout, state: ValidationState) -> None:
    """Replace the saved state, and sync it. In a container that cannot be written, do nothing."""
    members = {
        "validation_version": _VERSION,
        "depth": state.depth.value,
        "share": state.share,
        "packs": {str(pack_id): position for pack_id, position in state.packs.items()},
        "loose": state.loose,
        "objects": state.objects,
        "length": state.length,
        "seconds": state.seconds,
        "unlisted": state.unlisted,
        "findings": [asdict(finding) for finding in state.findings],
    }
    if not layout.storage.traits.files:
        return
    with suppress(OSError):
        replace_without_lock(layout, layout.validation, encode_document(members))
        posix.sync_directory(layout.root)


def load_state(layout: Layout) -> ValidationState | None:
    """Return the saved state; None without one, or if it is damaged: the validation begins again then."""
    if not layout.storage.traits.files:
        return None
    try:
        members = decode_document(posix.read_file(layout.validation, _MOST_BYTES))
        return _decode_state(members)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _decode_state(members: dict[str, Any]) -> ValidationState | None:
    if members["validation_version"] != _VERSION:
        return None
    return ValidationState(
        Depth(members["depth"]),
        float(members["share"]),
        {int(pack_id): int(position) for pack_id, position in members["packs"].items()},
        str(members["loose"]),
        int(members["objects"]),
        int(members["length"]),
        float(members["seconds"]),
        int(members["unlisted"]),
        {
            Finding(
                str(row["path"]),
                str(row["reason"]),
                None if row["key"] is None else str(row["key"]),
                None if row["offset"] is None else int(row["offset"]),
                bool(row["is_damage"]),
                int(row.get("objects", 0)),
            ): None
            for row in members["findings"][:MOST_FINDINGS]
        },
    )


def discard_state(layout: Layout) -> None:
    """Remove the saved state: nothing is left to resume."""
    with suppress(OSError):
        if layout.storage.traits.files and os.path.lexists(layout.validation):
            layout.remove(layout.validation)
