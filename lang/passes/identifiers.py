"""Bare words that are enum constants, C macros or, in sizeof and its like, types.

What remains is reported by the last check, because a word may also be the argument of a builtin (`nsecs(tai)`).
"""

from __future__ import annotations

from pyprobe.lang.builtins import BUILTINS
from pyprobe.lang.diagnostics import Diagnostics
from pyprobe.lang.nodes import Call, EnumConstant, Expr, Function, Identifier, NamedType, Node, OffsetOf, SizeOf, TypeInfo, TypeOf
from pyprobe.lang.parser import parse_expression
from pyprobe.lang.passes import builtins
from pyprobe.lang.passes.calls import is_library
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import copy, descend, replace_children
from pyprobe.lang.source import Source, Span


def run(unit: Unit) -> None:
    words = _Words(unit)
    for root in (*unit.blocks(), *(item.body for item in unit.script.items if isinstance(item, Function))):
        words.resolve(root)


class _Words:
    """Resolves the words of one script; `_parsed` holds the macro bodies that were parsed, None for those that are no expression."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._types = unit.types
        self._parsed: dict[str, Expr | None] = {}

    def resolve(self, node: Node, chain: tuple[str, ...] = ()) -> Node:
        """Resolve the words in a tree, in place; returns the replacement of `node`. `chain` names the macros being expanded."""
        if isinstance(node, Identifier):
            return self._word(node, chain)
        if isinstance(node, (SizeOf, OffsetOf, TypeOf, TypeInfo)):
            self._type_or_value(node)
        words = isinstance(node, Call) and node.name in BUILTINS
        replace_children(node, lambda child: child if words and self._is_plain_word(child) else self.resolve(child, chain))
        return node

    def _is_plain_word(self, node: Node) -> bool:
        return isinstance(node, Identifier) and node.name not in self._types.macros

    def _type_or_value(self, node: SizeOf | OffsetOf | TypeOf | TypeInfo) -> None:
        """A bare word as operand is a type if there is one of that name, else it stands for a value."""
        operand = node.operand
        if isinstance(operand, (Identifier, NamedType)) and operand.name.isidentifier() and getattr(operand, "size", None) is None:
            is_type = operand.name not in self._types.macros and self._types.named(operand.name) is not None
            node.operand = (NamedType if is_type else Identifier)(name=operand.name, span=operand.span)

    def _word(self, node: Identifier, chain: tuple[str, ...]) -> Node:
        body = self._types.macros.get(node.name, node.name)
        if body != node.name:
            return self._expand(node, body, chain)
        constant = self._types.constant(node.name)
        if constant is not None:
            return EnumConstant(name=node.name, value=constant[0], type=constant[1], span=node.span)
        if node.name in self._types.macros:
            self._unit.diagnostics.error(f"Macro recursion: {node.name}", node.span)
        return node

    def _expand(self, node: Identifier, body: str, chain: tuple[str, ...]) -> Node:
        """The macro's body, parsed as one expression whose places lead back to the use."""
        if node.name in chain:
            self._unit.diagnostics.error(f"Macro recursion: {'->'.join(chain)}", node.span)
            return node
        if node.name not in self._parsed:
            trial = Diagnostics()
            found = parse_expression(Source(node.name, body), trial)
            self._parsed[node.name] = None if trial.failed else found
        parsed = self._parsed[node.name]
        if parsed is None:
            self._unit.diagnostics.error(f"unable to expand macro as an expression: {body}", node.span)
            return node
        expression = copy(parsed)
        parts = list(descend(expression))
        if not self._unit.grow(len(parts), node.span):
            return node
        for part in parts:
            for name, value in vars(part).items():
                if isinstance(value, Span):
                    setattr(part, name, Span(value.source, value.start, value.end, node.span))
        for part in parts:
            if isinstance(part, Call) and is_library(part.name):  # those are expanded before C macros are
                self._unit.diagnostics.error(f"Unknown function: '{part.name}'", part.span)
        return self.resolve(builtins.resolve(expression, in_macro=True), (*chain, node.name))
