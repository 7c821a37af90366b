"""The C types of the emulated kernel: its structs as the stdlib declares them, read without a C compiler.

The declarations (stdlib/kernel/*.h) are plain: structs, unions, enums and typedefs of integers, pointers, arrays and each other. They are
laid out by the rules that both architectures share: natural alignment, 8-byte pointers (System V ABI for x86-64, AAPCS64).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from pyprobe import stdlib
from pyprobe.lang.passes.types import KERNEL_INTEGERS
from pyprobe.lang.typesys import BOOL, INT8, INT16, INT32, INT64, VOID, Array, Enum, Field, Integer, Pointer, String, Struct, Type

_TOKEN = re.compile(r"/\*.*?\*/|\s+|(\w+|[{};,*=\[\]])", re.S)
_WORDS = {"char": INT8, "short": INT16, "int": INT32, "long": INT64}  # the widest word of several decides: `long int`, `unsigned short`
_QUALIFIERS = frozenset({"const", "volatile"})


class KernelTypes:
    """All types of one architecture's declarations, by full name (`struct task_struct`, `kuid_t`)."""

    def __init__(self, arch: str) -> None:
        self._types: dict[str, Type] = {}
        self._aligns: dict[str, int] = {}
        self._written: dict[str, list[str]] = {}  # the tokens of every body
        self._bodies: dict[str, list[str]] = {}  # of structs that are not laid out yet
        self._fields: dict[str, list[Field]] = {}
        self.constants: dict[str, tuple[int, Enum]] = {}
        self._anonymous = 0
        for name in ("types.h", "uapi.h", f"{arch}.h"):
            text = stdlib.text("kernel", name)
            self._scan([token[1] for token in _TOKEN.finditer(text) if token[1]])
        while self._bodies:
            name = next(iter(self._bodies))
            self._lay_out(name, self._bodies.pop(name))

    @property
    def names(self) -> list[str]:
        """The full names of all structs and unions, sorted."""
        return sorted(name for name, kind in self._types.items() if isinstance(kind, Struct) and name == kind.name and "(" not in name)

    def tagged(self, keyword: str) -> list[str]:
        """The full names of what is defined with a keyword (`struct`, `union` or `enum`), sorted."""
        return sorted(name for name in self._written if name.startswith(keyword + " "))

    def definition(self, name: str) -> str:
        """A struct, union or enum by its full name, as C defines it. Raises KeyError."""
        found = self._types[name]
        if isinstance(found, Enum):
            return enum_text(name, [(constant, value) for value, constant in found.names.items()])
        return f"{name} {{\n{_members_text(self._written[name], 1)}}};"

    def named(self, name: str) -> Type | None:
        """The type of that name; None if there is none."""
        return self._types.get(name)

    def constant(self, name: str) -> tuple[int, Enum] | None:
        """Value and enum of a constant."""
        return self.constants.get(name)

    def struct(self, name: str) -> Struct:
        """The struct of that name. Raises KeyError."""
        found = self.named(name)
        if not isinstance(found, Struct):
            raise KeyError(name)
        return found

    # declarations

    def _scan(self, tokens: list[str]) -> None:
        """Note the declarations of one file; structs are laid out when all are known."""
        at = 0
        while at < len(tokens):
            end = _statement_end(tokens, at)
            statement = tokens[at:end]
            at = end + 1
            if statement[0] == "typedef":
                [(name, kind)] = self._declared(statement[1:])
                self._types[name] = kind
            elif statement[0] == "enum":
                self._written[" ".join(statement[:2])] = statement[3:-1]
                self._enum(statement[1], statement[3:-1])
            else:
                self._bodies[" ".join(statement[:2])] = self._written[" ".join(statement[:2])] = statement[3:-1]
                self._struct(" ".join(statement[:2]))

    def _enum(self, name: str, body: list[str]) -> None:
        values: dict[int, str] = {}
        enum = self._types[f"enum {name}"] = Enum(name, values, 4)
        following = 0
        for entry in _split(body, ","):
            following = int(entry[2]) if len(entry) > 1 else following
            values[following] = entry[0]
            self.constants[entry[0]] = (following, enum)
            following += 1

    def _struct(self, name: str) -> Struct:
        """The struct or union of that name, which may still have to be laid out, or will never be: then it has no members."""
        known = self._types.get(name)
        if known is None:
            known = self._types[name] = Struct(name, 0, lambda: self._fields.get(name, []))
        assert isinstance(known, Struct), name
        return known

    def _lay_out(self, name: str, body: list[str]) -> Struct:
        """Place the members of a struct or union."""
        found = self._struct(name)
        union = name.startswith("union ")
        fields = self._fields[name] = []
        at = size = 0
        widest = 1
        for statement in _split(body, ";"):
            for member, kind in self._declared(statement):
                align = self._align(kind)
                at = 0 if union else -(-at // align) * align
                if member:
                    fields.append(Field(member, kind, at))
                else:
                    assert isinstance(kind, Struct), name
                    fields += (Field(f.name, f.type, at + f.offset) for f in kind.fields.values())
                at += kind.size
                size = max(size, at)
                widest = max(widest, align)
        found.size = -(-size // widest) * widest
        self._aligns[name] = widest
        return found

    def _align(self, kind: Type) -> int:
        if isinstance(kind, Array):
            return self._align(kind.element)
        if isinstance(kind, Struct):
            return self._aligns[kind.name]
        return 1 if isinstance(kind, String) else max(1, kind.size)

    def _declared(self, statement: list[str]) -> list[tuple[str, Type]]:
        """`type *name[4]` as [(name, type)]; an anonymous member has the name ""."""
        kind, rest = self._specifier([token for token in statement if token not in _QUALIFIERS])
        if not rest:
            return [("", kind)]
        return [self._declarator(kind, declarator) for declarator in _split(rest, ",")]

    def _declarator(self, kind: Type, tokens: list[str]) -> tuple[str, Type]:
        stars = next(i for i, token in enumerate(tokens) if token != "*")
        for _ in range(stars):
            kind = Pointer(kind, "kernel")
        name, counts = tokens[stars], [int(token) for token in tokens[stars + 1 :] if token.isdigit()]
        if len(tokens) > stars + 1:
            count = counts[0] if counts else 0
            kind = String(count) if kind == INT8 and count else Array(kind, count)
        return name, kind

    def _specifier(self, tokens: list[str]) -> tuple[Type, list[str]]:
        """The type that a declaration begins with, and what follows it."""
        keyword = tokens[0]
        if keyword in ("struct", "union", "enum"):
            if tokens[1] != "{":
                return self._tagged(f"{keyword} {tokens[1]}", tokens[2:]), tokens[2:]
            end = _statement_end(tokens, 0, closing=True)
            self._anonymous += 1
            return self._lay_out(f"{keyword} (anonymous {self._anonymous})", tokens[2 : end - 1]), tokens[end:]
        if keyword in self._types:
            return self._types[keyword], tokens[1:]
        if keyword == "void":
            return VOID, tokens[1:]
        if keyword in ("bool", "_Bool"):
            return BOOL, tokens[1:]
        count = next((i for i, token in enumerate(tokens) if token not in (*_WORDS, "unsigned", "signed")), len(tokens))
        if count:
            words = tokens[:count]
            base = next((_WORDS[word] for word in ("char", "short", "long", "int") if word in words), INT32)
            return (Integer(base.size, False) if "unsigned" in words else base), tokens[count:]
        return KERNEL_INTEGERS[keyword], tokens[1:]

    def _tagged(self, name: str, rest: list[str]) -> Type:
        """A struct or enum by its name; a struct that is a member itself is laid out first."""
        if name.startswith("enum "):
            return self._types[name]
        if rest[:1] != ["*"] and name in self._bodies:
            self._lay_out(name, self._bodies.pop(name))
        return self._struct(name)


def enum_text(name: str, constants: list[tuple[str, int]]) -> str:
    """The definition of an enum."""
    return f"{name} {{\n" + "".join(f"\t{constant} = {value},\n" for constant, value in constants) + "};"


def _members_text(tokens: list[str], depth: int) -> str:
    """Members as C declares them, one a line, those of anonymous structs and unions deeper."""
    indent = "\t" * depth
    lines = []
    for statement in _split(tokens, ";"):
        if "{" in statement:
            end = _statement_end(statement, 0, closing=True)
            inner = _members_text(statement[2 : end - 1], depth + 1)
            lines.append(f"{indent}{statement[0]} {{\n{inner}{indent}}}{_declaration_text(['', *statement[end:]])};\n")
        else:
            lines.append(f"{indent}{_declaration_text(statement)};\n")
    return "".join(lines)


def _declaration_text(tokens: list[str]) -> str:
    """`struct rb_node *left` from its tokens."""
    return re.sub(r"\* (?=\*|\w)", "*", " ".join(tokens)).replace(" [ ", "[").replace(" ]", "]").replace(" ,", ",").rstrip()


def _statement_end(tokens: list[str], at: int, *, closing: bool = False) -> int:
    """The index of the `;` that ends a declaration, or (closing) the one after the `}` that closes its first `{`."""
    depth = 0
    for i in range(at, len(tokens)):
        depth += (tokens[i] == "{") - (tokens[i] == "}")
        if depth == 0 and (tokens[i] == ";" or (closing and tokens[i] == "}")):
            return i + closing
    raise ValueError(f"a declaration without an end: {' '.join(tokens[at:at + 5])}")


def _split(tokens: list[str], separator: str) -> Iterator[list[str]]:
    """The parts of a list between separators that stand outside of braces; empty ones are left out."""
    part: list[str] = []
    depth = 0
    for token in tokens:
        depth += (token == "{") - (token == "}")
        if token == separator and depth == 0:
            if part:
                yield part
            part = []
        else:
            part.append(token)
    if part:
        yield part


@cache
def kernel_types(arch: str) -> KernelTypes:
    """The types of the emulated kernel of one architecture."""
    return KernelTypes(arch)
