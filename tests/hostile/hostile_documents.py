"""Hostile snapshots and refs documents, by name. Each makes versions of ``bad``, or the refs of the container."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from rsdos.model import PackKind, Place
from tests.data import key_of
from tests.hostile.forging import TIME, Forge, give_to, line
from tests.hostile.hostile_trees import Make

ESCAPED = "\x1b[31mred\x07\x9b31m\r\x08\x7f <script>alert(1)</script> \u2028 \u202e é \\ "
"""A text that a terminal or a browser would act on."""

HALF = "\ud800 and \udc9b31m"
"""Halves of a character: JSON can have them, UTF-8 cannot."""

WRONG: tuple[Any, ...] = (
    *(None, True, -1, 1.5, "x", [], {}, ["x"], {"x": 1}, "raw:1e999", "raw:NaN", "raw:-Infinity", 2**64, 10**30),
    *("raw:" + "9" * 5000, "raw:" + "[" * 100_000 + "]" * 100_000, "raw:1e300", "\ud800", "../x"),
)
"""Values of JSON, of which most have the wrong type for any member."""


def nested(depth: int) -> str:
    return "raw:" + "[" * depth + "]" * depth


def _records(**members: Any) -> Make:
    return lambda forge: forge.version(forge.good_tree(), **members)


def _record(change: Callable[[bytes], bytes]) -> Make:
    """A snapshot of other bytes."""

    def make(forge: Forge) -> None:
        forge.snapshots.append(forge.store(change(line(forge.record(forge.good_tree())))).hex())

    return make


def _chain(forge: Forge) -> None:
    """A thousand snapshots, each the parent of the next; the first has itself as parent as far as that can be."""
    tree = forge.good_tree()
    parent = "0" * 64
    for number in range(1000):
        forge.version(tree, parents=[parent], message=str(number))
        parent = forge.snapshots[-1]
    del forge.snapshots[:-1]


def _circle_of_snapshots(forge: Forge) -> None:
    key = sha256(b"a snapshot").hexdigest()
    data = line(forge.record(forge.good_tree(), parents=[key], derived_from=[key]))
    forge.container.insert_many([data])
    give_to(forge.container, key_of(data), key)
    forge.snapshots.append(key)


_MEMBERS = (
    *("attributes", "author", "derived_from", "entries", "files", "message", "metadata", "parents", "size"),
    *("skipped", "time", "tree", "type", "version"),
)

SNAPSHOTS: dict[str, Make] = {
    "64 MiB": _record(lambda data: data[:-2] + b" " * (64 << 20) + b"}\n"),
    "more than 1 MiB": _record(lambda data: data.replace(b'"message":""', b'"message":"' + b"x" * (1 << 20) + b'"')),
    "a message of almost 1 MiB": _records(message="\x1b" * 170_000),
    "many members of metadata": _records(metadata={f"{number}": number for number in range(50_000)}),
    **{
        f"metadata nested {depth} deep": _records(metadata={"a": nested(depth)})
        for depth in (99, 100, 900, 990, 100_000)
    },
    "objects nested 100,000 deep": _record(lambda data: b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n"),
    "a member twice": _record(lambda data: data.replace(b'{"attr', b'{"tree":"x","tree":1,"type":"rsdos refs","attr')),
    "no line": _record(lambda data: data[:-1]),
    "two lines": _record(lambda data: data + data),
    "carriage returns": _record(lambda data: data[:-1] + b"\r\n"),
    "a byte order mark": _record(lambda data: b"\xef\xbb\xbf" + data),
    "UTF-16": _record(lambda data: data.decode().encode("utf-16")),
    "no UTF-8": _record(lambda data: data.replace(b'"author":""', b'"author":"\xff\xfe"')),
    "a NUL": _record(lambda data: data.replace(b'"author":""', b'"author":"\0"')),
    "noise": _record(lambda data: bytes(range(256))),
    "empty": _record(lambda data: b""),
    "{}": _record(lambda data: b"{}\n"),
    "one more member": _records(more=1),
    "of a later version": _records(version=2),
    "escapes": _records(
        message=f"{ESCAPED}\n{ESCAPED}", author=ESCAPED, metadata={ESCAPED: ESCAPED}, skipped={ESCAPED: 1}
    ),
    "half characters": _records(message=HALF, author=HALF, metadata={HALF: HALF}, skipped={HALF: 1}),
    "half characters in a second line": _records(message=f"a\n{HALF}"),
    "counts that are large": _records(
        entries=2**64 - 1, files=2**64 - 1, size=2**64 - 1, skipped={"special": 2**64 - 1}
    ),
    **{f"the time {time}": _records(time=time) for time in (
        *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z"),
        *("99999-01-01T00:00:00Z", "2026-11-26T17:30:00+25:00", "\u0662026-11-26T17:30:00Z", "", TIME + "\n"),
    )},
    "parents that are missing": _records(parents=["0" * 64, "1" * 64], derived_from=["2" * 64]),
    "a thousand parents": _records(parents=[f"{number:064x}" for number in range(10_000)]),
    "a long chain": _chain,
    "a circle": _circle_of_snapshots,
    "missing": lambda forge: forge.snapshots.append("0" * 64),
    "a page": lambda forge: forge.snapshots.append(forge.good_tree().hex()),
    "the refs": lambda forge: forge.snapshots.append(forge.before.live.refs),
    "a file": lambda forge: forge.snapshots.append(forge.file_key.hex()),
    **{f"{member} that is {value!r:.20}": _records(**{member: value}) for member in _MEMBERS for value in WRONG},
}  # fmt: skip


# Refs.


def _refs(**members: Any) -> Make:
    return lambda forge: forge.document(line(forge.refs(**members)))


def _document(change: Callable[[bytes], bytes]) -> Make:
    return lambda forge: forge.document(change(line(forge.refs())))


def _branch(**members: Any) -> Make:
    """The branch with other members."""

    def make(forge: Forge) -> None:
        branches = {**forge.base["branches"], "bad": {**forge.bad(), **members}}
        forge.document(line(forge.refs(branches=branches)))

    return make


def _versions(change: Callable[[list[Any]], list[Any]]) -> Make:
    return lambda forge: _branch(versions=change(forge.bad()["versions"]))(forge)


def _version_of(time: object) -> Make:
    return _versions(lambda rows: [[*rows[0][:2], time]])


def _named(name: str) -> Make:
    def make(forge: Forge) -> None:
        forge.document(line(forge.refs(branches={**forge.base["branches"], name: forge.bad()})))

    return make


def _tag(name: str, key: str = "") -> Make:
    def make(forge: Forge) -> None:
        tags = {**forge.base["tags"], name: key or forge.bad()["versions"][-1][1]}
        forge.document(line(forge.refs(tags=tags)))

    return make


def _done(**members: Any) -> Make:
    return lambda forge: _refs(operation={**forge.base["operation"], **members})(forge)


def _many_versions(forge: Forge) -> None:
    key = forge.bad()["versions"][0][1]
    rows = [[number, key, TIME] for number in range(1, 200_001)]
    _branch(next=200_001, versions=rows)(forge)


def _many_branches(forge: Forge) -> None:
    branches = {f"b{number}": forge.bad() for number in range(20_000)}
    forge.document(line(forge.refs(branches={**forge.base["branches"], **branches})))


def _many_documents(forge: Forge) -> None:
    """A chain of three hundred documents."""
    previous, number = forge.before.live.refs, forge.base["number"]
    for _ in range(300):
        number += 1
        previous = forge.document(line(forge.refs(number=number, previous=previous)))


def _followed(**members: Any) -> Make:
    """A hostile document that a good one follows: `undo` and the list of operations read it."""

    def make(forge: Forge) -> None:
        number = forge.base["number"]
        key = forge.document(line(forge.refs(number=number + 1, **members)))
        forge.document(line(forge.refs(number=number + 2, previous=key)))

    return make


def _circle_of_documents(forge: Forge) -> None:
    """Two documents, each of which is the one before the other; the bytes do not have the hash of the keys."""
    keys = [sha256(b"refs %d" % at).hexdigest() for at in range(2)]
    for key, before in zip(keys, reversed(keys), strict=True):
        data = line(forge.refs(previous=before))
        forge.container.insert_many([data])
        give_to(forge.container, key_of(data), key)
    forge.document(line(forge.refs(previous=keys[0])))


def _unpublished(**members: Any) -> Make:
    """A document that no manifest names, beside good ones. A rebuild of the index takes the largest number."""

    def make(forge: Forge) -> None:
        data = line(forge.refs(**members))
        forge.container.engine.objects.insert_many([data], to=Place.PACKED, kind=PackKind.TREES)

    return make


_REFS_MEMBERS = (*("branches", "container_id", "number", "operation", "previous", "tags", "type", "version"),)

_TEXTS = ESCAPED, HALF, "", "x", "9999-12-31T23:59:59Z", "0001-01-01"

REFS: dict[str, Make] = {
    "more than 64 MiB": _document(lambda data: data[:-2] + b" " * (64 << 20) + b"}\n"),
    "64 MiB": _document(lambda data: data[:-2] + b" " * ((64 << 20) - len(data)) + b"}\n"),
    "64 MiB of one member": _document(lambda data: data[:-2] + b',"a":"' + b"x" * (60 << 20) + b'"}\n'),
    "64 MiB of empty lists": _document(lambda data: data[:-2] + b',"a":[' + b"[]," * (20 << 20) + b"[]]}\n"),
    "objects nested 100,000 deep": _document(lambda data: b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n"),
    "a member twice": _document(lambda data: data[:-2] + b',"tags":{},"tags":{"..":"x"}}\n'),
    "a branch twice": _document(
        lambda data: data.replace(b'"branches":{', b'"branches":{"bad":{"next":1,"versions":[]},')
    ),
    "noise": _document(lambda data: bytes(range(256))),
    "empty": _document(lambda data: b""),
    "of another container": _refs(container_id="0" * 32),
    **{f"the branch {name!r:.24}": _named(name) for name in (
        *("..", "../x", "/etc/passwd", "a//b", "", ".", "x.lock", "a" * 201, "b" * 200, "a/" * 99 + "b", "f" * 64),
        *("a b", ESCAPED, HALF, "a@1", "a:b", "a\nb", "-rf", "kept", "KEPT", "\u0661", "a\n"),
    )},
    **{f"the tag {name!r:.24}": _tag(name) for name in ("..", "bad", "good", "kept", ESCAPED, "fine")},
    **{f"a tag of {key:.8}": _tag("fine", key) for key in ("0" * 64, "x", "F" * 64, "../../outside/a file")},
    "a tag of the refs": lambda forge: _tag("fine", forge.before.live.refs)(forge),
    "the next version is 1": _branch(next=1),
    **{f"the next version is {number}": _branch(next=number) for number in (2**63, 2**64 - 1, 2**64, 10**30)},
    "a version twice": _versions(lambda rows: rows * 2),
    "versions backwards": _versions(lambda rows: [[3, *rows[0][1:]], [2, *rows[0][1:]]]),
    "a version of four": _versions(lambda rows: [[*rows[0], 1]]),
    "a version that is a text": _versions(lambda rows: ["abc"]),
    "a version of 2^64 - 2": lambda forge: _branch(
        next=2**64 - 1, versions=[[2**64 - 2, forge.bad()["versions"][0][1], TIME]]
    )(forge),
    **{f"a version of the time {time!r}": _version_of(time) for time in (
        "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "", ESCAPED, 0
    )},
    "200,000 versions": _many_versions,
    "20,000 branches": _many_branches,
    "300 documents": _many_documents,
    "a circle": _circle_of_documents,
    "no document before": _refs(previous=""),
    "a document before that is missing": _refs(previous="0" * 64),
    "a document before that is a page": lambda forge: _refs(previous=forge.good_tree().hex())(forge),
    **{f"the number {number}": _refs(number=number) for number in (0, 1, 2**63, 2**64 - 2, 2**64 - 1, 2**64)},
    **{f"{member} {value!r:.20} of an operation": _done(**{member: value})
       for member in ("verb", "time", "by", "names")
       for value in (*_TEXTS, 1, [ESCAPED, HALF], "x" * 10_000_000)},
    "a damaged document before": _followed(tags=1),
    "a document before with an odd time": _followed(operation={"by": "x", "names": [], "time": "x", "verb": "save"}),
    "a document before with a large number": lambda forge: _followed(
        branches={"bad": {"next": 2**64 - 1, "versions": forge.bad()["versions"]}}
    )(forge),
    "a document before with other snapshots": _followed(
        branches={"good": {"next": 2, "versions": [[1, "0" * 64, TIME]]}}, tags={}
    ),
    **{f"one that was not published, of the number {number}": _unpublished(number=number)
       for number in (5, 2**63, 2**64 - 2, 2**64 - 1)},
    "one that was not published, of many versions": lambda forge: _unpublished(branches={
        name: {"next": 2**64 - 1, "versions": forge.bad()["versions"]} for name in ("good", "kept", "bad")
    })(forge),
    **{f"{member} that is {value!r:.20}": _refs(**{member: value}) for member in _REFS_MEMBERS for value in WRONG},
}  # fmt: skip
