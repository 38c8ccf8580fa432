"""Credentials come from the environment, and go nowhere but into signatures: no file, text, log or pickle has them."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from rsdos import Container, InvalidOption
from rsdos.errors import RsdosError
from rsdos.storage.base import Storage
from rsdos.storage.url import open_storage
from tests.patience import HANG
from tests.remote.conftest import KEY_ID, SECRET, TOKEN
from tests.remote.little_s3 import BUCKET, LittleS3, Reply, refusal

URL = f"s3://{BUCKET}/store"
SECRETS = (KEY_ID, SECRET, TOKEN)


def assert_secret_free(text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    for secret in SECRETS:
        assert secret.encode() not in data


@pytest.fixture
def storage(little: LittleS3) -> Iterator[Storage]:
    made = open_storage(URL, {"endpoint": little.url, "deadline": "0.05"})
    made.put_new("config", b"{}")  # The operators are made, and have read the credentials.
    made.read("config", 10)
    yield made
    made.close()


def test_the_environment_is_what_signs(little: LittleS3, storage: Storage) -> None:
    signed = [asked.headers["authorization"] for asked in little.asked]
    assert signed and all(f"Credential={KEY_ID}/" in header for header in signed)
    assert all(asked.headers["x-amz-security-token"] == TOKEN for asked in little.asked)


def test_a_refusal_says_that_there_are_no_credentials(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-m", "rsdos", "init", "s3://a-bucket/store", "--endpoint", "http://127.0.0.1:9"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "refused (no credentials in the environment, in a profile, or from the role of" in done.stderr


def test_reprs_and_pickles_have_no_credentials(little: LittleS3, storage: Storage) -> None:
    container = Container(URL, endpoint=little.url)
    for each in (storage, container):
        assert_secret_free(repr(each))
        assert_secret_free(str(each))
        assert_secret_free(pickle.dumps(each))
    assert pickle.loads(pickle.dumps(storage)).read("config", 10) == b"{}"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(0),
        refusal(403, "InvalidAccessKeyId", f"The key you provided does not exist: {KEY_ID}"),
        refusal(403, "SignatureDoesNotMatch", f"The string to sign was AWS4 {KEY_ID} {TOKEN}"),
        refusal(500, "InternalError"),
        Reply(403, f"<Error><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId></Error>".encode()),
        Reply(502, f"a gateway that repeats the request: x-amz-security-token: {TOKEN}".encode()),
        Reply(400, b"not XML", {"Echo": TOKEN, "Authorization": KEY_ID}),
    ],
)
def test_errors_their_tracebacks_and_logs_have_no_credentials(
    little: LittleS3, storage: Storage, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    little.answer = lambda asked: reply
    for verb in (
        lambda: storage.read("config", 10),
        lambda: storage.stat("config"),
        lambda: list(storage.list("packs")),
        lambda: storage.open("config", 5).read(0, 5),
        lambda: storage.put_new("other", b"") and None,
        lambda: storage.put_stream("other", [b"1"], 1),
        lambda: storage.remove("config"),
    ):
        try:
            verb()
        except (RsdosError, OSError) as error:
            assert_secret_free(str(error))
            frame = error.__traceback__
            while frame and frame.tb_frame.f_code.co_filename == __file__:
                frame = frame.tb_next  # Of this test, which has the secrets.
            told = traceback.TracebackException(type(error), error, frame, capture_locals=True)
            assert_secret_free("".join(told.format()))
            assert_secret_free(pickle.dumps(error))
    assert_secret_free(caplog.text)


def test_nothing_that_is_stored_or_printed_has_credentials(little: LittleS3, tmp_path: Path) -> None:
    where = ["--endpoint", little.url]
    Container.create(f"{URL}/there", endpoint=little.url).insert_many([b"data"])
    for command in (
        ["init", URL, *where],
        ["-p", URL, *where, "list"],
        ["-p", URL, *where, "status", "--json"],
        ["-p", URL, *where, "validate"],
        ["-p", f"{URL}/there", *where, "list"],
        ["--debug", "-p", URL, *where, "cat-file", 64 * "0"],
        ["--debug", "-p", f"{URL}/nothing", *where, "status"],
    ):
        program = [sys.executable, "-m", "rsdos", *command]
        done = subprocess.run(program, capture_output=True, cwd=tmp_path, timeout=HANG, env=os.environ)
        assert "--debug" in command or not done.returncode, done.stderr
        assert_secret_free(done.stdout + done.stderr)
    assert any(b"data" in stored.data for stored in little.objects.values())
    for stored in little.objects.values():
        assert_secret_free(stored.data)
    for path in tmp_path.rglob("*"):
        assert_secret_free(path.read_bytes())


def test_a_profile_is_read_from_its_files(little: LittleS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    keys = f"aws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / ".aws" / "credentials").write_text(f"[default]\n\n[lab]\n{keys}")
    lab = f"[profile lab]\nregion = eu-lab-1\nendpoint_url = {little.url}\n"
    (tmp_path / ".aws" / "config").write_text(f"{lab}[profile role]\nrole_arn = arn:aws:iam::1:role/x\n")
    storage = open_storage(URL, {"profile": "lab"})
    storage.put_new("one", b"")
    assert f"Credential={KEY_ID}/" in little.asked[0].headers["authorization"]
    assert "/eu-lab-1/s3/" in little.asked[0].headers["authorization"]
    assert_secret_free(pickle.dumps(storage) + repr(storage).encode())
    for profile in ("role", "nobody", "default"):
        with pytest.raises(InvalidOption, match="set AWS_PROFILE"):
            open_storage(URL, {"profile": profile}).read("one", 1)
    (tmp_path / ".aws" / "credentials").write_text(f"[lab\n{keys}")
    with pytest.raises(InvalidOption, match="cannot be read") as refused:
        open_storage(URL, {"profile": "lab"}).read("one", 1)
    assert_secret_free(str(refused.value))
