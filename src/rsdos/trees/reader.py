"""Reads pages, and checks that each is the one that the page above it names."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from threading import Lock
from typing import NamedTuple, NoReturn, TypeAlias

from rsdos.errors import DamagedContainer, DamagedObject, DamagedTree, DecodeError, ObjectNotFound
from rsdos.trees.entry import Attributes, path_of
from rsdos.trees.page import Child, Inner, Leaf, Page, decode_page

ReadPages: TypeAlias = Callable[[Sequence[bytes]], Sequence[bytes]]
"""Returns the bytes of pages, in the order of their digests. Raises `ObjectNotFound` or `DamagedObject`, and
`PagesTooLarge` for more than one."""

Damaged: TypeAlias = Callable[[DamagedTree], object]
"""Is told of a range of paths that is lost. If it returns, the reader continues behind the range."""

KEPT = 4 << 20
"""Bytes of pages that a reader keeps: 500 of 8 KiB, about 12 MB once they are decoded."""

TOGETHER = 32
"""Pages that are read by one call: 256 KiB as a rule."""


class PagesTooLarge(Exception):
    """Several pages are too large to be held together: they are to be read one by one."""


def raise_damage(error: DamagedTree) -> NoReturn:
    """Raise the error: what a walk does with damage if nothing else is said."""
    raise error


class Keep(Enum):
    """Which pages a reader keeps."""

    ALL = "all"
    INNER = "inner"
    """Those above leaves, which a walk through all leaves has no more use for. It takes twice as long if they are kept:
    Python's garbage collector goes through all their lists again and again."""


class _Fetched(NamedTuple):
    """Pages that were read, and the bytes of each, on average."""

    pages: dict[bytes, Page]
    size: int


class PageReader:
    """The pages below one root. Keeps those that it read last; any thread."""

    def __init__(self, root: bytes, read_pages: ReadPages) -> None:
        self.root = root
        self.read_pages = read_pages
        self._kept: dict[bytes, Page] = {}
        self._sizes: dict[bytes, int] = {}
        self._order: deque[bytes] = deque()  # the first key of a dict from which many were taken is found slowly
        self._bytes = 0
        self._root: Page | None = None
        self._lock = Lock()

    def root_page(self) -> Page:
        """Return the root. Raise `DamagedTree`."""
        root = self._root
        if root is None:
            try:
                root = self._root = self._fetch([self.root]).pages[self.root]
            except DamagedTree as error:
                raise DamagedTree(error.key, error.reason, (b"", b"")) from error.__cause__
        return root

    def pages(
        self, children: Sequence[Child], damaged: Damaged = raise_damage, keep: Keep = Keep.ALL
    ) -> Iterator[Page | None]:
        """Yield pages of one level, which are in order; None for those of which ``damaged`` was told.

        They are read together, and held together; one by one where they are large, as a stranger's may be.
        """
        attributes = self.root_page().attributes
        have = {child.key: self._kept.get(child.key) for child in children}
        missing = [key for key, page in have.items() if page is None]
        try:
            fetched = self._fetch(missing)
        except PagesTooLarge:
            yield from self._one_by_one(children, damaged, keep)
            return
        except DamagedTree as error:
            if len(children) > 1:  # which of them?
                yield from self._one_by_one(children, damaged, keep)
            else:
                damaged(_lost(children[0], error.reason))
                yield None
            return
        have.update(fetched.pages)
        if keep is Keep.ALL or (children and children[0].level):
            self._keep(fetched)
        for child in children:
            page = have[child.key]
            fault = "" if page is None else _misplaced(page, child, attributes)
            if fault:
                damaged(_lost(child, fault))
            yield None if fault else page

    def _one_by_one(self, children: Sequence[Child], damaged: Damaged, keep: Keep) -> Iterator[Page | None]:
        for child in children:
            yield from self.pages([child], damaged, keep)

    def read_ahead(self, children: Sequence[Child]) -> None:
        """Read together the first of some pages that will be asked for: so many that they are kept until then."""
        for start in range(0, min(len(children), 2 * TOGETHER), TOGETHER):
            for _ in self.pages(children[start : start + TOGETHER]):
                pass

    def page(self, child: Child) -> Page:
        """Return one page. Raise `DamagedTree`."""
        if child.key == self.root:
            return self.root_page()
        for page in self.pages([child]):
            if page is not None:
                return page
        raise _lost(child, "it cannot be read")

    def _fetch(self, keys: Sequence[bytes]) -> _Fetched:
        """Read pages. Raise `DamagedTree` for the first that is damaged, without a range."""
        if not keys:
            return _Fetched({}, 0)
        try:
            found = self.read_pages(keys)
        except (ObjectNotFound, DamagedObject, DamagedContainer) as error:
            raise DamagedTree(keys[0].hex(), str(error)) from error
        pages = {}
        for key, data in zip(keys, found, strict=True):
            try:
                pages[key] = decode_page(data)
            except DecodeError as error:
                raise DamagedTree(key.hex(), str(error)) from None
        return _Fetched(pages, sum(map(len, found)) // len(pages))

    def _keep(self, fetched: _Fetched) -> None:
        """Keep pages, and drop those that came first."""
        with self._lock:
            for key, page in fetched.pages.items():
                if key not in self._kept:
                    self._kept[key] = page
                    self._sizes[key] = fetched.size
                    self._bytes += fetched.size
                    self._order.append(key)
            while self._bytes > KEPT and len(self._order) > 1:
                oldest = self._order.popleft()
                del self._kept[oldest]
                self._bytes -= self._sizes.pop(oldest)


def _misplaced(page: Page, child: Child, attributes: Attributes) -> str:
    """Return why a page is not the one that is meant, or "".

    Each page is between its neighbours, so that none is in two places, and a tree is no larger than its pages.
    """
    if page.level != child.level or page.attributes != attributes:
        return "it is of another level, or has other attributes"
    if page.last != child.last or (isinstance(page, Leaf) and page.first <= child.after):
        return "it has entries that belong to other pages"
    if (page.entries, page.size) != (child.entries, child.size):
        return "it has more or fewer entries or bytes than the page above it says"
    return ""


def _lost(child: Child, reason: str) -> DamagedTree:
    return DamagedTree(child.key.hex(), reason, (path_of(child.after), path_of(child.last)))


def children_of(page: Inner, after: bytes) -> list[Child]:
    """Return the children of a page that is behind the entry ``after``, each with the one that it is behind."""
    first, *others = page.children
    return [first._replace(after=after), *others]
