"""Type inference for statements: assignments, declarations, loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.lang import nodes as n
from pyprobe.lang.functions import is_aggregation
from pyprobe.lang.passes.control_flow import whole_jump
from pyprobe.lang.passes.infer_calls import says_nothing
from pyprobe.lang.promote import join
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import NONE, VOID, Aggregate, Enum, Integer, String, Tuple, Type

if TYPE_CHECKING:
    from pyprobe.lang.passes.infer import Inference, VariableState


def _assign(self: Inference, node: n.Assign) -> None:
    target = node.target
    if isinstance(target, n.MapAccess):
        state = self.map(target.map.name)
        self.use(state, False, target.span)
        at = node.value if isinstance(node.value, n.Call) and is_aggregation(node.value.name) else target
        self.assign_key(state, self.expr(target.key), at.span)
        target.type = target.map.type = state.value
    elif isinstance(target, n.Map):
        state = self.map(target.name)
        self.use(state, True, target.span)
        target.type = state.value
    if node.op:
        found = _compound(self, node)
    else:
        found = self.expr(node.value)
    if isinstance(target, n.Variable):
        variable = self.variable(target)
        if isinstance(node.value, n.Integer) and not node.op and variable.declared:
            _check_literal(self, variable, node.value, target.name, node.span)
        self.assign_variable(target, found, node.span)
        target.type = variable.type
    else:
        self.assign_map(state, found, node.span, node.value)


def _check_literal(self: Inference, variable: VariableState, value: n.Integer, name: str, span: Span) -> None:
    declared = variable.type
    negative = isinstance(declared, Enum) and value.value < 0
    if negative or (isinstance(declared, Integer) and not declared.low <= value.value <= declared.high):
        self.mismatch(f"${name}", "variable", value.type, declared, span, 2)


def _compound(self: Inference, node: n.Assign) -> Type:
    """`x op= e` has the type of `x op e`."""
    target = node.target
    if isinstance(target, n.Variable):
        before = self.variable(target).type
    else:
        state = self.map(target.name if isinstance(target, n.Map) else target.map.name)
        state.read = True
        before = state.value
    target.type = before
    both = n.Binary(op=node.op.rstrip("="), left=target, right=node.value, span=compound_span(node))
    if isinstance(target, n.Variable) and self.variable(target).declared and isinstance(before, Integer):
        self.expr(both)
        return before
    return self.expr(both)


def compound_span(node: n.Assign) -> Span:
    """Where messages about the operation in `x op= e` point: from the operator on."""
    start, end = node.target.span.end, node.span.end
    text = node.span.source.text[start:end]
    return Span(node.span.source, start + len(text) - len(text.lstrip()), end, node.span.outer)


def _let(self: Inference, node: n.Let) -> None:
    state = self.variable(node.variable)
    if node.spec is not None:
        declared = self.resolve(node.spec)
        if isinstance(declared, Aggregate) or declared is VOID:
            self.error(f"Invalid variable declaration type: {declared}", node.spec.span, 3)
            state.declared, state.type = True, declared
        elif declared is not NONE and not state.declared:
            state.declared = not (isinstance(declared, String) and not declared.size)
            joined = declared if state.declared or state.type is NONE else join(state.type, declared)
            if joined is not None and joined != state.type:
                state.type = joined
                self.changed = True
    if node.value is not None:
        found = self.expr(node.value)
        if isinstance(node.value, n.Integer) and state.declared:
            _check_literal(self, state, node.value, node.variable.name, node.span)
        self.assign_variable(node.variable, found, node.span)
    node.variable.type = state.type


def _while(self: Inference, node: n.While) -> None:
    self.expr(node.condition)
    self.discard(node.body)


def _unroll(self: Inference, node: n.Unroll) -> None:
    self.expr(node.count)
    self.discard(node.body)


def _for_range(self: Inference, node: n.ForRange) -> None:
    start, end = self.expr(node.start), self.expr(node.end)
    last = node.end.span.end
    if isinstance(node.end, (n.Map, n.Builtin, n.Cast)):  # behind these the parser has looked beyond the blanks
        text = node.span.source.text[last:]
        last += len(text) - len(text.lstrip())
    head = Span(node.span.source, node.span.start, last, node.span.outer)
    for word, bound, given in (("start", start, node.start), ("end", end, node.end)):
        if not isinstance(bound, (Integer, Enum)) and (bound is not NONE or says_nothing(given)):
            self.error(f"Loop range requires an integer for the {word} value", head)
    counted = _counted(start, end)
    if isinstance(counted, (Integer, Enum)):
        self.assign_variable(node.variable, counted, node.variable.span)
    node.variable.type = self.variable(node.variable).type
    self.discard(node.body)


def _counted(start: Type, end: Type) -> Type | None:
    """The type in which a loop over a range counts: the larger one of its bounds, of equal ones that of the end; no sign is weighed."""
    if isinstance(start, Integer) and isinstance(end, Integer):
        return start if start.size > end.size else end
    return join(start, end)


def _for_map(self: Inference, node: n.ForMap) -> None:
    state = self.map(node.map.name)
    node.map.type = state.value
    value = state.value
    if state.scalar is True:
        self.error(f"{node.map.name} has no explicit keys (scalar map), and cannot be used for iteration", node.map.span)
    elif value is NONE:
        self.error(f"Undefined map: {node.map.name}", node.map.span, 5)
    elif isinstance(value, Aggregate) and not value.castable:
        self.error(f"Loop expression does not support type: {value}", node.map.span)
    if value is not NONE and state.key is not NONE:
        loop = self.variable(node.variable)
        pair = Tuple((state.key, value))
        if loop.type != pair or join(loop.type, pair) is not loop.type:
            loop.type = pair
            self.changed = True
        node.variable.type = pair
    self.discard(node.body)


def _jump(self: Inference, node: n.Jump) -> None:
    found = self.expr(node.value) if node.value is not None else VOID
    if self.body.function is not None and node.kind == "return":
        returned(self, self.body.function, found, whole_jump(node))


def returned(self: Inference, function: n.Function, found: Type, span: Span) -> None:
    """A function returns a value of this type."""
    wanted = self.resolve(function.result)
    if wanted is not NONE and found is not NONE and (wanted is not found if VOID in (wanted, found) else join(wanted, found) != wanted):
        self.error(f"Function {function.name} is of type {wanted}, cannot return {found}", span)


def _expression(self: Inference, node: n.ExprStatement) -> None:
    if _has_value(node.expr):
        self.expr(node.expr)
    else:
        self.discard(node.expr)


def _has_value(node: n.Expr) -> bool:
    """Whether an expression statement has a value that is dropped: an `if` has none where a branch is missing, or is empty."""
    if isinstance(node, n.If) and not node.comptime:
        return node.then.result is not None and node.orelse is not None and _has_value(node.orelse)
    if isinstance(node, n.Block):
        return node.result is not None and _has_value(node.result)
    return True


def _discard(self: Inference, node: n.Discard) -> None:
    self.expr(node.value)


def _nothing(self: Inference, node: n.Statement) -> None:
    pass


STATEMENTS: dict[type[n.Node], Callable[..., None]] = {
    n.Assign: _assign,
    n.Let: _let,
    n.While: _while,
    n.Unroll: _unroll,
    n.ForRange: _for_range,
    n.ForMap: _for_map,
    n.Jump: _jump,
    n.ExprStatement: _expression,
    n.Discard: _discard,
    n.ImportStatement: _nothing,
}
