"""The syntax tree.

One class a construct, plain attributes, keyword construction: `Binary(op="+", left=a, right=b, span=s)`. Defaults are class
attributes. The classes are made by a five-line base instead of `dataclasses`, because defining seventy dataclasses costs more
than parsing a script. Passes rewrite trees in place or return replacements (see `lang.passes`); `children()` and `rewrite()` in
`lang.passes.walk` are the one way to go through a tree.

What is left after the last pass (the typed tree that `runtime.handlers` compiles) is listed in `lang.program`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

from pyprobe.lang.source import NOWHERE, Span
from pyprobe.lang.typesys import NONE, Type

if TYPE_CHECKING:
    from pyprobe.lang.attachpoint import AttachPoint


@dataclass_transform(kw_only_default=True)
class _Declared:
    """Tells type checkers that subclasses are built from the attributes they declare."""


class Node(_Declared):
    """Base of all nodes. `fields` names the attributes that a subclass declares, in order, `span` left out."""

    fields: ClassVar[tuple[str, ...]] = ()
    span: Span = NOWHERE

    def __init_subclass__(cls) -> None:
        own = tuple(n for n, a in cls.__dict__.get("__annotations__", {}).items() if "ClassVar" not in a)  # noqa: RUF063  # importing inspect takes longer than all of this
        cls.fields = (*cls.__base__.fields, *own)  # type: ignore[union-attr]  # every subclass has a Node base

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n, None)!r}' for n in self.fields)})"


# ---- types as written


class TypeSpec(Node):
    """A type as written, before names are looked up."""


class NamedType(TypeSpec):
    """`uint8`, `string`, `struct foo`, `enum color`, `unsigned int`; `size` for `string[64]`, `buffer[8]`, `inet[4]`."""

    name: str
    size: int | None = None


class PointerType(TypeSpec):
    to: TypeSpec


class ArrayType(TypeSpec):
    """`T[4]`; `count` is None for `T[]`, and an expression where a macro parameter or constant stands for the number."""

    element: TypeSpec
    count: int | None = None
    count_expr: Expr | None = None


class TypeOf(TypeSpec):
    """`typeof(expr)` or `typeof(T)`."""

    operand: Expr | TypeSpec


# ---- expressions


class Expr(Node):
    """Base of expressions; `type` is filled by type inference."""

    type: Type = NONE


class Integer(Expr):
    """A literal. After folding `value` may be negative; `flexible` says that the sign may still adapt to an unsigned partner."""

    value: int
    flexible: bool = True


class String(Expr):
    value: bytes


class Boolean(Expr):
    value: bool


class Positional(Expr):
    """`$1`; gone after folding."""

    index: int


class PositionalCount(Expr):
    """`$#`; gone after folding."""


class Identifier(Expr):
    """A bare word: builtin, enum constant, macro without parameters or C macro; resolved by the passes."""

    name: str


class Builtin(Expr):
    """A builtin value (`pid`, `arg0` as name `arg` with `args=(0,)`, `kstack` with its mode and limit as literals)."""

    name: str
    args: tuple[Any, ...] = ()


class EnumConstant(Expr):
    name: str
    value: int


class Variable(Expr):
    """`$x`; `name` holds no dollar sign. After the scope pass `slot` tells variables of one name apart."""

    name: str
    slot: int = 0


class Map(Expr):
    """`@x` as a whole or as a scalar; `name` includes the `@`."""

    name: str


class MapAccess(Expr):
    """`@x[key]`; several keys are one Tuple."""

    map: Map
    key: Expr


class Unary(Expr):
    """op is one of `! ~ - * &`."""

    op: str
    operand: Expr


class Increment(Expr):
    """`++`/`--` on a variable or map element, before (`prefix`) or after it."""

    op: str
    target: Expr
    prefix: bool


class Binary(Expr):
    op: str
    left: Expr
    right: Expr
    op_span: Span = NOWHERE


class Ternary(Expr):
    """`c ? a : b`; `then` is None for `c ?: b`, whose value is c itself when it is true."""

    condition: Expr
    then: Expr | None
    orelse: Expr


class FieldAccess(Expr):
    """`a.f` and `a->f`, which are the same operator."""

    base: Expr
    field: str
    field_span: Span = NOWHERE


class TupleAccess(Expr):
    base: Expr
    index: int


class Index(Expr):
    base: Expr
    index: Expr


class Cast(Expr):
    """`(T)e`. Inserted by inference without a `spec` where the language converts implicitly. A `quiet` one is of the library, which
    converts values of any type."""

    quiet = False

    spec: TypeSpec | None
    operand: Expr


class Tuple(Expr):
    items: list[Expr]


class Record(Expr):
    items: list[tuple[str, Expr]]


class Call(Expr):
    name: str
    args: list[Expr | TypeSpec]
    name_span: Span = NOWHERE


class SizeOf(Expr):
    operand: Expr | TypeSpec


class OffsetOf(Expr):
    operand: Expr | TypeSpec
    path: list[str]


class TypeInfo(Expr):
    operand: Expr | TypeSpec


class Comptime(Expr):
    operand: Expr


class If(Expr):
    """`if` is an expression; without values in both branches its type is void. `comptime` marks `if comptime (c)`."""

    condition: Expr
    then: Block
    orelse: Block | None = None
    comptime: bool = False


class Block(Expr):
    """`{ statements; result }`; the result is None when the block has no value."""

    statements: list[Statement]
    result: Expr | None = None


# ---- statements


class Statement(Node):
    """Base of statements."""


class ExprStatement(Statement):
    expr: Expr


class Assign(Statement):
    """`target op= value`; `op` is empty for `=`. The target is a Variable, a Map (scalar) or a MapAccess."""

    target: Variable | Map | MapAccess
    op: str
    value: Expr


class Discard(Statement):
    """`_ = e`."""

    value: Expr


class Let(Statement):
    variable: Variable
    spec: TypeSpec | None = None
    value: Expr | None = None


class While(Statement):
    condition: Expr
    body: Block


class Unroll(Statement):
    count: Expr
    body: Block


class ForRange(Statement):
    variable: Variable
    start: Expr
    end: Expr
    body: Block


class ForMap(Statement):
    variable: Variable
    map: Map
    body: Block


class Jump(Statement):
    """`break`, `continue` or `return`; a value only with return."""

    kind: str
    value: Expr | None = None


class ImportStatement(Statement):
    path: str


# ---- top level


class Item(Node):
    """Base of what may stand at the top level of the body."""


class Probe(Item):
    """`points / predicate / { body }`. `points` are the raw texts, cut out by the scanner and parsed by `lang.attachpoint`."""

    points: list[AttachPoint]
    predicate: Expr | None
    body: Block


class Parameter(Node):
    """A macro parameter (`kind` is `expr`, `variable` or `map`) or a function parameter (`variable` with a `spec`)."""

    name: str
    kind: str
    spec: TypeSpec | None = None


class Macro(Item):
    name: str
    parameters: list[Parameter]
    body: Block
    name_span: Span = NOWHERE


class Function(Item):
    name: str
    parameters: list[Parameter]
    result: TypeSpec
    body: Block
    name_span: Span = NOWHERE


class MapDeclaration(Item):
    """`let @m = kind(n);`"""

    map: Map
    kind: str
    capacity: int
    kind_span: Span = NOWHERE


class ConfigEntry(Node):
    name: str
    value: int | str | bool
    is_string: bool = False


class Import(Node):
    path: str


class Script(Node):
    """A whole program. `c_section` is the raw text handed to the C front end (empty when there is none); comments are kept for --fmt
    as (offset, text) in source order. `levels` is the depth of the tree, or a little more."""

    c_section: str
    config: list[ConfigEntry] | None
    imports: list[Import]
    items: list[Item]
    comments: list[tuple[int, str]] = []
    c_section_start: int = 0
    config_span: Span = NOWHERE
    levels: int = 0
