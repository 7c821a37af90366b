"""What a module's file tells before it is loaded: its functions, those of them that the kernel can trace, its types, and where in it no
kprobe may stand.

A module is a relocatable ELF file (System V ABI, generic part): symbols have offsets in their sections. Sites of calls that the function
tracer can switch on are listed in a section of addresses, which is all relocations (Documentation/trace/ftrace.rst). So are the functions
marked NOKPROBE_SYMBOL and the instructions that the kernel patches or knows by their address; what it does with these lists in a module is
in add_module_kprobe_blacklist() and check_kprobe_address_safe() of kernel/kprobes.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.metadata.btf import Btf
from pyprobe.runtime.system.metadata.reserved import JUMP_ENTRY, REFUSALS, STATIC_CALL_SITE

_SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr: name, type, flags, address, offset, size, link, info, alignment, entry size
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym: name, info, other, section, value, size
_RELA = struct.Struct("<QQq")  # Elf64_Rela: offset, symbol and type, addend
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_RELA = 1, 2, 4
_SHF_ALLOC = 2
_STT_FUNC = 2
_SITES = (".rela__mcount_loc", ".rela__patchable_function_entries")  # x86-64, arm64
_ENTRY = 16  # bytes of a function in which its site may lie, behind a landing pad
_MARKED = ".rela_kprobe_blacklist"
_UNPROBED = (".kprobes.text", ".noinstr.text")  # sections of functions that are forbidden one and all


class Code(NamedTuple):
    """A function: the section it is in, its offset there, its size in bytes."""

    section: int
    offset: int
    size: int


class ModuleFile:
    """A module's unpacked file. Raises KernelError when it is damaged."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content
        self._places: dict[str, frozenset[tuple[int, int]]] | None = None
        try:
            start, size, count, names = struct.unpack_from("<Q10xHHH", content, 40)
            self._sections = [_SECTION.unpack_from(content, start + i * size) for i in range(count)]
            strings = self._sections[names]
            self._names = [_text(content, strings[4] + section[0]) for section in self._sections]
            self._table = next(s for s in self._sections if s[1] == _SHT_SYMTAB)
            self.functions = dict(sorted(self._functions()))
        except (struct.error, IndexError, ValueError, StopIteration):
            raise KernelError(f"module {name}: its file is damaged") from None

    def _functions(self) -> list[tuple[str, Code]]:
        table = self._table
        strings = self._sections[table[6]][4]
        symbols = _SYMBOL.iter_unpack(self.content[table[4] : table[4] + table[5]])
        functions = ((name, Code(at, value, size)) for name, info, _, at, value, size in symbols if info & 15 == _STT_FUNC and at)
        return [(_text(self.content, strings + name), code) for name, code in functions]

    def section(self, name: str) -> bytes:
        """The content of a section, b"" if there is none."""
        found = next((s for s, n in zip(self._sections, self._names, strict=True) if n == name), None)
        return self.content[found[4] : found[4] + found[5]] if found else b""

    def number(self, name: str) -> int:
        """That of a section, 0 if there is none."""
        return self._names.index(name) if name in self._names else 0

    def loaded(self) -> Iterator[tuple[int, bytes]]:
        """Number and content of the sections that are in memory later, without those of zeros."""
        for number, (_, kind, flags, _, offset, size, *_) in enumerate(self._sections):
            if kind == _SHT_PROGBITS and flags & _SHF_ALLOC:
                yield number, self.content[offset : offset + size]

    def relocations(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Those that lead into this file: section and offset of the place, the kind; section and offset of where it leads."""
        for _, kind, _, _, offset, size, _, target, _, _ in self._sections:
            if kind != _SHT_RELA:
                continue
            for place, how, section, at in self._related(self.content[offset : offset + size]):
                if section:
                    yield target, place, how, section, at

    def _related(self, entries: bytes) -> Iterator[tuple[int, int, int, int]]:
        """Of each relocation of a table: the place, the kind; section and offset of where it leads."""
        for place, info, addend in _RELA.iter_unpack(entries):
            _, _, _, section, value, _ = _SYMBOL.unpack_from(self.content, self._table[4] + (info >> 32) * _SYMBOL.size)
            yield place, info & 0xFFFF_FFFF, section, value + addend

    def code(self, function: str) -> bytes:
        """The instructions of a function, before relocation."""
        section, offset, size = self.functions[function]
        start = self._sections[section][4] + offset
        return self.content[start : start + size]

    @cached_property
    def traceable(self) -> frozenset[str]:
        """The functions that the function tracer will be able to trace."""
        sites = {(section, at) for name in _SITES for _, _, section, at in self._related(self.section(name))}
        entry = range(0, _ENTRY, 4)
        return frozenset(name for name, f in self.functions.items() if any((f.section, f.offset + at) in sites for at in entry))

    @cached_property
    def forbidden(self) -> frozenset[str]:
        """The functions that the kernel will refuse kprobes for."""
        marked = {(section, at) for _, _, section, at in self._related(self.section(_MARKED))}
        whole = {self.number(name) for name in _UNPROBED} - {0}
        return frozenset(name for name, f in self.functions.items() if f.section in whole or (f.section, f.offset) in marked)

    def refused(self, function: str, offset: int, bug_size: int) -> str:
        """Why Linux lets no kprobe stand at an offset in a function, or "". bug_size: of the kernel's struct bug_entry, in bytes."""
        if function in self.forbidden:
            return REFUSALS["forbidden"].format(function)
        section, start, _ = self.functions[function]
        for what, places in self._reserved(bug_size).items():
            if (section, start + offset) in places:
                return REFUSALS[what].format(f"{function}+{offset:#x}")
        return ""

    def _reserved(self, bug_size: int) -> dict[str, frozenset[tuple[int, int]]]:
        """Section and offset of the instructions that each list of such is about; by the first word of each entry."""
        if self._places is None:
            sizes = {"patched": ("__jump_table", JUMP_ENTRY), "static call": (".static_call_sites", STATIC_CALL_SITE)}
            sizes["bug"] = ("__bug_table", bug_size)
            related = {what: (self._related(self.section(f".rela{name}")), size) for what, (name, size) in sizes.items() if size}
            self._places = {
                what: frozenset((section, at) for place, _, section, at in entries if place % size == 0)
                for what, (entries, size) in related.items()
            }
        return self._places

    def types(self, kernel: Btf) -> Btf | None:
        """Its types, which go on from the kernel's; None when it was built without."""
        content = self.section(".BTF")
        return Btf(content, kernel) if content else None


def _text(content: bytes, at: int) -> str:
    return content[at : content.index(0, at)].decode("ascii", "replace")
