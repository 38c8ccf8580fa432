"""The output of ``rsdos status --remote``."""

from __future__ import annotations

from rsdos.cli.render import echo, echo_json, one_line
from rsdos.cli.session import Session
from rsdos.figures import count, figure, human


def show_remote(session: Session, name: str, as_json: bool) -> bool:
    """Compare with a remote, and print a page or one JSON document. Return whether both have the same."""
    report = session.container().remotes.compare(name)
    if as_json:
        echo_json(report, indent=2, more={"is_same": report.is_same})
        return report.is_same
    echo(
        f"[remote]\n"
        f"Name = {report.remote}\n"
        f"Url = {one_line(report.url)}\n"
        f"Commit = {report.number}\n"
        f"\n[remote.objects]\n"
        f"Here = {_objects(report.here, report.held_here)}\n"
        f"There = {_objects(report.there, report.held_there)}\n"
        f"Only here = {figure(report.only_here.objects)}, {human(report.only_here.size)}\n"
        f"Only there = {figure(report.only_there.objects)}, {human(report.only_there.size)}"
    )
    if report.names_here or report.names_there:
        echo(
            f"\n[remote.names]\n"
            f"Only here = {', '.join(map(str, report.names_here)) or 'none'}\n"
            f"Only there = {', '.join(map(str, report.names_there)) or 'none'}"
        )
    if report.requests.total:
        echo(f"\n[remote.requests]\nMade = {count(report.requests.total, 'request')}")
    return report.is_same


def _objects(by_key: int, held: int) -> str:
    """Return the figure of one side. Objects of snapshots are not compared, and get a figure of their own."""
    return f"{figure(by_key)} by key, and {figure(held)} for snapshots" if held else figure(by_key)
