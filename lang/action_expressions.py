"""What each alternative of the grammar builds for expressions and types; see `lang.actions`."""

from __future__ import annotations

from pyprobe.lang import nodes as n
from pyprobe.lang.action_shapes import Values, place
from pyprobe.lang.lexer import Mistake
from pyprobe.lang.source import Span

ADDRESS_OF = "address-of operator (&) can only be used on a map or variable"


def choice(v: Values, s: Span) -> tuple[n.Expr, n.Expr | None]:
    return (v[0], v[2])


def short_choice(v: Values, s: Span) -> tuple[n.Expr, n.Expr | None]:
    return (v[0], None)


def more_choices(v: Values, s: Span) -> list[tuple[n.Expr, n.Expr | None]]:
    v[0].append(v[1])  # unlike a list's next item, a level deeper than what was before it
    return v[0]  # type: ignore[no-any-return]  # the first symbol of the rule is the list


def ternary(v: Values, s: Span) -> n.Expr:
    result: n.Expr = v[1]
    for condition, then in reversed(v[0]):
        span = Span(s.source, condition.span.start, s.end, s.outer)
        result = n.Ternary(condition=condition, then=then, orelse=result, span=span)
    return result


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


Branch = tuple[int, n.Expr, n.Block]  # where the `if` begins, its condition and its block


def branch(v: Values, s: Span) -> list[Branch]:
    return [(s.start, v[1], v[2])]


def else_if(v: Values, s: Span) -> list[Branch]:
    v[0].append((v[2].start, v[3], v[4]))
    return v[0]  # type: ignore[no-any-return]  # the first symbol of the rule is the list


def if_then(v: Values, s: Span) -> n.If:
    return _chain(v[0], None, s)


def if_else(v: Values, s: Span) -> n.If:
    return _chain(v[0], v[2], s)


def _chain(branches: list[Branch], orelse: n.Block | None, s: Span) -> n.If:
    """`else if`: the block of the outer `else` holds nothing but the inner `if`."""
    *outer, (start, condition, then) = branches
    result = _if(condition, then, orelse, Span(s.source, start, s.end, s.outer))
    for start, condition, then in reversed(outer):
        orelse = n.Block(statements=[], result=result, span=result.span)
        result = _if(condition, then, orelse, Span(s.source, start, s.end, s.outer))
    return result


def _if(condition: n.Expr, then: n.Block, orelse: n.Block | None, s: Span) -> n.If:
    if isinstance(condition, n.Comptime):
        return n.If(condition=condition.operand, then=then, orelse=orelse, comptime=True, span=s)
    return n.If(condition=condition, then=then, orelse=orelse, span=s)


def group(v: Values, s: Span) -> n.Expr:
    return v[1]  # type: ignore[no-any-return]  # an expression stands between the parentheses


def tuple_literal(v: Values, s: Span) -> n.Tuple:
    items = [] if len(v) == 2 else [v[1], *(v[3] if len(v) > 4 else [])]
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
