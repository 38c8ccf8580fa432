"""The policies of docs/object-storage.md, as they are there, on a real store."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from rsdos import Container, Refused
from tests.ceph.fixtures import CONTAINER, Stranger
from tests.ceph.test_credentials import become
from tests.helpers import ROOT

HEADERS: tuple[dict[str, str], ...] = ({"If-None-Match": "*"}, {"If-None-Match": "*"}, {})

ROLES = ("reader", "writer", "maintainer", "append-only writer")


def policy(role: str, stranger: Stranger) -> bytes:
    """Return the policy of a role on the page, as that of a bucket: for its name and prefix, and for a stranger."""
    page = (ROOT / "docs" / "object-storage.md").read_text()
    reader, writer, maintainer, append = (
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    )
    appending = {"Version": reader["Version"], "Statement": [*reader["Statement"], append]}
    found: dict[str, Any] = dict(zip(ROLES, (reader, writer, maintainer, appending), strict=True))[role]
    for statement in found["Statement"]:
        statement["Principal"] = {"AWS": [f"arn:aws:iam:::user/{stranger.user}"]}
    text = json.dumps(found).replace("arn:aws:s3:::lab", f"arn:aws:s3:::{stranger.s3.bucket}")
    return text.replace("data/*", f"{CONTAINER}/*").encode()


def take(role: str, stranger: Stranger) -> None:
    answer = stranger.owner.send("PUT", "", policy(role, stranger), query={"policy": ""})
    assert answer.status in (200, 204), answer


@pytest.fixture
def keys(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A container of the owner; the credentials of the stranger are in the environment."""
    become(stranger.owner, monkeypatch)
    with Container.create(stranger.owner.url) as container:
        found = container.insert_many([b"one", b"two"])
    become(stranger.s3, monkeypatch)
    return found


def test_a_reader_reads_and_changes_nothing(stranger: Stranger, keys: list[str]) -> None:
    take("reader", stranger)
    with Container(stranger.s3.url) as container:
        assert container.extract(keys[0]) == b"one"
        assert container.validate("full").is_good
        with pytest.raises(Refused, match="s3:PutObject"):
            container.insert_many([b"three"])


def test_a_writer_writes_and_deletes_and_does_not_collect(stranger: Stranger, keys: list[str]) -> None:
    take("writer", stranger)
    with Container(stranger.s3.url) as container:
        more = container.insert_many([b"three"])
        container.delete(keys[:1])
        assert set(container) == {keys[1], *more}
        dead = f"{CONTAINER}/packs/0000000001-{'0' * 16}.pack"
        assert stranger.owner.send("PUT", dead, b"left").status == 200
        with pytest.raises(Refused, match="s3:DeleteObject"):
            container.collect(grace=0, keep=0)
        assert container.extract(keys[1]) == b"two"


def test_a_maintainer_collects(stranger: Stranger, keys: list[str]) -> None:
    take("maintainer", stranger)
    dead = f"{CONTAINER}/packs/0000000001-{'0' * 16}.pack"
    assert stranger.owner.send("PUT", dead, b"left").status == 200
    with Container(stranger.s3.url) as container:
        assert container.collect(grace=0, keep=0).collected.objects == 1
        assert container.extract(keys[1]) == b"two"


def test_nobody_with_these_roles_touches_what_is_beside_the_prefix(stranger: Stranger, keys: list[str]) -> None:
    take("maintainer", stranger)
    assert stranger.owner.send("PUT", "other", b"data").status == 200
    for method in ("GET", "PUT", "DELETE"):
        assert stranger.s3.send(method, "other").status == 403
    assert stranger.s3.send("GET", "", query={"list-type": "2", "prefix": "oth"}).status == 403


def test_a_writer_that_may_only_append_writes(stranger: Stranger, keys: list[str]) -> None:
    """Ceph 16.2 takes the condition and does not look at it, as the page says; a later one may."""
    take("append-only writer", stranger)
    with Container(stranger.s3.url) as container:
        more = container.insert_many([b"three"])
        assert set(container) == {*keys, *more}
    statuses = [stranger.s3.send("PUT", f"{CONTAINER}/probe/one", b"", headers=headers).status for headers in HEADERS]
    assert statuses in ([200, 412, 200], [200, 412, 403])
