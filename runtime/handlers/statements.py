"""Statements: assignment, declaration, loops and jumps.

A loop that may run for long looks at `halt` in every round, so that Ctrl-C ends it although the handler itself is one call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyprobe.lang import nodes
from pyprobe.runtime.handlers import calls, mapaccess
from pyprobe.runtime.handlers.compiler import Compiler, bare, placed
from pyprobe.runtime.handlers.emitter import Code
from pyprobe.runtime.handlers.expressions import step

SHORT_LOOP = 100_000  # rounds of a loop that need not be interruptible


def _expression(c: Compiler, node: nodes.ExprStatement) -> None:
    expr = node.expr
    if isinstance(expr, nodes.Increment):
        _increment(c, expr)
        return
    if isinstance(expr, nodes.Call):
        statement = calls.STATEMENTS.get(expr.name)
        if statement is not None:
            statement(c, expr)
            return
    code = c.expr(expr)
    if not code.stable:
        c.emitter.emit(bare(code.text))


def _increment(c: Compiler, node: nodes.Increment) -> None:
    if isinstance(node.target, nodes.Variable):
        name = c.variable(node.target)
        c.emitter.emit(f"{name} = {bare(step(node, c.expr(node.target)).text)}")
    else:
        mapaccess.increment(c, node)


def _assign(c: Compiler, node: nodes.Assign) -> None:
    if isinstance(node.target, nodes.Variable):
        _set(c, node.target, c.expr(node.value))
    else:
        mapaccess.assign(c, node)


def _set(c: Compiler, target: nodes.Variable, value: Code) -> None:
    name = c.variable(target)
    if value.text != name:
        c.emitter.emit(f"{name} = {bare(value.text)}")


def _discard(c: Compiler, node: nodes.Discard) -> None:
    _expression(c, placed(nodes.ExprStatement(expr=node.value), node.span))


def _let(c: Compiler, node: nodes.Let) -> None:
    value = c.expr(node.value) if node.value is not None else c.zero(node.variable.type)
    _set(c, node.variable, value)


def _halt(c: Compiler) -> None:
    c.emitter.emit(f"if {c.bind(c.context.halt, 'halt')}: return")


def _while(c: Compiler, node: nodes.While) -> None:
    mark = len(c.emitter.lines)
    condition = c.condition(node.condition)
    if len(c.emitter.lines) == mark:
        with c.emitter.block(f"while {condition}:"):
            _halt(c)
            _loop_body(c, node.body)
        return
    del c.emitter.lines[mark:], c.emitter.spans[mark:]
    with c.emitter.block("while True:"):
        _halt(c)
        c.emitter.emit(f"if not ({c.condition(node.condition)}): break")
        _loop_body(c, node.body)


def _loop_body(c: Compiler, body: nodes.Block) -> None:
    c.statements(body.statements)
    if body.result is not None:
        c.statement(placed(nodes.ExprStatement(expr=body.result), body.result.span))


def _for_range(c: Compiler, node: nodes.ForRange) -> None:
    start, end = c.operands([node.start, node.end])
    known = start.constant is not None and end.constant is not None and end.constant - start.constant <= SHORT_LOOP
    # The script may assign its variable; the loop's own count goes on regardless, as range() does.
    with c.emitter.block(f"for {c.variable(node.variable)} in range({bare(start.text)}, {bare(end.text)}):"):
        if not known:
            _halt(c)
        _loop_body(c, node.body)


def _for_map(c: Compiler, node: nodes.ForMap) -> None:
    storage = c.storage(node.map)
    data = c.bind(storage.data, "m" + node.map.name.replace("@", "_"))
    key, stored = c.emitter.temporary(), c.emitter.temporary()
    missing = c.bind(MISSING, "MISSING")
    with c.emitter.block(f"for {key} in list({data}):"):
        c.emitter.emit(f"{stored} = {data}.get({key}, {missing})")
        c.emitter.emit(f"if {stored} is {missing}: continue")
        value = mapaccess.stored_as_value(c, stored, storage.value)
        c.emitter.emit(f"{c.variable(node.variable)} = ({key}, {value.text})")
        _halt(c)
        _loop_body(c, node.body)


MISSING = calls.MISSING


def _jump(c: Compiler, node: nodes.Jump) -> None:
    if node.kind != "return":
        c.emitter.emit(node.kind)
    elif node.value is None:
        c.emitter.emit("return")
    else:
        c.emitter.emit(f"return {bare(c.expr(node.value).text)}")


STATEMENTS: dict[type[nodes.Statement], Callable[[Compiler, Any], None]] = {
    nodes.ExprStatement: _expression,
    nodes.Assign: _assign,
    nodes.Discard: _discard,
    nodes.Let: _let,
    nodes.While: _while,
    nodes.ForRange: _for_range,
    nodes.ForMap: _for_map,
    nodes.Jump: _jump,
}
