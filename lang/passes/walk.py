"""The one way to go through a syntax tree: its children, all of it, a copy of it, and replacing nodes in place.

Which attributes of a node class hold nodes is worked out once per class from the annotations in `lang.nodes`, so a new node class
needs no entry anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from pyprobe.lang import nodes
from pyprobe.lang.nodes import Node

N = TypeVar("N", bound=Node)
_CLASSES = {name for name, value in vars(nodes).items() if isinstance(value, type) and issubclass(value, Node)}


_slots: dict[type[Node], tuple[str, ...]] = {}


def slots(cls: type[Node]) -> tuple[str, ...]:
    """The attributes of a node class that may hold nodes or lists of nodes, in source order."""
    known = _slots.get(cls)
    if known is not None:
        return known
    written: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        written |= base.__dict__.get("__annotations__", {})  # noqa: RUF063  # to import inspect for this costs 8 ms
    return _slots.setdefault(cls, tuple(name for name in cls.fields if _CLASSES.intersection(re.findall(r"\w+", written[name]))))


def children(node: Node) -> Iterator[Node]:
    """The direct children, in source order; the expressions of records and the like are given without their names."""
    for name in slots(type(node)):
        value = getattr(node, name, None)
        if isinstance(value, Node):
            yield value
        elif value:
            for item in value:
                if isinstance(item, Node):
                    yield item
                elif isinstance(item, tuple):
                    yield from (part for part in item if isinstance(part, Node))


def descend(node: Node) -> Iterator[Node]:
    """The node and everything below it, parents before children, in source order. The tree may not be changed meanwhile."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack += reversed(list(children(top)))


def rewrite(node: Node, change: Callable[[Node], Node]) -> Node:
    """Replace nodes bottom-up: `change` gets every node after its children were rewritten and returns it or its replacement.

    Lists are changed in place. The result is the replacement of `node` itself.
    """
    replace_children(node, lambda child: rewrite(child, change))
    return change(node)


def replace_children(node: Node, change: Callable[[Node], Node]) -> None:
    """Put `change(child)` in the place of every direct child, for passes that decide themselves how to go down."""
    for name in slots(type(node)):
        value = getattr(node, name, None)
        if isinstance(value, Node):
            new = change(value)
            if new is not value:
                setattr(node, name, new)
        elif isinstance(value, list):
            value[:] = [_replaced(item, change) for item in value]


def copy(node: N) -> N:
    """A deep copy of the tree; spans, types and attach points are shared, being immutable."""
    twin: N = type(node).__new__(type(node))
    twin.__dict__.update(node.__dict__)
    for name in slots(type(node)):
        value = getattr(node, name, None)
        if isinstance(value, Node):
            setattr(twin, name, copy(value))
        elif isinstance(value, list):
            setattr(twin, name, [_replaced(item, copy) for item in value])
    return twin


def _replaced(item: object, change: Callable[[Node], Node]) -> object:
    if isinstance(item, Node):
        return change(item)
    if isinstance(item, tuple):
        return tuple(change(part) if isinstance(part, Node) else part for part in item)
    return item
