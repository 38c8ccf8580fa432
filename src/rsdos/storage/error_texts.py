"""What the errors of the client library mean: which of ours is raised for an answer of a storage behind a network.

The library tells an error by its class and its text alone, so the text is read here, and nowhere else. A text that is
not understood means "cannot be reached", never "missing": a name is missing only after a 404.
"""

from __future__ import annotations

import errno
import os
import re
from datetime import UTC, datetime
from typing import NamedTuple

from rsdos.errors import Refused, StorageMismatch, Unavailable

_STATUS = re.compile(r"response: Parts \{ status: (\d{3})")
_CODE = re.compile(r'\bcode: "?([A-Za-z0-9_]+)"?, message: "((?:[^"\\]|\\.)*)"')
_DATE = re.compile(r'"date": "([^"]{10,40})"')
_SOURCE = re.compile(r"^Source:\n\s*(.+)$", re.MULTILINE)
_USER = re.compile(r"//[^/\s@]*@")
_LIKE_A_KEY = re.compile(r"[A-Za-z0-9/+=_-]{20,}")
"""What looks like a part of a credential: some servers repeat it in their answers. The shortest have 20 characters."""

_MOST_TOLD = 300
"""Characters of a server's text in a message."""

_NO_BUCKET = frozenset(("NoSuchBucket", "ContainerNotFound", "InvalidBucketName", "NoSuchContainer"))
_ELSEWHERE = frozenset(
    ("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
)
_NOT_A_POLICY = frozenset(
    (
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "InvalidToken",
        "ExpiredToken",
        "InvalidObjectState",
    )
)
"""Refusals that no other permission would mend."""
_FULL = frozenset(("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"))
"""A quota, with 403 of Ceph and 400 of MinIO; full disks are status 507."""
_TAKEN = frozenset(("BlobAlreadyExists",))
_SKEWED = "RequestTimeTooSkewed"
_NO_CREDENTIALS = "failed to load signing credential"
"""What the library says, without having asked the storage, where it found no credentials."""
_SHORT = "reader got too little data"
"""What the library says of an answer that is whole and has fewer bytes than were asked for."""
_DAMAGED = frozenset(("BadDigest", "InvalidDigest", "Md5Mismatch", "XAmzContentSHA256Mismatch", "RequestTimeout"))
"""Refusals of bytes that were damaged or cut on the way. The same request may succeed."""


class ErrorText(NamedTuple):
    """What an error of the client library says."""

    kind: str
    """The name of its class."""
    status: int
    """The status of HTTP; 0 if there was no answer."""
    code: str
    """The service's own code, "NoSuchKey" for example; "" if there is none."""
    reason: str
    """One line for a message, without secrets."""
    date: str = ""
    """The clock of the server, as it gave it; "" if it did not."""

    @property
    def is_missing(self) -> bool:
        """Whether the storage says that there is no object of this name."""
        return self.kind == "NotFound" and self.status == 404 and self.code not in _NO_BUCKET

    @property
    def is_taken(self) -> bool:
        """Whether the storage says that the name of a new object is taken, so that nothing was stored."""
        return self.status == 412 or (self.status == 409 and self.code in _TAKEN)

    @property
    def is_beyond_end(self) -> bool:
        """Whether the range that was asked for is beyond the end of the object."""
        return self.status == 416 or self.code == "InvalidRange" or (not self.status and _SHORT in self.reason)

    @property
    def is_final(self) -> bool:
        """Whether the request was certainly not carried out, nor will the same one ever be."""
        again = self.status in (0, 408, 409, 412, 429) or self.code in _DAMAGED
        is_never_sent = self.kind in ("ConfigInvalid", "PermissionDenied") and not self.status
        return (300 <= self.status < 500 and not again) or self.is_full or self.is_unsupported or is_never_sent

    @property
    def is_full(self) -> bool:
        """Whether the storage has no room, or the quota of the bucket or user is used up."""
        return self.status == 507 or self.code in _FULL

    @property
    def is_unsupported(self) -> bool:
        """Whether the storage does not have such a request."""
        return self.kind == "Unsupported" or self.status == 501 or self.code == "NotImplemented"

    def error(self, path: str, action: str = "") -> OSError:
        """Return the error to raise. ``action`` is the permission that the request needs."""
        if self.is_missing:
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if self.is_unsupported:
            return OSError(errno.ENOTSUP, f"the storage does not have this request ({self.reason})", path)
        if self.code in _NO_BUCKET or self.code in _ELSEWHERE or self.status in (301, 307, 308):
            return StorageMismatch(path, self.reason)
        if refused := self._refusal(action):
            return Refused(path, *refused)
        if self.kind == "ConfigInvalid":
            return StorageMismatch(path, self.reason)
        return Unavailable(path, self.reason)

    def _refusal(self, action: str) -> tuple[str, str] | None:
        """Return why the request was refused, and the permission that is missing; None if it was not."""
        if self.code == _SKEWED:
            here = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
            return f"{self.reason}; the storage's clock says {self.date or '?'}, this machine's {here}", ""
        if self.is_full:
            return f"the storage is full; {self.reason}", ""
        if _NO_CREDENTIALS in self.reason:
            return "no credentials in the environment, in a profile, or from the role of the machine", ""
        if self.status in (401, 403) or self.kind == "PermissionDenied":
            return self.reason, "" if self.code in _NOT_A_POLICY else action
        return None


def read_error(error: BaseException) -> ErrorText:
    """Read an error of the client library."""
    text = str(error)
    status = _STATUS.search(text)
    code = _CODE.search(text)
    date = _DATE.search(text)
    number = int(status[1]) if status else 0
    if code:
        reason = f"{number}, {code[1]}: {_LIKE_A_KEY.sub('…', code[2])}"
    elif number:
        reason = f"status {number}"
    else:
        source = _SOURCE.search(text)
        reason = source[1] if source else text.partition("\n")[0].rpartition(" => ")[2]
        reason = _LIKE_A_KEY.sub("…", reason)
    reason = " ".join(_USER.sub("//…@", reason).split())[:_MOST_TOLD]
    kind = type(error).__name__
    if isinstance(error, OSError):  # An upload's errors come as these, with the text of the real one.
        kind = text.partition(" ")[0]
    return ErrorText(kind, number, code[1] if code else "", reason, date[1] if date else "")
