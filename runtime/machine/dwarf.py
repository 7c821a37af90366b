"""Debug information of a program: parameters of its functions with their types, and the addresses of source lines.

pyelftools reads DWARF; only the units that a question is about are parsed, since a large program has thousands. The types are the
language's: `char[N]` is `string[N+1]`, an enum the integer it is kept in, what has no counterpart (floating point) the type none.
Sections cited are of the DWARF Debugging Information Format, version 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyprobe.lang import typesys as t
from pyprobe.runtime.machine.dwarf_lines import Lines, Place, places
from pyprobe.runtime.machine.elf import ElfError, ElfFile, guarded

_SIGNED = frozenset({0x05, 0x06, 0x0D})  # DW_ATE_signed, _signed_char, _signed_fixed (5.1.1)
_UNSIGNED = frozenset({0x02, 0x07, 0x08, 0x10})  # DW_ATE_boolean, _unsigned, _unsigned_char, _UTF
_CHARACTERS = frozenset({0x06, 0x08})
_QUALIFIERS = {
    "DW_TAG_typedef": "",
    "DW_TAG_const_type": "const ",
    "DW_TAG_volatile_type": "volatile ",
    "DW_TAG_restrict_type": "",
    "DW_TAG_atomic_type": "_Atomic ",
}
_POINTERS = {"DW_TAG_pointer_type": "*", "DW_TAG_reference_type": "&", "DW_TAG_rvalue_reference_type": "&&"}
_RECORDS = {
    "DW_TAG_structure_type": "struct",
    "DW_TAG_class_type": "struct",
    "DW_TAG_union_type": "union",
}
MOST_SEARCHED = 4 << 20  # bytes of debug information that are gone through for a name; no table leads to types
_MOST_QUALIFIERS = 100  # a damaged file may have a type that refers to itself

Parameter = tuple[str, t.Type, str]
"""Name, type, and the type as C writes it."""


class LineError(ElfError):
    """A place in the source that no code belongs to; the text says why."""


class DebugInfo:
    """The DWARF of one ELF file. Raises ElfError, here and in every method, when it is damaged."""

    def __init__(self, elf: ElfFile) -> None:
        self._dwarf: Any = elf.dwarf()
        self._types: dict[int, t.Type] = {0: t.VOID}
        self._lines: dict[int, Lines] = {}  # by unit
        self._functions: dict[int, dict[int, Any]] = {}  # unit -> address -> entry of the function

    # ---- functions

    def parameters(self, address: int) -> list[Parameter] | None:
        """The parameters of the function at an address, in order; None where nothing is known of it."""
        return guarded(lambda: self._parameters(address))

    def _parameters(self, address: int) -> list[Parameter] | None:
        function = self._function(address)
        if function is None:
            return None
        found: list[Parameter] = []
        for child in function.iter_children():
            if child.tag == "DW_TAG_formal_parameter":
                kind = self._target(_defining(child, "DW_AT_type"), "DW_AT_type")
                found.append((_name(_defining(child, "DW_AT_name")) or f"arg{len(found)}", self.type(kind), self._text(kind)))
        return found

    def _function(self, address: int) -> Any:
        """The entry of the function at an address; the table of address ranges names its unit where there is one (6.1.2)."""
        ranges = self._dwarf.get_aranges()
        offset = ranges.cu_offset_at_addr(address) if ranges is not None else None
        units = [self._dwarf.get_CU_at(offset)] if offset is not None else self._dwarf.iter_CUs()
        return next((found for unit in units if (found := self._of_unit(unit).get(address)) is not None), None)

    def _of_unit(self, unit: Any) -> dict[int, Any]:
        known = self._functions.get(unit.cu_offset)
        if known is None:
            known = self._functions[unit.cu_offset] = dict(_functions(unit.get_top_DIE()))
        return known

    # ---- source lines

    def line_address(self, file: str, line: int, column: int) -> int:
        """The first address of the code of a source line; column 0 is any. `file` may leave out leading directories. Raises LineError."""
        return guarded(lambda: self._line_address(file, line, column))

    def _line_address(self, file: str, line: int, column: int) -> int:
        units = [unit for unit in self._dwarf.iter_CUs() if _is_file(_unit_path(unit), file)]
        if not units:
            raise LineError(f"DWARF error: No compilation unit matches {file}")
        found = [
            state.address
            for unit in units
            for state, name in self._rows(unit)
            if state.line == line and column in (0, state.column) and name == file.rpartition("/")[2]
        ]
        if not found:
            place = f"{file}:{line}:{column}" if column else f"{file}:{line}"
            raise LineError(f"DWARF error: Unable to map '{place}' to address")
        return int(min(found))

    def places(self, function: int, address: int) -> list[Place]:
        """The source places of an address in the function that begins at `function`: those in functions that were inlined there,
        innermost first, then its own. Empty where nothing is known of the address."""
        return guarded(lambda: self._places(function, address))

    def _places(self, function: int, address: int) -> list[Place]:
        entry = self._function(function)
        if entry is None:
            return []
        unit = entry.cu
        lines = self._lines.get(unit.cu_offset)
        if lines is None:
            lines = self._lines[unit.cu_offset] = Lines(self._dwarf, unit)
        return places(lines, entry, address, lambda call: _linkage_name(call) or _name(_defining(call, "DW_AT_name")))

    def _rows(self, unit: Any) -> Iterator[tuple[Any, str]]:
        """The rows of a unit's line table that begin a statement, with the name of the file they are of (6.2.2)."""
        program = self._dwarf.line_program_for_CU(unit)
        if program is None:
            return
        files = program.header["file_entry"]
        first = 0 if program.header["version"] >= 5 else 1
        for entry in program.get_entries():
            state = entry.state
            if state is not None and state.is_stmt and not state.end_sequence:
                index = state.file - first
                name = files[index].name.decode("utf-8", "surrogateescape") if 0 <= index < len(files) else ""
                yield state, name.rpartition("/")[2]

    # ---- types

    def named(self, name: str) -> t.Type | None:
        """The type of a C name: `struct point`, `union value`, or a typedef; None where no unit defines it, or there is too much to
        look through."""
        return guarded(lambda: self._named(name))

    def _named(self, name: str) -> t.Type | None:
        keyword, _, tag = name.rpartition(" ")
        if self._dwarf.debug_info_sec.size > MOST_SEARCHED:
            return None
        for unit in self._dwarf.iter_CUs():
            for child in unit.get_top_DIE().iter_children():
                right = _RECORDS.get(child.tag) == keyword if keyword else child.tag == "DW_TAG_typedef"
                if right and _name(child) == tag and "DW_AT_declaration" not in child.attributes:
                    return self.type(child)
        return None

    def _target(self, entry: Any, attribute: str) -> Any:
        return entry.get_DIE_from_attribute(attribute) if entry is not None and attribute in entry.attributes else None

    def type(self, entry: Any) -> t.Type:
        """The type that an entry describes; None is void."""
        key = entry.offset if entry is not None else 0
        made = self._types.get(key)
        if made is None:
            made = self._types[key] = self._make(entry)
        return made

    def _make(self, entry: Any) -> t.Type:
        entry = self._plain(entry)
        if entry is None:
            return t.VOID
        size = _number(entry, "DW_AT_byte_size")
        if entry.tag == "DW_TAG_base_type":
            encoding = _number(entry, "DW_AT_encoding")
            sign = "" if encoding in _SIGNED else "u" if encoding in _UNSIGNED else None
            return t.INTEGERS.get(f"{sign}int{size * 8}", t.NONE) if sign is not None else t.NONE
        if entry.tag in _POINTERS:
            return t.Pointer(self.type(self._target(entry, "DW_AT_type")), "user")
        if entry.tag == "DW_TAG_enumeration_type":
            base = self.type(self._target(entry, "DW_AT_type"))
            return base if isinstance(base, t.Integer) else t.INTEGERS.get(f"uint{size * 8}", t.NONE)
        if entry.tag in _RECORDS:
            name = _name(entry) or f"(anonymous {entry.offset:#x})"
            return t.Struct(f"{_RECORDS[entry.tag]} {name}", size, lambda: guarded(lambda: list(self._fields(entry, 0))))
        if entry.tag == "DW_TAG_array_type":
            return self._array(entry)
        return t.VOID if entry.tag in ("DW_TAG_subroutine_type", "DW_TAG_unspecified_type") else t.NONE

    def _plain(self, entry: Any) -> Any:
        """The type without typedefs and qualifiers."""
        for _ in range(_MOST_QUALIFIERS):
            if entry is None or entry.tag not in _QUALIFIERS:
                return entry
            entry = self._target(entry, "DW_AT_type")
        return None

    def _array(self, entry: Any) -> t.Type:
        element = self._target(entry, "DW_AT_type")
        counts = [_count(child) for child in entry.iter_children() if child.tag == "DW_TAG_subrange_type"] or [0]
        plain = self._plain(element)
        text = plain is not None and plain.tag == "DW_TAG_base_type" and _number(plain, "DW_AT_encoding") in _CHARACTERS
        made: t.Type = self.type(element)
        if text and counts[-1] and _name(plain) == "char":
            made = t.String(counts.pop() + 1)
        for count in reversed(counts):
            made = t.Array(made, count)
        return made

    def _fields(self, entry: Any, base: int) -> Iterator[t.Field]:
        """The members, with those of anonymous members and of base classes in their place; `base` is an offset in bytes."""
        for child in entry.iter_children():
            if child.tag not in ("DW_TAG_member", "DW_TAG_inheritance") or "DW_AT_external" in child.attributes:
                continue
            at = base + _number(child, "DW_AT_data_member_location")
            target = self._target(child, "DW_AT_type")
            name = _name(child)
            if child.tag == "DW_TAG_inheritance" or not name:
                inner = self._plain(target)
                if inner is not None and inner.tag in _RECORDS:
                    yield from self._fields(inner, at)
                continue
            kind = self.type(target)
            width = _number(child, "DW_AT_bit_size")
            yield _bit_field(child, name, kind, at, width) if width else t.Field(name, kind, at)

    # ---- as C writes it

    def _text(self, entry: Any, depth: int = 0) -> str:
        if entry is None:
            return "void"
        if depth > _MOST_QUALIFIERS:
            return "?"
        inner = self._target(entry, "DW_AT_type")
        if entry.tag == "DW_TAG_typedef":
            return _name(entry)
        if entry.tag in _QUALIFIERS:
            text = self._text(inner, depth + 1)
            return f"{text} {_QUALIFIERS[entry.tag].strip()}".strip() if text.endswith("*") else _QUALIFIERS[entry.tag] + text
        if entry.tag in _POINTERS:
            if inner is not None and inner.tag == "DW_TAG_subroutine_type":
                arguments = [self._text(self._target(c, "DW_AT_type"), depth + 1) for c in inner.iter_children()]
                return f"{self._text(self._target(inner, 'DW_AT_type'), depth + 1)} (*)({', '.join(arguments) or 'void'})"
            return self._text(inner, depth + 1) + _POINTERS[entry.tag]
        if entry.tag == "DW_TAG_array_type":
            counts = [_count(child) for child in entry.iter_children() if child.tag == "DW_TAG_subrange_type"]
            return self._text(inner, depth + 1) + "".join(f"[{count or ''}]" for count in counts)
        keyword = {**_RECORDS, "DW_TAG_enumeration_type": "enum"}.get(entry.tag)
        return f"{keyword} {_name(entry)}".strip() if keyword else _name(entry)


def _functions(entry: Any) -> Iterator[tuple[int, Any]]:
    """Address and entry of the functions below an entry, in namespaces too."""
    for child in entry.iter_children():
        if child.tag == "DW_TAG_namespace":
            yield from _functions(child)
        elif child.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in child.attributes:
            yield child.attributes["DW_AT_low_pc"].value, child


def _defining(entry: Any, attribute: str) -> Any:
    """The entry that has an attribute: this one, or the one it is an instance of (3.3.8)."""
    for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
        if attribute not in entry.attributes and link in entry.attributes:
            entry = entry.get_DIE_from_attribute(link)
    return entry


def _name(entry: Any) -> str:
    attribute = entry.attributes.get("DW_AT_name")
    return attribute.value.decode("utf-8", "surrogateescape") if attribute is not None else ""


def _linkage_name(entry: Any) -> str:
    """The mangled name of a C++ function."""
    attribute = _defining(entry, "DW_AT_linkage_name").attributes.get("DW_AT_linkage_name")
    return attribute.value.decode("utf-8", "surrogateescape") if attribute is not None else ""


def _number(entry: Any, attribute: str) -> int:
    """A constant attribute, 0 where it is missing or is an expression."""
    found = entry.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else 0


def _count(entry: Any) -> int:
    """The elements of one dimension (5.13), 0 where that is not known."""
    if "DW_AT_count" in entry.attributes:
        return _number(entry, "DW_AT_count")
    bound = entry.attributes.get("DW_AT_upper_bound")
    return bound.value + 1 if bound is not None and isinstance(bound.value, int) else 0


def _bit_field(entry: Any, name: str, kind: t.Type, at: int, width: int) -> t.Field:
    """A bit-field; version 3 counts its bits from the high end of the storage unit (5.7.6)."""
    if "DW_AT_data_bit_offset" in entry.attributes:
        start = at * 8 + _number(entry, "DW_AT_data_bit_offset")
    else:
        unit = _number(entry, "DW_AT_byte_size") or kind.size
        start = at * 8 + unit * 8 - _number(entry, "DW_AT_bit_offset") - width
    whole = max(8, kind.size * 8)
    first = start // whole * whole
    if start + width > first + whole:  # packed over the end of its storage unit
        first = start // 8 * 8
    return t.Field(name, kind, first // 8, (start - first, width))


def _unit_path(unit: Any) -> str:
    top = unit.get_top_DIE()
    folder = top.attributes.get("DW_AT_comp_dir")
    name = _name(top)
    if name.startswith("/") or folder is None:
        return name
    return f"{folder.value.decode('utf-8', 'surrogateescape')}/{name}"


def _is_file(path: str, wanted: str) -> bool:
    """Whether a path ends in the wanted parts, whole names."""
    parts, last = path.split("/"), wanted.strip("/").split("/")
    return parts[-len(last) :] == last
