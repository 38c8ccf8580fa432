"""Branches and tags: what each operation makes of them, what a ref leads to, and what is read as refs."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from rsdos.errors import DamagedTree, InvalidName, InvalidOption, RefExists, RefMoved, RefNotFound
from rsdos.trees.names import RefText, check_ref_name, parse_ref, split_ref
from rsdos.trees.refs import NO_OPERATION, Branch, Operation, Refs, Version, united
from rsdos.trees.refs_document import decode_refs, encode_refs


def key(number: int) -> str:
    return sha256(b"%d" % number).hexdigest()


def day(number: int) -> str:
    return f"2026-01-{number:02d}T12:00:00Z"


EMPTY = Refs("0" * 31 + "1")
A, B, C, D = map(key, range(4))
THREE = (
    EMPTY.saved("flowers", A, day(1), "me", None)
    .saved("flowers", B, day(2), "me", A)
    .saved("flowers", C, day(5), "me", B)
    .tagged("v1", A, day(6), "me")
    .branched("trees/old", B, day(7), "me")
)


def test_a_branch_gets_numbered_versions() -> None:
    assert THREE.branches["flowers"] == Branch(4, (Version(1, A, day(1)), Version(2, B, day(2)), Version(3, C, day(5))))
    assert THREE.branches["trees/old"] == Branch(2, (Version(1, B, day(7)),))
    assert THREE.tags == {"v1": A}
    assert THREE.operation == Operation("branch", ("trees/old",), day(7), "me")
    assert THREE.names() == ["flowers", "trees/old", "v1"]
    assert THREE.names_of(A) == ["flowers@1", "v1"]
    assert THREE.snapshots() == {A, B, C}
    assert EMPTY.branches == {}, "an operation changes nothing in place"


@pytest.mark.parametrize("parent", [None, A, B, D])
def test_a_save_on_top_of_another_version_than_the_newest_says_that_the_branch_moved(parent: str | None) -> None:
    with pytest.raises(RefMoved) as caught:
        THREE.saved("flowers", D, day(9), "me", parent)
    assert caught.value.snapshot == D and "flowers@3" in str(caught.value)


def test_a_new_branch_has_no_parent() -> None:
    assert EMPTY.saved("new", A, day(1), "me", None).find("new") == A
    with pytest.raises(RefMoved):
        EMPTY.saved("new", A, day(1), "me", B)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: THREE.saved("v1", D, day(9), "me", None),
        lambda: THREE.tagged("v1", D, day(9), "me"),
        lambda: THREE.tagged("flowers", D, day(9), "me"),
        lambda: THREE.retagged("flowers", D, day(9), "me"),
        lambda: THREE.branched("flowers", D, day(9), "me"),
        lambda: THREE.branched("v1", D, day(9), "me"),
    ],
)
def test_a_name_is_a_branch_or_a_tag_and_given_once(wrong: Callable[[], Refs]) -> None:
    with pytest.raises(RefExists):
        wrong()


def test_a_tag_can_be_moved() -> None:
    assert THREE.retagged("v1", C, day(9), "me").find("v1") == C
    assert THREE.retagged("v2", C, day(9), "me").find("v2") == C


def test_what_is_forgotten_gives_its_number_to_nothing_else() -> None:
    refs = THREE.forgotten([("flowers", 1), ("flowers", 3), ("v1", None)], day(9), "me")
    assert refs.branches["flowers"] == Branch(4, (Version(2, B, day(2)),))
    assert (refs.tags, refs.operation.names) == ({}, ("flowers@1", "flowers@3", "v1"))
    gone = refs.forgotten([("flowers", None)], day(9), "me")
    assert gone.names() == ["trees/old"]
    with pytest.raises(RefNotFound):
        gone.find("flowers")
    again = gone.saved("flowers", D, day(10), "me", None)
    assert again.branches["flowers"].versions == (Version(4, D, day(10)),)
    assert gone.branched("flowers", D, day(10), "me").find("flowers@4") == D


@pytest.mark.parametrize("gone", [("flowers", 9), ("none", None), ("none", 1), ("v1", 1)])
def test_what_is_not_there_cannot_be_forgotten(gone: tuple[str, int | None]) -> None:
    with pytest.raises(RefNotFound):
        THREE.forgotten([("flowers", 1), gone], day(9), "me")


def test_undo_gives_back_the_refs_of_before_but_no_number() -> None:
    newer = THREE.saved("flowers", D, day(9), "me", C).tagged("v2", D, day(9), "me")
    undone = newer.undone(THREE, day(10), "me")
    assert undone.branches["flowers"] == Branch(5, THREE.branches["flowers"].versions)
    assert undone.tags == {"v1": A}
    assert undone.operation == Operation("undo", ("flowers", "v2"), day(10), "me")
    again = undone.undone(newer, day(11), "me")
    assert (again.tags, again.branches) == (newer.tags, newer.branches)


def test_undo_of_the_first_save_of_a_branch_leaves_only_its_number() -> None:
    undone = EMPTY.saved("flowers", A, day(1), "me", None).undone(EMPTY, day(2), "me")
    assert undone.names() == [] and undone.branches["flowers"].next == 2


def test_a_document_follows_the_one_before() -> None:
    after = THREE.after(EMPTY, D)
    assert (after.number, after.previous, after.container_id) == (1, D, EMPTY.container_id)


# --- what a ref leads to


@pytest.mark.parametrize(
    ("text", "snapshot", "label"),
    [
        ("flowers", C, "flowers@3"),
        ("flowers@1", A, "flowers@1"),
        ("flowers@0002", B, "flowers@2"),
        ("flowers@2026-01-02", B, "flowers@2"),
        ("flowers@2026-01-04", B, "flowers@2"),
        ("flowers@2026-01-05T12:00", C, "flowers@3"),
        ("flowers@2026-01-05T12:00:00Z", C, "flowers@3"),
        ("flowers@2026-01-05T11:59:59", B, "flowers@2"),
        ("flowers@2026-01-05T12:59+01:00", B, "flowers@2"),
        ("flowers@2026-01-05T13:00+01:00", C, "flowers@3"),
        ("v1", A, "v1"),
        ("trees/old", B, "trees/old@1"),
        (D, D, D),
    ],
)
def test_a_ref_leads_to_a_snapshot(text: str, snapshot: str, label: str) -> None:
    assert THREE.find(text) == snapshot
    assert THREE.resolve(text).label == label


@pytest.mark.parametrize("text", ["none", "flowers@9", "flowers@0", "flowers@2025-12-31", "v1@1", "trees"])
def test_a_ref_that_is_not_there_is_not_found(text: str) -> None:
    with pytest.raises(RefNotFound) as caught:
        THREE.find(text)
    assert isinstance(caught.value, KeyError) and text in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@1",
        "a@",
        "a@b",
        "a@-1",
        "a@1@2",
        "a@2026-13-01",
        "a@2026-01-01T25:00",
        ".a",
        "a b",
        "a:b",
        "a@9999-12-32",
    ],
)
def test_a_text_that_is_no_ref_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        THREE.find(text)


@pytest.mark.parametrize(
    "name",
    ["a-b", "z", "v1.0", "x/y/z", "A_b", "2026-01", "g" * 200, "beefy", "1.2", "a..b", "lock"]
    + ["2026", "20261128", "1", "beef", "BEEF", "a" * 40, "a" * 63, "a" * 65, "2026/11"],
)
def test_names_that_may_be(name: str) -> None:
    check_ref_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "-a",
        ".a",
        "_a",
        "a/.b",
        "..",
        "a.lock",
        "a.lock/b",
        "g" * 201,
        "a" * 64,
        "A" * 64,
        "0" * 64,
    ]
    + ["a b", "a\n", "é", "a\\b", "a:b", "a@b", "a~", "a*", "a\0"],
)
def test_names_that_may_not_be(name: str) -> None:
    with pytest.raises(InvalidName):
        check_ref_name(name)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("a", ("a", None)),
        ("a:", ("a", "")),
        ("a:b/c:d", ("a", "b/c:d")),
        ("a@3:b", ("a@3", "b")),
        ("a@2026-01-01:b", ("a@2026-01-01", "b")),
        ("a@2026-01-01T10:00:b/c", ("a@2026-01-01T10:00", "b/c")),
        ("a@2026-01-01T10:00:05:b", ("a@2026-01-01T10:00:05", "b")),
        ("a@2026-01-01T10:00+01:00", ("a@2026-01-01T10:00+01:00", None)),
        ("a@2026-01-01T10:00:05\n", ("a@2026-01-01T10:00", "05\n")),
        ("a:b@2026-01-01T10:00", ("a", "b@2026-01-01T10:00")),
        (D + ":p", (D, "p")),
    ],
)
def test_a_path_behind_a_ref_is_told_from_the_colons_of_a_time(text: str, split: tuple[str, str | None]) -> None:
    assert split_ref(text) == split


def test_a_key_is_no_name() -> None:
    assert parse_ref(D) == RefText(D) and parse_ref(D).is_key
    assert not parse_ref("flowers").is_key and not parse_ref(D[:63]).is_key


def test_a_name_of_digits_has_versions_and_can_be_a_tag() -> None:
    refs = EMPTY.saved("2026", A, day(1), "me", None).tagged("20261128", A, day(2), "me")
    refs = decode_refs(encode_refs(refs.after(EMPTY, "")))
    assert refs.find("2026") == refs.find("2026@1") == refs.find("2026@2026-01-01") == refs.find("20261128") == A
    assert refs.has("2026") and refs.has("20261128") and not refs.has("2025")
    assert not refs.forgotten([("2026", None)], day(3), "me").has("2026")


# --- bytes


def test_a_document_is_one_line_of_json_with_its_keys_sorted() -> None:
    refs = EMPTY.saved("data", A, day(1), "me@here, 7", None).tagged("v1", A, day(2), "me@here, 8").after(EMPTY, "")
    assert encode_refs(refs) == (
        b'{"branches":{"data":{"next":2,"versions":[[1,"%s","2026-01-01T12:00:00Z"]]}},'
        % A.encode()
        + b'"container_id":"00000000000000000000000000000001","number":1,'
        b'"operation":{"by":"me@here, 8","names":["v1"],"time":"2026-01-02T12:00:00Z","verb":"tag"},'
        b'"previous":"","tags":{"v1":"%s"},"type":"rsdos refs","version":1}\n' % A.encode()
    )


@pytest.mark.parametrize("refs", [THREE, THREE.forgotten([("flowers", None)], day(9), "me")])
def test_refs_are_read_back(refs: Refs) -> None:
    document = refs.after(EMPTY, D)
    assert decode_refs(encode_refs(document)) == document


def changed(**members: object) -> bytes:
    fields = json.loads(encode_refs(THREE.after(EMPTY, D)))
    fields.update(members)
    return json.dumps({name: value for name, value in fields.items() if value != "away"}).encode() + b"\n"


def branch(*versions: object, following: object = 9) -> dict[str, Any]:
    return {"flowers": {"next": following, "versions": list(versions)}}


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"null\n",
        changed(type="rsdos snapshot"),
        changed(version=2),
        changed(number=0),
        changed(number="1"),
        changed(container_id="1"),
        changed(container_id=None),
        changed(previous="beef"),
        changed(previous=None),
        changed(more=1),
        changed(tags="away"),
        changed(tags=[]),
        changed(tags={"v1": "beef"}),
        changed(tags={"../v1": A}),
        changed(tags={"F" * 64: A}),
        changed(tags={"flowers": A}),
        changed(branches=[]),
        changed(branches={"flowers": []}),
        changed(branches={"a.lock": {"next": 1, "versions": []}}),
        changed(branches=branch([1, A])),
        changed(branches=branch([1, A, day(1), 4])),
        changed(branches=branch([1, A, "now"])),
        changed(branches=branch([1, A, None])),
        changed(branches=branch([0, A, day(1)])),
        changed(branches=branch([9, A, day(1)])),
        changed(branches=branch([2, A, day(1)], [1, A, day(1)])),
        changed(branches=branch([1, A, day(1)], [1, A, day(1)])),
        changed(branches=branch([True, A, day(1)])),
        changed(branches=branch([1, A + "0", day(1)])),
        changed(branches=branch(7)),
        changed(branches=branch(following=-1)),
        changed(branches={"flowers": {"next": 1, "versions": [], "more": 1}}),
        changed(operation={}),
        changed(operation=None),
        changed(operation={"verb": "save", "names": "abc", "time": "", "by": ""}),
        changed(operation={"verb": "save", "names": [1], "time": "", "by": ""}),
        changed(operation={"verb": "save", "names": [], "time": "", "by": "", "more": ""}),
    ],
)
def test_what_is_no_refs_document_is_refused_with_its_key(wrong: bytes) -> None:
    with pytest.raises(DamagedTree) as caught:
        decode_refs(wrong, D)
    assert caught.value.key == D


def test_a_document_above_its_limit_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsdos.trees.refs_document.LARGEST_REFS", 500)
    with pytest.raises(InvalidOption):
        encode_refs(THREE.after(EMPTY, D))


# --- two documents of one number


def test_the_union_of_two_documents_loses_nothing() -> None:
    one = THREE.saved("flowers", D, day(9), "me", C).tagged("x1", A, day(9), "me")
    other = (
        THREE.saved("flowers", key(5), day(10), "you", C)
        .tagged("x1", B, day(10), "you")
        .tagged("y1", B, day(10), "you")
    )
    both = united(one, other)
    assert both == united(other, one)
    assert both.snapshots() >= one.snapshots() | {key(5)}
    assert [version.number for version in both.branches["flowers"].versions] == [1, 2, 3, 4, 5]
    assert both.branches["flowers"].next == 6
    assert both.tags == {"v1": A, "x1": max(A, B), "y1": B}
    assert decode_refs(encode_refs(both.after(EMPTY, D))).branches == both.branches


def test_a_name_that_is_a_branch_in_one_and_a_tag_in_the_other_is_a_branch() -> None:
    one, other = THREE.tagged("new", A, day(9), "me"), THREE.branched("new", B, day(9), "you")
    both = united(one, other)
    assert both == united(other, one)
    assert both.find("new") == B and "new" not in both.tags


def test_an_empty_container_has_no_refs() -> None:
    assert (EMPTY.names(), EMPTY.snapshots(), EMPTY.operation) == ([], set(), NO_OPERATION)
