"""The output of ``rsdos status``. Without click; see `rsdos.cli.fast_path`."""

from __future__ import annotations

from rsdos.cli.render import echo, echo_error, echo_json, name, one_line
from rsdos.cli.session import Session
from rsdos.figures import copies, count, figure, human
from rsdos.maintenance.status import SnapshotCounts, StatusReport, status


def show(session: Session, as_json: bool) -> StatusReport:
    """Count, and print a page or one JSON document."""
    # Not through `Container`, whose import takes 20 ms.
    report = status(session.engine())
    if as_json:
        echo_json(report, indent=2)
        return report
    gain = max(0.0, 100 * (1 - report.packed_length / max(report.packed_size, 1))) if report.packed_size else 0.0
    echo(
        f"[container]\n"
        f"Location = {session.path}\n"
        f"Id = {report.container_id}\n"
        f"ZipAlgo = {report.compression}\n"
        f"\n[container.count]\n"
        f"Loose = {figure(report.loose_objects)}\n"
        f"Packs = {figure(report.packed_objects)}\n"
        f"Pack Files = {figure(report.packs)}\n"
        f"\n[container.size]\n"
        f"Loose = {human(report.loose_length)}\n"
        f"Packs = {human(report.packed_size)}\n"
        f"Packs Files = {human(report.packs_length)}\n"
        f"Index = {human(report.index_length)}\n"
        f"Dead = {human(report.dead_length)}\n"
        f"Overhead = {human(report.overhead_length)}\n"
        f"Compression gain = {gain:.1f} %"
    )
    total = report.loose_objects + report.packed_objects
    echo(
        f"\n[container.objects]\nTotal = {count(total, 'object')}: "
        f"{figure(report.loose_objects)} in files of their own, "
        f"{figure(report.packed_objects)} in {count(report.packs, 'pack file')}"
    )
    if report.snapshots:
        _show_snapshots(report.snapshots)
    due = [f"pack {count(report.pack, 'loose object')}"] if report.pack else []
    due += [f"repack {count(len(report.repack), 'pack')}"] if report.repack else []
    due += [f"merge {count(report.merge, 'table')} of the index"] if report.merge else []
    echo(f"\n[optimize]\nDue = {', '.join(due) or 'nothing'}")
    if backup := report.last_backup:
        state = {None: "not verified", True: "verified", False: "with damaged objects"}[backup.verified]
        echo(f"\n[backup]\nLast = {name(backup.time)}, {state}\nPlace = {name(backup.place)}")
    if report.validation:
        names = ("finished", "depth", "share", "objects", "damaged", "files", "unreadable")
        finished, depth, share, objects, damaged, files, unreadable = map(report.validation.get, names)
        echo("\n[validation]")
        echo(one_line(f"Last = {finished}, {depth}, {copies(objects)}, share {share}"))
        rest = f", and {count(unreadable, 'object')} that cannot be read because of it" if unreadable else ""
        echo(one_line(f"Found = {count(damaged, 'damaged object')}, {count(files, 'damaged file')}{rest}"))
    for pack in report.short:
        is_left = f"is cut short: it has {figure(pack.length)} of {count(pack.committed, 'byte')}"
        what = f"is missing; it had {count(pack.committed, 'byte')}" if pack.length is None else is_left
        echo_error(f"rsdos: warning: {pack.path} {what}; these figures include its objects (see: rsdos validate)")
    if report.damage and not report.short:
        echo_error(f"rsdos: warning: {one_line(report.damage)}; these figures include its objects")
    elif report.is_recovered and not report.short:
        echo_error("rsdos: warning: a file of the index is damaged; these figures were read from the packs")
    return report


def _show_snapshots(counts: SnapshotCounts) -> None:
    echo(
        f"\n[container.snapshots]\n"
        f"Names = {count(counts.branches, 'branch', 'branches')} with {count(counts.versions, 'version')}, "
        f"{count(counts.tags, 'tag')}\n"
        f"Held = {count(counts.held_objects, 'object')}, {human(counts.held_size)}\n"
        f"Pages = {figure(counts.pages)}, {human(counts.pages_length)}"
    )
    if counts.damage:
        echo_error(
            f"rsdos: warning: {one_line(counts.damage)}; no save and no gc before it is repaired: rsdos repair objects"
        )


def attention(report: StatusReport, max_loose: int, max_dead: float) -> list[str]:
    """Return what an operator must look after: damage, and maintenance that is due beyond the operator's limits."""
    found = [
        f"{pack.path}: {'missing' if pack.length is None else 'cut short'} (see: rsdos validate)"
        for pack in report.short
    ]
    if not found and (report.damage or report.is_recovered):
        found.append(f"{one_line(report.damage) or 'the index is damaged'} (see: rsdos validate)")
    if report.snapshots and report.snapshots.damage:
        found.append(f"{one_line(report.snapshots.damage)} (see: rsdos repair objects)")
    validation = report.validation or {}
    if any(validation.get(name) for name in ("damaged", "files", "unreadable")):
        found.append(one_line(f"the last validation, {validation.get('finished')}, found damage"))
    if report.last_backup is not None and report.last_backup.verified is False:
        found.append(one_line(f"the last backup, {report.last_backup.time}, has damaged objects"))
    if report.loose_objects > max_loose:
        found.append(
            f"{count(report.loose_objects, 'loose object')}, more than {figure(max_loose)} (see: rsdos optimize)"
        )
    stored = report.packed_length + report.dead_length
    if report.dead_length > max_dead * stored:
        found.append(f"{human(report.dead_length)} of {human(stored)} in packs are dead (see: rsdos optimize)")
    return found
