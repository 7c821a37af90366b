"""What a checked program guarantees to the runtime, as a check of the whole tree."""

from __future__ import annotations

from pyprobe.lang import nodes as n
from pyprobe.lang.passes.infer_expressions import COMPARISONS, LOGICAL
from pyprobe.lang.passes.walk import children, descend
from pyprobe.lang.program import Program
from pyprobe.lang.typesys import BOOL, NONE, VOID, Aggregate, Enum, Flexible, Integer, Pointer, Record, Tuple, Type

EXPRESSIONS = (
    n.Integer, n.String, n.Boolean, n.EnumConstant, n.Builtin, n.Variable, n.Map, n.MapAccess, n.Unary, n.Increment, n.Binary, n.Ternary,
    n.FieldAccess, n.TupleAccess, n.Index, n.Cast, n.Tuple, n.Record, n.Call, n.If, n.Block,
)  # fmt: skip
STATEMENTS = (n.ExprStatement, n.Assign, n.Discard, n.Let, n.While, n.ForRange, n.ForMap, n.Jump)


def violations(program: Program) -> list[str]:
    """Everything in the program that breaks a guarantee, in words."""
    found: list[str] = []
    for probe in program.probes:
        for node in descend(probe.body):
            found += _node(node, program)
    return found


def _node(node: n.Node, program: Program) -> list[str]:
    if isinstance(node, n.Expr):
        if not isinstance(node, EXPRESSIONS):
            return [f"{type(node).__name__} is left"]
        if _unsettled(node.type):
            return [f"{node} has type {node.type!r}"]
        return _expression(node, program)
    if isinstance(node, n.Statement):
        return _statement(node) if isinstance(node, STATEMENTS) else [f"{type(node).__name__} is left"]
    return []


def _unsettled(t: Type) -> bool:
    if isinstance(t, Tuple):
        return any(_unsettled(e) or (isinstance(e, Aggregate) and e.castable) for e in t.elements)
    if isinstance(t, Record):
        return any(_unsettled(e) for _, e in t.fields)
    return isinstance(t, Flexible) or (isinstance(t, Pointer) and _unsettled(t.to))


def _whole(t: Type) -> bool:
    return isinstance(t, (Integer, Enum))


def _expression(node: n.Expr, program: Program) -> list[str]:
    found: list[str] = []
    name = node.name if isinstance(node, n.Map) else node.map.name if isinstance(node, n.MapAccess) else ""
    if name and name not in program.maps:
        found.append(f"no map {name}")
    if isinstance(node, n.MapAccess) and node.key.type != program.maps[node.map.name].key:
        found.append(f"key of {name} is {node.key.type!r}")
    if isinstance(node, n.Integer) and isinstance(node.type, Integer) and not node.type.low <= node.value <= node.type.high:
        found.append(f"{node.value} is no {node.type}")
    if isinstance(node, (n.Map, n.MapAccess)) and node.type != program.maps[name].value:
        found.append(f"{name} read as {node.type}")
    if isinstance(node, n.Cast) and node.spec is not None:
        found.append("a cast has a spec")
    if isinstance(node, n.Call) and any(isinstance(arg, n.TypeSpec) for arg in node.args):
        found.append(f"{node.name} has a type as argument")
    if isinstance(node, n.Binary):
        found += _binary(node)
    if isinstance(node, (n.Ternary, n.If)) and node.type not in (VOID, NONE):
        branches = [node.then, node.orelse]
        found += [f"a branch of {node.type} is {b.type}" for b in branches if b is not None and b.type != node.type]
    if not isinstance(node, (n.Block, n.If)) and node.type is NONE:
        found.append(f"{node} has no type")
    return found


def _binary(node: n.Binary) -> list[str]:
    left, right = node.left.type, node.right.type
    if node.op in LOGICAL:
        return [] if all(_whole(t) or t is BOOL or isinstance(t, Pointer) for t in (left, right)) else [f"{node.op} of {left} and {right}"]
    if node.op in COMPARISONS:
        same = left == right or (type(left) is type(right) and not _whole(left))
        return [] if same else [f"{node.op} of {left} and {right}"]
    if isinstance(node.type, Pointer) or node.type is BOOL:
        return []
    if node.op in ("<<", ">>"):
        return [] if (left == node.type and _whole(right)) or right is BOOL else [f"{node.op} of {left} and {right}"]
    return [] if left == right == node.type else [f"{left} {node.op} {right} is {node.type}"]


def _statement(node: n.Statement) -> list[str]:
    if isinstance(node, n.Assign):
        found = [f"assignment {node.op}"] if node.op else []
        if isinstance(node.target.type, Aggregate):
            return found if isinstance(node.value, n.Call) else [*found, "an aggregation is no call"]
        return found if node.value.type == node.target.type else [*found, f"{node.value.type} assigned to {node.target.type}"]
    if isinstance(node, n.Let) and node.value is not None and node.value.type != node.variable.type:
        return [f"{node.value.type} assigned to {node.variable.type}"]
    if isinstance(node, n.ForRange) and not node.start.type == node.end.type == node.variable.type:
        return [f"range of {node.start.type} and {node.end.type} for {node.variable.type}"]
    assert all(isinstance(child, n.Node) for child in children(node))
    return []
