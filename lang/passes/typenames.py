"""Every type that is written must exist. Enums are left to inference, which names them in messages of its own."""

from __future__ import annotations

from pyprobe.lang.functions import known
from pyprobe.lang.nodes import Call, Function, NamedType, Node, TypeSpec
from pyprobe.lang.passes.types import UnknownType
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import children, descend
from pyprobe.lang.typesys import NONE


def run(unit: Unit) -> None:
    if any(isinstance(node, Call) and not known(node.name) for block in unit.blocks() for node in descend(block)):
        return  # inference reports such calls, and after them the types
    for item in unit.script.items:
        if isinstance(item, Function):
            for parameter in item.parameters:
                _check(unit, parameter)
            _check_result(unit, item)
            _check(unit, item.body)
    for block in unit.blocks():
        _check(unit, block)


def _check_result(unit: Unit, function: Function) -> None:
    """The type that a function returns."""
    if _is_enum(function.result):
        return
    try:
        unit.types.resolve(function.result, lambda operand: NONE)
    except UnknownType as e:
        unit.diagnostics.error(str(e), function.result.span)


def _check(unit: Unit, node: Node) -> None:
    for child in children(node):
        if isinstance(child, TypeSpec) and not _is_enum(child):
            try:
                unit.types.resolve(child, lambda operand: NONE)
            except UnknownType as e:
                unit.diagnostics.error(str(e), child.span)
                continue
        _check_inside(unit, child)


def _check_inside(unit: Unit, node: Node) -> None:
    """Below a type only expressions are of interest (`typeof(e)`): its parts were resolved with it."""
    if not isinstance(node, TypeSpec):
        _check(unit, node)
        return
    for child in children(node):
        _check_inside(unit, child)


def _is_enum(spec: TypeSpec) -> bool:
    return isinstance(spec, NamedType) and spec.name.startswith("enum ")
