"""The last look at every expression, with all types known: what is still wrong is reported, conversions are written into the tree, and
what only mattered to the compiler is replaced by what it means (sizeof by a number, `x += e` by `x = x + e`).

The tree is rebuilt bottom-up; the functions return the replacement of the node they get. Expressions are in `check_expressions`,
calls in `check_calls`; here are the statements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyprobe.lang import nodes as n
from pyprobe.lang.builtins import BUILTINS
from pyprobe.lang.diagnostics import Diagnostic, Diagnostics
from pyprobe.lang.functions import is_aggregation
from pyprobe.lang.passes import availability, check_expressions
from pyprobe.lang.passes.casts import convert, final, readable, warns_of_conversion
from pyprobe.lang.passes.control_flow import whole_statement, with_semicolon
from pyprobe.lang.passes.infer import Inference
from pyprobe.lang.passes.infer_calls import says_nothing
from pyprobe.lang.passes.infer_statements import compound_span
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import children, copy, descend
from pyprobe.lang.promote import kind
from pyprobe.lang.source import NOWHERE, Span
from pyprobe.lang.typesys import (
    BOOL,
    INT8,
    INT64,
    NONE,
    SUMMARIES,
    UINT64,
    VOID,
    Aggregate,
    Context,
    Enum,
    Integer,
    Pointer,
    String,
    Tuple,
    Type,
)

LARGEST = 1 << 24  # bytes of a value; bpftrace runs out of stack and memory long before
_CONTEXT_KEY = "context cannot be part of a map key"


class Checker:
    """What the checks share: the unit, what inference found, and the way down the tree."""

    def __init__(self, unit: Unit, inference: Inference) -> None:
        self.unit = unit
        self.inference = inference
        self.config = unit.config
        self.diagnostics: Diagnostics = unit.diagnostics
        self.loops = 0  # how many are around what is checked now
        self._calls: set[tuple[int, int]] = set()  # of macros whose value was discarded
        roots = [body.block for body in (*unit.bodies, *unit.functions())]
        self.unknown = {id(node): node for root in roots for node in descend(root) if isinstance(node, n.Identifier)}  # words not reported

    def word(self, node: n.Identifier) -> None:
        """Report a word that nothing defines, once."""
        if self.unknown.pop(id(node), None) is not None:
            self.error(f"Unknown identifier: '{node.name}'", node.span)

    def silence(self, node: n.Node) -> None:
        """Report no words in a part of the tree that is not looked at."""
        for part in descend(node):
            self.unknown.pop(id(part), None)

    def error(self, message: str, span: Span) -> Diagnostic:
        return self.diagnostics.error(message, span)

    def loop(self, body: n.Block) -> n.Block:
        """Check the body of a loop."""
        self.loops += 1
        body = self.block(body)
        self.loops -= 1
        return body

    def discarded(self, node: n.ExprStatement, expr: n.Expr, whole: Span) -> None:
        """Warn about a value that nobody takes; for what a macro does, once and where it is called. whole: the place of the statement."""
        call = expr.span
        while call.outer is not None and not call.outer.text.startswith("import"):
            call = call.outer
        if call is not expr.span:
            if (call.start, call.end) not in self._calls:
                self._calls.add((call.start, call.end))
                self.warning("Return value discarded.", call if self._is_last(call) else with_semicolon(call))
            return
        self.warning("Return value discarded.", expr.span if node.span == NOWHERE or self._is_last(node.span) else whole)

    def _is_last(self, span: Span) -> bool:
        """Whether nothing but the ends of blocks follows a statement, also where it is the last one of the last block."""
        return not span.source.text[span.end : self.inference.body.block.span.end].strip("; \t\n}")

    def size(self, t: Type, span: Span) -> bool:
        """Whether values of a type may be that large; reports it if not."""
        if isinstance(t, String) and t.size > self.config.max_strlen:
            text = f"String type is too long (over {self.config.max_strlen} bytes): {t}"
            self.error(text, span).hint("Increase BPFTRACE_MAX_STRLEN.")
        elif t.size > LARGEST:
            self.error(f"Type is too large (over {LARGEST} bytes): {t}", span)
        else:
            return True
        return False

    def warning(self, message: str, span: Span) -> Diagnostic:
        return self.diagnostics.warning(message, span)

    def expr(self, node: n.Expr) -> n.Expr:
        """Check an expression; the result has a final type."""
        rule = check_expressions.RULES.get(type(node))
        if rule is not None:
            node = rule(self, node)
        node.type = final(node.type)
        if node.type.size > LARGEST:
            self.size(node.type, node.span)
        return node

    def block(self, block: n.Block) -> n.Block:
        statements: list[n.Statement] = []
        for statement in block.statements:
            found = _STATEMENTS[type(statement)](self, statement)
            if isinstance(found, list):
                statements += found
            else:
                statements.append(found)
        block.statements = statements
        result = block.result
        if result is not None and block.type is VOID:  # nobody takes the value
            last = _expression(self, n.ExprStatement(expr=result))  # without a place: it was no statement
            statements += last if isinstance(last, list) else [last]
            block.result = None
        elif result is not None:
            block.result = self.expr(result)
        block.type = final(block.type)
        return block

    def condition(self, node: n.Expr, span: Span) -> n.Expr:
        """A condition: whole numbers, bools and pointers have a truth; a string only where it is a constant."""
        before = node.type
        checked = self.expr(node)
        if not (isinstance(before, (Integer, Enum, Pointer)) or before is BOOL or isinstance(node, n.String)):
            self.error(f"Invalid condition: {kind(before)}", span)
        if isinstance(checked, n.String):
            return n.Boolean(value=bool(checked.value), type=BOOL, span=checked.span)
        return checked

    def map_key(self, name: str) -> Type:
        return final(self.inference.map(name).key)

    def map_value(self, name: str) -> Type:
        return final(self.inference.map(name).value)

    def key(self, name: str, node: n.Expr, span: Span) -> n.Expr:
        """A key, converted to the type that the map's keys have."""
        t = node.type
        stored = self.store(node, self.map_key(name))
        if isinstance(t, Tuple):
            inner = next((e for e in t.elements if isinstance(e, Aggregate) and not e.castable), None)
            if inner is not None:
                self.error(f"{inner} cannot be part of a map key", span)
            if any(isinstance(e, Context) for e in t.elements):
                self.error(_CONTEXT_KEY, span)
            if NONE in t.elements:
                self.error(f"Invalid map key type: {NONE}", span)
        elif isinstance(t, Context):
            self.error(_CONTEXT_KEY, node.span)
        elif t is NONE:
            self.error(f"Invalid map key type: {t}", node.span)
        return stored

    def read(self, node: n.Expr) -> n.Expr:
        """An aggregation read as an integer, where it can be; other expressions as they are."""
        return convert(node, readable(node.type), None) if isinstance(node.type, Aggregate) else node

    def store(self, value: n.Expr, to: Type) -> n.Expr:
        """A value, checked and converted to the type of the place it is assigned to."""
        source = value.type
        value = self.expr(value)
        if isinstance(value.type, Aggregate) and isinstance(to, Aggregate):
            return value
        return convert(self.read(value), to, self.diagnostics, source)


# ---- statements

Result = n.Statement | list[n.Statement]


_EARLY = ("Unable to resolve comptime", "call to len()")
"""How messages begin that come before those about whole statements."""


def _expression(check: Checker, node: n.ExprStatement) -> Result:
    expr = node.expr
    if expr.type is VOID and isinstance(expr, n.Ternary) and expr.then is not None:
        expr = n.If(condition=expr.condition, then=_alone(expr.then), orelse=_alone(expr.orelse), type=VOID, span=expr.span)
    before = len(check.diagnostics.items)
    whole = whole_statement(node)
    node.expr = expr = check.expr(expr)
    failed = any(found.message.startswith(_EARLY) for found in check.diagnostics.items[before:])
    if not failed and expr.type is not NONE and expr.type is not VOID and not isinstance(expr, n.Increment):
        check.discarded(node, expr, whole)
    if isinstance(expr, n.Call) and expr.name == "exit":
        return [node, n.Jump(kind="return", span=node.span)]
    return node


def _alone(expr: n.Expr) -> n.Block:
    return n.Block(statements=[n.ExprStatement(expr=expr)], type=VOID, span=expr.span)


def _assign(check: Checker, node: n.Assign) -> Result:
    target = node.target
    if node.op:
        node.value = n.Binary(op=node.op.rstrip("="), left=copy(target), right=node.value, span=compound_span(node))
        check.inference.expr(node.value)
        node.op = ""
    if isinstance(target, n.Variable):
        _variable(check, target, node.value, node.span)
        node.value = check.store(node.value, target.type)
        if _untyped(target.type) and _untyped(node.value.type):
            check.error(_NO_VALUE, node.span)
        return node
    nothing = _untyped(node.value.type) and not (isinstance(node.value, n.Call) and is_aggregation(node.value.name))
    if nothing:
        _nothing_for_map(check, target, node.span)
    if isinstance(target, n.MapAccess):
        name = target.map.name
        key = check.map_key(name)
        if _untyped(key):
            check.error(f"Undefined map: {name}", target.map.span)
        target.key = check.key(name, target.key, target.span)
        target.map.type = check.map_value(name)
    else:
        name = target.name
    target.type = check.map_value(name)
    if nothing:
        node.value = check.expr(node.value)
        return node
    if isinstance(target.type, Aggregate):
        return _aggregate(check, node)
    node.value = check.store(node.value, target.type)
    return node


_NO_VALUE = "Invalid expression for assignment"


def _untyped(t: Type) -> bool:
    """Whether values of a type are no values: there is nothing in one, or in a part of a tuple."""
    return t is NONE or (isinstance(t, Tuple) and any(map(_untyped, t.elements)))


def _variable(check: Checker, variable: n.Variable, value: n.Expr, span: Span) -> None:
    """Note the variable's final type; when it has one, a value without a type does not fit."""
    variable.type = final(check.inference.variable(variable).type)
    if _untyped(value.type) and not _untyped(variable.type):
        known = f"when variable already has a type '{variable.type}'"
        check.error(f"Type mismatch for ${variable.name}: trying to assign value of type '{NONE}' {known}", span)


def _nothing_for_map(check: Checker, target: n.Expr, span: Span) -> None:
    """A map, or an element of it, is assigned what has no value."""
    name = target.map.name if isinstance(target, n.MapAccess) else target.name if isinstance(target, n.Map) else ""
    known = check.map_value(name)
    held = f"when map already has a value type '{INT8 if _untyped(known) else known}'"
    check.error(f"Type mismatch for {name}: trying to assign value of type '{NONE}' {held}", span)


_OF_EITHER_SIGN = frozenset((*SUMMARIES, "tseries"))


def _aggregate(check: Checker, node: n.Assign) -> Result:
    """`@x = { statements; count() }` becomes the statements and the plain assignment."""
    before: list[n.Statement] = []
    value = node.value
    while isinstance(value, n.Block) and value.result is not None:
        result = value.result
        value.result = None
        value.type = VOID
        before += check.block(value).statements
        value = result
    node.value = value = check.expr(value)
    if isinstance(value, n.Call):
        value.type = to = node.target.type
        assert isinstance(to, Aggregate)
        if value.args and to.function in _OF_EITHER_SIGN and isinstance(value.args[0], n.Expr):
            value.args[0] = convert(value.args[0], INT64 if to.signed else UINT64, None)
    if not before:
        return node
    return n.ExprStatement(expr=n.Block(statements=[*before, node], type=VOID, span=node.span), span=node.span)


def _discard(check: Checker, node: n.Discard) -> Result:
    node.value = check.expr(node.value)
    return node


def _let(check: Checker, node: n.Let) -> Result:
    state = check.inference.variable(node.variable)
    if node.value is None and state.type is NONE:
        return []  # never used, or reported where it is
    node.variable.type = final(state.type)
    if node.spec is not None:
        check.size(node.variable.type, (node.value or node.spec).span)
    node.spec = None  # the variable has its type
    if node.value is not None:
        _variable(check, node.variable, node.value, node.span)
        node.value = check.store(node.value, node.variable.type)
        if _untyped(node.value.type) and _untyped(node.variable.type):
            check.error(_NO_VALUE, node.span)
    return node


def _while(check: Checker, node: n.While) -> Result:
    t = node.condition.type
    if t is NONE and not says_nothing(node.condition):
        node.condition = check.expr(node.condition)
    elif t is NONE or t is VOID or t is BOOL or isinstance(t, (Integer, Enum, Pointer)):
        node.condition = check.condition(node.condition, node.span)
    else:  # unlike elsewhere, everything has a truth here
        node.condition = n.Cast(spec=None, operand=check.read(check.expr(node.condition)), type=BOOL, span=node.condition.span)
    node.body = check.loop(node.body)
    return node


def _unroll(check: Checker, node: n.Unroll) -> Result:
    """The body as often as was written; that the number is a constant within bounds was checked long before."""
    body = check.block(node.body)
    times = node.count.value if isinstance(node.count, n.Integer) else 1
    if times > 1 and not check.unit.grow((times - 1) * sum(1 for _ in descend(body)), node.span):
        return []
    return [n.ExprStatement(expr=copy(body) if i else body, span=node.span) for i in range(times)]


def _for_range(check: Checker, node: n.ForRange) -> Result:
    node.variable.type = final(check.inference.variable(node.variable).type)
    node.start = check.store(node.start, node.variable.type)
    node.end = check.store(node.end, node.variable.type)
    return _loop(check, node)


def _for_map(check: Checker, node: n.ForMap) -> Result:
    node.map.type = check.map_value(node.map.name)
    node.variable.type = final(check.inference.variable(node.variable).type)
    return _loop(check, node)


def _loop(check: Checker, node: n.ForRange | n.ForMap) -> Result:
    """The body of a `for` loop, which is a function of its own: what belongs to the event is out of its reach."""
    beyond = [found for found in _outside_loops(node.body) if isinstance(found, n.Builtin) and BUILTINS[found.name].contextual]
    node.body = check.loop(node.body)
    for found in beyond:
        unavailable = availability.refusal(found, check.inference.body.point) if found.name == "args" else ""
        check.error(unavailable or f"'{found.name}' builtin is not allowed in a for-loop", found.span)
    return node


def _outside_loops(block: n.Node) -> Iterator[n.Node]:
    """As descend(), without the bodies of the `for` loops within."""
    stack = [block]
    while stack:
        top = stack.pop()
        yield top
        body = top.body if isinstance(top, (n.ForRange, n.ForMap)) else None
        stack += [child for child in reversed(list(children(top))) if child is not body]


def _jump(check: Checker, node: n.Jump) -> Result:
    if node.value is not None:
        given = node.value.type
        node.value = check.expr(node.value)
        if not isinstance(given, (Integer, Enum)):
            check.error(f"Probe return values can only be integers. Found {given}", _to_semicolon(node.span.to(node.value.span)))
    return node


def _to_semicolon(span: Span) -> Span:
    """The stretch with the white space and the semicolon that follow."""
    text = span.source.text
    end = len(text) - len(text[span.end :].lstrip())
    return Span(span.source, span.start, end + (text[end : end + 1] == ";" != text[span.end - 1 : span.end]), span.outer)


def _import(check: Checker, node: n.ImportStatement) -> Result:
    return []  # what it imports is there already


_STATEMENTS: dict[type[n.Node], Callable[..., Result]] = {
    n.ExprStatement: _expression,
    n.Assign: _assign,
    n.Discard: _discard,
    n.Let: _let,
    n.While: _while,
    n.Unroll: _unroll,
    n.ForRange: _for_range,
    n.ForMap: _for_map,
    n.Jump: _jump,
    n.ImportStatement: _import,
}


_MAYBE_NOTHING = (n.Call, n.Ternary, n.If, n.Block)


def run(unit: Unit) -> None:
    """Check and convert all bodies."""
    assert unit.inference is not None
    checker = Checker(unit, unit.inference)
    known = len(unit.diagnostics.items)
    for index in range(len(unit.bodies)):
        body = unit.inference.enter(index)
        body.block = checker.block(body.block)
    for word in list(checker.unknown.values()):  # in what is only looked at for its type
        checker.word(word)
    for node in (node for body in unit.bodies for node in descend(body.block) if isinstance(node, _MAYBE_NOTHING) and node.type is NONE):
        node.type = VOID  # exit() and its like have less than void until here, where nobody asks any more
    found = unit.diagnostics.items[known:]
    unit.diagnostics.items[known:] = sorted(found, key=lambda d: not warns_of_conversion(d))  # bpftrace converts before it checks
