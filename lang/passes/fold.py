"""Constant folding: literals, positional parameters and everything built from them.

Integers are folded exactly and must fit: an overflow of 64 bits is an error, not a wrap (only `<<` drops bits). A result that is not
negative is a literal again, whose sign may adapt to an unsigned partner; a negative one is an int64. `fold()` may be called again on a
tree that later passes made more constant.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pyprobe.lang.config import Config
from pyprobe.lang.diagnostics import Diagnostics
from pyprobe.lang.literals import LiteralError, integer
from pyprobe.lang.nodes import (
    Binary,
    Block,
    Boolean,
    Builtin,
    Call,
    Comptime,
    Expr,
    ExprStatement,
    FieldAccess,
    ForMap,
    ForRange,
    Function,
    If,
    Index,
    Integer,
    Node,
    Positional,
    PositionalCount,
    Record,
    String,
    Ternary,
    Tuple,
    TupleAccess,
    Unary,
    Unroll,
    While,
)
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import replace_children
from pyprobe.lang.source import Span

OVERFLOW = "unable to fold literals due to overflow or underflow"
ALWAYS_EMPTY = "literal string will always be empty"
HAS_BODY = (If, While, Unroll, ForRange, ForMap, Function)
LOW, HIGH, MOST = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1


def run(unit: Unit) -> None:
    for block in unit.blocks():
        if isinstance(block.result, Ternary) and (known := _discarded(block.result)):
            block.statements += [ExprStatement(expr=literal, span=block.result.span) for literal in known]
            block.result = None
    for root in (*unit.blocks(), *(item.body for item in unit.script.items if isinstance(item, Function))):
        fold(root, unit.diagnostics, unit.options.params, unit.config)


def fold(node: Node, diagnostics: Diagnostics, params: list[str], config: Config | None = None) -> Node:
    """Fold everything constant in a tree, in place; returns the replacement of `node` itself. The settings of `config` are constants."""
    return _Folder(diagnostics, params, config).fold(node)


def number(text: str) -> int:
    """The value of a command-line word that is a number, which unlike a literal may be negative or binary.

    Raises LiteralError for any other text.
    """
    digits = text.removeprefix("-")
    value = int(digits[2:], 2) if re.fullmatch("0[bB][01]+", digits) else integer(digits)
    value = -value if digits != text else value
    if not LOW <= value <= MOST:
        raise LiteralError(f"overflow error, maximum value is {MOST}: {text}", 0, len(text))
    return value


class _Folder:
    def __init__(self, diagnostics: Diagnostics, params: list[str], config: Config | None) -> None:
        self._diagnostics = diagnostics
        self._params = params
        self._config = config

    def fold(self, node: Node, text: bool = False) -> Node:
        """`text` says that positional parameters are wanted as their text, as in the first argument of str()."""
        if isinstance(node, Block):
            _spread(node)
        if isinstance(node, Call) and node.name == "str" and node.args:
            node.args[:] = [self.fold(arg, text=not index) for index, arg in enumerate(node.args)]  # type: ignore[misc]  # stays an Expr
        else:
            replace_children(node, lambda child: self._child(node, child, text and isinstance(node, Binary)))
        rule = _RULES.get(type(node))
        if rule is not None:
            return rule(self, node)
        if isinstance(node, Positional):
            return self._positional(node, text)
        if isinstance(node, PositionalCount):
            count = len(self._params)
            return String(value=b"%d" % count, span=node.span) if text else Integer(value=count, span=node.span)
        return node

    def _child(self, parent: Node, node: Node, text: bool) -> Node:
        """Fold a child; a block that is nothing but a constant is that constant, unless it is the body of something."""
        folded = self.fold(node, text)
        if isinstance(folded, Block) and not folded.statements and not isinstance(parent, HAS_BODY) and folded.result is not None:
            return folded.result if _literal(folded.result) else folded
        return folded

    def _positional(self, node: Positional, text: bool) -> Expr:
        if node.index > len(self._params):
            if text:
                return String(value=b"", span=node.span)
            self._diagnostics.warning(f"Positional parameter ${node.index} is empty or not provided. ", node.span)
            return Integer(value=0, span=node.span)
        given = self._params[node.index - 1]
        if not text:
            try:
                value = number(given)
            except LiteralError:
                pass
            else:
                return _integer(value, node.span)
        return String(value=given.encode(errors="surrogateescape"), span=node.span)

    def _error(self, node: Expr, message: str = OVERFLOW) -> Expr:
        self._diagnostics.error(message, node.span)
        return node

    def unary(self, node: Unary) -> Expr:
        operand = node.operand
        if node.op == "!" and isinstance(operand, (Integer, Boolean)):
            return Boolean(value=not operand.value, span=node.span)
        if not isinstance(operand, Integer):
            return node
        if node.op == "-":
            if -operand.value < LOW:
                return self._error(node, "negative value will underflow")
            return _integer(-operand.value, node.span)
        if node.op == "~":
            return _integer(~operand.value & MOST, node.span)
        return node

    def binary(self, node: Binary) -> Expr:
        left, right = node.left, node.right
        if isinstance(left, String) and isinstance(right, String):
            return self._strings(node, left.value, right.value)
        if node.op == "+":
            if isinstance(left, String) and isinstance(right, Integer) and right.value >= 0:
                return self._tail(node, left.value, right.value)
            if isinstance(left, Integer) and isinstance(right, String) and left.value >= 0:
                return self._tail(node, right.value, left.value)
        if not isinstance(left, (Integer, Boolean)) or not isinstance(right, (Integer, Boolean)):
            return node
        a, b = int(left.value), int(right.value)
        if min(a, b) < 0 and max(a, b) > HIGH:
            return self._error(node)
        truth = _LOGIC.get(node.op) or _COMPARE.get(node.op)
        if truth is not None:
            return Boolean(value=truth(a, b), span=node.span)
        value = _arithmetic(node.op, a, b)
        if value is None or not LOW <= value <= MOST:
            return self._error(node)
        if isinstance(left, Boolean) and isinstance(right, Boolean):
            return Boolean(value=bool(value), span=node.span)
        return _integer(value, node.span)

    def _strings(self, node: Binary, a: bytes, b: bytes) -> Expr:
        if node.op == "+":
            return String(value=a + b, span=node.span)
        if node.op in _LOGIC:
            return Boolean(value=_LOGIC[node.op](len(a), len(b)), span=node.span)
        if node.op in _COMPARE:
            return Boolean(value=_COMPARE[node.op](a, b), span=node.span)
        return self._error(node, "illegal literal operation with strings")

    def _tail(self, node: Expr, value: bytes, skip: int) -> Expr:
        if skip >= len(value):
            self._diagnostics.warning(ALWAYS_EMPTY, node.span)
        return String(value=value[skip:], span=node.span)

    def ternary(self, node: Ternary) -> Expr:
        truth = _truth(node.condition)
        if truth is None or not _literal(node.orelse) or not _literal(node.then or node.orelse):
            return node
        if truth:
            return node.condition if node.then is None else node.then
        return node.orelse

    def condition(self, node: If) -> Expr:
        """Only `if comptime` drops the other branch; a plain `if` keeps it, since its types and variables are still checked."""
        if isinstance(node.condition, String):
            node.condition = Boolean(value=bool(node.condition.value), span=node.condition.span)
        truth = _truth(node.condition)
        if not node.comptime:
            if truth is None or not all(branch is not None and _only_literal(branch) for branch in (node.then, node.orelse)):
                return node
            return (node.then if truth else node.orelse) or node
        if truth is None:
            return node
        node.comptime = False
        if truth:
            node.orelse = None
        elif node.orelse is not None:
            node.then, node.orelse = node.orelse, None
            node.condition = Boolean(value=True, span=node.condition.span)
        else:
            node.then.statements[:] = []
            node.then.result = None
        if node.then.result is not None:  # a value needs both branches: the block alone is the same
            return node.then
        return node

    def index(self, node: Index) -> Expr:
        base, index = node.base, node.index
        if not isinstance(index, Integer) or index.value < 0:
            return node
        if isinstance(base, String) and index.value <= len(base.value):
            return Integer(value=(base.value + b"\0")[index.value], span=node.span)
        if isinstance(base, Tuple) and index.value < len(base.items):
            return self._element(node, base, base.items[index.value])
        return node

    def tuple_access(self, node: TupleAccess) -> Expr:
        if isinstance(node.base, Tuple) and node.index < len(node.base.items):
            return self._element(node, node.base, node.base.items[node.index])
        return node

    def field(self, node: FieldAccess) -> Expr:
        if isinstance(node.base, Builtin) and node.base.name == "config" and self._config is not None:
            return self._setting(node, dict(self._config.shown()).get(node.field))
        if isinstance(node.base, Record):
            for name, value in node.base.items:
                if name == node.field:
                    return self._element(node, node.base, value)
        return node

    def _setting(self, node: FieldAccess, value: object) -> Expr:
        if value is None:
            return node
        if isinstance(value, bool):
            return Boolean(value=value, span=node.span)
        return _integer(value, node.span) if isinstance(value, int) else String(value=str(value).encode(), span=node.span)

    def _element(self, node: Expr, base: Tuple | Record, value: Expr) -> Expr:
        items = [item[1] if isinstance(item, tuple) else item for item in base.items]
        if not all(isinstance(item, (Integer, Boolean, String)) for item in items):
            return node  # the other elements may do something when they are evaluated
        value.span = node.span
        return value

    def comptime(self, node: Comptime) -> Expr:
        return node.operand if _literal(node.operand) else node

    def call(self, node: Call) -> Expr:
        """str() of a literal is the literal's text, cut to a literal length."""
        if node.name != "str" or not node.args:
            return node
        given = node.args[0]
        if isinstance(given, Integer):
            given = node.args[0] = String(value=b"%d" % given.value, span=given.span)
        length = node.args[1] if len(node.args) == 2 else None
        if isinstance(given, String) and len(node.args) == 1:
            return String(value=given.value, span=node.span)
        if isinstance(given, String) and isinstance(length, Integer) and length.value >= 0:
            return String(value=given.value[: length.value], span=node.span)
        return node


_RULES: dict[type[Node], Callable[[_Folder, Any], Node]] = {
    Unary: _Folder.unary,
    Binary: _Folder.binary,
    Ternary: _Folder.ternary,
    If: _Folder.condition,
    Index: _Folder.index,
    TupleAccess: _Folder.tuple_access,
    FieldAccess: _Folder.field,
    Comptime: _Folder.comptime,
    Call: _Folder.call,
}

_LOGIC: dict[str, Callable[..., bool]] = {
    "&&": lambda a, b: bool(a) and bool(b),
    "||": lambda a, b: bool(a) or bool(b),
}
_COMPARE: dict[str, Callable[..., bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _arithmetic(op: str, a: int, b: int) -> int | None:
    """The exact result, None where there is none."""
    if op in ("/", "%"):
        if b == 0:
            return None
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        return quotient if op == "/" else a - b * quotient
    if op in ("<<", ">>"):
        if not 0 <= b < 64:
            return None
        if op == ">>":
            return a >> b
        bits = (a << b) & MOST
        return bits - (1 << 64) if a < 0 and bits > HIGH else bits
    return _EXACT[op](a, b)


_EXACT: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
}


def _integer(value: int, span: Span) -> Integer:
    return Integer(value=value, flexible=value >= 0, span=span)


def _literal(node: Expr) -> bool:
    """Whether an expression is a literal, or a tuple or record of literals."""
    if isinstance(node, Tuple):
        return all(_literal(item) for item in node.items)
    if isinstance(node, Record):
        return all(_literal(item) for _, item in node.items)
    return isinstance(node, (Integer, String, Boolean))


def _truth(node: Node) -> bool | None:
    """The truth of a literal, None for everything else."""
    return bool(node.value) if isinstance(node, (Integer, Boolean, String)) else None


def _spread(block: Block) -> None:
    """A choice between literals that nobody takes is a statement for each of them, as bpftrace warns about each."""
    if any(isinstance(s, ExprStatement) and isinstance(s.expr, Ternary) for s in block.statements):
        known = [(s, _discarded(s.expr) if isinstance(s, ExprStatement) and isinstance(s.expr, Ternary) else []) for s in block.statements]
        block.statements = [
            part for s, literals in known for part in ([ExprStatement(expr=e, span=s.span) for e in literals] if literals else [s])
        ]


def _discarded(choice: Ternary) -> list[Expr]:
    """The literals that a choice is between, where its condition is one too; nothing where anything else is in it."""
    found: list[Expr] = []
    for branch in (choice.then or choice.condition, choice.orelse):
        parts = _discarded(branch) if isinstance(branch, Ternary) else [branch] if _literal(branch) else []
        if not parts:
            return []
        found += parts
    return found if _truth(choice.condition) is not None else []


def _only_literal(block: Block) -> bool:
    """Whether a block is nothing but a constant."""
    return not block.statements and block.result is not None and _literal(block.result)
