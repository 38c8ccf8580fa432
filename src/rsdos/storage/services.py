"""The services of the client library, and how a URL and its options are said to each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rsdos.storage.base import Traits


class Service(NamedTuple):
    """What the client library is told about one storage. It holds no secret, and can be pickled."""

    url: str
    """For messages."""
    kind: str
    """The library's name of the service."""
    settings: tuple[tuple[str, str], ...]
    """The library's settings, without credentials: it reads those itself."""
    traits: Traits
    actions: Mapping[str, str]
    """The permissions that verbs need, for messages: read, write, list, delete."""
    checks: tuple[tuple[str, str], ...] = ()
    """Settings by which the service checks the bytes of a put of one request. An upload in parts cannot have them."""
    profile: str = ""
    """The profile whose keys an operator gets, see `rsdos.storage.profiles`; "": the library looks for keys itself."""
    is_bucket: bool = True
    """It is a bucket, which can be listed and written, and may be missing; else a web server."""


_S3_ACTIONS = {
    "read": "s3:GetObject",
    "write": "s3:PutObject",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}
_GCS_ACTIONS = {
    "read": "storage.objects.get",
    "write": "storage.objects.create",
    "list": "storage.objects.list",
    "delete": "storage.objects.delete",
}
_AZURE = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_AZURE_ACTIONS = {
    "read": f"{_AZURE}/read",
    "write": f"{_AZURE}/write",
    "list": f"{_AZURE}/read",
    "delete": f"{_AZURE}/delete",
}


def service_of(url: str, scheme: str, place: str, prefix: str, options: Mapping[str, str]) -> Service:
    """Return the service that a checked URL means."""
    root = f"/{prefix}"
    if scheme in ("http", "https"):
        traits = Traits(
            "a web server", new_is_exclusive=False, lists_in_order=False, is_remote=True, is_shared=True, deletes=False
        )
        settings = {"endpoint": f"{scheme}://{place}", "root": root}
        return Service(url, "http", _sorted(settings), traits, {}, is_bucket=False)
    if scheme == "s3":
        traits = Traits("S3 storage", is_remote=True, is_shared=True)
        settings = {"bucket": place, "root": root, **_s3(options)}
        checks = (("checksum_algorithm", "md5"),)
        return Service(url, "s3", _sorted(settings), traits, _S3_ACTIONS, checks, options.get("profile", ""))
    if scheme == "gs":
        traits = Traits("Google Cloud Storage", is_remote=True, is_shared=True)
        settings = {"bucket": place, "root": root, **_gcs(options)}
        return Service(url, "gcs", _sorted(settings), traits, _GCS_ACTIONS)
    # The service lists from the beginning, whatever it is asked.
    traits = Traits("Azure storage", lists_in_order=False, is_remote=True, is_shared=True)
    settings = {"container": place, "root": root, **_azure(options)}
    return Service(url, "azblob", _sorted(settings), traits, _AZURE_ACTIONS)


def _sorted(settings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(settings.items()))


def _renamed(options: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {known: options[name] for name, known in names.items() if name in options}


def _s3(options: Mapping[str, str]) -> dict[str, str]:
    names = {
        "endpoint": "endpoint",
        "region": "region",
        "virtual_host": "enable_virtual_host_style",
        "storage_class": "default_storage_class",
        "server_side_encryption": "server_side_encryption",
    }
    settings = _renamed(options, names)
    if options.get("anonymous") == "true":
        settings |= {"allow_anonymous": "true", "disable_config_load": "true", "disable_ec2_metadata": "true"}
    return settings


def _gcs(options: Mapping[str, str]) -> dict[str, str]:
    settings = _renamed(options, {"endpoint": "endpoint", "storage_class": "default_storage_class"})
    if options.get("anonymous") == "true":
        settings |= {"allow_anonymous": "true", "disable_config_load": "true", "disable_vm_metadata": "true"}
    return settings


def _azure(options: Mapping[str, str]) -> dict[str, str]:
    settings = _renamed(options, {"endpoint": "endpoint", "account": "account_name"})
    if "account" in options:
        settings.setdefault("endpoint", f"https://{options['account']}.blob.core.windows.net")
    return settings
