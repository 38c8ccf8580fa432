"""Each option of a URL reaches the requests that it is about."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from rsdos import Container, InvalidOption
from rsdos.storage.opendal import PART
from rsdos.storage.url import OptionValue, open_storage
from tests.helpers import child_environment
from tests.patience import HANG
from tests.remote.little_s3 import BUCKET, Asked, LittleS3

URL = f"s3://{BUCKET}/store"

NAMES = {
    "storage_class": "x-amz-storage-class",
    "server_side_encryption": "x-amz-server-side-encryption",
}
"""The headers of S3 by the option."""


def creating(little: LittleS3) -> list[Asked]:
    """Return the requests that have made objects; parts have the options of their upload."""
    return [asked for asked in little.asked if asked.method in ("PUT", "POST") and "uploadId" not in asked.query]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("storage_class", "STANDARD_IA"),
        ("server_side_encryption", "AES256"),
        ("server_side_encryption", "aws:kms"),
    ],
)
def test_every_new_object_gets_its_class_and_encryption(little: LittleS3, option: str, value: str) -> None:
    options: dict[str, Any] = {option: value}
    with Container.create(URL, container_version=3, endpoint=little.url, **options) as container:
        container.insert_many([b"packed"])
        container.optimize()
    storage = open_storage(URL, {"endpoint": little.url, option: value})
    storage.put_stream("packs/one", [bytes(PART)] * 2, 2 * PART)
    made = creating(little)
    assert {asked.name.split("/")[1] for asked in made} >= {"config.json", "manifests", "packs"}
    assert any("uploads" in asked.query for asked in made)
    assert {asked.headers.get(NAMES[option]) for asked in made} == {value}
    signed = [asked.headers["authorization"] for asked in made]
    assert all(NAMES[option] in header for header in signed)  # Nobody changes it on the way.


def test_without_the_options_the_bucket_decides(little: LittleS3) -> None:
    with Container.create(URL, container_version=3, endpoint=little.url) as container:
        container.insert_many([b"packed"])
    assert creating(little)
    assert not any(asked.headers.keys() & set(NAMES.values()) for asked in little.asked)


def test_an_anonymous_reader_signs_nothing(little: LittleS3) -> None:
    with Container.create(URL, container_version=3, endpoint=little.url) as container:
        (key,) = container.insert_many([b"for all"])
    assert all(asked.headers["authorization"] for asked in little.asked)
    little.asked.clear()
    with Container(URL, endpoint=little.url, anonymous=True) as container:
        assert container.extract(key) == b"for all"
        assert list(container) == [key]
    assert little.asked
    for asked in little.asked:
        assert not asked.headers.keys() & {"authorization", "x-amz-security-token"}
        assert not any(name.lower().startswith("x-amz") for name in asked.query)


VIRTUAL_HOST = """
import sys
from typing import Any
from rsdos.storage.url import open_storage

storage = open_storage(sys.argv[1], {"endpoint": "http://s3.example.org", "virtual_host": sys.argv[2], "deadline": 1})
print(storage.put_new("one", b"bytes").outcome.name, storage.read("one", 10))
"""


@pytest.mark.parametrize(("switch", "host"), [("true", f"{BUCKET}.s3.example.org"), ("false", "s3.example.org")])
def test_a_virtual_host_has_the_name_of_the_bucket(little: LittleS3, switch: str, host: str) -> None:
    """The server is the proxy of a process of its own: it sees the whole URL, and no name is looked up."""
    proxies = {"http_proxy": little.url, "no_proxy": ""}
    command = [sys.executable, "-c", VIRTUAL_HOST, URL, switch]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG, env=child_environment() | proxies)
    assert done.stdout == "OURS b'bytes'\n", done.stderr
    assert [asked.headers["host"] for asked in little.asked] == [host] * 2
    assert {asked.name for asked in little.asked} == {"store/one"}


def test_google_s_storage_is_asked_for_the_class_without_a_signature(little: LittleS3) -> None:
    """The little server does not speak Google's protocol: only what is asked is compared."""
    options: dict[str, OptionValue] = {"endpoint": little.url, "anonymous": True, "storage_class": "NEARLINE"}
    open_storage(f"gs://{BUCKET}/store", options | {"deadline": 1}).put_new("packs/one", b"bytes")
    asked = little.asked[0]
    assert json.loads(asked.body) == {"storageClass": "NEARLINE"}
    assert asked.query["name"] == "store/packs/one"
    assert asked.query["ifGenerationMatch"] == "0"
    assert "authorization" not in asked.headers


def test_azure_has_no_anonymous_requests_and_says_so() -> None:
    with pytest.raises(InvalidOption, match="az:// has no such option"):
        open_storage(f"az://{BUCKET}/store", {"account": "little", "anonymous": True})
