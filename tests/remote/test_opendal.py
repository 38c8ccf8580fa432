"""The traps of OpenDAL, each against a server that sets it. What is said of a good server is in test_conformance.py."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest

from rsdos import Container
from rsdos.errors import DamagedContainer, Refused, StorageMismatch, Unavailable
from rsdos.storage import opendal as door
from rsdos.storage.base import Put, Storage
from rsdos.storage.opendal import PART, OpendalStorage, timeout_of, tries_in
from rsdos.storage.url import OptionValue, open_storage
from tests.patience import HANG
from tests.remote.little_s3 import BUCKET, Asked, LittleS3, Reply, refusal

URL = f"s3://{BUCKET}/store"


@pytest.fixture
def storage(little: LittleS3) -> OpendalStorage:
    """One that gives up after the second try."""
    made = open_storage(URL, {"endpoint": little.url, "deadline": "0.05"})
    assert isinstance(made, OpendalStorage)
    return made


@pytest.fixture
def patient(little: LittleS3) -> Storage:
    return open_storage(URL, {"endpoint": little.url})


def once(reply: Reply, method: str) -> Callable[[Asked], Reply | None]:
    """Give this answer to the first request of a method, and the usual ones to all others."""
    left = [reply]
    return lambda asked: left.pop() if left and asked.method == method else None


# Uploads in parts.


def test_an_upload_whose_source_raises_is_never_completed(little: LittleS3, storage: Storage) -> None:
    def parts() -> Iterator[bytes]:
        yield bytes(3 * PART)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        storage.put_stream("packs/one", parts(), 4 * PART)
    assert not any(asked.method == "POST" and "uploadId" in asked.query for asked in little.asked)
    assert little.objects == {} and not storage.exists("packs/one")


def test_an_upload_that_is_too_long_or_too_short_is_never_completed(little: LittleS3, storage: Storage) -> None:
    for length in (2 * PART, 4 * PART):
        with pytest.raises(ValueError, match="bytes came of"):
            storage.put_stream("packs/one", [bytes(PART)] * 3, length)
    assert little.objects == {}


def test_an_upload_in_parts_is_one_object_although_puts_are_checked_by_md5(little: LittleS3, storage: Storage) -> None:
    data = bytes(range(256)) * (3 * PART // 256) + b"end"
    storage.put_stream("packs/one", [data[: PART + 7], data[PART + 7 :]], len(data))
    assert little.objects["store/packs/one"].data == data
    assert little.objects["store/packs/one"].etag.endswith("-4")


def test_what_an_upload_became_is_compared_with_what_was_sent(little: LittleS3, storage: OpendalStorage) -> None:
    storage.traits = storage.traits._replace(etag_is_md5=True)
    storage.put_stream("packs/good", [bytes(2 * PART)], 2 * PART)

    def flip(asked: Asked) -> Reply | None:
        if "partNumber" in asked.query:
            return little.usual(asked._replace(body=asked.body[:-1] + b"\1"))
        return None

    little.answer = flip
    with pytest.raises(DamagedContainer, match="not what was sent"):
        storage.put_stream("packs/bad", [bytes(2 * PART)], 2 * PART)
    assert list(little.objects) == ["store/packs/good"]


def test_an_upload_whose_last_answer_is_lost_is_found_complete(little: LittleS3, storage: Storage) -> None:
    def lose(asked: Asked) -> Reply | None:
        if asked.method == "POST" and "uploadId" in asked.query and asked.query["uploadId"] in little.uploads:
            little.usual(asked)
            return Reply(0)
        return refusal(404, "NoSuchUpload") if asked.method == "POST" and "uploadId" in asked.query else None

    little.answer = lose
    storage.put_stream("packs/one", [bytes(2 * PART)], 2 * PART)
    assert len(little.objects["store/packs/one"].data) == 2 * PART


# Puts of one request.


def test_a_put_says_its_md5_and_its_condition(little: LittleS3, storage: Storage) -> None:
    storage.put_new("packs/one", b"bytes")
    (put,) = [asked for asked in little.asked if asked.method == "PUT"]
    assert put.headers["content-md5"] == b64encode(hashlib.md5(b"bytes").digest()).decode()
    assert put.headers["if-none-match"] == "*"


def test_bytes_that_are_damaged_on_the_way_up_are_not_stored(little: LittleS3, storage: Storage) -> None:
    little.answer = lambda asked: (
        little.usual(asked._replace(body=b"bytez")) if asked.method == "PUT" and asked.body else None
    )
    assert storage.put_new("packs/one", b"bytes").outcome is Put.UNKNOWN
    assert not storage.exists("packs/one")


@pytest.mark.parametrize(
    "reply", [Reply(0), *(refusal(status, "Trouble") for status in (408, 409, 429, 500, 502, 503))]
)
def test_a_put_whose_outcome_is_not_known_is_tried_once(little: LittleS3, storage: Storage, reply: Reply) -> None:
    little.answer = lambda asked: reply if asked.method == "PUT" else None
    assert storage.put_new("packs/one", b"bytes").outcome is Put.UNKNOWN
    assert little.count("PUT") == 1


@pytest.mark.parametrize("reply", [Reply(0), refusal(500, "InternalError")])
def test_a_put_that_was_stored_and_answered_otherwise_is_not_told_taken(
    little: LittleS3, storage: Storage, reply: Reply
) -> None:
    def apply(asked: Asked) -> Reply | None:
        if asked.method != "PUT":
            return None
        little.usual(asked)
        return reply

    little.answer = apply
    assert storage.put_new("packs/one", b"bytes").outcome is Put.UNKNOWN
    assert storage.read("packs/one", 10) == b"bytes"
    assert storage.put_new("packs/one", b"other").outcome is Put.UNKNOWN
    little.answer = lambda asked: None
    assert storage.put_new("packs/one", b"other").outcome is Put.TAKEN


def test_a_put_that_certainly_is_not_stored_raises(little: LittleS3, storage: Storage) -> None:
    for reply, kind, told in (
        (refusal(403, "AccessDenied"), Refused, "s3:PutObject"),
        (refusal(403, "SignatureDoesNotMatch"), Refused, "SignatureDoesNotMatch"),
        (refusal(404, "NoSuchBucket"), StorageMismatch, "NoSuchBucket"),
        (refusal(301, "PermanentRedirect"), StorageMismatch, "PermanentRedirect"),
        (refusal(501, "NotImplemented"), OSError, "does not have this request"),
        (refusal(400, "EntityTooLarge"), OSError, "EntityTooLarge"),
    ):
        little.answer = lambda asked, reply=reply: reply  # type: ignore[misc]
        with pytest.raises(kind, match=told):
            storage.put_new("packs/one", b"bytes")
    assert little.count("PUT") == 6


def test_a_put_that_stalls_ends_with_an_unknown_outcome(
    little: LittleS3, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "SHORTEST_TIMEOUT", 0.2)
    over = threading.Event()

    def stall(asked: Asked) -> Reply | None:
        if asked.method == "PUT":
            over.wait(HANG)
        return None

    little.answer = stall
    try:
        assert storage.put_new("packs/one", b"bytes").outcome is Put.UNKNOWN
    finally:
        over.set()


# Reading.


def test_a_request_that_stalls_is_given_up_and_tried_again(
    little: LittleS3, patient: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the timeout above the retries the first one that stalls would be the last."""
    patient.put_new("packs/one", b"bytes")
    monkeypatch.setattr(door, "SHORTEST_TIMEOUT", 0.5)
    patient.close()
    over, left = threading.Event(), [1, 2]

    def stall(asked: Asked) -> Reply | None:
        if left:
            left.pop()
            over.wait(HANG)
        return None

    little.answer = stall
    try:
        assert patient.open("packs/one", 5).read(0, 5) == b"bytes"
    finally:
        over.set()
    assert little.count("GET") >= 3


def test_a_request_may_take_as_long_as_a_slow_line_needs() -> None:
    for length in (0, 1, 8 << 20, 32 << 20, 1 << 30):
        assert timeout_of(length) >= max(60, length / (64 << 10))
    assert len({timeout_of(length) for length in range(0, 64 << 20, 1 << 16)}) < 8  # Each is an operator.


def test_tries_last_as_long_as_the_deadline() -> None:
    assert [tries_in(deadline) for deadline in (0.05, 0.1, 0.3, 0.7)] == [1, 1, 2, 3]
    assert 15 <= tries_in(60) <= 30


@pytest.mark.parametrize("reply", [Reply(0), refusal(500, "InternalError"), refusal(503, "SlowDown")])
def test_reading_verbs_are_tried_again(little: LittleS3, patient: Storage, reply: Reply) -> None:
    patient.put_new("packs/one", b"bytes")
    little.answer = once(reply, "GET")
    assert patient.read("packs/one", 10) == b"bytes"
    little.answer = once(reply, "HEAD")
    assert patient.exists("packs/one")
    little.answer = once(reply, "GET")
    assert list(patient.list("packs")) == ["one"]
    little.answer = once(reply, "DELETE")
    patient.remove("packs/one")
    assert little.objects == {}


def test_a_body_that_is_cut_short_goes_on_from_its_last_byte(little: LittleS3, patient: Storage) -> None:
    data = bytes(range(256)) * 4000
    patient.put_new("packs/one", data)
    left = [1]

    def cut(asked: Asked) -> Reply | None:
        return little.usual(asked)._replace(sent=500_000) if asked.method == "GET" and left and left.pop() else None

    little.answer = cut
    assert patient.open("packs/one", len(data)).read(0, len(data)) == data
    assert little.asked[-1].headers["range"].startswith("bytes=")
    assert not little.asked[-1].headers["range"].startswith("bytes=0-")


def test_an_object_that_is_shorter_than_it_should_be_is_damage(little: LittleS3, storage: Storage) -> None:
    storage.put_new("packs/one", b"bytes")
    for offset, length in ((0, 6), (4, 100), (5, 1), (100, 1)):
        with pytest.raises(DamagedContainer):
            storage.open("packs/one", 1000).read(offset, length)


def test_no_more_is_read_of_a_large_object_than_was_asked_for(little: LittleS3, storage: Storage) -> None:
    storage.put_new("manifests/one", bytes(1 << 22))
    with pytest.raises(OSError, match="larger than 1000 bytes"):
        storage.read("manifests/one", 1000)


def test_a_whole_small_object_is_one_request(little: LittleS3, storage: Storage) -> None:
    storage.put_new("manifests/one", b"small")
    before = len(little.asked)
    assert storage.read("manifests/one", 1000) == b"small"
    assert [asked.method for asked in little.asked[before:]] == ["GET"]


def test_other_threads_run_while_a_list_waits(little: LittleS3, patient: Storage) -> None:
    """The lister of the library holds Python's lock while it waits; then the server here could never answer."""
    for at in range(3):
        patient.put_new(f"packs/{at}", b"")
    asked_for, answer = threading.Event(), threading.Event()

    def wait(asked: Asked) -> Reply | None:
        if not asked.name:
            asked_for.set()
            answer.wait(HANG)
        return None

    little.answer = wait
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(patient.list("packs")))
    thread.start()
    assert asked_for.wait(HANG)
    assert patient.exists("packs/1")
    answer.set()
    thread.join()
    assert found == ["0", "1", "2"]


def test_a_long_list_comes_in_pages_and_a_short_one_is_one_request(little: LittleS3, storage: Storage) -> None:
    for at in range(2500):
        little.usual(Asked("PUT", f"store/packs/{at:05}", {}, {}, b""))
    assert list(storage.list("packs")) == [f"{at:05}" for at in range(2500)]
    assert [info.name for info in storage.list_infos("packs", "00007", 2)] == ["packs/00008", "packs/00009"]
    (only,) = [asked for asked in little.asked if "start-after" in asked.query]
    # Of shorter pages the library asks for the next one beforehand.
    assert (only.query["max-keys"], only.query["start-after"]) == ("66", "store/packs/00007")
    assert list(storage.list("packs", most=0)) == []


# Requests of an opening.


def test_an_opening_and_a_first_read_ask_for_nothing_twice(little: LittleS3) -> None:
    url = f"s3://{BUCKET}/container"
    with Container.create(url, container_version=3, endpoint=little.url) as container:
        keys = [container.insert_many([b"%d" % number])[0] for number in range(3)]
    little.asked.clear()
    with Container(url, endpoint=little.url) as container:
        assert container.extract(keys[0]) == b"0"
    asked = [(one.method, one.name.removeprefix("container/").partition("/")[0]) for one in little.asked]
    # The newest manifest, and that there is no newer one; and of a pack its table, and the object.
    manifests = [("GET", ""), ("GET", "manifests"), ("GET", "manifests")]
    assert asked == [("GET", "config.json"), *manifests, *[("GET", "packs")] * 2]


# Refusals.


def test_a_refusal_is_never_taken_for_a_missing_object(little: LittleS3, storage: Storage) -> None:
    little.answer = lambda asked: refusal(403, "AccessDenied")
    verbs: dict[Callable[[], object], str] = {
        lambda: storage.stat("packs/one"): "s3:GetObject",
        lambda: storage.exists("packs/one"): "s3:GetObject",
        lambda: storage.read("packs/one", 10): "s3:GetObject",
        lambda: storage.open("packs/one", 10).read(0, 1): "s3:GetObject",
        lambda: list(storage.list("packs")): "s3:ListBucket",
        lambda: storage.put_new("packs/one", b""): "s3:PutObject",
        lambda: storage.remove("packs/one"): "s3:DeleteObject",
    }
    for verb, action in verbs.items():
        with pytest.raises(Refused, match=action) as refused:
            verb()
        assert refused.value.action == action
        assert isinstance(refused.value, PermissionError) and not isinstance(refused.value, FileNotFoundError)


def test_a_missing_bucket_is_not_a_missing_object(little: LittleS3, storage: Storage) -> None:
    little.answer = lambda asked: refusal(404, "NoSuchBucket")
    for verb in (storage.stat, storage.exists, storage.open, lambda name: storage.read(name, 10)):
        with pytest.raises(StorageMismatch, match="NoSuchBucket"):
            verb("config.json")
    little.answer = lambda asked: None
    assert storage.stat("config.json") is None
    before = len(little.asked)
    assert storage.stat("config.json") is None
    assert len(little.asked) == before + 1  # The bucket is known now.


def test_a_clock_that_is_off_is_told_with_both_times(little: LittleS3, storage: Storage) -> None:
    little.answer = lambda asked: refusal(403, "RequestTimeTooSkewed")
    with pytest.raises(Refused, match=r"storage's clock says \w{3}, \d\d .* GMT, this machine's \w{3}, \d\d .* GMT"):
        storage.read("config.json", 10)


def test_a_server_that_is_not_there_is_unavailable(little: LittleS3, storage: Storage) -> None:
    little.close()
    with pytest.raises(Unavailable, match="cannot be reached"):
        storage.read("config.json", 10)
    assert storage.put_new("config.json", b"").outcome is Put.UNKNOWN


def test_no_credentials_are_refused_and_not_waited_for(little: LittleS3, monkeypatch: pytest.MonkeyPatch) -> None:
    anonymous = open_storage(URL, {"endpoint": little.url, "anonymous": "true"})
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert anonymous.put_new("one", b"").outcome is Put.OURS
    assert "authorization" not in little.asked[-1].headers


# A web server.


def test_a_web_server_is_read_and_nothing_else(little: LittleS3) -> None:
    writer = open_storage(URL, {"endpoint": little.url})
    writer.put_new("packs/one", b"bytes")
    web = open_storage(f"{little.url}/{BUCKET}/store")
    assert web.read("packs/one", 10) == b"bytes"
    assert web.open("packs/one").read(1, 3) == b"yte"
    assert web.stat("packs/two") is None
    with pytest.raises(FileNotFoundError):
        web.read("packs/two", 10)
    before = len(little.asked)
    for verb in (
        lambda: web.put_new("packs/two", b""),
        lambda: web.put_stream("packs/two", [b""], 0),
        lambda: web.empty("packs/one"),
        lambda: web.remove("packs/one"),
    ):
        with pytest.raises(OSError, match="can only be read"):
            verb()
    with pytest.raises(OSError, match="cannot list"):
        web.list("packs")
    assert len(little.asked) == before


# Processes.

FORKS = """
import os, pickle, sys
from rsdos.errors import RemoteAfterFork
from rsdos.storage.base import Span
from rsdos.storage.url import open_storage

url, endpoint, used = sys.argv[1:]
storage = open_storage(url, {"endpoint": endpoint})
if used == "used":
    assert storage.read("one", 10) == b"bytes"
    assert list(storage.read_spans([Span("one", 0, 1)])) == [b"b"]
child = os.fork()
if not child:
    code = 1
    try:
        for each in (storage, open_storage(url, {"endpoint": endpoint})):
            try:
                answer = each.read("one", 10)
                list(each.list("packs"))
            except RemoteAfterFork as error:
                answer = str(error)
                for verb in (lambda: list(each.list("packs")), lambda: list(each.read_spans([Span("one", 0, 1)]))):
                    try:
                        verb()
                    except RemoteAfterFork:
                        continue
                    answer = "a verb did not refuse"
            print(answer, flush=True)
        code = 0
    finally:
        os._exit(code)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("used", ["used", "unused"])
def test_a_forked_child_of_a_process_that_used_a_storage_refuses(little: LittleS3, storage: Storage, used: str) -> None:
    storage.put_new("one", b"bytes")
    command = [sys.executable, "-W", "ignore", "-c", FORKS, URL, little.url, used]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if used == "unused":
        assert lines == ["b'bytes'"] * 2
    else:
        assert len(lines) == 2 and all("start workers with spawn or forkserver" in line for line in lines)


def test_the_region_is_that_of_the_option_or_the_environment_or_any(
    little: LittleS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    where: dict[str, OptionValue] = {"endpoint": little.url}
    open_storage(URL, where).put_new("one", b"")
    open_storage(URL, where | {"region": "eu-lab-1"}).put_new("one", b"")
    monkeypatch.setenv("AWS_REGION", "eu-lab-2")
    open_storage(URL, where).put_new("one", b"")
    signed = [asked.headers["authorization"].split("/")[2] for asked in little.asked]
    assert signed == ["us-east-1", "eu-lab-1", "eu-lab-2"]
