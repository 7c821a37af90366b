"""BTF types as the language's types.

How C types read: integers by size and sign, `_Bool` as bool, plain `char` with the sign it has in that kernel, `char[N]` as `string[N]`,
other arrays as arrays, enums as enums of their C size, pointers (to functions: `void *`), structs and unions by name with their keyword.
Members of anonymous members appear among those of the outer one. What has no counterpart (floating point, 128-bit integers) has the type
none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyprobe.lang import typesys as t
from pyprobe.runtime.system.metadata import btf as b
from pyprobe.runtime.system.metadata.btf import Btf
from pyprobe.runtime.system.metadata.ctext import definition_text, type_text

_KEYWORDS = {"struct": (b.STRUCT,), "union": (b.UNION,), "enum": (b.ENUM, b.ENUM64)}
_ARRAY_TEXT = re.compile(r"(.*?)\s*\[(\d*)\]")
_DROPPED = frozenset(("const", "volatile", "restrict", "__user", "__kernel", "__rcu"))
_SPELLINGS = {
    "unsigned": "unsigned int",
    "short": "short int",
    "unsigned short": "short unsigned int",
    "long": "long int",
    "unsigned long": "long unsigned int",
    "long long": "long long int",
    "unsigned long long": "long long unsigned int",
    "bool": "_Bool",
}
"""What the compiler calls a type that may be written shorter."""

_SIGNED, _BOOL = 1, 4  # encodings of an integer


class KernelTypes:
    """The types of a kernel, made when first asked for."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self._made: dict[int, t.Type] = {0: t.VOID}

    def named(self, name: str) -> t.Type | None:
        """A type by its C name: `struct task_struct`, `enum pid_type`, `u32`, `unsigned long`."""
        keyword, _, tag = name.partition(" ")
        if keyword in _KEYWORDS:
            number = self.btf.find(tag.strip(), *_KEYWORDS[keyword])
        else:
            number = self.btf.find(name, b.TYPEDEF, b.INT)
        return self.type(number) if number else None

    def tagged(self, keyword: str) -> list[str]:
        """The full names of all types of a keyword (`struct`, `union` or `enum`), sorted."""
        return sorted({f"{keyword} {name}" for kind in _KEYWORDS.get(keyword, ()) for name in self.btf.names(kind)})

    def definition(self, name: str) -> str:
        """A struct, union or enum by its full name, as C defines it. Raises KeyError."""
        keyword, _, tag = name.partition(" ")
        number = self.btf.find(tag, *_KEYWORDS[keyword])
        if not number:
            raise KeyError(name)
        return definition_text(self.btf, number)

    def written(self, text: str, space: str = "kernel") -> t.Type | None:
        """The type of a declaration in C without its name (`const struct path *`, `char[16]`), None when a name in it is not known.
        Pointers point into `space`."""
        array = _ARRAY_TEXT.fullmatch(text.strip())
        if array is not None:
            element = self.written(array[1], space)
            if array[1].split()[-1:] == ["char"]:
                return t.String(int(array[2] or 0))
            return t.Array(element, int(array[2] or 0)) if element is not None else None
        words = [word for word in text.replace("*", " * ").split() if word not in _DROPPED]
        stars = words.count("*")
        name = " ".join(word for word in words if word != "*")
        found = t.VOID if name == "void" else self.named(name) or self.named(_SPELLINGS.get(name, name))
        if found is None and stars:
            found = t.Struct(name, 0, list) if name.startswith(("struct ", "union ")) else t.VOID
        for _ in range(stars):
            found = t.Pointer(found, space) if found is not None else None
        return found

    def function(self, name: str) -> tuple[tuple[tuple[str, t.Type], ...], t.Type] | None:
        """Parameters (name and type) and result of a function, None when it is not known or takes a variable number."""
        number = self.btf.functions.get(name, 0)
        return self.prototype(self.btf.record(number).size) if number else None

    def declared(self, name: str) -> tuple[tuple[str, str], ...]:
        """Types, as C text, and names of the parameters of a function; none when it is not known."""
        number = self.btf.functions.get(name, 0)
        found = self.btf.parameters(self.btf.record(number).size) if number else []
        return tuple((type_text(self.btf, kind), parameter) for parameter, kind in found if kind)

    def returned(self, name: str) -> str:
        """The type, as C text, that a function returns; "void" when it is not known."""
        number = self.btf.functions.get(name, 0)
        return type_text(self.btf, self.btf.record(self.btf.record(number).size).size) if number else "void"

    def prototype(self, number: int) -> tuple[tuple[tuple[str, t.Type], ...], t.Type] | None:
        """Parameters and result of a FUNC_PROTO."""
        written = self.btf.parameters(number)
        if written and written[-1][1] == 0:
            return None
        made = tuple((name or f"arg{i}", self.type(kind)) for i, (name, kind) in enumerate(written))
        return made, self.type(self.btf.record(number).size)

    def constant(self, name: str) -> tuple[int, t.Enum] | None:
        """Value and enum of an enum constant; where several enums have it, the first counts."""
        number = self.btf.constant(name)
        if not number:
            return None
        value = next(value for constant, value in self.btf.constants(number) if constant == name)
        return value % (1 << 64), self._enum(number)

    def offset(self, struct: str, *path: str) -> int:
        """The offset in bytes of a member (of a member...) of a struct. Raises KeyError when this kernel has none."""
        at, found = 0, self.named(f"struct {struct}")
        for name in path:
            if not isinstance(found, t.Struct):
                raise KeyError(name)
            field = found.fields[name]
            at += field.offset
            found = field.type
        return at

    def type(self, number: int) -> t.Type:
        """The type with this number."""
        made = self._made.get(number)
        if made is None:
            made = self._made[number] = self._make(number)
        return made

    def _make(self, number: int) -> t.Type:
        record = self.btf.record(number)
        kind = record.kind
        if kind in b.MODIFIERS or kind == b.TYPEDEF:
            return self.type(record.size)
        if kind == b.INT:
            encoding, bits = self.btf.integer(number)
            if encoding & _BOOL:
                return t.BOOL
            return t.INTEGERS.get(f"{'' if encoding & _SIGNED else 'u'}int{record.size * 8}", t.NONE) if bits else t.NONE
        if kind == b.PTR:
            return self._pointer(record.size)
        if kind == b.ARRAY:
            return self._array(*self.btf.array(number))
        if kind in (b.STRUCT, b.UNION):
            return self._struct(number, record)
        if kind in (b.ENUM, b.ENUM64):
            return self._enum(number, record.size)
        if kind == b.FWD:
            return t.Struct(f"{'union' if record.flag else 'struct'} {self.btf.text(record.name)}", 0, list)
        return t.VOID if kind in (b.FUNC_PROTO, b.FUNC) else t.NONE

    def _pointer(self, target: int) -> t.Type:
        resolved = self.btf.resolve(target)
        if resolved and self.btf.record(resolved).kind == b.FWD:  # complete elsewhere in the kernel, perhaps
            record = self.btf.record(resolved)
            complete = self.btf.find(self.btf.text(record.name), b.UNION if record.flag else b.STRUCT)
            return t.Pointer(self.type(complete or resolved), "kernel")
        return t.Pointer(self.type(target), "user" if self._tagged(target, "user") else "kernel")

    def _tagged(self, number: int, tag: str) -> bool:
        """Whether a pointer's target is marked with a type tag (`__user` is one)."""
        while number:
            record = self.btf.record(number)
            if record.kind == b.TYPE_TAG and self.btf.text(record.name) == tag:
                return True
            if record.kind not in b.MODIFIERS:
                return False
            number = record.size
        return False

    def _array(self, element: int, count: int) -> t.Type:
        resolved = self.btf.resolve(element, typedefs=False)
        if resolved and count and self.btf.record(resolved).kind == b.INT and self.btf.name(resolved) == "char":
            return t.String(count)
        return t.Array(self.type(element), count)

    def _struct(self, number: int, record: b.Record) -> t.Struct:
        keyword = "struct" if record.kind == b.STRUCT else "union"
        name = self.btf.text(record.name) or f"(anonymous {number})"
        return t.Struct(f"{keyword} {name}", record.size, lambda: list(self._fields(number, 0)))

    def _fields(self, number: int, base: int) -> Iterator[t.Field]:
        """The members, with those of anonymous members in their place; `base` is an offset in bits."""
        for member in self.btf.members(number):
            at = base + member.offset
            if not member.name:
                inner = self.btf.resolve(member.type)
                if inner and self.btf.record(inner).kind in (b.STRUCT, b.UNION):
                    yield from self._fields(inner, at)
                continue
            type = self.type(member.type)
            width = member.width
            if not width:
                yield t.Field(member.name, type, at // 8)
                continue
            whole = max(8, type.size * 8)
            start = at // whole * whole
            if at + width > start + whole:  # packed over the end of its storage unit
                start = at // 8 * 8
            yield t.Field(member.name, type, start // 8, (at - start, width))

    def _enum(self, number: int, size: int = 8) -> t.Enum:
        """An enum; its constants have 8 bytes, as the type of a member it has its C size."""
        names: dict[int, str] = {}
        for name, value in self.btf.constants(number):
            names.setdefault(value % (1 << 64), name)
        return t.Enum(self.btf.name(number) or f"(anonymous {number})", names, size)
