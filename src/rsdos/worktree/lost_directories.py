"""The directories of a damaged tree whose own entries are lost. The paths of what is below them tell which these are.

Without their entries, a checkout would leave out all that is below them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator

from rsdos.errors import DamagedTree
from rsdos.trees.entry import Attributes, EntryKind, Listing, order_key, tree_order
from rsdos.trees.tree import Tree

_MODE = 0o755


def walk_with_lost_directories(tree: Tree, under: bytes, damaged: Callable[[DamagedTree], None]) -> Iterator[Listing]:
    """Do `Tree.walk`, with an entry for each directory below ``under`` whose own entry is lost.

    It has the mode 755 and the time 0. At the first damage the whole tree is read once more.
    """
    lost: deque[bytes] = deque()
    is_damaged = False

    def note(error: DamagedTree) -> None:
        nonlocal is_damaged
        damaged(error)
        if not is_damaged:
            is_damaged = True
            lost.extend(_lost_directories(tree, under))

    for listing in tree.walk(under, note):
        yield from _merged(listing, lost, tree) if lost else (listing,)
    yield from (_entry_of(path, tree) for path in lost)


def _lost_directories(tree: Tree, under: bytes) -> list[bytes]:
    """Return the directories without an entry that have entries below them, in tree order."""
    needed = {under}
    known = {under}
    for listing in tree.walk(under, lambda error: None):
        directory = listing.directory
        while directory not in needed:
            needed.add(directory)
            directory = directory.rpartition(b"/")[0]
        prefix = listing.directory + b"/" if listing.directory else b""
        found = zip(listing.names, listing.kinds, strict=True)
        known.update(prefix + name for name, kind in found if kind == EntryKind.DIRECTORY)
    return sorted(needed - known, key=tree_order)


def _merged(listing: Listing, lost: deque[bytes], tree: Tree) -> Iterator[Listing]:
    """Yield a listing in parts, and between them the entries that come before its last one."""
    start = 0
    while lost:
        parent, _, name = lost[0].rpartition(b"/")
        if parent == listing.directory:
            at = bisect_left(listing.names, name)
            if at == len(listing.names):
                break  # Behind all of them; the directory may have more in the next listing.
            if at > start:
                yield listing.cut(start, at)
                start = at
        elif tree_order(lost[0]) > order_key(listing.directory, listing.names[0]):
            break
        yield _entry_of(lost.popleft(), tree)
    yield listing.cut(start, len(listing.names))


def _entry_of(path: bytes, tree: Tree) -> Listing:
    """Return a listing of one directory."""
    directory, _, name = path.rpartition(b"/")
    mtimes = [0] if tree.attributes & Attributes.TIMES else None
    modes = [_MODE] if tree.attributes & Attributes.MODES else None
    return Listing(directory, [name], bytes([EntryKind.DIRECTORY]), [0], [b""], [b""], mtimes, modes)
