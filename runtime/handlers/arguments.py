"""The arguments of a call: their code, and the values of those that are literals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyprobe.lang import nodes
from pyprobe.lang.typesys import Type
from pyprobe.runtime.handlers.arithmetic import limits
from pyprobe.runtime.handlers.compiler import Compiler, bare
from pyprobe.runtime.handlers.emitter import Code


def arguments(c: Compiler, node: nodes.Call, at: int = 0) -> list[Code]:
    """The compiled arguments from number `at` on."""
    return c.operands([a for a in node.args[at:] if isinstance(a, nodes.Expr)])


def argument(node: nodes.Call, at: int) -> nodes.Expr:
    """An argument that must be an expression."""
    found = node.args[at]
    assert isinstance(found, nodes.Expr)
    return found


def literal(node: nodes.Call, at: int, default: Any = None) -> Any:
    """The value of an argument that must be a literal; `default` when it is not given."""
    if at >= len(node.args):
        return default
    found: Any = node.args[at]
    while isinstance(found, nodes.Cast):
        found = found.operand
    return found.value


def typed(text: str, t: Type, depth: int = 1) -> Code:
    low, high = limits(t)
    return Code(text, low, high, depth=depth)


def plain(function: Callable[..., Any], hint: str) -> Callable[[Compiler, nodes.Call], Code]:
    """The rule for a function that takes its arguments' values and gives a value of the call's type."""

    def rule(c: Compiler, node: nodes.Call) -> Code:
        codes = arguments(c, node)
        depth = max((code.depth for code in codes), default=0) + 1
        return typed(f"{c.bind(function, hint)}({', '.join(bare(code.text) for code in codes)})", node.type, depth)

    return rule
