"""Checkouts, into a new directory and from one version to another, and an import, broken off.

At every moment each file of the directory is that of one version or of the other, whole; the same command repeated
makes it the wanted version, and leaves nothing else. What a state calls unchanged is unchanged.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from rsdos import Container
from rsdos.engine.publish import read_refs
from rsdos.engine.snapshots import missing_of
from rsdos.worktree.archive_export import ExportOptions, export
from rsdos.worktree.archive_import import ImportOptions, import_archive
from rsdos.worktree.checkout import CheckoutOptions, checkout, plan_checkout
from rsdos.worktree.named_tree import named_tree
from rsdos.worktree.options import Description
from rsdos.worktree.state import read_state
from tests.crash.operation import BASE, Ack, Operation
from tests.data import noise, text
from tests.worktree.saving import Directory, File, Link, Things, read_back, save, with_parents

_FIRST: Things = {
    b"a": b"1",
    b"same": b"as it was",
    b"goes/in": b"2",
    b"d/x": text(3000, 1),
    b"f": b"a file",
    b"l": Link(b"a"),
    b"run": File(b"3", 0o755),
}
_SECOND: Things = {
    b"a": noise(5000, 2),
    b"same": b"as it was",
    b"d": b"a file now",
    b"f/x": b"a directory now",
    b"l": Link(b"f/x"),
    b"run": b"3",
    b"new/large": noise((1 << 20) + 7, 3),
    b"new/empty": Directory(),
    b"other": Link(b"nowhere"),
}


def _prepare(path: Path, *, checked_out: bool) -> None:
    path.mkdir()
    with Container.create(path / "source") as container:
        container.insert_many(BASE.values())
        save(container, "flowers", _FIRST)
        save(container, "flowers", _SECOND)
        if checked_out:
            checkout(container.engine, CheckoutOptions("flowers@1", str(path / "out")))
            shutil.rmtree(path / "source" / "checkouts")


def _check_out(path: Path, ack: Ack, *, checked_out: bool) -> None:
    with Container(path / "source") as container:
        out = str(path / "out")
        if checked_out and read_state(container.engine, out) is None:
            # The rig has copied the directory: what is there is compared, and gets a state.
            checkout(container.engine, CheckoutOptions("flowers@1", out))
        report = checkout(container.engine, CheckoutOptions("flowers", out))
    assert not report.conflicts
    assert not report.failed


def _check(path: Path) -> None:
    if not (path / "out").exists():
        return
    first, second = with_parents(_FIRST), with_parents(_SECOND)
    for name, thing in read_back(path / "out").items():
        if not name.rpartition(b"/")[2].startswith(b".rsdos-tmp-"):
            assert thing in (first.get(name), second.get(name)), f"{name!r} is of no version"


def _settle(path: Path) -> None:
    assert read_back(path / "out") == with_parents(_SECOND)
    with Container(path / "source") as container:
        plan = plan_checkout(container.engine, CheckoutOptions("flowers", str(path / "out")))
    assert (plan.outcome.written, plan.outcome.removed, plan.conflicts) == (0, 0, ())


def _operation(*, checked_out: bool, least: int) -> Operation:
    return Operation(
        partial(_prepare, checked_out=checked_out),
        partial(_check_out, checked_out=checked_out),
        wanted=BASE,
        source="source",
        target="source",
        least=least,
        resumes=True,
        check=_check,
        settle=_settle,
        # A power loss may empty new files, and the directory is the user's: see tests/worktree.
        ways=frozenset(("kill", "torn", "short", "EIO", "ENOSPC", "EINTR", "EMFILE")),
    )


def _prepare_archive(path: Path) -> None:
    path.mkdir()
    with Container.create(path / "other") as other, open(path / "archive", "wb") as archive:
        save(other, "flowers", _SECOND)
        export(other.engine, ExportOptions("flowers"), archive)
    shutil.rmtree(path / "other")
    with Container.create(path / "source") as container:
        container.insert_many(BASE.values())


def _import(path: Path, ack: Ack) -> None:
    with Container(path / "source") as container, open(path / "archive", "rb") as archive:
        import_archive(container.engine, ImportOptions(Description("flowers")), archive)


def _check_import(path: Path) -> None:
    """There is no such name, or all that it leads to."""
    with Container(path / "source") as container:
        if "flowers" in read_refs(container.engine)[0].names():
            tree = named_tree(container.engine, "flowers").tree
            assert next(missing_of(container.engine, [tree.root]), None) is None


def _settle_import(path: Path) -> None:
    _check_import(path)
    with Container(path / "source") as container:
        assert [version.number for version in read_refs(container.engine)[0].branches["flowers"].versions] == [1]
        checkout(container.engine, CheckoutOptions("flowers", str(path / "out")))
    assert read_back(path / "out") == with_parents(_SECOND)


OPERATIONS = {
    "import": Operation(
        _prepare_archive,
        _import,
        wanted=BASE,
        source="source",
        target="source",
        resumes=True,
        check=_check_import,
        settle=_settle_import,
    ),
    "checkout": _operation(checked_out=False, least=30),
    "checkout, another version": _operation(checked_out=True, least=30),
}
