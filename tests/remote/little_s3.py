"""A small S3 server in this process, which answers as a test says: for refusals and faults made to order.

It has one bucket, keeps objects in memory and checks no signature. It is no proof that a client speaks S3: that is what
the tests with Ceph are for.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "little"


class Asked(NamedTuple):
    """A request."""

    method: str
    name: str
    """Of the object, without the bucket; "" for a list."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """An answer."""

    status: int
    """0: the connection is closed instead of an answer."""
    body: bytes = b""
    headers: Mapping[str, str] = {}
    sent: int | None = None
    """So many bytes of the body are sent, and then the connection is closed."""


def refusal(status: int, code: str, message: str = "for a reason") -> Reply:
    """Return an error as S3 says it."""
    return Reply(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


@dataclass
class Stored:
    """An object."""

    data: bytes
    etag: str
    time: float = field(default_factory=time.time)


def _etag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class _Quiet(ThreadingHTTPServer):
    """Says nothing of clients that have gone: most tests of faults are about those."""

    def handle_error(self, *_: Any) -> None:
        return


class LittleS3:
    """The server. `answer` is asked first for each request; if it returns None, the bucket answers."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Reply | None] = lambda asked: None
        self.changing = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                return

            def _do(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
                name = unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {key.lower(): value for key, value in self.headers.items()}
                asked = Asked(self.command, name, query, headers, body)
                outer.asked.append(asked)
                reply = outer.answer(asked) or outer.usual(asked)
                if not reply.status:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for key, value in reply.headers.items():
                    self.send_header(key, value)
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body[: reply.sent])
                if reply.sent is not None:
                    self.close_connection = True

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, method: str) -> int:
        """Return how many requests of a method were made."""
        return sum(asked.method == method for asked in self.asked)

    def usual(self, asked: Asked) -> Reply:
        """Answer as a good store does."""
        with self.changing:
            if asked.method == "PUT" and "partNumber" in asked.query:
                self.uploads[asked.query["uploadId"]][int(asked.query["partNumber"])] = asked.body
                return Reply(200, b"", {"ETag": f'"{_etag(asked.body)}"'})
            if asked.method == "PUT":
                return self._put(asked)
            if asked.method == "POST":
                return self._post(asked)
            if asked.method == "DELETE":
                self.objects.pop(asked.name, None)
                return Reply(204)
            return self._get(asked) if asked.name else self._list(asked)

    def _put(self, asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == "*" and asked.name in self.objects:
            return refusal(412, "PreconditionFailed")
        sent = base64.b64encode(hashlib.md5(asked.body, usedforsecurity=False).digest()).decode()
        if asked.headers.get("content-md5", sent) != sent:
            return refusal(400, "BadDigest")
        self.objects[asked.name] = Stored(asked.body, _etag(asked.body))
        return Reply(200, b"", {"ETag": f'"{_etag(asked.body)}"'})

    def _post(self, asked: Asked) -> Reply:
        if "uploads" in asked.query:
            number = f"upload-{len(self.uploads)}"
            self.uploads[number] = {}
            body = f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
            return Reply(200, body.encode())
        parts = [data for _, data in sorted(self.uploads.pop(asked.query["uploadId"]).items())]
        sums = b"".join(hashlib.md5(data, usedforsecurity=False).digest() for data in parts)
        stored = Stored(b"".join(parts), f"{_etag(sums)}-{len(parts)}")
        self.objects[asked.name] = stored
        body = f"<CompleteMultipartUploadResult><ETag>{stored.etag}</ETag></CompleteMultipartUploadResult>"
        return Reply(200, body.encode())

    def _get(self, asked: Asked) -> Reply:
        stored = self.objects.get(asked.name)
        if stored is None:
            return refusal(404, "NoSuchKey")
        headers = {"ETag": f'"{stored.etag}"', "Last-Modified": formatdate(stored.time, usegmt=True)}
        data, status = stored.data, 200
        if wanted := asked.headers.get("range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            if int(first) >= len(data):
                return refusal(416, "InvalidRange")
            end = min(int(last) + 1 if last else len(data), len(data))
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
            data, status = data[int(first) : end], 206
        return Reply(status, data, headers | {"Content-Length": str(len(data))})

    def _list(self, asked: Asked) -> Reply:
        prefix, most = asked.query.get("prefix", ""), int(asked.query.get("max-keys", 1000))
        after = asked.query.get("continuation-token") or asked.query.get("start-after", "")
        names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
        rows = []
        for name in names[:most]:
            stored = self.objects[name]
            when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stored.time))
            rows.append(
                f"<Contents><Key>{escape(name)}</Key><LastModified>{when}</LastModified>"
                f"<ETag>&quot;{stored.etag}&quot;</ETag><Size>{len(stored.data)}</Size></Contents>"
            )
        more = len(names) > most
        end = f"<NextContinuationToken>{escape(names[most - 1])}</NextContinuationToken>" if more else ""
        text = f"<IsTruncated>{str(more).lower()}</IsTruncated>{end}{''.join(rows)}"
        return Reply(200, f"<ListBucketResult>{text}</ListBucketResult>".encode())
