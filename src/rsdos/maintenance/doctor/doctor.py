"""Examining a container, its file system and the machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime

from rsdos.engine.engine import Engine
from rsdos.errors import NotAContainer, RsdosError
from rsdos.figures import count, figure
from rsdos.maintenance.doctor.diagnosis import Answer, Diagnosis, Verdict
from rsdos.maintenance.doctor.machine import examine_machine
from rsdos.maintenance.doctor.surroundings import examine_clock, examine_surroundings
from rsdos.maintenance.status import StatusReport, status
from rsdos.model import Links

_OLD = 90
"""Days after which a validation or a backup is old."""


def examine(path: str, links: Links = Links.REFUSE) -> Diagnosis:
    """Examine the machine, the file system and the container of a directory, without changing anything.

    A container that cannot be opened is an answer, and no exception. No object is read: see `validate`. Of a directory
    that is not there the one is examined that `init` would make it in.

    Args:
        path: the container's directory.
        links: whether symbolic links in the place of its directories are followed.

    Returns:
        The answers.

    Raises:
        OSError: a system call failed that has nothing to do with the container.
    """
    path = os.path.abspath(path)
    answers = list(examine_machine())
    missing = _missing(path)
    answers += examine_surroundings(_nearest(path) if missing else path)
    if missing:
        return Diagnosis(path, (*answers, missing))
    answers.append(examine_clock(path))
    with ExitStack() as opened:
        answers += _examine_container(path, lambda: opened.enter_context(closing(Engine(path, links=links))))
    return Diagnosis(path, tuple(answers))


def examine_storage(name: str, opened: Callable[[], Engine]) -> Diagnosis:
    """Do `examine` for a container at a URL or on another storage: there is no file system to ask about.

    Args:
        name: the storage's name in messages.
        opened: opens the container, or returns it. It stays open.

    Returns:
        The answers.
    """
    return Diagnosis(name, (*examine_machine(), *_examine_container(name, opened)))


def _missing(path: str) -> Answer | None:
    """Return the answer about a path that is no directory, or cannot be looked at; None for a directory."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return None
    except FileNotFoundError:
        return Answer("container", Verdict.FAULT, "there is no such directory", "rsdos init makes a container")
    except OSError as error:
        return Answer("container", Verdict.FAULT, f"{error.strerror}", "look at each directory above it")
    return Answer("container", Verdict.FAULT, "it is no directory", "give the directory with config.json in it")


def _nearest(path: str) -> str:
    """Return the nearest directory above a path that can be looked at."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _examine_container(path: str, opened: Callable[[], Engine]) -> Iterator[Answer]:
    try:
        engine = opened()
    except (RsdosError, OSError) as error:
        if isinstance(error, NotAContainer):
            yield Answer("container", Verdict.FAULT, error.reason, error.advice or "rsdos init makes a container")
        else:
            yield Answer("container", Verdict.FAULT, _reason(path, error), "see docs/checks.md")
        return
    config = engine.config
    figures = {"id": config.container_id, "version": config.version}
    yield Answer("container", Verdict.GOOD, f"version {config.version}, {config.container_id}", "", figures)
    try:
        report = status(engine)
    except (RsdosError, OSError) as error:
        yield Answer("index", Verdict.FAULT, _reason(path, error), "rsdos validate, then rsdos repair index")
        return
    yield _index(report)
    yield _packs(report)
    yield _validation(report)
    yield _backup(report)
    yield _optimize(report)


def _reason(path: str, error: Exception) -> str:
    return str(error).removeprefix(f"{path}: ")


def _index(report: StatusReport) -> Answer:
    figures = {"length": report.index_length, "objects": report.loose_objects + report.packed_objects}
    if report.damage or report.is_recovered:
        message = report.damage or "a file of the index is damaged or missing; the packs are read in its place"
        return Answer("index", Verdict.FAULT, message, "rsdos validate, then rsdos repair index", figures)
    message = f"{figure(report.packed_objects)} packed and {count(report.loose_objects, 'loose object')}"
    return Answer("index", Verdict.GOOD, message, "", figures)


def _packs(report: StatusReport) -> Answer:
    figures = {"packs": report.packs, "length": report.packs_length}
    if report.short:
        names = ", ".join(pack.path for pack in report.short[:3])
        message = f"{figure(len(report.short))} of {count(report.packs, 'pack')} cut short or missing: {names}"
        return Answer("packs", Verdict.FAULT, message, "rsdos validate, then rsdos repair objects", figures)
    return Answer("packs", Verdict.GOOD, f"{count(report.packs, 'pack')} of the right length", "", figures)


def _validation(report: StatusReport) -> Answer:
    note = report.validation or {}
    finished = note.get("finished")
    if not isinstance(finished, str):
        return Answer("validation", Verdict.NOTE, "never validated", "rsdos validate")
    damage = [name for name in ("damaged", "files", "unreadable") if note.get(name)]
    figures = {"finished": finished, **{name: note.get(name) for name in ("depth", "damaged", "files", "unreadable")}}
    if damage:
        message = f"the last one, {finished:.40}, found damage"
        return Answer("validation", Verdict.FAULT, message, "rsdos repair; see docs/checks.md", figures)
    return _aged("validation", f"the last one, {finished:.40}, found nothing", finished, "rsdos validate", figures)


def _backup(report: StatusReport) -> Answer:
    last = report.last_backup
    if last is None:
        return Answer("backup", Verdict.NOTE, "rsdos knows of none", "rsdos backup")
    figures = last._asdict()
    if last.verified is False:
        message = f"the last one, {last.time:.40}, has damaged objects"
        return Answer("backup", Verdict.FAULT, message, "rsdos validate, then rsdos backup", figures)
    return _aged("backup", f"the last one is from {last.time:.40}", last.time, "rsdos backup", figures)


def _aged(name: str, message: str, when: str, advice: str, figures: dict[str, object]) -> Answer:
    try:
        then = datetime.fromisoformat(when)
        days = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).days
    except ValueError:
        return Answer(name, Verdict.NOTE, f"the note of the last one has no time that can be read: {when!r:.40}")
    if days > _OLD:
        return Answer(name, Verdict.NOTE, f"{message}, {days} days ago", advice, figures)
    return Answer(name, Verdict.GOOD, message, "", figures)


def _optimize(report: StatusReport) -> Answer:
    figures = {"pack": report.pack, "merge": report.merge, "repack": len(report.repack), "dead": report.dead_length}
    due = [f"pack {count(report.pack, 'loose object')}"] if report.pack else []
    due += [f"rewrite {count(len(report.repack), 'pack')}"] if report.repack else []
    due += [f"merge {count(report.merge, 'table')} of the index"] if report.merge else []
    if due:
        return Answer("optimize", Verdict.NOTE, f"it would {', '.join(due)}", "rsdos optimize", figures)
    return Answer("optimize", Verdict.GOOD, "nothing is due", "", figures)
