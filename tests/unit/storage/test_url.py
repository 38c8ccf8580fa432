"""URLs and their options: what is one, what is refused, and what is never shown."""

from __future__ import annotations

import pickle
import uuid
from pathlib import Path

import pytest

from rsdos import InvalidOption
from rsdos.storage.memory import MemoryStorage
from rsdos.storage.shared import SharedDirectory
from rsdos.storage.url import OptionValue, StorageUrl, is_url, open_storage, parse_url

SECRET = "hunter2"


@pytest.mark.parametrize("path", ["/data/store", "container", "a:b", "/data/a://b", "://x", "", "C:/x", "3://x"])
def test_a_bare_path_is_no_url(path: str) -> None:
    assert not is_url(path)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://lab/data", ("s3", "lab", "data")),
        ("S3://lab", ("s3", "lab", "")),
        ("s3://lab/a/b.c/d_e/", ("s3", "lab", "a/b.c/d_e")),
        ("gs://lab/Ünicode", ("gs", "lab", "Ünicode")),
        ("az://container/prefix", ("az", "container", "prefix")),
        ("https://example.org:8443/store", ("https", "example.org:8443", "store")),
        ("http://[::1]:80/store", ("http", "[::1]:80", "store")),
        ("file:///data/with space/store/", ("file", "", "/data/with space/store")),
        ("file://localhost/data", ("file", "", "/data")),
        ("memory://name", ("memory", "name", "")),
    ],
)
def test_a_url_is_taken_apart_and_put_together(url: str, parts: tuple[str, str, str]) -> None:
    assert is_url(url)
    parsed = parse_url(url)
    assert parsed[:3] == parts
    assert parse_url(parsed.url) == parsed
    assert pickle.loads(pickle.dumps(parsed)) == parsed


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "s3://",
        "s3:///prefix",
        "s3://lab//x",
        "s3://lab/../x",
        "s3://lab/./x",
        "s3://lab/a b",
        "s3://lab/a\\b",
        "s3://lab/a\nb",
        "s3://lab/x?versionId=1",
        "s3://lab/x#part",
        "https://ho st/x",
        "https://host:port/x",
        "file://host/x",
        "file://relative",
        "memory://",
        "no url",
    ],
)
def test_what_is_no_url_of_a_storage_is_refused(url: str) -> None:
    with pytest.raises(InvalidOption):
        parse_url(url)


@pytest.mark.parametrize(
    "url", [f"s3://user:{SECRET}@lab/x", f"https://{SECRET}@host/x", f"s3://lab/x@{SECRET}", f"az://a:{SECRET}@b"]
)
def test_a_url_with_a_user_or_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidOption, match="credentials come from the environment") as refused:
        parse_url(url)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret_access_key", SECRET),
        ("access_key_id", SECRET),
        ("session_token", SECRET),
        ("password", SECRET),
        ("sas_token", SECRET),
        ("endpoint", f"https://user:{SECRET}@host"),
        ("anonymous", SECRET),
        ("deadline", SECRET),
        ("server_side_encryption", SECRET),
        ("unknown", SECRET),
    ],
)
def test_an_option_that_is_refused_shows_its_name_and_not_its_value(name: str, value: str) -> None:
    with pytest.raises(InvalidOption, match=name) as refused:
        parse_url("s3://lab/x", {name: value})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("endpoint", "rgw.example.org"),
        ("endpoint", "ftp://rgw.example.org"),
        ("endpoint", "https://rgw.example.org/a b"),
        ("region", ""),
        ("region", "a\nb"),
        ("deadline", "0"),
        ("deadline", "nan"),
        ("deadline", "-1"),
        ("virtual_host", "maybe"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidOption, match=name):
        parse_url("s3://lab/x", {name: value})


def test_options_are_kept_as_text_in_order() -> None:
    options: dict[str, OptionValue] = {"virtual_host": True, "deadline": 30, "endpoint": "https://rgw.example.org/"}
    parsed = parse_url("s3://lab/x", options)
    assert parsed.options == (("deadline", "30"), ("endpoint", "https://rgw.example.org"), ("virtual_host", "true"))
    assert parse_url(parsed.url, dict(parsed.options)) == parsed
    assert (parsed.option("region"), parsed.option("deadline")) == ("", "30")


def test_an_option_of_another_kind_of_storage_is_refused() -> None:
    with pytest.raises(InvalidOption, match="it has: deadline"):
        parse_url("https://host/x", {"region": "eu"})
    with pytest.raises(InvalidOption, match="it has: none"):
        parse_url("file:///x", {"region": "eu"})


def test_file_and_memory_are_our_own(tmp_path: Path) -> None:
    shared = open_storage(f"file://{tmp_path}/below")
    assert isinstance(shared, SharedDirectory) and shared.root == f"{tmp_path}/below"
    name = uuid.uuid4().hex
    memory = open_storage(f"memory://{name}")
    assert isinstance(memory, MemoryStorage)
    assert open_storage(StorageUrl("memory", name, "")) is memory
    assert open_storage(f"memory://{name}x") is not memory
    for storage in (shared, memory):
        assert not storage.traits.appends and not storage.traits.locks and not storage.traits.files


def test_a_shared_directory_makes_no_directory_before_the_first_put(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/a/b")
    assert list(storage.list("packs")) == []
    assert storage.stat("packs/one") is None and not storage.exists("packs/one")
    assert not (tmp_path / "a").exists()
    storage.put_new("packs/one", b"1")
    assert (tmp_path / "a" / "b" / "packs" / "one").read_bytes() == b"1"
