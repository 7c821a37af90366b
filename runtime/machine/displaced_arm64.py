"""arm64 instructions that use their own address, and those that may not be displaced.

Encodings: Arm Architecture Reference Manual, C4; the masks are those of arch/arm64/include/asm/insn.h. What is simulated and what refused
follows arch/arm64/kernel/probes/decode-insn.c, except that SVC and returns with pointer authentication are not refused, and floating-point
literals are, which it would load from somewhere else.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.displaced import Displaced, Processor, Refused, Simulate

if TYPE_CHECKING:
    from collections.abc import Callable


U64 = (1 << 64) - 1
MAX_ATOMIC_CONTEXT_SIZE = 128  # bytes: how far back a load-exclusive is looked for


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _field(word: int, low: int, bits: int) -> int:
    return word >> low & (1 << bits) - 1


def _get(engine: Processor, register: int) -> int:
    """A general register; number 31 is the zero register."""
    return engine.get(f"x{register}") if register < 31 else 0


def _set(engine: Processor, register: int, value: int) -> None:
    if register < 31:
        engine.set(f"x{register}", value & U64)


def holds(condition: int, pstate: int) -> bool:
    """Whether a condition (ARM ARM, C1.2.4) holds for the flags."""
    n, z, c, v = (bool(pstate >> bit & 1) for bit in (31, 30, 29, 28))
    result = (z, c, n, v, c and not z, n == v, n == v and not z, True)[condition >> 1]
    return result != bool(condition & 1) or condition == 15


# ---- simulations; each takes the instruction's word


def _b(word: int) -> Simulate:
    distance = 4 * _signed(_field(word, 0, 26), 26)
    return lambda engine, address: address + distance & U64


def _bl(word: int) -> Simulate:
    distance = 4 * _signed(_field(word, 0, 26), 26)

    def simulate(engine: Processor, address: int) -> int:
        engine.set("x30", address + 4)
        return address + distance & U64

    return simulate


def _b_cond(word: int) -> Simulate:
    distance, condition = 4 * _signed(_field(word, 5, 19), 19), word & 15
    return lambda engine, address: address + (distance if holds(condition, engine.get("pstate")) else 4) & U64


def _cbz(word: int) -> Simulate:
    distance, register = 4 * _signed(_field(word, 5, 19), 19), word & 31
    mask = U64 if word >> 31 else 0xFFFF_FFFF
    when_zero = not word >> 24 & 1
    return lambda engine, address: address + (distance if (_get(engine, register) & mask == 0) == when_zero else 4) & U64


def _tbz(word: int) -> Simulate:
    distance, register = 4 * _signed(_field(word, 5, 14), 14), word & 31
    bit = word >> 31 << 5 | _field(word, 19, 5)
    wanted = word >> 24 & 1
    return lambda engine, address: address + (distance if _get(engine, register) >> bit & 1 == wanted else 4) & U64


def _br(word: int) -> Simulate:
    register = _field(word, 5, 5)
    return lambda engine, address: _get(engine, register)


def _blr(word: int) -> Simulate:
    register = _field(word, 5, 5)

    def simulate(engine: Processor, address: int) -> int:
        target = _get(engine, register)
        engine.set("x30", address + 4)
        return target

    return simulate


def _adr(word: int) -> Simulate:
    register = word & 31
    distance = _signed(_field(word, 5, 19) << 2 | _field(word, 29, 2), 21)
    page = word >> 31

    def simulate(engine: Processor, address: int) -> int:
        _set(engine, register, (address & ~0xFFF) + (distance << 12) if page else address + distance)
        return address + 4

    return simulate


def _ldr(word: int) -> Simulate:
    """LDR and LDRSW (literal) of general registers."""
    distance, register, kind = 4 * _signed(_field(word, 5, 19), 19), word & 31, word >> 30

    def simulate(engine: Processor, address: int) -> int:
        place = address + distance & U64
        value = engine.space.u64(place) if kind == 1 else engine.space.u32(place)
        _set(engine, register, _signed(value, 32) if kind == 2 else value)
        return address + 4

    return simulate


def _nothing(word: int) -> Simulate:
    return lambda engine, address: address + 4


def _svc(word: int) -> Simulate:
    return lambda engine, address: engine.syscall_instruction(address + 4)


# mask, value, simulation, whether it leaves the straight line
_SIMULATED: tuple[tuple[int, int, Callable[[int], Simulate], bool], ...] = (
    (0xFC000000, 0x14000000, _b, True),
    (0xFC000000, 0x94000000, _bl, True),
    (0xFF000010, 0x54000000, _b_cond, True),
    (0x7E000000, 0x34000000, _cbz, True),
    (0x7E000000, 0x36000000, _tbz, True),
    (0xFFFFFC1F, 0xD61F0000, _br, True),
    (0xFFFFFC1F, 0xD63F0000, _blr, True),
    (0xFFFFFC1F, 0xD65F0000, _br, True),  # RET
    (0x1F000000, 0x10000000, _adr, False),
    (0xBF000000, 0x18000000, _ldr, False),
    (0xFF000000, 0x98000000, _ldr, False),  # LDRSW
    (0xFF000000, 0xD8000000, _nothing, False),  # PRFM: a hint
    (0xFFE0001F, 0xD4000001, _svc, False),
)
_ANYWHERE = (  # leave the straight line, but do not use their address
    (0xFFFFFBFF, 0xD65F0BFF),  # RETAA, RETAB
    (0xFEFFF800, 0xD61F0800),  # BRAA, BRAB and with a zero modifier
)
_REFUSED = (
    (0xFFE0001F, 0xD4200000, "there is a breakpoint already"),
    (0xFF000000, 0xD4000000, "an instruction that makes an exception"),
    (0xFEFFF800, 0xD63F0800, "a call with pointer authentication"),
    (0xFFFFF3FF, 0xD69F03E0, "a return from an exception"),
    (0x3F800000, 0x08000000, "an exclusive load or store"),
)
_LOAD_EX, _STORE_EX = (0x3F400000, 0x08400000), (0x3F400000, 0x08000000)
_FP_LITERAL = (0x3F000000, 0x1C000000)


def rules(code: bytes, text: str) -> Displaced:
    """How one instruction is displaced. Raises Refused."""
    word = int.from_bytes(code, "little")
    for mask, value, make, leaves in _SIMULATED:
        if word & mask == value:
            return Displaced(code, text, make(word), leaves=leaves, only_simulated=True)
    if any(word & mask == value for mask, value in _ANYWHERE):
        return Displaced(code, text, leaves=True)
    for mask, value, reason in _REFUSED:
        if word & mask == value:
            raise Refused(errno.EINVAL, reason)
    if word & _FP_LITERAL[0] == _FP_LITERAL[1]:
        raise Refused(errno.EINVAL, "a floating-point literal")
    return Displaced(code, text)


def inside_exclusive(before: bytes) -> bool:
    """Whether the code that ends with `before` has begun an exclusive access and not ended it (is_probed_address_atomic)."""
    before = before[-MAX_ATOMIC_CONTEXT_SIZE:]
    for at in range(len(before) - 4, -1, -4):
        word = int.from_bytes(before[at : at + 4], "little")
        if word & _STORE_EX[0] == _STORE_EX[1]:
            return False
        if word & _LOAD_EX[0] == _LOAD_EX[1]:
            return True
    return False
