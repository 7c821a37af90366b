"""Expressions, which stand in the types and arguments of templates: each is its text, and whether it stands without parentheses."""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.runtime.machine.demangle.reader import NotMangled, Pack, Reader, TypeText
from pyprobe.runtime.machine.demangle.tables import OPERATORS, SUFFIXES


class Expressions(Reader):
    """Literals and operations."""

    def literal(self) -> tuple[str, bool]:
        self.need("L")
        if self.found("_Z") or self.found("Z"):
            scope = self.arguments
            text = self.encoding(top=True)
            self.arguments = scope
            self.need("E")
            return text, False
        kind = self.shown(self.type())
        end = self.text.find("E", self.at)
        if end < 0:
            raise NotMangled
        value = self.text[self.at : end]
        self.at = end + 1
        if value.startswith("n"):
            value = f"-{value[1:]}"
        if kind == "bool" and value in ("0", "1"):
            return ("false", "true")[int(value)], False
        if kind in SUFFIXES:
            return value + SUFFIXES[kind], False
        if kind == "decltype(nullptr)" and not value:
            return "nullptr", False
        if kind in ("float", "double", "long double", "__float128"):
            return f"({kind})[{value}]", False
        return f"({kind}){value}", False

    def expression(self) -> tuple[str, bool]:
        self.deeper()
        try:
            text, simple = self._expression()
            return self.spend(text), simple
        finally:
            self.depth -= 1

    def operand(self) -> str:
        text, simple = self.expression()
        return text if simple else f"({text})"

    def expressions(self) -> str:
        parts = []
        while not self.found("E"):
            parts.append(self.expression()[0])
        return ", ".join(part for part in parts if part)

    def _expression(self) -> tuple[str, bool]:
        first = self.peek()
        if first == "L":
            return self.literal()
        if first == "T":
            return self.shown(self.template_parameter()), False
        code = self.peek(2)
        if code == "fp" or code == "fL":
            return self.function_parameter()
        if first.isdigit() or code == "on":
            self.found("on")
            named = self.unqualified("", "")
            return self.applied(named)[0] if self.peek() == "I" else named.text, True
        method = EXPRESSIONS.get(code)
        if method is not None:
            self.take(2)
            return method(self)
        return self.operation()

    def function_parameter(self) -> tuple[str, bool]:
        if self.take(2) == "fL":
            self.number()
            self.need("p")
        if self.found("T"):
            return "this", True
        self.qualifiers()
        return f"{{parm#{self.ordinal() + 1}}}", True

    def operation(self) -> tuple[str, bool]:
        code = self.take(2)
        operator, operands = OPERATORS.get(code, ("", -1))
        if code in ("pp", "mm"):
            return (f"{operator}{self.operand()}" if self.found("_") else f"{self.operand()}{operator}"), False
        if operands == 0:
            return operator, False
        if operands == 1:
            return self.unary(code, operator), False
        if code in ("dc", "sc", "cc", "rc"):
            return f"{operator}<{self.shown(self.type())}>({self.expression()[0]})", False
        if operands == 2:
            left, right = self.operand(), self.operand()
            text = f"{left}{operator}{right}"
            return (f"({text})" if code == "gt" else text), False
        if code == "qu":
            return f"{self.operand()}?{self.operand()} : {self.operand()}", False
        raise NotMangled

    def unary(self, code: str, operator: str) -> str:
        if code in ("st", "at"):
            return f"{operator}({self.shown(self.type())})"
        if code == "ad" and self.peek(3) == "L_Z":
            text = self.literal()[0]
            return f"{operator}{self.scoped_name or f'({text})'}"
        return f"{operator}{self.operand()}"

    def call(self) -> tuple[str, bool]:
        called = self.operand()
        return f"{called}({self.expressions()})", False

    def conversion_expression(self) -> tuple[str, bool]:
        to = self.shown(self.type())
        operands = self.expressions() if self.found("_") else self.expression()[0]
        return f"({to})({operands})", False

    def braces(self) -> tuple[str, bool]:
        return f"{{{self.expressions()}}}", True

    def typed_braces(self) -> tuple[str, bool]:
        return f"{self.shown(self.type())}{{{self.expressions()}}}", True

    def member(self, operator: str) -> tuple[str, bool]:
        left = self.operand()
        return f"{left}{operator}{self.expression()[0]}", False

    def subscript(self) -> tuple[str, bool]:
        return f"{self.operand()}[{self.expression()[0]}]", False

    def scoped(self) -> tuple[str, bool]:
        scope = self.unresolved() or self.shown(self.type())
        self.found("on")
        named = self.unqualified("", scope + "::")
        return self.applied(named)[0] if self.peek() == "I" else named.text, True

    def unresolved(self) -> str:
        """A scope that is only a name, which is not referred to again; nothing if it is a type."""
        start, known = self.at, len(self.seen)
        if self.peek().isdigit():
            text = self.source_name()
            if self.peek() == "I":
                text = self.template_arguments(text)[0]
            if self.found("E"):
                return text
        self.at = start
        del self.seen[known:]
        return ""

    def pack_size(self) -> tuple[str, bool]:
        node = self.template_parameter() if self.peek() == "T" else None
        if node is None:
            return f"sizeof...({self.expression()[0]})", False
        return str(len(node) if isinstance(node, Pack) else 1), True

    def pack_expression(self) -> tuple[str, bool]:
        return self.shown(self.expansion(lambda: TypeText(self.expression()[0]))), False


EXPRESSIONS: dict[str, Callable[[Expressions], tuple[str, bool]]] = {
    "cl": Expressions.call,
    "cv": Expressions.conversion_expression,
    "il": Expressions.braces,
    "tl": Expressions.typed_braces,
    "dt": lambda parser: parser.member("."),
    "pt": lambda parser: parser.member("->"),
    "ix": Expressions.subscript,
    "sr": Expressions.scoped,
    "sZ": Expressions.pack_size,
    "sp": Expressions.pack_expression,
}
