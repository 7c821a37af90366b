"""Types, references to what came before, and the arguments of templates."""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.runtime.machine.demangle.reader import Node, NotMangled, Pack, Reader, TypeText
from pyprobe.runtime.machine.demangle.tables import BUILTIN, BUILTIN_D, QUALIFIERS, STANDARD, STANDARD_FULL

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Types(Reader):
    """The types of parameters and arguments."""

    # ---- references

    def substitution(self, *, constructs: bool = False) -> Node:
        """What a reference stands for; constructs: before a constructor the standard's classes are written out."""
        self.need("S")
        code = self.peek()
        self.referred = True
        if code in STANDARD:
            self.take()
            text, _ = STANDARD[code]
            if constructs and self.peek() in ("C", "D"):
                text = STANDARD_FULL.get(code, text)
            if self.peek() == "B":
                while self.found("B"):
                    text += f"[abi:{self.source_name()}]"
                return self.remember(TypeText(text))
            return TypeText(text)
        at = self.base36()
        if at >= len(self.seen):
            raise NotMangled
        place, scope = self.lazy.get(at, (0, self.arguments))
        if scope is not self.arguments and self.arguments is not None:
            return self.again(place, at)
        self.resolved += at in self.lazy
        return self.element(self.seen[at])

    def again(self, place: int, at: int) -> Node:
        """What was met before with a template's parameters, for the template that is in scope now."""
        here, seen, lazy = self.at, self.seen, self.lazy
        self.at, self.seen, self.lazy = place, seen[:at], dict(lazy)
        try:
            return self.type()
        except NotMangled:
            return self.element(seen[at])
        finally:
            self.at, self.seen, self.lazy = here, seen, lazy

    def base36(self) -> int:
        value = 0
        start = self.at
        while (digit := self.take()) != "_":
            if not digit or digit not in _DIGITS or self.at - start > 6:
                raise NotMangled
            value = value * 36 + _DIGITS.index(digit)
        return value + 1 if self.at > start + 1 else 0

    def template_parameter(self) -> Node:
        self.need("T")
        at = self.ordinal()
        self.resolved += 1
        if self.lambdas and self.arguments is None:
            return TypeText(f"auto:{at + 1}")
        if self.arguments is None or at >= len(self.arguments):
            raise NotMangled
        self.referred = False
        return self.element(self.arguments[at])

    def element(self, node: Node) -> Node:
        """The element that is wanted, of a pack that is being expanded."""
        if isinstance(node, Pack) and self.index is not None:
            self.expanded = len(node)
            return node[self.index] if self.index < len(node) else TypeText("")
        self.spend(node.left if isinstance(node, TypeText) else "")
        return node

    # ---- template arguments

    def template_arguments(self, of: str) -> tuple[str, list[Node]]:
        self.need("I")
        arguments: list[Node] = []
        while not self.found("E"):
            arguments.append(self.template_argument())
        text = self.listed(arguments)
        space = " " if of.endswith("<") else ""
        between = " " if text.endswith(">") and self.shown(arguments[-1]) else ""  # none where an empty pack comes last
        return self.spend(f"{of}{space}<{text}{between}>"), arguments

    def template_argument(self) -> Node:
        first = self.peek()
        if first == "L":
            return TypeText(self.literal()[0])
        if first == "X":
            self.take()
            text = self.expression()
            self.need("E")
            return TypeText(text[0])
        if first in ("J", "I"):
            self.take()
            pack = Pack()
            while not self.found("E"):
                pack.append(self.template_argument())
            return pack
        return self.type()

    # ---- types

    def type(self) -> Node:
        self.deeper()
        start, known, resolved = self.at, len(self.seen), self.resolved
        try:
            made = self._type()
        finally:
            self.depth -= 1
        if self.resolved != resolved and len(self.seen) > known:
            self.lazy[len(self.seen) - 1] = start, self.arguments
        return made

    def _type(self) -> Node:
        first = self.peek()
        if first in BUILTIN and first:
            self.take()
            return TypeText(BUILTIN[first])
        if first in ("P", "R", "O"):
            self.take()
            mark = {"P": "*", "R": "&", "O": "&&"}[first]
            return self.remember(self.each(self.type(), lambda inner: _pointed(inner, mark)))
        if first in QUALIFIERS and first:
            return self.qualified()
        if first == "S" and self.peek(2) != "St":
            return self.referred_type()
        if first == "T":
            made = self.remember(self.template_parameter())
            if self.peek() == "I" and not isinstance(made, Pack) and not self.converting:
                made = self.remember(TypeText(self.template_arguments(str(made))[0]))
            return made
        if first == "D":
            return self.type_d()
        method = TYPES.get(first)
        if method is not None:
            self.take()
            return self.remember(method(self))
        if first.isdigit() or first in ("N", "Z", "S"):
            named = self.name()
            return self.remember(TypeText(named.text))
        raise NotMangled

    def each(self, node: Node, make: Callable[[TypeText], TypeText]) -> Node:
        """The same of a type or of all elements of a pack."""
        if isinstance(node, Pack):
            return Pack(self.each(part, make) for part in node)
        made = make(node)
        self.spend(made.left)
        return made

    def qualifiers(self) -> str:
        text = ""
        while self.peek() in QUALIFIERS and self.peek():
            text = QUALIFIERS[self.take()] + text
        return text

    def qualified(self) -> Node:
        text = self.qualifiers()
        if self.found("F"):  # they belong to `this`
            function = self.function_type()
            return self.remember(function._replace(right=function.right + text))
        inner = self.type()
        return self.remember(self.each(inner, lambda t: t._replace(left=_added(t.left, text))))

    def referred_type(self) -> Node:
        made = self.substitution()
        if self.peek() == "I" and not isinstance(made, Pack):
            return self.remember(TypeText(self.template_arguments(str(made))[0]))
        return made

    def type_d(self) -> Node:
        code = self.peek(2)[1:]
        if code in BUILTIN_D and code:
            self.take(2)
            return TypeText(BUILTIN_D[code])
        if code == "p":
            self.take(2)
            return self.remember(self.expansion(self.type))
        if code in ("t", "T"):
            self.take(2)
            text = self.expression()[0]
            self.need("E")
            return self.remember(TypeText(f"decltype ({text})"))
        if code == "v":
            self.take(2)
            count = str(self.number()) if self.peek().isdigit() else ""
            self.need("_")
            return self.remember(self.each(self.type(), lambda t: TypeText(f"{t} __vector({count})")))
        if code == "F":
            self.take(2)
            width = self.number()
            ending = "x" if self.found("x") else ""
            if not ending:
                self.need("_")
            return TypeText(f"_Float{width}{ending}")
        if code in ("o", "O", "x"):
            return self.function_with(code)
        raise NotMangled

    def function_with(self, code: str) -> Node:
        """A function type with an exception specification."""
        self.take(2)
        text = " transaction_safe" if code == "x" else " noexcept"
        if code == "O":
            text += f"({self.expression()[0]})"
            self.need("E")
        self.need("F")
        inner = self.function_type()
        return self.remember(inner._replace(right=inner.right + text))

    def expansion(self, pattern: Callable[[], Node]) -> Node:
        """The pattern once for each element of the pack in it."""
        start, known, outer, met = self.at, len(self.seen), self.index, self.expanded
        runs: list[list[Node]] = []
        made = Pack()
        self.index, self.expanded = 0, None
        while True:
            self.at = start
            del self.seen[known:]
            node = pattern()
            count = self.expanded
            runs.append(self.seen[known:])
            if count is None:
                self.index, self.expanded = outer, met
                return self.each(node, lambda t: t._replace(right=t.right + "..."))
            if count:
                made.append(node)
            assert self.index is not None
            self.index += 1
            if self.index >= count:
                break
        columns = list(zip(*runs, strict=False))
        same = [bool(count) and len(set(map(str, column))) == 1 for column in columns]
        self.seen[known:] = [column[0] if alike else Pack(column if count else ()) for column, alike in zip(columns, same, strict=True)]
        self.index, self.expanded = outer, met
        return made

    def function_type(self) -> TypeText:
        self.found("Y")
        returned = self.type()
        parameters = self.parameters()
        reference = " &" if self.found("R") else " &&" if self.found("O") else ""
        self.need("E")
        if isinstance(returned, Pack):
            raise NotMangled
        space = "" if returned.right else " "
        return TypeText(self.spend(f"{returned.left}{space}"), self.spend(f"({parameters}){reference}{returned.right}"), "f")

    def array_type(self) -> Node:
        bound = ""
        if self.peek().isdigit():
            bound = str(self.number())
        elif self.peek() != "_":
            bound = self.expression()[0]
        self.need("_")

        def array(t: TypeText) -> TypeText:
            return TypeText(t.left, f" [{bound}]{t.right.removeprefix(' ') if t.kind == 'a' else t.right}", "a")

        return self.each(self.type(), array)

    def member_pointer(self) -> Node:
        of = self.shown(self.type())
        return self.each(self.type(), lambda t: _pointed(t, f"{'' if t.kind == 'f' else ' '}{of}::*"))

    def vendor_type(self) -> Node:
        return TypeText(self.source_name())

    def vendor_qualified(self) -> Node:
        name = self.source_name()
        if self.peek() == "I":
            name = self.template_arguments(name)[0]
        return self.each(self.type(), lambda t: t._replace(left=f"{t.left} {name}"))

    def complex_type(self) -> Node:
        return self.each(self.type(), lambda t: t._replace(left=t.left + " _Complex"))


def _pointed(inner: TypeText, mark: str) -> TypeText:
    """A pointer or reference to a type; a reference to a reference is one of them (C++ standard, [dcl.ref])."""
    if inner.kind:
        return TypeText(f"{inner.left}{' (' if inner.kind == 'a' else '('}{mark}", f"){inner.right}")
    if mark == "&&" and inner.left.endswith("&"):
        return inner
    if mark == "&" and inner.left.endswith("&"):
        return inner._replace(left=inner.left.rstrip("&") + "&")
    return inner._replace(left=inner.left + mark)


def _added(left: str, qualifiers: str) -> str:
    """A type's text with qualifiers; those that a template's argument has already are not repeated."""
    return left if left.endswith(qualifiers) else left + qualifiers


TYPES: dict[str, Callable[[Types], Node]] = {
    "F": Types.function_type,
    "A": Types.array_type,
    "M": Types.member_pointer,
    "u": Types.vendor_type,
    "U": Types.vendor_qualified,
    "C": Types.complex_type,
}
