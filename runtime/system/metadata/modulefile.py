"""What a module's file tells before it is loaded: its functions, those of them that the kernel can trace, its types.

A module is a relocatable ELF file (System V ABI, generic part): symbols have offsets in their sections. Sites of calls that the function
tracer can switch on are listed in a section of addresses, which is all relocations (Documentation/trace/ftrace.rst).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from pyprobe.runtime.system.kernels.errors import KernelError
from pyprobe.runtime.system.metadata.btf import Btf

_SECTION = struct.Struct("<IIQQQQIIQQ")  # Elf64_Shdr: name, type, flags, address, offset, size, link, info, alignment, entry size
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym: name, info, other, section, value, size
_RELA = struct.Struct("<QQq")  # Elf64_Rela: offset, symbol and type, addend
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_RELA = 1, 2, 4
_SHF_ALLOC = 2
_STT_FUNC = 2
_SITES = (".rela__mcount_loc", ".rela__patchable_function_entries")  # x86-64, arm64
_ENTRY = 16  # bytes of a function in which its site may lie, behind a landing pad


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

    def types(self, kernel: Btf) -> Btf | None:
        """Its types, which go on from the kernel's; None when it was built without."""
        content = self.section(".BTF")
        return Btf(content, kernel) if content else None


def _text(content: bytes, at: int) -> str:
    return content[at : content.index(0, at)].decode("ascii", "replace")
