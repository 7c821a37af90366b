"""What every part of the demangler reads with, and what it makes: text that is bounded.

Methods without a word about them read what the grammar (5.1) has under their name, and give its text.

A type is kept as the text before and after the place where what has that type would stand: `int (*` and `)(char)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

MOST = 1 << 20  # characters that may be put together on the way to a name
DEEPEST = 100  # nested parts


class NotMangled(Exception):
    """The name does not follow the grammar, or asks for more than is given."""


class TypeText(NamedTuple):
    """The text around a declarator. kind: `f` of a function type, `a` of an array type, which need parentheses around a pointer."""

    left: str
    right: str = ""
    kind: str = ""

    def __str__(self) -> str:
        return self.left + self.right


class Pack(list["Node"]):
    """The arguments of a parameter pack."""


Node: TypeAlias = TypeText | Pack


class Name(NamedTuple):
    """A name. last: of its class, for constructors; args: of its last template arguments; returns: whether a return type is encoded."""

    text: str
    last: str = ""
    args: list[Node] | None = None
    returns: bool = False
    qualifiers: str = ""
    nested: bool = False


class Reader:
    """The text of a name, from `at` on, and what was met in it so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 2
        self.seen: list[Node] = []  # what can be referred to again
        self.arguments: list[Node] | None = None  # of the template that is in scope
        self.index: int | None = None  # of the element, while a pack is expanded
        self.expanded: int | None = None  # elements of the pack that was met
        self.lambdas = 0  # nested lambdas, whose template parameters are `auto`
        self.scoped_name = ""  # of the last function, if it is in a scope and no template
        self.referred = False  # whether what was read last was a reference
        self.converting = False  # within the type of a conversion operator, after which its own arguments come
        self.resolved = 0  # template parameters that were met
        self.lazy: dict[int, tuple[int, list[Node] | None]] = {}  # number in `seen`: place in the text, template arguments there
        self.spent = 0
        self.depth = 0

    # ---- reading

    def peek(self, count: int = 1) -> str:
        return self.text[self.at : self.at + count]

    def take(self, count: int = 1) -> str:
        taken = self.text[self.at : self.at + count]
        self.at += count
        return taken

    def found(self, wanted: str) -> bool:
        if self.text.startswith(wanted, self.at):
            self.at += len(wanted)
            return True
        return False

    def need(self, wanted: str) -> None:
        if not self.found(wanted):
            raise NotMangled

    def spend(self, text: str) -> str:
        self.spent += len(text) + 1
        if self.spent > MOST:
            raise NotMangled
        return text

    def number(self) -> int:
        start = self.at
        while self.text[self.at : self.at + 1].isdigit() and self.at - start < 9:
            self.at += 1
        if start == self.at:
            raise NotMangled
        return int(self.text[start : self.at])

    def ordinal(self) -> int:
        """A count as in `_`, `0_`, `1_`: 0, 1, 2."""
        value = 0 if self.peek() == "_" else self.number() + 1
        self.need("_")
        return value

    def remember(self, node: Node) -> Node:
        self.seen.append(node)
        return node

    def deeper(self) -> None:
        """One part more is nested; `depth` is taken back by the caller."""
        self.depth += 1
        self.spend("")
        if self.depth > DEEPEST:
            raise NotMangled

    def listed(self, nodes: list[Node]) -> str:
        return self.spend(", ".join(text for node in nodes if (text := self.shown(node))))

    def shown(self, node: Node) -> str:
        return self.listed(node) if isinstance(node, Pack) else str(node)

    # ---- what the other parts read

    def encoding(self, *, top: bool = False) -> str:
        raise NotImplementedError

    def name(self) -> Name:
        raise NotImplementedError

    def unqualified(self, of: str, prefix: str) -> Name:
        raise NotImplementedError

    def source_name(self) -> str:
        raise NotImplementedError

    def applied(self, named: Name) -> Name:
        raise NotImplementedError

    def parameters(self) -> str:
        raise NotImplementedError

    def type(self) -> Node:
        raise NotImplementedError

    def qualifiers(self) -> str:
        raise NotImplementedError

    def substitution(self, *, constructs: bool = False) -> Node:
        raise NotImplementedError

    def template_parameter(self) -> Node:
        raise NotImplementedError

    def template_arguments(self, of: str) -> tuple[str, list[Node]]:
        raise NotImplementedError

    def expansion(self, pattern: Callable[[], Node]) -> Node:
        raise NotImplementedError

    def expression(self) -> tuple[str, bool]:
        raise NotImplementedError

    def literal(self) -> tuple[str, bool]:
        raise NotImplementedError
