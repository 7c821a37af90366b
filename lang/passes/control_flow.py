"""Where `break`, `continue`, `return` and exit() may stand, and what can never be reached after them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyprobe.lang.lexer import LAYOUT, after_layout
from pyprobe.lang.nodes import (
    Binary,
    Block,
    Call,
    Expr,
    ExprStatement,
    ForMap,
    ForRange,
    Function,
    If,
    Increment,
    Jump,
    Macro,
    Node,
    Probe,
    Statement,
    Ternary,
    While,
)
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import children
from pyprobe.lang.source import Span


def run(unit: Unit) -> None:
    for item in unit.script.items:
        if isinstance(item, Probe):
            _Flow(unit, "probe").whole(item.body, item.predicate)
        elif isinstance(item, Function):
            _Flow(unit, "function").whole(item.body)
        elif isinstance(item, Macro):
            _Flow(unit, "macro").whole(item.body)


class _Flow:
    """The check of one probe, function or macro (`owner`). Every method that visits something answers whether control ends there."""

    def __init__(self, unit: Unit, owner: str) -> None:
        self._diagnostics = unit.diagnostics
        self._owner = owner
        self._loops: list[str] = []  # the kinds of the loops around, innermost last
        self._gives_value: bool | None = None  # whether the first return inside a loop had a value

    def whole(self, body: Block, predicate: Expr | None = None) -> None:
        if predicate is not None:
            self._any(predicate)
        ended = self._statements(body)
        if body.result is not None:
            self._any(body.result)
            if ended and self._owner == "probe":
                self._diagnostics.warning("Unreachable statement.", body.span)

    def _statements(self, block: Block) -> bool:
        ended = False
        never = False
        for statement in block.statements:
            if ended and self._owner == "probe":  # the first one after each jump is enough
                self._diagnostics.warning("Unreachable statement.", self._place(block, statement))
            ended = self._statement(statement)
            never |= ended
        return never

    def _place(self, block: Block, statement: Statement) -> Span:
        """An expression without a semicolon at the end is the value of its block, and the block is what is marked."""
        if isinstance(statement, ExprStatement) and statement is block.statements[-1] and statement.span == statement.expr.span:
            after = whole_statement(statement)
            return block.span if after == statement.span or isinstance(statement.expr, (If, Block)) else after
        return whole_statement(statement)

    def _block(self, block: Block) -> bool:
        ended = self._statements(block)
        if block.result is None:
            return ended
        if ended and self._owner == "probe":
            self._diagnostics.warning("Unreachable expression; block type is implicitly none.", block.result.span)
            block.statements.append(ExprStatement(expr=block.result, span=block.result.span))
            block.result = None
            return True
        return self._any(block.result)

    def _statement(self, statement: Statement) -> bool:
        if isinstance(statement, Jump):
            self._jump(statement)
            return True
        if isinstance(statement, (While, ForRange, ForMap)):
            kind = "while" if isinstance(statement, While) else "for"
            ended = self._each(child for child in children(statement) if child is not statement.body)
            self._loops.append(kind)
            self._block(statement.body)
            self._loops.pop()
            return ended
        return self._each(children(statement))

    def _each(self, nodes: Iterable[Node]) -> bool:
        """Visit all of them, also behind one that ends."""
        return max([self._any(node) for node in nodes], default=False)

    def _any(self, node: Node) -> bool:
        if isinstance(node, Block):
            return self._block(node)
        if isinstance(node, Statement):
            return self._statement(node)
        if isinstance(node, (If, Ternary)):
            first, *branches = [self._any(child) for child in children(node)]
            return first or (len(branches) == 2 and all(branches))
        if isinstance(node, Binary) and node.op in ("&&", "||"):
            left, _ = self._any(node.left), self._any(node.right)
            return left
        inside = self._each(children(node))
        if isinstance(node, Call) and node.name == "exit" and len(node.args) <= 1:
            if "for" in self._loops and self._owner != "macro":
                self._refuse("return", f"{self._loops[-1]}-loop", node)
            return True
        return inside

    def _jump(self, jump: Jump) -> None:
        if jump.value is not None:
            self._any(jump.value)
        if jump.kind != "return":
            if not self._loops:
                self._refuse(jump.kind, self._owner, jump)
        elif self._owner == "macro":
            self._refuse("return", f"{self._loops[-1]}-loop" if self._loops else "macro", jump)
        elif self._loops:
            if self._gives_value is None:
                self._gives_value = jump.value is not None
            elif self._gives_value != (jump.value is not None):
                self._diagnostics.error("Return value used in loop is inconsistent", whole_jump(jump))

    def _refuse(self, kind: str, place: str, node: Node) -> None:
        span = whole_jump(node) if isinstance(node, Jump) else node.span
        self._diagnostics.error(f"'{kind}' statement is not allowed in a {place}", span)


def open_ends(block: Block) -> list[Span]:
    """The places at which a body is left without a `return`: what stands last on each way through it, or the block where that is no
    expression."""
    last: Node | None = block.result if block.result is not None or not block.statements else block.statements[-1]
    if isinstance(last, Jump):
        return []
    if isinstance(last, ExprStatement):
        last = last.expr
    if isinstance(last, (While, ForRange, ForMap)):
        return [last.span]
    return _open_ends(last) if isinstance(last, Expr) else [block.span]


def _open_ends(node: Expr) -> list[Span]:
    if isinstance(node, Block):
        return open_ends(node)
    if isinstance(node, Ternary):
        return [*_open_ends(node.then if node.then is not None else node.condition), *_open_ends(node.orelse)]
    if not isinstance(node, If):
        return [node.span]
    if node.orelse is not None:
        return [*_open_ends(node.then), *_open_ends(node.orelse)]
    end = after_layout(node.span.source.text, node.span.end)
    return [*_open_ends(node.then), Span(node.span.source, end, end, node.span.outer)]


def whole_statement(statement: Statement) -> Span:
    """The place of a statement as messages show it: with the semicolon, or with the blanks behind where it needs none; a variable or
    map ends before the semicolon, what is computed from one before the blanks. An expression that ends a block is only itself."""
    span = statement.span
    if isinstance(statement, Jump):
        return whole_jump(statement)
    if not isinstance(statement, ExprStatement) or not span.source.text:
        return span
    if span.text.startswith(("$", "@")):
        behind = _NOTHING if isinstance(statement.expr, (Binary, Increment)) else _BLANKS
    else:
        behind = _BEHIND if isinstance(statement.expr, (If, Block)) else _SEMICOLON
    after = behind.match(span.source.text, span.end)
    return Span(span.source, span.start, after.end(), span.outer) if after else span


def with_semicolon(span: Span) -> Span:
    """The stretch with the semicolon that follows."""
    after = _SEMICOLON.match(span.source.text, span.end)
    return Span(span.source, span.start, after.end(), span.outer) if after else span


def whole_jump(jump: Jump) -> Span:
    """The place of a jump as messages show it: with the semicolon, or with the blanks before the brace that ends the block."""
    span = jump.span
    if not span.source.text or span.text.endswith(";"):
        return span
    after = _BEHIND.match(span.source.text, span.end)
    return Span(span.source, span.start, after.end() if after else span.end, span.outer)


_NOTHING = re.compile("")
_BLANKS = re.compile(LAYOUT, re.S)
_SEMICOLON = re.compile(rf"{LAYOUT};", re.S)
_BEHIND = re.compile(rf"{LAYOUT};?", re.S)
