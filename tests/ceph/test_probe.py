"""The probe on real stores, and with credentials that may not do everything."""

from __future__ import annotations

import errno

import pytest

from rsdos import Container, ReadOnlyContainer
from rsdos.maintenance.doctor.diagnosis import Verdict
from rsdos.maintenance.probe.probing import ProbeOptions, execute, plan
from rsdos.maintenance.probe.report import Create, ListingAnswers, ProbeReport
from rsdos.maintenance.probe.verdicts import judge
from rsdos.storage.url import open_storage
from tests.ceph.fixtures import S3, Proxied, Stranger
from tests.ceph.proxy import Fault, Kind, first

QUICK = ProbeOptions(races=2, size=1 << 20)


def probe(s3: S3, patch: pytest.MonkeyPatch) -> ProbeReport:
    """Probe with the credentials of an S3."""
    for name, value in s3.environment.items():
        patch.setenv(name, value)
    storage = open_storage(s3.url)
    try:
        return execute(storage, plan(QUICK))
    finally:
        storage.close()


def names(s3: S3) -> bytes:
    return s3.send("GET", "", query={"list-type": "2"}).body


def test_ceph_is_safe_for_many_writers(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    report = probe(s3, monkeypatch)
    assert report.create is Create.EXCLUSIVE and report.most_winners == 1 and report.many_writers
    assert report.empties and report.deletes and report.tells_missing and report.etag_is_md5
    assert report.listing == ListingAnswers(at_once=True, in_order=True, after=True)
    assert report.versioned is False
    assert report.clock_offset is not None and abs(report.clock_offset) < 15 * 60
    assert report.refused == () and report.leftovers == ()
    assert not [answer for answer in judge(report) if answer.verdict is not Verdict.GOOD]
    assert b"probe/" not in names(s3)


def keep_versions(s3: S3, status: str) -> None:
    rule = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>".encode()
    assert s3.send("PUT", "", rule, query={"versioning": ""}).status == 200


def test_what_the_probe_says_of_a_bucket_that_keeps_old_versions_is_true(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ceph 16 ignores conditions there, wholly; a later one may not."""
    keep_versions(s3, "Enabled")
    answers = [s3.send("PUT", "twice", b"", headers={"If-None-Match": "*"}).status for _ in range(2)]
    report = probe(s3, monkeypatch)
    assert report.versioned
    assert report.many_writers is (answers == [200, 412])
    assert "versions" in [answer.name for answer in judge(report)]
    if not report.many_writers:
        assert report.create is Create.OVERWRITES
        with pytest.raises(ReadOnlyContainer, match="two writers would lose objects"):
            Container.create(s3.url)
        assert b"manifests/" not in names(s3)
    keep_versions(s3, "Suspended")
    assert probe(s3, monkeypatch).many_writers
    with Container.create(s3.url) as container:
        assert container.insert_many([b"one"])
    if not report.many_writers:
        # Switched on after `init`: the next process that writes says so, and commits no object.
        keep_versions(s3, "Enabled")
        with Container(s3.url) as container:
            with pytest.raises(ReadOnlyContainer, match="two writers would lose objects"):
                container.insert_many([b"two"])
            assert len(container) == 1


def test_swift_is_told_from_a_store_for_many_writers(swift_s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    report = probe(swift_s3, monkeypatch)
    assert report.create is Create.UNSUPPORTED and not report.many_writers
    with pytest.raises(OSError) as caught:
        Container.create(swift_s3.url)
    assert caught.value.errno == errno.ENOTSUP
    assert b"<Key>" not in names(swift_s3)


def test_answers_that_are_lost_in_a_race_make_no_second_winner(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied.proxy.fault = first(10, Fault(Kind.LOST), lambda request: request.method == "PUT")
    report = probe(proxied.s3, monkeypatch)
    assert report.create is Create.EXCLUSIVE
    assert report.unknown > 0
    assert b"probe/" not in names(proxied.direct)


@pytest.mark.parametrize(
    ("actions", "create", "missing"),
    [
        ((), Create.FORBIDDEN, False),
        (("s3:GetObject", "s3:ListBucket"), Create.FORBIDDEN, True),
        (("s3:GetObject", "s3:PutObject", "s3:ListBucket"), Create.EXCLUSIVE, True),
        (("s3:GetObject", "s3:PutObject"), Create.EXCLUSIVE, False),
    ],
)
def test_what_credentials_may_not_do_is_told(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch, actions: tuple[str, ...], create: Create, missing: bool
) -> None:
    if actions:
        stranger.allow(*actions)
    report = probe(stranger.s3, monkeypatch)
    assert (report.create, report.tells_missing) == (create, missing)
    assert (report.listing is not None) is (missing and create is Create.EXCLUSIVE)
    assert report.refused
    if create is Create.EXCLUSIVE:
        assert report.deletes is False and report.leftovers
        assert any("s3:DeleteObject" in text for text in report.refused)
    else:
        assert any("s3:PutObject" in text for text in report.refused)
