"""What each alternative of the grammar builds. The functions carry the names that `grammar.lark` gives after its arrows.

An action gets the values of the alternative's symbols (tokens, or what earlier actions returned), their start offsets and the span of
the whole. It returns the value of the rule, or raises `Mistake`.
"""

from __future__ import annotations

from typing import Any

from pyprobe.lang import nodes as n
from pyprobe.lang.action_expressions import variable
from pyprobe.lang.action_shapes import Values, place
from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.lexer import Mistake, is_builtin
from pyprobe.lang.source import Span

IMMUTABLE = "Tuples and records are immutable once created. Consider creating a new value and assigning it instead."

# ---- top level


def config_block(v: Values, s: Span) -> tuple[Span, Span, list[n.ConfigEntry]]:
    return (place(v[0], s), s, v[3])


def setting(v: Values, s: Span) -> n.ConfigEntry:
    value = v[2]
    s = Span(s.source, s.start, value.span.end)
    if isinstance(value, n.String):
        return n.ConfigEntry(name=v[0].text, value=value.value.decode("utf-8", "surrogateescape"), is_string=True, span=s)
    return n.ConfigEntry(name=v[0].text, value=value.name if isinstance(value, n.Identifier) else value.value, span=s)


def root_import(v: Values, s: Span) -> n.Import:
    return n.Import(path=v[1].value.decode("utf-8", "surrogateescape"), span=Span(s.source, s.start, v[1].end))


def point(v: Values, s: Span) -> list[AttachPoint]:
    return [AttachPoint(v[0].text, s)]


def append_point(v: Values, s: Span) -> list[AttachPoint]:
    v[0].append(AttachPoint(v[2].text, place(v[2], s)))
    return v[0]  # type: ignore[no-any-return]  # as above


def probe(v: Values, s: Span) -> n.Probe:
    return n.Probe(points=v[0], predicate=v[1], body=_without_value(v[2]), span=s)


def macro(v: Values, s: Span) -> n.Macro:
    return n.Macro(name=v[1].text, parameters=v[3], body=v[5], name_span=place(v[1], s), span=s)


def function(v: Values, s: Span) -> n.Function:
    return n.Function(name=v[1].text, parameters=v[3], result=v[6], body=v[7], name_span=place(v[1], s), span=s)


def map_declaration(v: Values, s: Span) -> n.MapDeclaration:
    if v[5].terminal == "NAME":
        raise Mistake(f"invalid integer suffix '{v[5].text}'", v[5].start, v[5].end)
    return n.MapDeclaration(
        map=n.Map(name=v[1].text, span=place(v[1], s)), kind=v[3].text, capacity=v[5].value, kind_span=place(v[3], s), span=s
    )


def expression_parameter(v: Values, s: Span) -> n.Parameter:
    if is_builtin(v[0].text):
        raise Mistake(f"builtin '{v[0].text}' can't be used as a macro argument", s.start, s.end)
    return n.Parameter(name=v[0].text, kind="expr", span=s)


def variable_parameter(v: Values, s: Span) -> n.Parameter:
    return n.Parameter(name=v[0].value, kind="variable", span=s)


def map_parameter(v: Values, s: Span) -> n.Parameter:
    return n.Parameter(name=v[0].text, kind="map", span=s)


def typed_parameter(v: Values, s: Span) -> n.Parameter:
    return n.Parameter(name=v[0].value, kind="variable", spec=v[2], span=s)


# ---- statements


def block(v: Values, s: Span) -> n.Block:
    return n.Block(statements=v[1], span=s)


def block_with_result(v: Values, s: Span) -> n.Block:
    last = v[2]
    if isinstance(last, n.ExprStatement):
        return n.Block(statements=v[1], result=last.expr, span=s)
    return n.Block(statements=[*v[1], last], span=s)


def _without_value(body: n.Block) -> n.Block:
    """A block whose value nobody can use: what it ends in becomes a statement, also in the branches of an `if` there."""
    waiting = [body]
    while waiting:
        block = waiting.pop()
        if block.result is not None:
            block.statements.append(n.ExprStatement(expr=block.result, span=block.result.span))
            block.result = None
        last = block.statements[-1] if block.statements else None
        e = last.expr if isinstance(last, n.ExprStatement) else None
        while isinstance(e, n.If):
            waiting.append(e.then)
            chained = e.orelse is not None and not e.orelse.statements and isinstance(e.orelse.result, n.If)
            e = e.orelse.result if e.orelse is not None and chained else e.orelse  # `else if` keeps its shape
        if isinstance(e, n.Block):
            waiting.append(e)
    return body


def expression_statement(v: Values, s: Span) -> n.ExprStatement:
    return n.ExprStatement(expr=v[0], span=s)


def self_ending(v: Values, s: Span) -> n.ExprStatement:
    if not isinstance(v[0], n.If | n.Ternary | n.Block):
        raise Mistake("expected ';'", v[1].start, v[1].start)  # an empty stretch: the word that follows
    return n.ExprStatement(expr=v[0], span=v[0].span)


def assign(v: Values, s: Span) -> n.Assign:
    target = v[0]
    if isinstance(target, n.FieldAccess | n.TupleAccess):
        raise Mistake(IMMUTABLE, s.start, s.end)
    if not isinstance(target, n.Variable | n.Map | n.MapAccess):
        raise Mistake("invalid assignment target", s.start, s.end)
    return n.Assign(target=target, op=v[1].text[:-1], value=v[2], span=s)


compound_assign = assign


def discard(v: Values, s: Span) -> n.Discard:
    return n.Discard(value=v[2], span=s)


def _let(v: Values, s: Span, spec: n.TypeSpec | None, value: n.Expr | None) -> n.Let:
    return n.Let(variable=n.Variable(name=v[1].value, span=place(v[1], s)), spec=spec, value=value, span=s)


def declare(v: Values, s: Span) -> n.Let:
    return _let(v, s, None, None)


def declare_typed(v: Values, s: Span) -> n.Let:
    return _let(v, s, v[3], None)


def declare_value(v: Values, s: Span) -> n.Let:
    return _let(v, s, None, v[3])


def declare_typed_value(v: Values, s: Span) -> n.Let:
    return _let(v, s, v[3], v[5])


def jump(v: Values, s: Span) -> n.Jump:
    return n.Jump(kind=v[0].text, span=s)


def return_value(v: Values, s: Span) -> n.Jump:
    return n.Jump(kind="return", value=v[1], span=s)


def import_statement(v: Values, s: Span) -> n.ImportStatement:
    return n.ImportStatement(path=v[1].value.decode("utf-8", "surrogateescape"), span=Span(s.source, s.start, v[1].end))


def while_loop(v: Values, s: Span) -> n.While:
    return n.While(condition=v[1], body=_without_value(v[2]), span=s)


def unroll(v: Values, s: Span) -> n.Unroll:
    return n.Unroll(count=v[1], body=_without_value(v[2]), span=s)


def range(v: Values, s: Span) -> tuple[n.Variable, n.Expr, n.Expr]:  # the grammar's name for it
    return (variable(v, place(v[0], s)), v[2], v[4])


def over_map(v: Values, s: Span) -> tuple[n.Variable, n.Map]:
    return (variable(v, place(v[0], s)), v[2])


def _for(header: tuple[Any, ...], body: n.Block, s: Span) -> n.Statement:
    body = _without_value(body)
    if len(header) == 2:
        return n.ForMap(variable=header[0], map=header[1], body=body, span=s)
    return n.ForRange(variable=header[0], start=header[1], end=header[2], body=body, span=s)


def for_loop(v: Values, s: Span) -> n.Statement:
    return _for(v[1], v[2], s)


def for_loop_enclosed(v: Values, s: Span) -> n.Statement:
    return _for(v[2], v[4], s)
