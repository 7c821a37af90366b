"""Statically defined probes of programs: the notes of <sys/sdt.h> (SystemTap wiki, "UserSpaceProbeImplementation").

A note says where a probe is, how it is called, and in assembler's words where its arguments are: `-4@%edi 8@-16(%rbp) 4@$5`.
"""

from __future__ import annotations

import re
import struct

from pyprobe.runtime.machine.elf import ElfFile

OWNER, KIND = "stapsdt", 3
_FIXED = struct.Struct("<QQQ")  # address of the probe, of .stapsdt.base when the file was linked, of the semaphore


class Operand:
    """Where an argument is. `size` in bytes, `signed`; the value is `constant`, or `register`, or the memory at `register` + `index` *
    `scale` + `offset`, or at the symbol `symbol` + `offset`. `shift` is 8 for registers like `%ah`. Registers have the names of reg()."""

    __slots__ = ("constant", "index", "memory", "offset", "register", "scale", "shift", "signed", "size", "symbol")

    def __init__(self, size: int, signed: bool) -> None:
        self.size = size
        self.signed = signed
        self.constant: int | None = None
        self.register = ""
        self.shift = 0
        self.memory = False
        self.offset = 0
        self.index = ""
        self.scale = 1
        self.symbol = ""


class StaticProbe:
    """One place of a probe: virtual addresses of the file; `semaphore` is 0 where there is none."""

    __slots__ = ("address", "arguments", "name", "provider", "semaphore")

    def __init__(self, provider: str, name: str, address: int, semaphore: int, arguments: str) -> None:
        self.provider = provider
        self.name = name
        self.address = address
        self.semaphore = semaphore
        self.arguments = arguments


def static_probes(elf: ElfFile) -> list[StaticProbe]:
    """All probes of a file, in the order of their addresses. Raises ElfError."""
    base = elf.section_address(".stapsdt.base")
    found = []
    for note in elf.notes():
        if note.owner != OWNER or note.kind != KIND or len(note.content) < _FIXED.size:
            continue
        address, linked_base, semaphore = _FIXED.unpack_from(note.content)
        texts = note.content[_FIXED.size :].split(b"\0")
        if len(texts) < 3:
            continue
        moved = base - linked_base if base and linked_base else 0  # by prelink
        provider, name, arguments = (text.decode("utf-8", "surrogateescape") for text in texts[:3])
        found.append(StaticProbe(provider, name, address + moved, semaphore + moved if semaphore else 0, arguments))
    return sorted(found, key=lambda probe: probe.address)


# ---- operands

_ARGUMENT = re.compile(r"(?<!\S)(-?)(\d+)f?@")
_SIZES = (1, 2, 4, 8)
_X86_MEMORY = re.compile(
    r"(?P<symbol>[A-Za-z_.$][\w.$]*)?(?P<offset>[-+]?(?:0x)?[0-9a-fA-F]*)(?:[-+]0)?"
    r"\((?P<base>%\w+)?(?:,(?P<index>%\w+))?(?:,(?P<scale>[1248]))?\)"
)
_ARM64_MEMORY = re.compile(r"\[(?P<base>\w+)(?:, ?#?(?P<offset>-?(?:0x)?[0-9a-fA-F]+)|, ?(?P<index>\w+)(?:, ?lsl #?(?P<shift>\d))?)?\]")
_X86_OLD = {"a": "ax", "b": "bx", "c": "cx", "d": "dx"}


def operands(text: str, arch: str) -> list[Operand | None]:
    """The arguments of a probe; None stands for one that cannot be had (a vector register, an unknown form)."""
    starts = [(m.start(), m.end(), m) for m in _ARGUMENT.finditer(text)]
    found: list[Operand | None] = []
    for i, (_, begin, match) in enumerate(starts):
        end = starts[i + 1][0] if i + 1 < len(starts) else len(text)
        operand = Operand(int(match[2]), match[1] == "-")
        known = operand.size in _SIZES and (_x86 if arch == "x86_64" else _arm64)(operand, text[begin:end].strip())
        found.append(operand if known else None)
    return found


def _number(text: str) -> int:
    return int(text, 0) if text and text not in "+-" else 0


def _x86(operand: Operand, text: str) -> bool:
    if text.startswith("$") or re.fullmatch(r"-?\d+", text):
        try:
            operand.constant = int(text.lstrip("$"), 0)
        except ValueError:
            return False
        return True
    if text.startswith("%"):
        operand.register, operand.shift = x86_register(text[1:])
        return bool(operand.register)
    memory = _X86_MEMORY.fullmatch(text)
    if memory is None:
        return False
    operand.memory = True
    operand.symbol = memory["symbol"] or ""
    operand.offset = _number(memory["offset"])
    if memory["base"] and memory["base"] != "%rip":
        operand.register = x86_register(memory["base"][1:])[0]
    elif not operand.symbol:
        return False  # relative to the next instruction, whose address nobody told
    if memory["index"]:
        operand.index = x86_register(memory["index"][1:])[0]
        operand.scale = int(memory["scale"] or 1)
    return True


def x86_register(name: str) -> tuple[str, int]:
    """The whole register that a part of one belongs to, as reg() names it, and how far the part is shifted."""
    if re.fullmatch(r"r(\d+)[dwb]?", name):
        return name.rstrip("dwb"), 0
    if name[-1] in "hl" and name[:-1] in _X86_OLD:
        return _X86_OLD[name[:-1]], 8 if name[-1] == "h" else 0
    whole = name.removesuffix("l") if name in ("sil", "dil", "bpl", "spl") else name.lstrip("re")
    return (whole, 0) if whole in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp") else ("", 0)


def _arm64(operand: Operand, text: str) -> bool:
    if re.fullmatch(r"[$#]?-?\d+", text):
        operand.constant = int(text.lstrip("$#"))
        return True
    memory = _ARM64_MEMORY.fullmatch(text)
    if memory is None:
        operand.register = _arm64_register(text)
        return bool(operand.register)
    operand.memory = True
    operand.register = _arm64_register(memory["base"])
    operand.offset = _number(memory["offset"] or "")
    if memory["index"]:
        operand.index = _arm64_register(memory["index"])
        operand.scale = 1 << int(memory["shift"] or 0)
    return bool(operand.register)


def _arm64_register(name: str) -> str:
    return name if name == "sp" else f"r{name[1:]}" if re.fullmatch(r"[xw]\d+", name) else ""
