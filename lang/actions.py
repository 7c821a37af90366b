"""What each alternative of the grammar builds. The functions carry the names that `grammar.lark` gives after its arrows.

An action gets the values of the alternative's symbols (tokens, or what earlier actions returned), their start offsets and the span of
the whole. It returns the value of the rule, or raises `Mistake`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyprobe.lang import nodes as n
from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.lexer import Mistake, Token, is_builtin
from pyprobe.lang.literals import LiteralError, integer, string
from pyprobe.lang.source import Span

Values = list[Any]
Action = Callable[[Values, Span], Any]

ADDRESS_OF = "address-of operator (&) can only be used on a map or variable"
IMMUTABLE = "Tuples and records are immutable once created. Consider creating a new value and assigning it instead."


# ---- terminals: how a token's text becomes its value, once the parser takes it


def _literal(convert: Callable[[str], Any]) -> Callable[[Token], Any]:
    def value(token: Token) -> Any:
        try:
            return convert(token.text)
        except LiteralError as error:
            raise Mistake(error.message, token.start + error.start, token.start + error.end) from None

    return value


def _variable_name(token: Token) -> str:
    if len(token.text) == 1:
        raise Mistake("expected identifier after '$'", token.start, token.end)
    return token.text[1:]


def _parameter_number(token: Token) -> int:
    digits = token.text[1:]
    number = int(digits) if len(digits) < 30 else 2**63
    if not 1 <= number < 2**63:
        raise Mistake(f"param ${digits} is out of integer range [1, {2**63 - 1}]", token.start, token.end)
    return number


VALUES: dict[str, Callable[[Token], Any]] = {
    "NUMBER": _literal(integer),
    "STRING": _literal(string),
    "VARIABLE": _variable_name,
    "PARAMETER": _parameter_number,
}


def place(token: Token, span: Span) -> Span:
    """The span of a token inside the rule's span."""
    return Span(span.source, token.start, token.end)


# ---- shapes that many rules share. Those in FLAT add no level to the tree.


def none(v: Values, s: Span) -> list[Any]:
    return []


def nothing(v: Values, s: Span) -> None:
    return None


def first(v: Values, s: Span) -> Any:
    return v[0]


def second(v: Values, s: Span) -> Any:
    return v[1]


def one(v: Values, s: Span) -> list[Any]:
    return [v[0]]


def append(v: Values, s: Span) -> list[Any]:
    v[0].append(v[1])
    return v[0]  # type: ignore[no-any-return]  # the first symbol of such a rule is the list


def append_separated(v: Values, s: Span) -> list[Any]:
    v[0].append(v[2])
    return v[0]  # type: ignore[no-any-return]  # as above


FLAT = frozenset(
    ["none", "nothing", "first", "second", "one", "append", "append_separated", "one_name", "append_name", "point", "append_point", "group"]
)


# ---- top level


def config_block(v: Values, s: Span) -> tuple[Span, Span, list[n.ConfigEntry]]:
    return (place(v[0], s), s, v[3])


def setting(v: Values, s: Span) -> n.ConfigEntry:
    value = v[2]
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
    statements = body.statements
    if body.result is not None:
        statements = [*statements, n.ExprStatement(expr=body.result, span=body.result.span)]
    if statements and isinstance(last := statements[-1], n.ExprStatement):
        last.expr = _discarded(last.expr)
    return n.Block(statements=statements, span=body.span)


def _discarded(e: n.Expr) -> n.Expr:
    if isinstance(e, n.Block):
        return _without_value(e)
    if isinstance(e, n.If):
        e.then = _without_value(e.then)
        if e.orelse is not None and not e.orelse.statements and isinstance(e.orelse.result, n.If):
            e.orelse.result = _discarded(e.orelse.result)  # `else if` keeps its shape
        elif e.orelse is not None:
            e.orelse = _without_value(e.orelse)
    return e


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


# ---- expressions


def ternary(v: Values, s: Span) -> n.Ternary:
    return n.Ternary(condition=v[0], then=v[2], orelse=v[4], span=s)


def short_ternary(v: Values, s: Span) -> n.Ternary:
    return n.Ternary(condition=v[0], then=None, orelse=v[3], span=s)


def binary(v: Values, s: Span) -> n.Binary:
    return n.Binary(op=v[1].text, left=v[0], right=v[2], op_span=place(v[1], s), span=s)


def unary(v: Values, s: Span) -> n.Unary:
    return n.Unary(op=v[0].text, operand=v[1], span=s)


def address_of_variable(v: Values, s: Span) -> n.Unary:
    return n.Unary(op="&", operand=n.Variable(name=v[1].value, span=place(v[1], s)), span=s)


def check_place(target: n.Expr, start: int, end: int) -> None:
    """Refuse `++` and `--` on what is no variable or map element; the offsets are what the message is about."""
    if not isinstance(target, n.Variable | n.Map | n.MapAccess):
        raise Mistake("increment/decrement requires a variable or map", start, end)


def pre_increment(v: Values, s: Span) -> n.Increment:
    check_place(v[1], v[1].span.start, v[1].span.end)
    return n.Increment(op=v[0].text, target=v[1], prefix=True, span=s)


def post_increment(v: Values, s: Span) -> n.Increment:
    return n.Increment(op=v[1].text, target=v[0], prefix=False, span=s)


def cast(v: Values, s: Span) -> n.Cast:
    return n.Cast(spec=v[1], operand=v[3], span=Span(s.source, s.start, v[2].end, s.outer))  # messages mark the parentheses


def comptime(v: Values, s: Span) -> n.Comptime:
    return n.Comptime(operand=v[1], span=s)


def field(v: Values, s: Span) -> n.FieldAccess:
    return n.FieldAccess(base=v[0], field=v[2].text, field_span=place(v[2], s), span=s)


def element(v: Values, s: Span) -> n.TupleAccess:
    return n.TupleAccess(base=v[0], index=v[2].value, span=s)


def index(v: Values, s: Span) -> n.Index:
    return n.Index(base=v[0], index=v[2], span=s)


def integer_literal(v: Values, s: Span) -> n.Integer:
    return n.Integer(value=v[0].value, span=s)


def string_literal(v: Values, s: Span) -> n.String:
    return n.String(value=v[0].value, span=s)


def boolean(v: Values, s: Span) -> n.Boolean:
    return n.Boolean(value=v[0].text == "true", span=s)


def parameter(v: Values, s: Span) -> n.Positional:
    return n.Positional(index=v[0].value, span=s)


def count(v: Values, s: Span) -> n.PositionalCount:
    return n.PositionalCount(span=s)


def identifier(v: Values, s: Span) -> n.Identifier:
    return n.Identifier(name=v[0].text, span=s)


def variable(v: Values, s: Span) -> n.Variable:
    return n.Variable(name=v[0].value, span=s)


def map(v: Values, s: Span) -> n.Map:  # the grammar's name for it
    return n.Map(name=v[0].text, span=s)


def map_access(v: Values, s: Span) -> n.MapAccess:
    keys = v[2]
    key = keys[0] if len(keys) == 1 else n.Tuple(items=keys, span=keys[0].span.to(keys[-1].span))
    return n.MapAccess(map=v[0], key=key, span=s)


def call(v: Values, s: Span) -> n.Call:
    return n.Call(name=v[0].text, args=v[2] if len(v) == 4 else [], name_span=place(v[0], s), span=s)


def sizeof(v: Values, s: Span) -> n.SizeOf:
    return n.SizeOf(operand=v[2], span=s)


def typeinfo(v: Values, s: Span) -> n.TypeInfo:
    return n.TypeInfo(operand=v[2], span=s)


def offsetof(v: Values, s: Span) -> n.OffsetOf:
    return n.OffsetOf(operand=v[2], path=v[4], span=s)


def if_then(v: Values, s: Span) -> n.If:
    condition = v[1]
    if isinstance(condition, n.Comptime):
        return n.If(condition=condition.operand, then=v[2], comptime=True, span=s)
    return n.If(condition=condition, then=v[2], span=s)


def if_else(v: Values, s: Span) -> n.If:
    result = if_then(v, s)
    result.orelse = v[4]
    return result


def chained(v: Values, s: Span) -> n.Block:
    """`else if`: the block of the outer `else` holds nothing but the inner `if`."""
    return n.Block(statements=[], result=if_then(v, s), span=s)


def chained_else(v: Values, s: Span) -> n.Block:
    return n.Block(statements=[], result=if_else(v, s), span=s)


def group(v: Values, s: Span) -> n.Expr:
    return v[1]  # type: ignore[no-any-return]  # an expression stands between the parentheses


def tuple_literal(v: Values, s: Span) -> n.Tuple:
    items = [] if len(v) == 2 else [v[1], *(v[3] if len(v) == 5 else [])]
    return n.Tuple(items=items, span=s)


def named(v: Values, s: Span) -> tuple[str, n.Expr, Span]:
    return (v[0].text, v[2], s)


def record(v: Values, s: Span) -> n.Record:
    seen: set[str] = set()
    for name, _, span in v[1]:
        if name in seen:
            raise Mistake(f"Named argument list already contains name: {name}", span.start, span.end)
        seen.add(name)
    return n.Record(items=[(name, value) for name, value, _ in v[1]], span=s)


# ---- types


def one_name(v: Values, s: Span) -> list[str]:
    return [v[0].text]


def append_name(v: Values, s: Span) -> list[str]:
    return [*v[0], v[2].text]


def typeof(v: Values, s: Span) -> n.TypeOf:
    return n.TypeOf(operand=v[2], span=s)


def named_type(v: Values, s: Span) -> n.NamedType:
    return n.NamedType(name=v[0].text, span=s)


def tagged_type(v: Values, s: Span) -> n.NamedType:
    return n.NamedType(name=f"{v[0].text} {v[1].text}", span=s)


def pointer_type(v: Values, s: Span) -> n.PointerType:
    return n.PointerType(to=v[0], span=s)


SIZED = frozenset(["string", "buffer", "inet"])  # types whose brackets hold their size


def array_type(v: Values, s: Span) -> n.TypeSpec:
    count = v[2] if len(v) == 4 else None
    if count is None:
        return n.ArrayType(element=v[0], span=s)
    if count.terminal == "NAME":
        raise Mistake(f"invalid integer suffix '{count.text}'", count.start, count.end)
    if isinstance(v[0], n.NamedType) and v[0].name in SIZED and v[0].size is None:
        return n.NamedType(name=v[0].name, size=count.value, span=s)
    return n.ArrayType(element=v[0], count=count.value, span=s)
