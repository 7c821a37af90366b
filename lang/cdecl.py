"""The C section: C declarations to types, through libclang, which is imported only when a script has such a section.

The text becomes a translation unit `definitions.h`. The machine's own kernel types are not declared to the compiler: a pointer to a
struct that the section leaves incomplete means the machine's struct of that name, and a typedef, enum constant or struct (of which the
compiler needs only size and alignment) that it lacks is supplied when a parse misses it.

How C types read here: integers by size and sign (plain `char` is signed), `_Bool` as uint8, enums as enums of their C size, pointers,
structs and unions by name (one without members defines nothing), `char[N]` as `string[N+1]` (of which N bytes are there to be read: a
field that is full to its last byte is still a whole string), other arrays as arrays; what has no counterpart (`float`, functions, arrays
without a length) has the type none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pyprobe.lang import typesys as t

FILE = "definitions.h"
INCLUDE_PATHS = ("/usr/local/include", "/usr/include")
OWN_HEADERS = "/pyprobe-headers"  # exists in memory only

HEADERS = {
    "stddef.h": "typedef unsigned long size_t;\ntypedef long ptrdiff_t;\ntypedef int wchar_t;\n#define NULL ((void *)0)\n"
    "#define offsetof(type, member) __builtin_offsetof(type, member)\n",
    "stdbool.h": "#define bool _Bool\n#define true 1\n#define false 0\n",
    "stdarg.h": "typedef __builtin_va_list va_list;\n#define va_start __builtin_va_start\n#define va_end __builtin_va_end\n"
    "#define va_arg __builtin_va_arg\n",
    "limits.h": "#define CHAR_BIT 8\n#define INT_MAX 2147483647\n#define INT_MIN (-INT_MAX-1)\n#define UINT_MAX 4294967295\n"
    "#define LONG_MAX 9223372036854775807\n#define LONG_MIN (-LONG_MAX-1)\n#define ULONG_MAX 18446744073709551615\n",
}
"""The headers that belong to a compiler, not to a C library, and so may be missing on a machine."""

TARGETS = {"x86_64": ("x86_64-linux-gnu", "__TARGET_ARCH_x86"), "arm64": ("aarch64-linux-gnu", "__TARGET_ARCH_arm64")}
PREDEFINED = ("BPFTRACE_HAVE_BTF", "_LINUX_TYPES_H")  # the machine's types stand for the kernel's headers

MISSING = "Include headers with missing type definitions or install BTF information to your system."
REDEFINED = "Cannot take type definitions from BTF since there is a redefinition conflict with user-defined types."
_UNKNOWN_NAME = re.compile(r"(?:unknown type name|use of undeclared identifier) '(\w+)'")
_INCOMPLETE = re.compile(r"field has incomplete type '((?:struct|union|enum) \w+)'")
_WAYS = ("expanded from macro", "in file included from")  # notes that say how clang came to the place of a message


class Kernel(Protocol):
    """Who knows the names that a section may use without defining them."""

    def type_named(self, name: str) -> t.Type | None:
        """The type of that name, `u32` or `struct task_struct`."""

    def enum_constant(self, name: str) -> int | None:
        """The value of an enum's constant."""


class CError(Exception):
    """The C compiler refused the text. `lines` are its messages; `missing_types` says that the first is about a name that is not known,
    `redefined` that something is defined twice."""

    def __init__(self, lines: list[str], missing_types: bool, redefined: bool) -> None:
        super().__init__(lines[0] if lines else "")
        self.lines = lines
        self.missing_types = missing_types
        self.redefined = redefined


class Declarations:
    """What a C section declares: `tags` by full name (`struct foo`, `foo_t`), `constants` of enums; macros() by name."""

    def __init__(self, unit: Any, cindex: Any, kernel: Kernel, supplied: Mapping[str, t.Type]) -> None:
        self._c = cindex
        self._kernel = kernel
        self._supplied = supplied  # by tag: the types that were declared to the compiler without their members
        self._anonymous: dict[str, str] = {}  # by clang's own name for it, which holds the place
        self._macros: dict[str, Any] = {}
        self.tags: dict[str, t.Type] = {}
        self.constants: dict[str, tuple[int, t.Enum]] = {}
        self._collect(unit.cursor)

    def macros(self, names: Iterable[str]) -> dict[str, str]:
        """The bodies of those names that are macros, and of the macros that these bodies name: tokens without the blanks and comments
        between them. The parameters of one that takes some are read as part of its body. Macros with an empty body define nothing."""
        found: dict[str, str] = {}
        wanted = list(names)
        while wanted:
            name = wanted.pop()
            if name in found or name not in self._macros:
                continue
            tokens = [token.spelling for token in self._macros[name].get_tokens() if token.kind != self._c.TokenKind.COMMENT][1:]
            if tokens:
                found[name] = "".join(tokens)
                wanted += (token for token in tokens if token.isidentifier())
        return found

    def _collect(self, parent: Any) -> None:
        kinds = self._c.CursorKind
        for cursor in parent.get_children():
            kind = cursor.kind
            if kind == kinds.MACRO_DEFINITION:
                if cursor.location.file is not None:
                    self._macros[cursor.spelling] = cursor
            elif kind == kinds.ENUM_DECL:
                self._enum(cursor)
            elif kind in (kinds.STRUCT_DECL, kinds.UNION_DECL):
                if cursor.is_definition():
                    record = self._record(cursor)
                    if record.name not in self._supplied and any(cursor.type.get_fields()):
                        self.tags.setdefault(record.name, record)
                    self._collect(cursor)
            elif kind == kinds.TYPEDEF_DECL:
                self.tags.setdefault(cursor.spelling, self.type(cursor.underlying_typedef_type))

    def _is_supplied(self, cursor: Any) -> bool:
        place = cursor.location
        return bool(place.line == 1 and place.file is not None and place.file.name == FILE)

    def _tag(self, cursor: Any) -> str:
        """The name of a struct, union or enum with its keyword; anonymous ones are numbered in the order they are met."""
        keyword = {"STRUCT_DECL": "struct", "UNION_DECL": "union"}.get(cursor.kind.name, "enum")
        if not cursor.is_anonymous() and cursor.spelling and "(" not in cursor.spelling:
            return f"{keyword} {cursor.spelling}"
        key = cursor.get_usr() or cursor.type.spelling
        number = self._anonymous.setdefault(key, str(len(self._anonymous) + 1))
        return f"{keyword} (anonymous {number})"

    def _enum(self, cursor: Any, size: int = 8) -> t.Enum:
        """The enum, whose constants have 8 bytes; as the type of a member it has its C `size`."""
        tag = self._tag(cursor)
        known = self._supplied.get(tag)
        if isinstance(known, t.Enum):
            return t.Enum(known.name, known.names, size)
        names: dict[int, str] = {}
        constants = [(child.spelling, child.enum_value) for child in cursor.get_children() if child.kind.name == "ENUM_CONSTANT_DECL"]
        for name, value in constants:
            names.setdefault(value % (1 << 64), name)
        enum = t.Enum(tag.removeprefix("enum "), names, size)
        if size == 8 and not self._is_supplied(cursor):
            self.tags.setdefault(tag, enum)
            for name, value in constants:
                self.constants.setdefault(name, (value % (1 << 64), enum))
        return enum

    def _record(self, cursor: Any) -> t.Struct:
        definition = cursor.get_definition() or cursor
        return t.Struct(self._tag(definition), max(0, definition.type.get_size()), lambda: list(self._fields(definition.type, 0)))

    def _fields(self, record: Any, base: int) -> Iterable[t.Field]:
        """The members, with those of anonymous members in their place; `base` is the offset of `record` in bits."""
        for cursor in record.get_fields():
            at = base + cursor.get_field_offsetof()
            if not cursor.spelling or "(" in cursor.spelling:
                yield from self._fields(cursor.type.get_canonical(), at)
                continue
            kind = self.type(cursor.type)
            if not cursor.is_bitfield():
                yield t.Field(cursor.spelling, kind, at // 8)
                continue
            width = cursor.get_bitfield_width()
            whole = max(8, kind.size * 8)
            start = at // whole * whole
            if at + width > start + whole:  # packed over the end of its storage unit
                start = at // 8 * 8
            yield t.Field(cursor.spelling, kind, start // 8, (at - start, width))

    def type(self, written: Any) -> t.Type:
        """The type that a clang type stands for."""
        c = written.get_canonical()
        kind = c.kind.name
        if kind in _INTEGERS:
            return t.INTEGERS[f"{_INTEGERS[kind]}int{c.get_size() * 8}"]
        if kind == "BOOL":
            return t.UINT8
        if kind == "POINTER":
            return t.Pointer(self.type(c.get_pointee()))
        if kind == "ENUM":
            return self._enum(c.get_declaration(), c.get_size())
        if kind == "RECORD":
            return self._record_type(c.get_declaration())
        return self._array(c, c.element_count) if kind == "CONSTANTARRAY" else t.NONE

    def _record_type(self, declaration: Any) -> t.Type:
        tag = self._tag(declaration)
        known = self._supplied.get(tag)
        if known is None and declaration.get_definition() is None:
            known = self._kernel.type_named(tag)
        return known or self._record(declaration)

    def _array(self, array: Any, count: int) -> t.Type:
        element = array.element_type.get_canonical()
        if element.kind.name in ("CHAR_S", "CHAR_U") and count:
            return t.String(count + 1)
        if element.kind.name == "CONSTANTARRAY" and element.element_type.get_canonical().kind.name == "CHAR_S":
            return t.Array(t.Array(t.INT8, max(0, element.element_count)), count)  # the elements of an array lie N apart, not N + 1
        return t.Array(self.type(element), count)


_INTEGERS = {
    **dict.fromkeys(("CHAR_S", "SCHAR", "SHORT", "INT", "LONG", "LONGLONG"), ""),
    **dict.fromkeys(("CHAR_U", "UCHAR", "USHORT", "UINT", "ULONG", "ULONGLONG"), "u"),
}


def parse(text: str, arch: str, kernel: Kernel, *, include_paths: Sequence[str] = (), include_files: Sequence[str] = ()) -> Declarations:
    """The declarations of a C section for a machine of architecture `arch`. Raises CError when it does not compile."""
    from clang import cindex

    supplied: dict[str, str] = {}
    opaque: dict[str, t.Type] = {}
    while True:
        unit = _translate(cindex, text, arch, include_paths, include_files, supplied.values())
        errors = [d for d in unit.diagnostics if d.severity >= cindex.Diagnostic.Error]
        if not errors:
            return Declarations(unit, cindex, kernel, opaque)
        unknown = [name for d in errors if (name := _missing(d.spelling)) and name not in supplied]
        new = {name: declared for name in unknown if (declared := _declare(name, kernel, opaque))}
        if not new:
            lines = [line for d in unit.diagnostics for line in _lines(d)]
            redefined = any("redefinition" in d.spelling for d in errors)
            raise CError(lines, bool(_UNKNOWN_NAME.search(errors[0].spelling)), redefined)
        supplied |= new


def _translate(cindex: Any, text: str, arch: str, paths: Sequence[str], files: Sequence[str], supplied: Iterable[str]) -> Any:
    target, macro = TARGETS[arch]
    arguments = ["-x", "c", "-std=gnu11", "-nostdinc", "-ferror-limit=0", "-target", target, "-fno-spell-checking"]
    arguments += [f"-D{name}=1" for name in (*PREDEFINED, macro)]
    arguments += [f"-I{path}" for path in paths]
    for path in (*INCLUDE_PATHS, f"/usr/include/{target}", f"/usr/{target}/include", OWN_HEADERS):
        arguments += ["-isystem", path]
    for file in files:
        arguments += ["-include", file]
    first = " ".join(supplied) + "\n"  # one line, so that the lines of messages do not move
    text = text.encode("utf-8", "replace").decode()  # what is no UTF-8 cannot be handed over
    unsaved = [(FILE, first + text), *((f"{OWN_HEADERS}/{name}", content) for name, content in HEADERS.items())]
    options = cindex.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD
    return cindex.Index.create().parse(FILE, args=arguments, unsaved_files=unsaved, options=options)


def _missing(message: str) -> str:
    """The name that a message says is not known; empty for other messages."""
    found = _UNKNOWN_NAME.search(message) or _INCOMPLETE.search(message)
    return found[1] if found else ""


def _declare(name: str, kernel: Kernel, opaque: dict[str, t.Type]) -> str:
    """A C declaration of a name that the kernel knows; empty when it does not. Types whose members the compiler is not told are added to
    `opaque`."""
    known = kernel.type_named(name)
    if known is None:
        value = kernel.enum_constant(name)
        return "" if value is None else f"enum {{ {name} = {value} }};"
    if isinstance(known, t.Integer):
        word = {1: "char", 2: "short", 4: "int", 8: "long"}[known.size]
        return f"typedef {'signed' if known.signed else 'unsigned'} {word} {name};"
    if known == t.BOOL:
        return "typedef _Bool bool;" if name == "bool" else ""
    keyword, _, tag = name.rpartition(" ")
    tag = tag if keyword else f"__kernel_{name}"  # a typedef, of a struct that may have no name
    if isinstance(known, t.Struct):
        opaque[f"{keyword or 'struct'} {tag}"] = known
        definition = f"{keyword or 'struct'} {tag} {{ char bytes[{known.size}]; }} __attribute__((aligned({_alignment(known)})));"
    elif isinstance(known, t.Enum):
        opaque[f"enum {tag}"] = known
        definition = f"enum {tag} {{ __first_{tag} }};"
    else:
        return ""
    return definition if keyword else f"typedef {definition.removesuffix(';')} {name};"


def _alignment(known: t.Type) -> int:
    """The alignment of a type in C, in bytes."""
    if isinstance(known, t.Struct):
        return max((_alignment(field.type) for field in known.fields.values()), default=1)
    if isinstance(known, t.Array):
        return _alignment(known.element)
    return 1 if isinstance(known, t.String) else known.size if known.size in (1, 2, 4, 8) else 8


def _lines(diagnostic: Any) -> list[str]:
    if diagnostic.spelling.startswith(_WAYS):
        return []
    return [diagnostic.format(), *(line for child in diagnostic.children for line in _lines(child))]
