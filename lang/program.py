"""What the compiler hands to the runtime: expanded probes with typed bodies, the maps, the configuration.

The typed tree contains only these nodes. Expressions: Integer, String, Boolean, EnumConstant, Builtin, Variable, Map, MapAccess,
Unary, Increment, Binary, Ternary, FieldAccess, TupleAccess, Index, Cast, Tuple, Record, Call, If, Block. Statements: ExprStatement,
Assign, Discard, Let, While, ForRange, ForMap, Jump. Everything else (macros, identifiers, positional parameters, sizeof, typeof,
comptime, unroll, compound assignment, imports, C macros) is gone.

Invariants:
* every expression has its final type; the value of an integer expression lies within that type; conversions are explicit Cast nodes
  (without a `spec` when the language made them): operands of a comparison have one common type, an assigned value has the type of its
  variable, map value or key, an argument the type that `functions` names;
* `Assign.op` is empty; the target of a map assignment with an aggregation is an Assign whose value is the Call itself;
* variables carry a `slot`: (name, slot) is unique within a probe;
* `x op= e`, delete(@m[k]), kptr() and the like are spelled out as what they mean; exit() as a statement is followed by a `return`;
* a Ternary or an If with a type has a value of that type in both branches (in `c ?: b` it is c itself); one without is a statement;
* FieldAccess, Index and `*` on a Pointer read memory in the pointer's address space; FieldAccess on a Struct value (or an Index on an
  Array value) that was itself reached by reading memory may be read lazily: only the bytes that are used count.
"""

from __future__ import annotations

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.config import Config
from pyprobe.lang.nodes import Block
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import Type


class MapInfo:
    """One map: `key` is None for a scalar map. `kind` and `capacity` come from a declaration or the configuration."""

    __slots__ = ("capacity", "key", "kind", "name", "value")

    def __init__(self, name: str, key: Type | None, value: Type, kind: str, capacity: int) -> None:
        self.name = name
        self.key = key
        self.value = value
        self.kind = kind
        self.capacity = capacity


class ProbeBody:
    """One expanded attach point and the body compiled for it, which points of one clause share where it means the same for them.
    `index` is the place of the clause in source order; the body already holds the predicate."""

    __slots__ = ("body", "index", "point", "span")

    def __init__(self, point: AttachPoint, body: Block, index: int, span: Span) -> None:
        self.point = point
        self.body = body
        self.index = index
        self.span = span

    @property
    def name(self) -> str:
        return self.point.name


class Program:
    """A checked program. `levels` is the depth of its deepest tree."""

    def __init__(self, probes: list[ProbeBody], maps: dict[str, MapInfo], config: Config, levels: int = 0) -> None:
        self.probes = probes
        self.maps = maps
        self.config = config
        self.levels = levels
