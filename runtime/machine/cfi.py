"""Call frame information: for an instruction of a file, where the registers of its function's caller are.

DWARF 5, 6.4, as `.eh_frame` has it (Linux Standard Base, Core, 10.6). Its entries are found by their first words; the one that is asked
for is then read whole, and what it says of its place has to agree.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from pyprobe.runtime.machine.elf import ElfError, ElfFile, guarded

WORD = (1 << 64) - 1
RETURN = {"x86_64": 16, "arm64": 30}
"""The column of the return address (System V ABI, AMD64 supplement, 3.6.2; DWARF for the Arm 64-bit Architecture, 4.1)."""

STACK = {"x86_64": 7, "arm64": 31}
"""The column of the stack pointer, which in the caller is the frame's address."""

_ARGUMENTS_SIZE = 0x2E  # DW_CFA_GNU_args_size: for landing pads, and nothing that pyelftools decodes
_ENTRY = struct.Struct("<IIi")  # length, how far back the common part is, the first instruction from here (as DW_EH_PE_pcrel | sdata4)

Registers = Mapping[int, int]
Word = Callable[[int], int]


class Rule(NamedTuple):
    """Where one value is: kinds of DWARF 5, 6.4.1, by the names that pyelftools has for them; operation: of an expression."""

    kind: str
    argument: int = 0
    operation: tuple[tuple[str, tuple[int, ...]], ...] = ()


class Row(NamedTuple):
    """What holds at one instruction. frame: the rule of the frame's address (kind REGISTER: `base` and an offset); saved: those of
    registers; interrupted: the function is where a signal handler returns to, so that its caller's instruction is no call."""

    base: int
    frame: Rule
    saved: tuple[tuple[int, Rule], ...]
    interrupted: bool

    def caller(self, arch: str, registers: Registers, word: Word) -> dict[int, int]:
        """The caller's registers, by their columns; without a return address this is the outermost frame.

        word: reads 8 bytes of memory. Raises what it raises, and ElfError for an expression that cannot be computed.
        """
        rule = self.frame
        at = _computed(rule.operation, registers, word, ()) if rule.operation else registers[self.base] + rule.argument
        at &= WORD
        found = {**registers, STACK[arch]: at}
        if arch == "x86_64":
            del found[RETURN[arch]]  # of the callee itself, where arm64 has it in a register like others
        for column, saved in self.saved:
            value = _value(saved, at, registers, word)
            if value is None:
                found.pop(column, None)
            else:
                found[column] = value
        return found


def _value(rule: Rule, frame: int, registers: Registers, word: Word) -> int | None:
    """The value of a register by its rule; None: it is lost."""
    kind, argument = rule.kind, rule.argument
    if kind == "OFFSET":
        return word(frame + argument & WORD)
    if kind == "VAL_OFFSET":
        return frame + argument & WORD
    if kind == "REGISTER":
        return registers.get(argument)
    if kind == "EXPRESSION":
        return word(_computed(rule.operation, registers, word, (frame,)))
    if kind == "VAL_EXPRESSION":
        return _computed(rule.operation, registers, word, (frame,))
    return None


class CallFrames:
    """The call frame information of a file; without any, no instruction has a row."""

    def __init__(self, elf: ElfFile) -> None:
        self._elf = elf
        self._rows: dict[int, Row | None] = {}

    def row(self, address: int) -> Row | None:
        """What holds at an instruction, by its virtual address in the file; None where nothing is known."""
        if address not in self._rows:
            try:
                self._rows[address] = guarded(lambda: self._decoded(address))
            except ElfError:
                self._rows[address] = None
        return self._rows[address]

    @cached_property
    def _table(self) -> tuple[list[int], list[int]]:
        """Functions' first instructions in their order, and the virtual address of the entry of each."""
        content, address = self._elf.section(".eh_frame"), self._elf.section_address(".eh_frame")
        found: list[tuple[int, int]] = []
        at = 0
        while at + _ENTRY.size <= len(content):
            length, common, start = _ENTRY.unpack_from(content, at)
            if length == 0:
                break
            if common:  # an entry of a function, not what many have in common
                found.append((address + at + 8 + start, address + at))
            at += 4 + length
        found.sort()
        return [start for start, _ in found], [entry for _, entry in found]

    def _decoded(self, address: int) -> Row | None:
        starts, entries = self._table
        i = bisect_right(starts, address) - 1
        if i < 0:
            return None
        entry = self._elf.frame_entry(entries[i])
        start = entry["initial_location"]
        if not start <= address < start + entry["address_range"]:
            return None
        entry.instructions = [one for one in entry.instructions if one.opcode != _ARGUMENTS_SIZE]
        lines = [line for line in entry.get_decoded().table if line["pc"] <= address]
        return _row(lines[-1], b"S" in entry.cie["augmentation"], entry.structs) if lines else None


def _row(line: dict[Any, Any], interrupted: bool, structs: Any) -> Row:
    """One line of what pyelftools has decoded."""
    cfa = line["cfa"]
    frame = Rule("EXPRESSION", 0, _parsed(cfa.expr, structs)) if cfa.expr is not None else Rule("REGISTER", cfa.offset)
    saved = tuple(
        (column, Rule(rule.type, 0, _parsed(rule.arg, structs)) if rule.type.endswith("EXPRESSION") else Rule(rule.type, rule.arg or 0))
        for column, rule in line.items()
        if isinstance(column, int) and rule.type != "SAME_VALUE"
    )
    return Row(cfa.reg or 0, frame, saved, interrupted)


def _parsed(expression: Iterable[int], structs: Any) -> tuple[tuple[str, tuple[int, ...]], ...]:
    from elftools.dwarf.dwarf_expr import DWARFExprParser

    return tuple((op.op_name.removeprefix("DW_OP_"), tuple(op.args)) for op in DWARFExprParser(structs).parse_expr(bytes(expression)))


_TWO: dict[str, Callable[[int, int], int]] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "plus": lambda a, b: a + b,
    "minus": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "shl": lambda a, b: a << b if b < 64 else 0,
    "shr": lambda a, b: a >> b,
    "eq": lambda a, b: int(a == b),
    "ne": lambda a, b: int(a != b),
    "ge": lambda a, b: int(_signed(a) >= _signed(b)),
    "gt": lambda a, b: int(_signed(a) > _signed(b)),
    "le": lambda a, b: int(_signed(a) <= _signed(b)),
    "lt": lambda a, b: int(_signed(a) < _signed(b)),
}
"""Operations on the two uppermost values (DWARF 5, 2.5.1.4 and 2.5.1.5)."""


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _computed(operations: Iterable[tuple[str, tuple[int, ...]]], registers: Registers, word: Word, stack: Iterable[int]) -> int:
    """An expression's value (DWARF 5, 2.5), of the operations that compilers write for frames. Raises ElfError for others."""
    values = list(stack)
    try:
        for name, arguments in operations:
            if name in _TWO:
                right = values.pop()
                values[-1] = _TWO[name](values[-1], right) & WORD
            elif name == "deref":
                values[-1] = word(values[-1])
            elif name == "plus_uconst":
                values[-1] = values[-1] + arguments[0] & WORD
            elif name == "dup":
                values.append(values[-1])
            elif name == "drop":
                values.pop()
            elif name.startswith("breg"):
                values.append(registers[int(name[4:])] + arguments[0] & WORD)
            elif name.startswith("lit"):
                values.append(int(name[3:]))
            elif name.startswith("const"):
                values.append(arguments[0] & WORD)
            else:
                raise ElfError(f"DW_OP_{name} in call frame information")
        return values[-1]
    except (LookupError, ValueError) as error:
        raise ElfError(f"damaged call frame information ({type(error).__name__}: {error})") from error
