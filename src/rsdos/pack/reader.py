"""Pack files of container version 2, open for reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rsdos import names
from rsdos.errors import DamagedContainer
from rsdos.model import PackKind
from rsdos.pack.format import HEADER_SIZE, header_fault, header_kind, named_by
from rsdos.storage.base import Storage

if TYPE_CHECKING:
    from rsdos.storage.opened import RandomAccess

_T = TypeVar("_T")


class PackFile:
    """An open pack, for any number of threads. It is read through the file's own methods: a call less for each object.

    Raises FileNotFoundError when it is gone, and `DamagedContainer` when the file is not that pack.
    """

    def __init__(self, file: RandomAccess, pack_id: int, container_id: bytes, *, any_header: bool = False) -> None:
        """``any_header``: for repair, which has to read on when that is damaged; footers say as well whose they are."""
        self.file = file
        self.path = file.path
        self.pack_id = pack_id
        self.container_id = container_id
        self.read = file.read
        self.read_into = file.read_into
        self.size = file.size
        if not any_header:
            check_header(file, pack_id, container_id)


def read_best(storage: Storage, read: Callable[[], _T], doubt: Callable[[_T], int]) -> _T:
    """Return what ``read`` returns; from a remote, the better of two reads if the first is not whole.

    A bit may have flipped on its way. ``doubt`` is 0 for what is whole, and the higher the less of it is.
    """
    found = read()
    if not storage.traits.is_remote or not doubt(found):
        return found
    return min(found, read(), key=doubt)


def open_pack(storage: Storage, pack_id: int, container_id: bytes, *, any_header: bool = False) -> PackFile:
    """Open a pack of the container in a storage; see `PackFile`."""
    file = storage.open(names.pack(pack_id))
    if not any_header:
        fault = read_best(storage, lambda: _header_fault(file, pack_id, container_id), len)
        if fault:
            raise DamagedContainer(file.path, fault)
    return PackFile(file, pack_id, container_id, any_header=True)


def check_header(file: RandomAccess, pack_id: int, container_id: bytes) -> None:
    """Raise `DamagedContainer` when an open file is not that pack of that container."""
    if fault := _header_fault(file, pack_id, container_id):
        raise DamagedContainer(file.path, fault)


def _header_fault(file: RandomAccess, pack_id: int, container_id: bytes) -> str:
    """Return why an open file is not that pack of that container; "" if it is."""
    try:
        head = file.read(0, HEADER_SIZE)
    except DamagedContainer:  # It is shorter than that.
        head = b""
    return header_fault(head, container_id, pack_id) or ""


def kind_of(pack: PackFile) -> PackKind:
    """Return the kind of an open pack, whose header is good."""
    return header_kind(pack.read(0, HEADER_SIZE))


def true_id(file: RandomAccess, container_id: bytes) -> int | None:
    """Which pack of this container a file is, whatever its name; None when its header does not say. Raises OSError."""
    return named_by(file.read(0, min(HEADER_SIZE, file.size())), container_id)
