"""Scratch variables: where each is declared, which of several variables of one name is meant, and use before assignment.

A variable belongs to the block where it is first assigned or declared and is visible in the blocks inside. Every declaration of a
name within a probe gets a number of its own (`Variable.slot`), so that later passes need not know about scopes. On the way in the slot
tells the variables of a macro's expansion from the caller's; a variable is looked up by name and slot.
"""

from __future__ import annotations

from pyprobe.lang.functions import FUNCTIONS
from pyprobe.lang.nodes import (
    Assign,
    Block,
    Call,
    Expr,
    ForMap,
    ForRange,
    Function,
    Increment,
    Let,
    Node,
    OffsetOf,
    SizeOf,
    TypeInfo,
    TypeOf,
    Unary,
    Variable,
)
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import children
from pyprobe.lang.source import Span


def run(unit: Unit) -> None:
    for item in unit.script.items:
        if isinstance(item, Function):
            scopes = _Scopes(unit)
            for parameter in item.parameters:
                scopes.declare((parameter.name, 0), parameter.span, "This is the function parameter.", assigned=True)
            scopes.visit_all(item.body)
            scopes.finish()
    for body in unit.bodies:
        scopes = _Scopes(unit)
        scopes.visit(body.block)
        scopes.finish()


WRITES_LAST = frozenset(("find",))  # functions that assign the variable given as their last argument

Key = tuple[str, int]


class _Declared:
    """One variable: its number, where and how it came to be (the text of the context), whether anything was assigned so far."""

    __slots__ = ("addressed", "assigned", "declared", "name", "slot", "span", "text")

    def __init__(self, name: str, slot: int, span: Span, text: str, assigned: bool, declared: bool) -> None:
        self.name = name
        self.slot = slot
        self.span = span
        self.text = text
        self.assigned = assigned
        self.declared = declared
        self.addressed = False


class _Scopes:
    """The variables of one probe or function. `_open` are the scopes that are visible now, innermost last."""

    def __init__(self, unit: Unit) -> None:
        self._diagnostics = unit.diagnostics
        self._open: list[dict[Key, _Declared]] = [{}]
        self._all: list[_Declared] = []
        self._slots: dict[str, int] = {}

    def declare(self, key: Key, span: Span, text: str, *, assigned: bool, declared: bool = False) -> _Declared:
        name = key[0]
        slot = self._slots.get(name, -1) + 1
        self._slots[name] = slot
        new = self._open[-1][key] = _Declared(name, slot, span, text, assigned, declared)
        self._all.append(new)
        return new

    def finish(self) -> None:
        for variable in self._all:
            if variable.declared and not variable.assigned and not variable.addressed:
                self._diagnostics.warning(f"Variable ${variable.name} was never assigned to.", variable.span)

    def visit(self, node: Node, evaluated: bool = True) -> None:
        """Go through a node. What is not `evaluated` (the operand of sizeof) is looked up but not read."""
        if isinstance(node, Block):
            self._open.append({})
            self.visit_all(node)
            self._open.pop()
        elif isinstance(node, Variable):
            self._use(node, evaluated)
        elif isinstance(node, Assign) and isinstance(node.target, Variable):
            self._assign(node, node.target)
        elif isinstance(node, Let):
            self._let(node)
        elif isinstance(node, (ForRange, ForMap)):
            self._loop(node)
        elif isinstance(node, Unary) and node.op == "&" and isinstance(node.operand, Variable):
            found = self._use(node.operand, False)
            if found is not None:
                found.addressed = True
        elif isinstance(node, Call) and node.name in WRITES_LAST and node.args and isinstance(node.args[-1], Variable):
            for arg in node.args[:-1]:
                self.visit(arg, evaluated)
            self._written(node.args[-1])
        elif isinstance(node, Increment) and isinstance(node.target, Variable):
            self._use(node.target, evaluated)
        elif isinstance(node, Call) and node.name in FUNCTIONS and FUNCTIONS[node.name].library:
            for arg in node.args:  # upstream's library takes variables by reference, and reports an unknown one as the call's
                if isinstance(arg, Variable) and self._find(_key(arg)) is None:
                    self._diagnostics.error(f"Undefined or undeclared variable: ${arg.name}", node.span)
                else:
                    self.visit(arg, evaluated)
        else:
            self.visit_all(node, evaluated and not isinstance(node, (SizeOf, OffsetOf, TypeInfo, TypeOf)))

    def visit_all(self, node: Node, evaluated: bool = True) -> None:
        for child in children(node):
            self.visit(child, evaluated)

    def _find(self, key: Key) -> _Declared | None:
        return next((scope[key] for scope in reversed(self._open) if key in scope), None)

    def _use(self, variable: Variable, evaluated: bool) -> _Declared | None:
        found = self._find(_key(variable))
        if found is None:
            self._diagnostics.error(f"Undefined or undeclared variable: ${variable.name}", variable.span)
            return None
        variable.slot = found.slot
        if evaluated and not found.assigned and not found.addressed:
            self._diagnostics.warning(f"Variable used before it was assigned: ${variable.name}", variable.span)
        return found

    def _assign(self, node: Assign, target: Variable) -> None:
        if node.op:
            self._use(target, True)
        self.visit(node.value)
        found = self._find(_key(target))
        if found is None:
            if node.op:
                return  # reported as undefined
            found = self.declare(_key(target), node.span, "This is the initial assignment.", assigned=True)
        found.assigned = True
        target.slot = found.slot

    def _written(self, variable: Variable) -> None:
        """A variable that a call assigns: one that does not exist yet is the call's own, and not visible after it."""
        found = self._find(_key(variable))
        if found is None:
            self._open.append({})
            found = self.declare(_key(variable), variable.span, "This is the initial assignment.", assigned=True)
            self._open.pop()
        found.assigned = True
        variable.slot = found.slot

    def _let(self, node: Let) -> None:
        for part in (node.spec, node.value):
            if part is not None:
                self.visit(part, isinstance(part, Expr))
        name = node.variable.name
        place = node.span.to(node.variable.span)
        place = Span(place.source, place.start, node.variable.span.end, place.outer)
        before = self._find(_key(node.variable))
        if before is not None:
            self._diagnostics.error(f"Variable ${name} was already declared. Variable shadowing is not allowed.", place).context(
                before.span, before.text
            )
            return
        new = self.declare(_key(node.variable), place, "This is the initial declaration.", assigned=node.value is not None, declared=True)
        node.variable.slot = new.slot

    def _loop(self, node: ForRange | ForMap) -> None:
        for part in (node.start, node.end) if isinstance(node, ForRange) else (node.map,):
            self.visit(part)
        name = node.variable.name
        before = self._find(_key(node.variable))
        if before is not None:
            self._diagnostics.error(f"Loop declaration shadows existing variable: ${name}", node.variable.span).context(
                before.span, before.text
            )
        self._open.append({})
        node.variable.slot = self.declare(_key(node.variable), node.variable.span, "This is the loop variable.", assigned=True).slot
        self.visit(node.body)
        self._open.pop()


def _key(variable: Variable) -> Key:
    return variable.name, variable.slot
