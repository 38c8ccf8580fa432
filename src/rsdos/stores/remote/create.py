"""Making a container of version 3, by any number of programs at the same time: one of them makes it."""

from __future__ import annotations

from contextlib import suppress

from rsdos import names
from rsdos.codecs.sealed import seal, unseal
from rsdos.config import Config, encode_config
from rsdos.errors import ContainerExists, DamagedContainer, DecodeError
from rsdos.index.manifest import Manifest, decode_manifest, encode_manifest
from rsdos.index.remote_chain import MOST_BYTES
from rsdos.index.remote_state import RemoteState
from rsdos.storage import chance
from rsdos.storage.base import Put, Storage
from rsdos.storage.one_winner import refuse_two_winners
from rsdos.stores.remote.placed import DIRECTORIES, MANIFESTS, placed_manifest

_FIRST = placed_manifest(1)

_MOST_PUTS = 10
"""Times that an object is put again because the answer was lost and the object is not there."""


def make_remote_container(storage: Storage, config: Config) -> None:
    """Make a container in a storage that has nothing of one. It is a container once its configuration is there.

    1. Put manifest 1, with the id of the container. 2. Put the configuration, with the id that manifest 1 has: a call
    that was killed before this left manifest 1 alone, and the next one uses it. Each is put if it is absent, so
    one of several calls makes it. Raise `ContainerExists` if another has, or foreign objects are in the way,
    `ReadOnlyContainer` if the storage gives a name twice; OSError.
    """
    for directory in DIRECTORIES:
        storage.make_directory(directory)
    _refuse_what_is_there(storage)
    if storage.traits.is_remote:
        refuse_two_winners(storage)
    # 1.
    first = Manifest(1, config.container_id, epoch=1, remote=RemoteState(chance.token(128)))
    data = seal(encode_manifest(first))
    if not _put(storage, _FIRST, data):
        config = config.changed(container_id=_begun(storage))
    storage.sync_names(MANIFESTS)
    # 2.
    if not _put(storage, names.CONFIG, encode_config(config)):
        raise ContainerExists(storage.root, "is a container already")


def _refuse_what_is_there(storage: Storage) -> None:
    if storage.exists(names.CONFIG):
        raise ContainerExists(storage.root, "is a container already")
    for directory in DIRECTORIES:
        try:
            strangers = [name for name in storage.list(directory, most=2) if f"{directory}/{name}" != _FIRST]
        except FileNotFoundError:
            continue
        if strangers:
            raise ContainerExists(storage.root, f"is not empty: there is {directory}/{strangers[0]}")


def _put(storage: Storage, name: str, data: bytes) -> bool:
    """Put an object; return whether it is there with these bytes. False: another has the name."""
    is_unknown = False
    for _ in range(_MOST_PUTS):
        outcome = storage.put_new(name, data).outcome
        is_unknown = is_unknown or outcome is Put.UNKNOWN
        if not is_unknown:
            return outcome is Put.OURS
        with suppress(FileNotFoundError):
            return storage.read(name, MOST_BYTES) == data
    raise OSError(f"{storage.path(name)}: put {_MOST_PUTS} times, and never there")


def _begun(storage: Storage) -> str:
    """Return the id of the container of which manifest 1 is there already."""
    path = storage.path(_FIRST)
    try:
        return decode_manifest(unseal(storage.read(_FIRST, MOST_BYTES), MOST_BYTES)).container_id
    except (ValueError, DecodeError) as error:
        raise DamagedContainer(path, str(error)) from None
