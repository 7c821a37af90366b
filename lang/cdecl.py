"""The C section: C declarations to types, through libclang, which is imported only when a script has such a section.

The text becomes a translation unit `definitions.h`. The machine's own kernel types are not declared to the compiler: a pointer to a
struct that the section leaves incomplete means the machine's struct of that name, and a typedef that it lacks is supplied when the
first parse misses it.

How C types read here: integers by size and sign (plain `char` is signed), `_Bool` as uint8, enums as enums of their C size, pointers,
structs and unions by name, `char[N]` as `string[N+1]` (of which N bytes are there to be read: a field that is full to its last byte is
still a whole string), other arrays as arrays; what has no counterpart (`float`, functions) has the type none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

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
_UNKNOWN_TYPE = re.compile(r"unknown type name '(\w+)'")
_SEVERITY = {3: "error", 4: "fatal error"}

Named = Callable[[str], t.Type | None]


class CError(Exception):
    """The C compiler refused the text. `lines` are its messages; `missing_types` says that all of them are about unknown types."""

    def __init__(self, lines: list[str], missing_types: bool) -> None:
        super().__init__(lines[0] if lines else "")
        self.lines = lines
        self.missing_types = missing_types


class Declarations:
    """What a C section declares: `tags` by full name (`struct foo`, `foo_t`), `constants` of enums; macros() by name."""

    def __init__(self, unit: Any, cindex: Any, named: Named) -> None:
        self._c = cindex
        self._named = named
        self._anonymous: dict[str, str] = {}  # by clang's own name for it, which holds the place
        self._macros: dict[str, Any] = {}
        self.tags: dict[str, t.Type] = {}
        self.constants: dict[str, tuple[int, t.Enum]] = {}
        self._collect(unit.cursor)

    def macros(self, names: Iterable[str]) -> dict[str, str]:
        """The bodies of those names that are object-like macros, and of the macros that these bodies name: tokens without the blanks
        and comments between them. Macros with an empty body define nothing."""
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
                if cursor.location.file is not None and not self._function_like(cursor):
                    self._macros[cursor.spelling] = cursor
            elif kind == kinds.ENUM_DECL:
                self._enum(cursor)
            elif kind in (kinds.STRUCT_DECL, kinds.UNION_DECL):
                if cursor.is_definition():
                    record = self._record(cursor)
                    self.tags.setdefault(record.name, record)
                    self._collect(cursor)
            elif kind == kinds.TYPEDEF_DECL:
                self.tags.setdefault(cursor.spelling, self.type(cursor.underlying_typedef_type))

    def _function_like(self, cursor: Any) -> bool:
        return bool(self._c.conf.lib.clang_Cursor_isMacroFunctionLike(cursor))

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
        names: dict[int, str] = {}
        constants = [(child.spelling, child.enum_value) for child in cursor.get_children() if child.kind.name == "ENUM_CONSTANT_DECL"]
        for name, value in constants:
            names.setdefault(value % (1 << 64), name)
        enum = t.Enum(tag.removeprefix("enum "), names, size)
        if size == 8:
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
        if kind == "VOID":
            return t.VOID
        if kind == "POINTER":
            return t.Pointer(self.type(c.get_pointee()))
        if kind == "ENUM":
            return self._enum(c.get_declaration(), c.get_size())
        if kind == "RECORD":
            return self._record_type(c.get_declaration())
        if kind in ("CONSTANTARRAY", "INCOMPLETEARRAY"):
            return self._array(c, c.element_count if kind == "CONSTANTARRAY" else 0)
        return t.NONE

    def _record_type(self, declaration: Any) -> t.Type:
        if declaration.get_definition() is None:
            return self._named(self._tag(declaration)) or self._record(declaration)
        return self._record(declaration)

    def _array(self, array: Any, count: int) -> t.Type:
        element = array.element_type.get_canonical()
        if element.kind.name in ("CHAR_S", "CHAR_U") and count:
            return t.String(count + 1)
        if element.kind.name in ("CONSTANTARRAY", "INCOMPLETEARRAY") and element.element_type.get_canonical().kind.name == "CHAR_S":
            return t.Array(t.Array(t.INT8, max(0, element.element_count)), count)  # the elements of an array lie N apart, not N + 1
        return t.Array(self.type(element), count)


_INTEGERS = {
    **dict.fromkeys(("CHAR_S", "SCHAR", "SHORT", "INT", "LONG", "LONGLONG"), ""),
    **dict.fromkeys(("CHAR_U", "UCHAR", "USHORT", "UINT", "ULONG", "ULONGLONG"), "u"),
}


def parse(text: str, arch: str, named: Named, *, include_paths: Sequence[str] = (), include_files: Sequence[str] = ()) -> Declarations:
    """The declarations of a C section for a machine of architecture `arch`.

    `named` gives types that are known without the section (`u32`, `struct task_struct`). Raises CError when it does not compile.
    """
    from clang import cindex

    supplied: dict[str, str] = {}
    while True:
        unit = _translate(cindex, text, arch, include_paths, include_files, supplied.values())
        errors = [d for d in unit.diagnostics if d.severity >= cindex.Diagnostic.Error]
        if not errors:
            return Declarations(unit, cindex, named)
        unknown = [name for d in errors if (name := _unknown(d.spelling)) and name not in supplied]
        new = {name: declared for name in unknown if (declared := _declare(name, named(name)))}
        if not new:
            lines = [line for d in errors for line in _lines(d)]
            raise CError(lines, all(_unknown(d.spelling) for d in errors))
        supplied |= new


def _translate(cindex: Any, text: str, arch: str, paths: Sequence[str], files: Sequence[str], supplied: Iterable[str]) -> Any:
    target, macro = TARGETS[arch]
    arguments = ["-x", "c", "-std=gnu11", "-w", "-nostdinc", "-ferror-limit=0", "-target", target, "-fno-spell-checking"]
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


def _unknown(message: str) -> str:
    found = _UNKNOWN_TYPE.search(message)
    return found[1] if found else ""


def _declare(name: str, known: t.Type | None) -> str:
    """A C declaration of a type that is known here; empty when there is none."""
    if isinstance(known, t.Integer):
        word = {1: "char", 2: "short", 4: "int", 8: "long"}[known.size]
        return f"typedef {'signed' if known.signed else 'unsigned'} {word} {name};"
    if isinstance(known, t.Struct) and " " in known.name and "(" not in known.name:
        return f"typedef {known.name} {name};"
    return "typedef _Bool bool;" if known == t.BOOL and name == "bool" else ""


def _lines(diagnostic: Any) -> list[str]:
    place = diagnostic.location
    file = f"{place.file.name}:{place.line}:{place.column}: " if place.file is not None else ""
    word = _SEVERITY.get(diagnostic.severity, "note")
    return [f"{file}{word}: {diagnostic.spelling}", *(line for child in diagnostic.children for line in _lines(child))]
