"""Whether a tree is the one and only form of its entries."""

from __future__ import annotations

from rsdos.errors import DamagedTree, InvalidName, InvalidOption
from rsdos.trees.build import TreeRoot, build_tree
from rsdos.trees.tree import Tree


def canonical_root(tree: Tree) -> TreeRoot:
    """Build a tree anew from its entries, without storing it. It is canonical if the key is that of its root.

    One second of CPU for a million entries. Raise `DamagedTree`, also for entries that no tree may have.
    """
    try:
        return build_tree(tree.walk(), tree.attributes, lambda key, page: None)
    except (InvalidName, InvalidOption) as error:
        raise DamagedTree(tree.root.hex(), str(error)) from None
