"""What the answers of a probe mean for a user."""

from __future__ import annotations

from collections.abc import Iterator

from rsdos.figures import count, human
from rsdos.maintenance.doctor.diagnosis import Answer, Verdict
from rsdos.maintenance.probe.report import Create, ProbeReport

CLOCK_LIMIT = 15 * 60
"""Seconds: signatures of requests fail beyond this difference between both clocks."""
_CLOCK_NOTE = 60


def judge(report: ProbeReport) -> tuple[Answer, ...]:
    """Return the answers in words, in a fixed order, each with what to do."""
    return tuple(_judge(report))


def judge_place(scheme: str, endpoint: str) -> tuple[Answer, ...]:
    """Return the verdicts that need no use of the storage: about the way to it, and the rules of its bucket."""
    answers = []
    if endpoint.lower().startswith("http://"):
        text = "http:// is not encrypted: anybody on the way can read and change what is sent"
        answers.append(Answer("transit", Verdict.NOTE, text, "use https://, except on loopback"))
    if scheme == "s3":
        text = "a killed upload of more than 64 MiB leaves parts that cost space and cannot be seen from here"
        rule = "set this rule of the bucket once: AbortIncompleteMultipartUpload, DaysAfterInitiation 7"
        answers.append(Answer("uploads", Verdict.NOTE, text, rule))
    return tuple(answers)


def _judge(report: ProbeReport) -> Iterator[Answer]:
    yield _create(report)
    yield from _reading(report)
    yield from _listing(report)
    yield from _maintenance(report)
    yield from _clock(report)
    if report.speed.get:
        speed = report.speed
        yield Answer(
            "speed",
            Verdict.GOOD,
            f"put {_ms(speed.put)}, get {_ms(speed.get)}, list {_ms(speed.list)}; "
            f"one connection: {human(int(speed.upload))}/s up, {human(int(speed.download))}/s down",
        )
    for text in report.refused:
        yield Answer("refused", Verdict.WARNING, text)


def _create(report: ProbeReport) -> Answer:
    match report.create:
        case Create.EXCLUSIVE:
            lost = f", {report.unknown} answers lost" if report.unknown else ""
            return Answer("create", Verdict.GOOD, f"a name is given once: many machines may write{lost}")
        case Create.OVERWRITES:
            text = "a put replaces an object although its name is taken: two writers would lose objects"
            return Answer(
                "create", Verdict.FAULT, text, "use another store; run the probe again after any change of the bucket"
            )
        case Create.UNSUPPORTED:
            text = "the store refuses puts with a condition: many writers are not possible"
            return Answer("create", Verdict.FAULT, text, "use another store")
        case Create.FORBIDDEN:
            return Answer("create", Verdict.WARNING, "these credentials may not write; nothing else could be tried")


def _reading(report: ProbeReport) -> Iterator[Answer]:
    if report.reads_back is False:
        yield Answer(
            "read", Verdict.FAULT, "an object is not read as soon as it was put: commits cannot be trusted here"
        )
    if report.tells_missing is False:
        text = "a missing object is answered with 403: these credentials may not list"
        yield Answer("missing", Verdict.WARNING, text, "allow s3:ListBucket for the prefix")


def _listing(report: ProbeReport) -> Iterator[Answer]:
    found = report.listing
    if found is None:
        return
    if not found.at_once:
        yield Answer("list", Verdict.NOTE, "new names are listed late: the newest commit is found by reading")
    if not found.in_order:
        yield Answer("list", Verdict.NOTE, "names are not listed in order: the newest commit is found by reading")
    elif not found.after:
        yield Answer("list", Verdict.NOTE, "a listing cannot begin behind a name: long listings are read whole")
    if found.at_once and found.in_order and found.after:
        yield Answer("list", Verdict.GOOD, "names are listed at once and in order")


def _maintenance(report: ProbeReport) -> Iterator[Answer]:
    if report.reads_back is not True:
        return
    if report.deletes and report.empties:
        yield Answer("maintain", Verdict.GOOD, "objects can be removed and overwritten: maintenance is possible")
    elif report.deletes is False or not report.empties:
        missing = [
            action
            for action, allowed in (
                ("s3:DeleteObject", report.deletes),
                ("s3:PutObject without condition", report.empties),
            )
            if not allowed
        ]
        text = f"these credentials may write, but not maintain: missing {', '.join(missing)}"
        yield Answer("maintain", Verdict.NOTE, text, "optimize and collect need credentials that may")
    if report.versioned:
        text = "the bucket keeps old versions: what is removed costs space until a rule of the bucket expires it"
        yield Answer("versions", Verdict.NOTE, text, "set NoncurrentVersionExpiration, never Expiration")
    if report.leftovers:
        yield Answer(
            "leftovers",
            Verdict.NOTE,
            f"left behind below probe/: {count(len(report.leftovers), 'object')}",
            "remove probe/",
        )


def _clock(report: ProbeReport) -> Iterator[Answer]:
    offset = report.clock_offset
    if offset is not None and abs(offset) > _CLOCK_NOTE:
        way = "ahead of" if offset > 0 else "behind"
        text = f"the store's clock is {abs(offset):.0f} s {way} this machine's; beyond {CLOCK_LIMIT} s nothing works"
        yield Answer("clock", Verdict.WARNING, text, "set this machine's clock")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
