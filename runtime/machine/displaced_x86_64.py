"""x86-64 instructions that do not run anywhere as they are: jumps, calls and returns, operands relative to rip, system calls.

Opcodes are those of the Intel SDM, volume 2; what is refused follows can_probe and arch_uprobe_analyze_insn of arch/x86/kernel.
"""

from __future__ import annotations

import errno
from functools import cache
from typing import Any, NamedTuple

from pyprobe.runtime.machine.displaced import Displaced, Processor, Refused, Simulate

U64 = (1 << 64) - 1
_PREFIXES = frozenset((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3))
_OPERAND_SIZE, _ADDRESS_SIZE = 0x66, 0x67
_CF, _PF, _ZF, _SF, _OF = 1 << 0, 1 << 2, 1 << 6, 1 << 7, 1 << 11

# opcodes by map: 0 one byte, 1 behind 0F
_REFUSED = {
    (0, 0xCC): (errno.EINVAL, "there is a breakpoint already"),
    (0, 0xCD): (errno.EINVAL, "a software interrupt"),
    (0, 0xCF): (errno.EINVAL, "a return from an interrupt"),
    (0, 0xF1): (errno.EINVAL, "a software interrupt"),
    (0, 0xCA): (errno.EINVAL, "a far return"),
    (0, 0xCB): (errno.EINVAL, "a far return"),
    (1, 0x34): (errno.EINVAL, "a fast system call"),
    (1, 0x35): (errno.EINVAL, "a fast system call"),
}


class Opcode(NamedTuple):
    """The opcode's map and byte, and where the ModRM byte is if there is one."""

    map: int
    byte: int
    modrm: int
    prefixes: bytes


def opcode(code: bytes) -> Opcode:
    """The opcode of one instruction."""
    i = 0
    while code[i] in _PREFIXES or 0x40 <= code[i] <= 0x4F:  # a REX prefix that others follow is without effect
        i += 1
    prefixes = code[:i]
    first = code[i]
    if first == 0xC5:
        return Opcode(1, code[i + 2], i + 3, prefixes)
    if first == 0xC4:
        return Opcode(code[i + 1] & 0x1F, code[i + 3], i + 4, prefixes)
    if first == 0x62:
        return Opcode(code[i + 1] & 0x7, code[i + 4], i + 5, prefixes)
    if first != 0x0F:
        return Opcode(0, first, i + 1, prefixes)
    if code[i + 1] in (0x38, 0x3A):
        return Opcode(2 if code[i + 1] == 0x38 else 3, code[i + 2], i + 3, prefixes)
    return Opcode(1, code[i + 1], i + 2, prefixes)


def rules(code: bytes, text: str) -> Displaced:
    """How one instruction is displaced. Raises Refused."""
    op = opcode(code)
    refused = _REFUSED.get((op.map, op.byte))
    if refused:
        raise Refused(*refused)
    relocate = None
    if "rip" in text or "eip" in text:
        if _ADDRESS_SIZE in op.prefixes or code[op.modrm] & 0xC7 != 0x05:
            raise Refused(errno.EINVAL, "an operand relative to eip")
        relocate = _moving(op.modrm + 1)
    if op.map == 0 and op.byte == 0xFF:
        kind = code[op.modrm] >> 3 & 7
        if kind in (3, 5):
            raise Refused(errno.EINVAL, "a far jump or call")
        if kind in (2, 4):
            call = kind == 2
            return Displaced(code, text, _indirect(code, call), leaves=True, only_simulated=call, relocate=relocate)
    if op.map == 0 and op.byte in (0xC2, 0xC3):
        return Displaced(code, text, _return(int.from_bytes(code[-2:], "little") if op.byte == 0xC2 else 0), leaves=True)
    if op.map == 0 and op.byte == 0xC7 and code[op.modrm] == 0xF8:
        raise Refused(errno.EINVAL, "the beginning of a transaction")
    if (op.map, op.byte) == (1, 0x05):
        return Displaced(code, text, _syscall(len(code)), only_simulated=True)
    size = len(code)
    branch = _branch(op, size, code)
    if branch is not None:
        if _OPERAND_SIZE in op.prefixes:
            raise Refused(errno.EINVAL, "a branch with an operand-size prefix")
        return Displaced(code, text, branch, leaves=True, only_simulated=True)
    return Displaced(code, text, relocate=relocate)


def _moving(at: int) -> Any:
    """Relocation of an instruction whose displacement from rip is at an offset in its code."""

    def relocate(code: bytes, old: int, new: int) -> bytes:
        distance = int.from_bytes(code[at : at + 4], "little", signed=True) + old - new
        if not -(1 << 31) <= distance < 1 << 31:
            raise Refused(errno.ENOMEM, "no memory for a slot is near enough")
        return code[:at] + distance.to_bytes(4, "little", signed=True) + code[at + 4 :]

    return relocate


# ---- relative branches

_TESTS = (
    lambda f: f & _OF,
    lambda f: f & _CF,
    lambda f: f & _ZF,
    lambda f: f & (_CF | _ZF),
    lambda f: f & _SF,
    lambda f: f & _PF,
    lambda f: bool(f & _SF) != bool(f & _OF),
    lambda f: f & _ZF or bool(f & _SF) != bool(f & _OF),
)


def holds(condition: int, flags: int) -> bool:
    """Whether a condition code (the low four bits of Jcc) holds."""
    return bool(_TESTS[condition >> 1](flags)) != bool(condition & 1)


def _branch(op: Opcode, size: int, code: bytes) -> Simulate | None:
    if op.map == 0 and (op.byte in (0xEB, 0xE0, 0xE1, 0xE2, 0xE3) or 0x70 <= op.byte <= 0x7F):
        distance = int.from_bytes(code[-1:], "little", signed=True)
    elif (op.map == 0 and op.byte in (0xE8, 0xE9)) or (op.map == 1 and 0x80 <= op.byte <= 0x8F):
        distance = int.from_bytes(code[-4:], "little", signed=True)
    else:
        return None
    step = size + distance
    if op.byte in (0xEB, 0xE9) and op.map == 0:
        return lambda engine, address: address + step & U64
    if op.byte == 0xE8 and op.map == 0:

        def call(engine: Processor, address: int) -> int:
            _push(engine, address + size)
            return address + step & U64

        return call
    if op.map == 0 and 0xE0 <= op.byte <= 0xE3:
        return _loop(op.byte, size, step, 0xFFFF_FFFF if _ADDRESS_SIZE in op.prefixes else U64)
    condition = op.byte & 15
    return lambda engine, address: address + (step if holds(condition, engine.get("flags")) else size) & U64


def _loop(byte: int, size: int, step: int, mask: int) -> Simulate:
    """LOOPNE, LOOPE, LOOP, JRCXZ; mask: how much of rcx counts."""

    def simulate(engine: Processor, address: int) -> int:
        count = engine.get("rcx")
        if byte == 0xE3:
            return address + (size if count & mask else step) & U64
        count = count - 1 & mask
        engine.set("rcx", count)
        zero = bool(engine.get("flags") & _ZF)
        taken = count != 0 and (byte == 0xE2 or zero == (byte == 0xE1))
        return address + (step if taken else size) & U64

    return simulate


# ---- calls and returns


def _push(engine: Processor, value: int) -> None:
    sp = engine.get("rsp") - 8 & U64
    engine.store(sp, (value & U64).to_bytes(8, "little"))
    engine.set("rsp", sp)


def _return(drop: int) -> Simulate:
    def simulate(engine: Processor, address: int) -> int:
        sp = engine.get("rsp")
        target = engine.space.u64(sp)
        engine.set("rsp", sp + 8 + drop)
        return target

    return simulate


def _syscall(size: int) -> Simulate:
    return lambda engine, address: engine.syscall_instruction(address + size)


@cache
def _detailed() -> Any:
    import capstone

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    return decoder


def _indirect(code: bytes, call: bool) -> Simulate:
    """A near jump or call through a register or memory."""
    from capstone.x86 import X86_OP_REG

    instruction = next(_detailed().disasm(code, 0))
    operand = instruction.operands[0]
    size, name = len(code), instruction.reg_name
    if operand.type == X86_OP_REG:
        register = name(operand.reg)

        def target(engine: Processor, address: int) -> int:
            return engine.get(register)

    else:
        memory = operand.mem
        base, index = name(memory.base) if memory.base else "", name(memory.index) if memory.index else ""
        segment = {"fs": "fs_base", "gs": "gs_base"}.get(name(memory.segment) if memory.segment else "")
        scale, displacement = memory.scale, memory.disp
        short = instruction.addr_size == 4
        known = {"rip", "eip", "eiz", "riz"}
        wide = {n: _wide(n) for n in (base, index) if n and n not in known}

        def target(engine: Processor, address: int) -> int:
            place = displacement
            if base in wide:
                place += engine.get(wide[base])
            elif base:
                place += address + size
            if index in wide:
                place += engine.get(wide[index]) * scale
            if short:
                place &= 0xFFFF_FFFF
            if segment:
                place += engine.get(segment)
            return engine.space.u64(place & U64)

    def simulate(engine: Processor, address: int) -> int:
        there = target(engine, address)
        if call:
            _push(engine, address + size)
        return there

    return simulate


def _wide(name: str) -> str:
    """The 64-bit register of a 32-bit or 64-bit name."""
    return "r" + name[1:] if name.startswith("e") else name.removesuffix("d") if name[1:2].isdigit() else name
