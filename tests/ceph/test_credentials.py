"""Credentials that may not do everything: the error names the missing action, and 403 is never read as "missing"."""

from __future__ import annotations

import pytest

from rsdos import Container, Refused
from tests.ceph.fixtures import S3, Stranger

READ = ("s3:GetObject", "s3:ListBucket")


@pytest.fixture
def shared(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> tuple[Stranger, list[str]]:
    """A container of the owner, whose credentials are gone; those of the stranger are in the environment."""
    become(stranger.owner, monkeypatch)
    with Container.create(stranger.owner.url) as container:
        keys = container.insert_many([b"one", b"two"])
    become(stranger.s3, monkeypatch)
    return stranger, keys


def become(s3: S3, patch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        patch.setenv(name, value)


def test_without_any_right_a_container_is_refused_and_not_missing(shared: tuple[Stranger, list[str]]) -> None:
    stranger, keys = shared
    with Container(stranger.s3.url) as container, pytest.raises(Refused, match="s3:GetObject"):
        container.extract(keys[0])


def test_a_reader_reads_and_is_told_what_it_lacks_to_write(shared: tuple[Stranger, list[str]]) -> None:
    stranger, keys = shared
    stranger.allow(*READ)
    with Container(stranger.s3.url) as container:
        assert container.extract(keys[0]) == b"one"
        with pytest.raises(Refused, match="s3:PutObject"):
            container.insert_many([b"three"])
        assert len(container) == len(keys)


def test_a_writer_without_the_right_to_remove_writes(shared: tuple[Stranger, list[str]]) -> None:
    stranger, keys = shared
    stranger.allow(*READ, "s3:PutObject")
    with Container(stranger.s3.url) as container:
        more = container.insert_many([b"three"])
        container.delete(keys[:1])
        assert set(container) == {keys[1], *more}


def test_a_reader_that_may_not_list_is_told_so(shared: tuple[Stranger, list[str]]) -> None:
    """A missing name is answered with 403 then, as a forbidden one: the newest commit cannot be found."""
    stranger, keys = shared
    stranger.allow("s3:GetObject")
    with Container(stranger.s3.url) as container, pytest.raises(Refused, match="s3:ListBucket"):
        container.extract(keys[0])
