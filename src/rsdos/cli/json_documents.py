"""The documents that commands print with ``--json``. The script that writes their page reads this, and its test.

Most are reports and plans, as `rsdos.cli.render.echo_json` prints them. The others are described here. No command
imports this module: it imports what all of them need.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypedDict

from rsdos.cli.checkout import WRITTEN
from rsdos.cli.save import SAVED
from rsdos.facade.history import LoggedOperation
from rsdos.maintenance.backup.backup import BackupPlan, BackupReport
from rsdos.maintenance.backup.restore import RestorePlan, RestoreReport
from rsdos.maintenance.check.validate import ValidatePlan, ValidateReport
from rsdos.maintenance.clean import CleanPlan, CleanReport
from rsdos.maintenance.collect import CollectPlan, CollectReport
from rsdos.maintenance.delete import DeleteReport
from rsdos.maintenance.doctor.diagnosis import Answer, Diagnosis
from rsdos.maintenance.forget import ForgetReport, NamedVersion
from rsdos.maintenance.gc import GcPlan, GcReport
from rsdos.maintenance.inspect import ObjectView, PackView
from rsdos.maintenance.migrate.migrate import MigratePlan, MigrateReport
from rsdos.maintenance.optimize import OptimizePlan, OptimizeReport
from rsdos.maintenance.pack import PackPlan, PackReport
from rsdos.maintenance.probe.probing import ProbePlan
from rsdos.maintenance.probe.report import ProbeReport
from rsdos.maintenance.remotes.compare import CompareReport
from rsdos.maintenance.remotes.copying import RemoteEstimate, RemoteReport
from rsdos.maintenance.remotes.fetch import FetchReport
from rsdos.maintenance.remotes.table import Remote
from rsdos.maintenance.repack import RepackPlan, RepackReport
from rsdos.maintenance.repair.index import RepairIndexPlan, RepairIndexReport
from rsdos.maintenance.repair.objects import RepairObjectsPlan, RepairObjectsReport
from rsdos.maintenance.retain import RetainPlan, RetainReport
from rsdos.maintenance.status import StatusReport
from rsdos.maintenance.transfer import TransferPlan, TransferReport
from rsdos.maintenance.undo import UndoReport
from rsdos.model import ObjectMeta
from rsdos.stores.stats import PackedStats
from rsdos.trees.record import SnapshotRecord
from rsdos.trees.refs import Operation
from rsdos.worktree.checkout import CheckoutReport
from rsdos.worktree.save import SaveReport

_Kind = Literal["file", "executable", "link", "directory"]


class JsonDocument(NamedTuple):
    """A document: the ``members`` of a report (none: all of them), and ``more`` beside or in the place of them.

    ``when`` says for which options it is printed, "" for all others, and for which lines, where there are several.
    """

    source: type
    when: str = ""
    members: tuple[str, ...] = ()
    more: type | None = None


class AddedFile(TypedDict):
    """One line for each file that was stored."""

    key: str
    path: str
    size: int


class FileToStore(TypedDict):
    """One line for each file that would be stored."""

    path: str
    size: int | None
    """Null for a stream, which has no size before it is read."""


class ListedKey(TypedDict):
    """One line for each object."""

    key: str


class ExtractedObjects(TypedDict):
    """The outcome of an extraction: ``objects`` of ``size`` raw bytes. ``failed`` were named on standard error."""

    objects: int
    size: int
    failed: int


class _PathBytes(TypedDict, total=False):
    path_base64: str
    """The bytes of a path that is no UTF-8."""


class _Path(_PathBytes):
    path: str


class ListedEntry(_Path):
    """One line for each entry. The path is that in the snapshot."""

    kind: _Kind
    size: int
    key: str | None
    target: str | None
    """Where a link leads to."""
    mtime: float | None
    """Seconds since 1970; null if the snapshot has no times."""
    mode: str | None
    """Octal digits; null if the snapshot has no modes."""


class DirectoryTotals(_Path):
    """One line for each directory, with the files and bytes below it."""

    kind: Literal["directory"]
    entries: int
    size: int


class EntryBefore(TypedDict):
    """What an entry was."""

    kind: _Kind
    size: int
    key: str | None


class _FromBytes(TypedDict, total=False):
    from_base64: str
    """The bytes of an old path that is no UTF-8."""


_From = TypedDict("_From", {"from": str | None})


class ChangedEntry(_Path, _FromBytes, _From):
    """One line for each difference. ``kind``, ``size`` and ``key`` are null for what was removed.

    ``from`` is the old path of what was renamed. ``old`` is null for what was added. ``differs`` says what of a
    modified or renamed entry differs; modes and times only if both trees have them.
    """

    change: Literal["modified", "added", "removed", "kind", "renamed"]
    differs: list[Literal["content", "target", "executable", "mode", "time"]]
    kind: _Kind | None
    size: int | None
    key: str | None
    old: EntryBefore | None


class ChangeCounts(TypedDict):
    """How many differences there are, by kind."""

    modified: int
    added: int
    removed: int
    kind: int
    renamed: int


class GrowthCounts(ChangeCounts):
    """How many differences there are, by kind, and by how many bytes the files have grown."""

    growth: int


class DirectoryCounts(ChangeCounts):
    """How many differences there are, by kind, how many files and links are unchanged, and how many were read."""

    snapshot: str
    unchanged: int
    read: int


class DifferenceSummary(TypedDict):
    """The last line."""

    summary: GrowthCounts


class DirectorySummary(TypedDict):
    """The last line."""

    summary: DirectoryCounts


class RefusedPath(_Path):
    """A path, and why it was not written."""

    reason: str


class RefusedPaths(TypedDict):
    """What a checkout did not write."""

    conflicts: list[RefusedPath]
    failed: list[RefusedPath]


class LoggedSnapshot(TypedDict):
    """The names of a version, in one line for each."""

    name: str
    version: int | None
    """Null for a tag."""
    snapshot: str
    tags: list[str]


class OperationTime(TypedDict):
    """When an operation was done, such as ``2026-11-27T06:00:00Z``."""

    time: str


class VersionName(TypedDict):
    """A version of a branch."""

    name: str
    version: int


class ShownSnapshot(TypedDict):
    """The names of a snapshot, and how much it needs."""

    snapshot: str
    type: str
    """What kind of document the snapshot is: "rsdos snapshot"."""
    version: int
    """The version of its format."""
    attributes: list[str]
    """What is kept of files besides: times, modes."""
    names: list[VersionName]
    tags: list[str]
    objects: int
    pages: int


class UndoneOperation(TypedDict):
    """What was undone."""

    operation: Operation
    kept: list[NamedVersion]
    """Always empty."""


class JudgedProbe(TypedDict):
    """What the answers of a storage mean."""

    many_writers: bool
    """Any number of machines may write at the same time."""
    answers: list[Answer]


class SameObjects(TypedDict):
    """The outcome of a comparison."""

    is_same: bool
    """Both have the same objects and names."""


def _maintenance(plan: type, report: type) -> tuple[JsonDocument, ...]:
    return JsonDocument(report), JsonDocument(plan, "--dry-run")


_CHANGES = JsonDocument(ChangedEntry, "each line but the last")
_SAVED = JsonDocument(SaveReport, members=SAVED)
_COPIED = JsonDocument(RemoteReport)
_ESTIMATED = JsonDocument(RemoteEstimate, "--dry-run")
_LOGGED = ("tree", "time", "author", "message", "files", "size", "parents")

DOCUMENTS: dict[str, tuple[JsonDocument, ...]] = {
    "add-files": (JsonDocument(AddedFile, "each line"), JsonDocument(FileToStore, "each line, --dry-run")),
    "backup": _maintenance(BackupPlan, BackupReport),
    "checkout": (JsonDocument(CheckoutReport, members=(*WRITTEN, "seconds"), more=RefusedPaths),),
    "clone": (_COPIED, JsonDocument(FetchReport, "--lazy")),
    "collect": _maintenance(CollectPlan, CollectReport),
    "delete": (
        JsonDocument(DeleteReport),
        JsonDocument(RetainReport, "--keep-from-file"),
        JsonDocument(RetainPlan, "--keep-from-file, --dry-run", ("objects", "named")),
    ),
    "diff": (_CHANGES, JsonDocument(DifferenceSummary, "the last line")),
    "doctor": (JsonDocument(Diagnosis),),
    "extract": (JsonDocument(ExtractedObjects),),
    "fetch": (JsonDocument(FetchReport),),
    "forget": (JsonDocument(ForgetReport, members=("forgotten", "kept")),),
    "gc": _maintenance(GcPlan, GcReport),
    "import": (_SAVED,),
    "inspect loose": (JsonDocument(ObjectMeta, "each line"),),
    "inspect object": (JsonDocument(ObjectView),),
    "inspect pack": (JsonDocument(PackView),),
    "inspect packed": (JsonDocument(PackedStats),),
    "list": (JsonDocument(ListedKey, "each line"), JsonDocument(ObjectMeta, "each line, --long")),
    "log": (
        JsonDocument(SnapshotRecord, "each line", _LOGGED, LoggedSnapshot),
        JsonDocument(LoggedOperation, "each line, --operations", more=OperationTime),
    ),
    "ls": (JsonDocument(ListedEntry, "each line"), JsonDocument(DirectoryTotals, "each line, --directories")),
    "migrate": _maintenance(MigratePlan, MigrateReport),
    "optimize": _maintenance(OptimizePlan, OptimizeReport),
    "optimize clean": _maintenance(CleanPlan, CleanReport),
    "optimize pack": _maintenance(PackPlan, PackReport),
    "optimize repack": _maintenance(RepackPlan, RepackReport),
    "pull": (_COPIED, _ESTIMATED),
    "push": (_COPIED, _ESTIMATED),
    "remote list": (JsonDocument(Remote, "each line"),),
    "remote probe": (JsonDocument(ProbeReport, more=JudgedProbe), JsonDocument(ProbePlan, "--dry-run")),
    "repair index": _maintenance(RepairIndexPlan, RepairIndexReport),
    "repair objects": (
        JsonDocument(RepairObjectsReport),
        JsonDocument(RepairObjectsPlan, "--dry-run", ("remedies", "files", "unlisted")),
    ),
    "restore": _maintenance(RestorePlan, RestoreReport),
    "save": (_SAVED,),
    "show": (JsonDocument(SnapshotRecord, more=ShownSnapshot),),
    "status": (
        JsonDocument(StatusReport),
        JsonDocument(ChangedEntry, "DIR, each line but the last"),
        JsonDocument(DirectorySummary, "DIR, the last line"),
        JsonDocument(CompareReport, "--remote", more=SameObjects),
    ),
    "transfer": (JsonDocument(TransferReport), JsonDocument(TransferPlan, "--dry-run", ("objects", "names"))),
    "undo": (JsonDocument(UndoReport, members=("forgotten", "restored"), more=UndoneOperation),),
    "validate": _maintenance(ValidatePlan, ValidateReport),
}
"""The documents of every command that has ``--json``."""
