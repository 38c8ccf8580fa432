"""A small S3 client of the standard library: one signed request at a time, no retries, nothing hidden.

Tests use it where a client library would retry or interpret, and scripts before anything is installed.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from tests.ceph.endpoint import REGION, Endpoint
from tests.patience import HANG


class Answer(NamedTuple):
    """What the service answered. Names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


def send(
    endpoint: Endpoint,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    query: Mapping[str, str] = {},
    headers: Mapping[str, str] = {},
) -> Answer:
    """Send one request, signed with version 4. ``path`` is "/bucket/name". Raise OSError or HTTPException."""
    with closing(connected(endpoint)) as connection:
        return send_by(connection, endpoint, method, path, body, query=query, headers=headers)


def connected(endpoint: Endpoint) -> http.client.HTTPConnection:
    """Return a connection for `send_by`. It is made with the first request."""
    return http.client.HTTPConnection(urlsplit(endpoint.url).netloc, timeout=HANG)


def send_by(
    connection: http.client.HTTPConnection,
    endpoint: Endpoint,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    query: Mapping[str, str] = {},
    headers: Mapping[str, str] = {},
) -> Answer:
    """Do `send` by a connection, which stays open for more."""
    host = urlsplit(endpoint.url).netloc
    asked = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query.items()))
    path = quote(path, safe="/-_.~")
    all_headers = _signed(endpoint, method, path, asked, body, {"host": host, **headers})
    connection.request(method, f"{path}?{asked}" if asked else path, body, all_headers)
    answer = connection.getresponse()
    names = {name.lower(): value for name, value in answer.getheaders()}
    return Answer(answer.status, names, answer.read())


def _signed(
    endpoint: Endpoint, method: str, path: str, query: str, body: bytes, headers: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers with those of the signature."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    content = hashlib.sha256(body).hexdigest()
    signed = {name.lower(): value for name, value in headers.items()}
    signed |= {"x-amz-date": now, "x-amz-content-sha256": content}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    request = "\n".join((method, path, query, lines, names, content))
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", now, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{endpoint.secret_key}".encode()
    for part in (now[:8], REGION, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    credential = f"Credential={endpoint.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**signed, "authorization": f"AWS4-HMAC-SHA256 {credential}"}
