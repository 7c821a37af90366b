"""Macros of the script and of the library, expanded hygienically where they are called.

A parameter stands for an expression (evaluated at each use), or for the caller's own variable or map. Variables that the body assigns or
declares are its own: they get a slot of their own per expansion, so that the scope pass never confuses them with the caller's. Places
inside an expansion of a script's macro lead back to the call (`Span.outer`); code of the library has the place of the call itself, as if
its macros were built in. The script's macros come before the library's, which see only each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyprobe.lang import library
from pyprobe.lang.builtins import BUILTINS, WORDS
from pyprobe.lang.functions import FUNCTIONS
from pyprobe.lang.nodes import (
    ArrayType,
    Assign,
    Block,
    Call,
    Cast,
    Expr,
    FieldAccess,
    ForMap,
    ForRange,
    Function,
    Identifier,
    Let,
    Macro,
    Map,
    NamedType,
    Node,
    OffsetOf,
    Parameter,
    PointerType,
    Probe,
    SizeOf,
    TypeInfo,
    TypeOf,
    TypeSpec,
    Variable,
)
from pyprobe.lang.passes.types import NAMED, SIZED
from pyprobe.lang.passes.unit import Unit
from pyprobe.lang.passes.walk import copy, descend, replace_children
from pyprobe.lang.source import Span

Argument = Expr | TypeSpec

TYPE_ARGUMENT = "When used as a call argument, `typeof` builtin only valid for macro calls that are expecting a type parameter"
KIND_WORDS = {"variable": "a variable", "map": "a map", "expr": "an expression"}
TAKES_TYPES = (SizeOf, OffsetOf, TypeOf, TypeInfo)
TYPE_POSITIONS = (*TAKES_TYPES, ArrayType, Cast, Function, Let, Parameter, PointerType)


def run(unit: Unit) -> None:
    macros = _collect(unit)
    expander = _Expander(unit, macros)
    for item in unit.script.items:
        if isinstance(item, (Probe, Function)):
            replace_children(item, expander.expand)
            _refuse_types(unit, item)


ONCE = {"expr": "Ident", "variable": "Variable", "map": "Map"}
"""The words for parameters by their kind, where a name is given twice."""


def _refuse_types(unit: Unit, root: Node) -> None:
    """A type may be the argument of a macro only, so none is left where a value belongs; elsewhere `typeof()` reads like a call."""

    def refused(child: Node, node: Node) -> Node:
        if not isinstance(child, TypeOf):
            return child
        if isinstance(node, Call) or node.span.outer is not None:
            unit.diagnostics.error(TYPE_ARGUMENT, _with_blanks(child.span))
        return Call(name="typeof", args=[], name_span=child.span, span=child.span)

    for node in list(descend(root)):
        if isinstance(node, Let):
            node.value = refused(node.value, node) if node.value is not None else None  # type: ignore[assignment]  # an expression is one
        elif isinstance(node, Cast):
            node.operand = refused(node.operand, node)  # type: ignore[assignment]  # as above
        elif not isinstance(node, TYPE_POSITIONS):
            replace_children(node, lambda child, node=node: refused(child, node))  # type: ignore[misc]  # the default holds the node


def _with_blanks(span: Span) -> Span:
    """The stretch with the white space before it, where an argument begins."""
    return Span(span.source, len(span.source.text[: span.start].rstrip()), span.end, span.outer)


def _collect(unit: Unit) -> dict[str, list[Macro]]:
    """The script's macros by name; definitions that no call could tell apart are errors."""
    macros: dict[str, list[Macro]] = {}
    for item in unit.script.items:
        if not isinstance(item, Macro):
            continue
        names: set[tuple[str, str]] = set()
        for parameter in item.parameters:
            if (parameter.kind, parameter.name) in names:
                text = f"{ONCE[parameter.kind]} for macro argument has already been used: {_written(parameter)}"
                unit.diagnostics.error(text, parameter.span)
            names.add((parameter.kind, parameter.name))
        others = macros.setdefault(item.name, [])
        for other in others:
            if _alike(item, other):
                unit.diagnostics.error(f"Redefinition of macro: {item.name}", _head(item)).context(
                    _head(other), "This is the original definition."
                )
                break
        others.append(item)
    return macros


def _alike(a: Macro, b: Macro) -> bool:
    if len(a.parameters) != len(b.parameters):
        return False
    return all(p.kind == q.kind or "expr" in (p.kind, q.kind) for p, q in zip(a.parameters, b.parameters, strict=True))


def _head(macro: Macro) -> Span:
    """`macro name`, the place that messages show."""
    return Span(macro.span.source, macro.span.start, macro.name_span.end, macro.span.outer)


def _written(parameter: Parameter) -> str:
    return f"${parameter.name}" if parameter.kind == "variable" else parameter.name


class _Expander:
    """Expands calls in the trees of one script; `_count` numbers the expansions."""

    def __init__(self, unit: Unit, macros: dict[str, list[Macro]]) -> None:
        self._unit = unit
        self._diagnostics = unit.diagnostics
        self._macros = macros
        self._count = 0

    def expand(self, node: Node, chain: tuple[str, ...] = (), inside: bool = False) -> Node:
        """Expand the calls in a tree, arguments before the call they belong to; `chain` names the expansions around, `inside` says
        that the innermost of them is one of the library's."""
        if isinstance(node, TAKES_TYPES) and isinstance(node.operand, (Identifier, NamedType)):
            return node  # a bare word is the name of a type there
        replace_children(node, lambda child: self.expand(child, chain, inside))
        if isinstance(node, Call):
            return self._call(node, node.name, node.args, chain, inside)
        if isinstance(node, Identifier) and (node.name in self._macros or node.name not in BUILTINS):
            return self._call(node, node.name, [], chain, inside)
        return node

    def _call(self, node: Expr, name: str, args: Sequence[Argument], chain: tuple[str, ...], inside: bool) -> Node:
        own = [] if inside else self._macros.get(name, [])
        macro = next((m for m in own if _mismatch(m, args) is None), None)
        if macro is None and name not in FUNCTIONS and name not in BUILTINS and name not in WORDS:
            of_library = library.macros(name)
            macro = next((m for m in of_library if _mismatch(m, args) is None), None)
            if macro is None and (own or of_library):
                self._refuse(node, name, args, own or of_library)
        if macro is None:
            return node  # a function, or nothing at all
        if name in chain:
            calls = " > ".join((*chain, name))
            self._diagnostics.error(f"Recursive macro call detected. Call chain: {calls}", node.span)
            return node
        if not self._unit.grow(_size(macro.body), node.span):
            return node
        self._count += 1
        body = _Substitution(self._unit, macro, args, node.span, self._count).block()
        return self.expand(body, (*chain, name), _is_library(macro))

    def _refuse(self, node: Expr, name: str, args: Sequence[Argument], definitions: Sequence[Macro]) -> None:
        text = f"Call to {name}() has arguments that do not match any definition."
        error = self._diagnostics.error(text, node.span)
        closest = min(definitions, key=lambda m: abs(len(m.parameters) - len(args)))
        if len(closest.parameters) != len(args):
            error.context(
                node.span if _is_library(closest) else _head(closest),
                f"The closest definition of {name}() has a different number of arguments. "
                f"Expected: {len(closest.parameters)} but got {len(args)}",
            )
            return
        at = _mismatch(closest, args)
        assert at is not None, "a definition that matches would have been taken"
        parameter, argument = closest.parameters[at], args[at]
        wanted, given = KIND_WORDS[parameter.kind], KIND_WORDS[_kind(argument)]
        error.context(argument.span, f"Mismatched arg. {name}() expects {wanted} for arg {_written(parameter)} but got {given}.")
        if not _is_library(closest):
            error.context(parameter.span, "This is the argument in the closest definition.")


def _is_library(macro: Macro) -> bool:
    return library.holds(macro.span.source.name)


def _kind(argument: Argument) -> str:
    return "variable" if isinstance(argument, Variable) else "map" if isinstance(argument, Map) else "expr"


def _mismatch(macro: Macro, args: Sequence[Argument]) -> int | None:
    """The first argument that the macro does not take (0 if there are too many or too few), None if it takes them all."""
    if len(macro.parameters) != len(args):
        return 0
    for index, (parameter, argument) in enumerate(zip(macro.parameters, args, strict=True)):
        if parameter.kind not in ("expr", _kind(argument)):
            return index
    return None


class _Substitution:
    """One expansion: a copy of the macro's body with the arguments in the places of the parameters."""

    def __init__(self, unit: Unit, macro: Macro, args: Sequence[Argument], call: Span, number: int) -> None:
        self._unit = unit
        self._diagnostics = unit.diagnostics
        self._macro = macro
        self._call = call
        self._number = number
        self._of_library = _is_library(macro)
        pairs = list(zip(macro.parameters, args, strict=True))
        self._values = {p.name: a for p, a in pairs if p.kind == "expr"}
        self._references = {(p.kind, p.name): a for p, a in pairs if p.kind != "expr"}
        self._own = {name for node in descend(macro.body) if (name := _assigned(node))}

    def block(self) -> Node:
        return self._substitute(copy(self._macro.body))

    def _substitute(self, node: Node) -> Node:
        self._place(node)
        if isinstance(node, Let) and ("variable", node.variable.name) in self._references:
            span = Span(node.span.source, node.span.start, node.variable.span.end, self._call)
            self._diagnostics.error(f"Variable declaration shadows macro arg ${node.variable.name}", span)
            return node
        if isinstance(node, TAKES_TYPES) and isinstance(node.operand, (Identifier, NamedType)):
            if self._operand(node):
                return node  # what was given is the caller's
        elif isinstance(node, Identifier) and node.name in self._values:
            return self._value(node)
        elif isinstance(node, NamedType):
            return self._type(node)
        elif isinstance(node, Variable):
            return self._variable(node)
        elif isinstance(node, Map):
            return self._map(node)
        replace_children(node, self._substitute)
        return node

    def _place(self, node: Node) -> None:
        """Let every place of the copied node lead back to the call, or be the call."""
        for name, value in vars(node).items():
            if isinstance(value, Span):
                setattr(node, name, self._call if self._of_library else Span(value.source, value.start, value.end, self._call))
        if isinstance(node, Cast) and self._of_library:
            node.quiet = True

    def _value(self, use: Identifier) -> Node:
        if not self._unit.grow(_size(self._values[use.name]), use.span):
            return use
        argument = copy(self._values[use.name])
        for node in descend(argument):
            if node.span.outer is None and not self._of_library:
                node.span = Span(node.span.source, node.span.start, node.span.end, use.span)
        if isinstance(argument, (Variable, Map)):
            return Block(statements=[], result=argument, span=argument.span)  # its value, which cannot be assigned to
        return argument

    def _operand(self, node: SizeOf | OffsetOf | TypeOf | TypeInfo) -> bool:
        """sizeof(a) and the like of a parameter: of the type or the expression that was given; False where it is none."""
        name = node.operand.name if isinstance(node.operand, (Identifier, NamedType)) else ""
        if name in self._values:
            given = copy(self._values[name])
            if isinstance(given, Identifier):
                given.span = Span(given.span.source, given.span.start, given.span.end, node.operand.span if not self._of_library else None)
            if isinstance(given, Identifier) and given.name in BUILTINS:
                given = Call(name=given.name, args=[], span=given.span)  # bare, it would be taken for a type
            elif isinstance(given, Identifier) and (given.name in NAMED or given.name in SIZED):
                given = Block(statements=[], result=given, span=given.span)  # a name that the language has for a type is no value
            node.operand = given
        if isinstance(node, OffsetOf):
            node.path = [part for step in node.path for part in self._member(step)]
        return name in self._values

    def _member(self, name: str) -> list[str]:
        """The member that a step of offsetof() names: a parameter stands for a bare name."""
        given = self._values.get(name)
        return (_path(given) if given is not None else None) or [name]

    def _type(self, node: NamedType) -> Node:
        """A type that is a parameter: `a`, or `struct a` where the argument is a bare name."""
        keyword, _, name = node.name.rpartition(" ")
        given = self._values.get(name)
        if isinstance(given, Identifier):
            return NamedType(name=f"{keyword} {given.name}".strip(), span=node.span)
        if not isinstance(given, TypeOf):
            return node
        if not keyword:
            return copy(given)
        if isinstance(given.operand, NamedType) and " " in given.operand.name:
            made = f"which makes up the type '{node.name}*'"
            self._diagnostics.error(f"Invalid replacement for macro '{self._macro.name}' type parameter '{name}' {made}", given.span)
            return node
        if isinstance(given.operand, (NamedType, Identifier)):
            return NamedType(name=f"{keyword} {given.operand.name}", span=node.span)
        return node

    def _variable(self, node: Variable) -> Node:
        given = self._references.get(("variable", node.name))
        if given is not None:
            assert isinstance(given, Variable), "arguments were matched with parameters"
            return Variable(name=given.name, slot=given.slot, span=node.span)
        if node.name in self._own:
            node.slot = self._number
        return node

    def _map(self, node: Map) -> Node:
        given = self._references.get(("map", node.name))
        if given is not None:
            assert isinstance(given, Map), "arguments were matched with parameters"
            return Map(name=given.name, span=node.span)
        text = f"Unhygienic access to map: {node.name}. Maps must be passed into the macro as arguments."
        self._diagnostics.error(text, node.span)
        return node


def _path(node: Node) -> list[str] | None:
    """`a.b.c` as names."""
    if isinstance(node, Identifier):
        return [node.name]
    before = _path(node.base) if isinstance(node, FieldAccess) else None
    return [*before, node.field] if before and isinstance(node, FieldAccess) else None


def _assigned(node: Node) -> str:
    """The name of the variable that a statement assigns or declares, else an empty string."""
    if isinstance(node, Assign) and isinstance(node.target, Variable):
        return node.target.name
    return node.variable.name if isinstance(node, (Let, ForRange, ForMap)) else ""


def _size(node: Node) -> int:
    return sum(1 for _ in descend(node))
