"""The output of ``rsdos status --format prometheus``: the text format that node_exporter collects from files.

The names of metrics and labels are promised (docs/compatibility.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from rsdos.cli.render import echo
from rsdos.cli.session import Session
from rsdos.cli.show_status import attention
from rsdos.maintenance.status import StatusReport, status
from rsdos.version import __version__


class Metric(NamedTuple):
    """A gauge: its values by the value of its one label, or "" for a metric without."""

    name: str
    help: str
    values: Mapping[str, float]
    label: str = ""


def show_metrics(session: Session, max_loose: int, max_dead: float) -> list[str]:
    """Count, and print the metrics. Return the reasons for which the container needs attention."""
    report = status(session.engine())
    reasons = attention(report, max_loose, max_dead)
    place = session.path if session.is_url else os.path.abspath(session.path)
    about = {
        "id": report.container_id,
        "version": str(report.container_version),
        "compression": report.compression,
        "durability": report.durability,
        "rsdos": __version__,
    }
    lines = [*_head("rsdos_container_info", "The container, and the rsdos that looked at it.")]
    lines.append(_sample("rsdos_container_info", {"container": place, **about}, 1))
    for metric in metrics(report, len(reasons)):
        lines += _head(metric.name, metric.help)
        for label, value in metric.values.items():
            labels = {"container": place} | ({metric.label: label} if metric.label else {})
            lines.append(_sample(metric.name, labels, value))
    echo("\n".join(lines))
    return reasons


def metrics(report: StatusReport, reasons: int) -> Iterator[Metric]:
    """Yield all metrics of a report. What is not known is left out: an alert can ask whether it is absent."""
    yield Metric("rsdos_attention", "Reasons for which status --check fails.", {"": reasons})
    loose, packed = report.loose_objects, report.packed_objects
    yield Metric("rsdos_objects", "Objects by place.", {"loose": loose, "packed": packed}, "place")
    yield Metric("rsdos_packed_size_bytes", "Raw bytes of packed objects.", {"": report.packed_size})
    lengths = {"loose": report.loose_length, "packed": report.packed_length}
    yield Metric("rsdos_stored_bytes", "Stored bytes of objects by place.", lengths, "place")
    yield Metric("rsdos_dead_bytes", "Stored bytes in packs that no key leads to.", {"": report.dead_length})
    yield Metric("rsdos_overhead_bytes", "Bytes in packs that are of no object.", {"": report.overhead_length})
    files = {"packs": report.packs_length, "index": report.index_length}
    yield Metric("rsdos_files_bytes", "Bytes of files on disk.", files, "kind")
    yield Metric("rsdos_pack_files", "Pack files.", {"": report.packs})
    yield Metric("rsdos_damaged", "1 if status itself sees damage.", {"": int(_is_damaged(report))})
    due = {"pack": report.pack, "repack": len(report.repack), "merge": report.merge}
    yield Metric("rsdos_optimize_due", "Objects, packs and tables for which a run of optimize is due.", due, "step")
    if report.snapshots is not None:
        counts = report.snapshots
        names = {"branches": counts.branches, "versions": counts.versions, "tags": counts.tags}
        yield Metric("rsdos_snapshots", "Branches, their versions, and tags.", names, "kind")
        yield Metric("rsdos_snapshots_held_size_bytes", "Raw bytes held for snapshots.", {"": counts.held_size})
    yield from _validation(report)
    yield from _backup(report)


def _is_damaged(report: StatusReport) -> bool:
    snapshots = report.snapshots
    return bool(report.short or report.damage or report.is_recovered or (snapshots and snapshots.damage))


def _validation(report: StatusReport) -> Iterator[Metric]:
    note = report.validation or {}
    moment = _seconds(note.get("finished"))
    if moment is None:
        return
    yield Metric("rsdos_last_validation_seconds", "When the last validation finished, Unix time.", {"": moment})
    found = {name: value for name in ("damaged", "files", "unreadable") if isinstance(value := note.get(name), int)}
    yield Metric("rsdos_last_validation_damage", "Objects and files that it found damaged.", found, "kind")


def _backup(report: StatusReport) -> Iterator[Metric]:
    last = report.last_backup
    moment = None if last is None else _seconds(last.time)
    if last is None or moment is None:
        return
    yield Metric("rsdos_last_backup_seconds", "When the last backup was made, Unix time.", {"": moment})
    if last.verified is not None:
        damaged = {"": int(not last.verified)}
        yield Metric("rsdos_last_backup_damaged", "1 if its verification found damaged objects.", damaged)


def _seconds(when: object) -> float | None:
    """Return a time as Unix time; None if it is not a time. Notes are read from disk unchecked."""
    try:
        then = datetime.fromisoformat(when) if isinstance(when, str) else None
    except ValueError:
        return None
    return None if then is None else (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()


def _head(name: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} gauge"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    listed = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{listed}}} {value!r}"


def _escaped(text: str) -> str:
    """Return the value of a label in UTF-8. A byte of a path that is not UTF-8 becomes U+FFFD."""
    plain = os.fsencode(text).decode(errors="replace")
    return plain.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
