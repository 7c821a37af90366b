"""The kernel's maple tree, in which a process's mappings lie (include/linux/maple_tree.h, lib/maple_tree.c; Linux 6.1 and later).

A node is 256 bytes and aligned so; the low bits of the pointer to it hold its type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

NODE = 256  # bytes, and alignment
_LEAF, _RANGE, _ARANGE = 1, 2, 3  # enum maple_type: maple_leaf_64, maple_range_64, maple_arange_64
_PIVOTS = {_LEAF: 15, _RANGE: 15, _ARANGE: 9}
_DEEPEST = 16
_LAST = (1 << 64) - 1


def find(root: int, index: int, read: Callable[[int, int], bytes | None]) -> int:
    """The entry for an index, 0 if there is none. root: the member `ma_root`; read: the kernel's memory."""
    if root & 3 != 2 or root < 4096:  # xa_is_node: else the root is itself an entry
        return root
    entry = root
    for _ in range(_DEEPEST):
        kind = entry >> 3 & 15
        node = read(entry & -NODE, NODE)
        pivots = _PIVOTS.get(kind, 0)
        if node is None or not pivots:
            break
        words = memoryview(node).cast("Q")  # the parent, the pivots, one slot more than these
        i = 0
        while i < pivots and words[1 + i] and words[1 + i] < index:
            i += 1
        entry = words[1 + pivots + i]
        if kind == _LEAF:
            return entry
    return 0


def entries(root: int, read: Callable[[int, int], bytes | None]) -> Iterator[int]:
    """All entries in the order of their indexes. root, read: as for `find`."""
    if root & 3 == 2 and root >= 4096:
        yield from _within(root, _LAST, read, _DEEPEST)
    elif root:
        yield root


def _within(node: int, last: int, read: Callable[[int, int], bytes | None], levels: int) -> Iterator[int]:
    """The entries of a node for the indexes up to `last`; what lies behind the pivot for that one is not in use."""
    kind = node >> 3 & 15
    data = read(node & -NODE, NODE)
    pivots = _PIVOTS.get(kind, 0)
    if data is None or not pivots or not levels:
        return
    words = memoryview(data).cast("Q")
    for i in range(pivots + 1):
        pivot = (words[1 + i] if i < pivots else 0) or last
        entry = words[1 + pivots + i]
        if entry and kind == _LEAF:
            yield entry
        elif entry:
            yield from _within(entry, pivot, read, levels - 1)
        if pivot >= last:
            return
