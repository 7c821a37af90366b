"""Instructions that load segment registers, for which the emulated processor would need a table of descriptors.

A program of x86-64 Linux finds three descriptors that it may use: its code, its data, and the code of 32-bit programs
(arch/x86/include/asm/segment.h). It loads them by MOV, and by far returns (Intel SDM volume 2, MOV, RET, IRET).
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final, NamedTuple

from pyprobe.runtime.machine.memory import MemoryFault

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.memory import AddressSpace

USER32_CS, USER_DS, USER_CS = 0x23, 0x2B, 0x33
_RPL, _REX_W = 3, 8
_GENERAL: Final = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di", *(f"r{i}" for i in range(8, 16)))
_PREFIXES: Final = b"\x66\x67\xf2\xf3\x2e\x36\x3e\x26\x64\x65"
_MOV_TO_SEGMENT, _IRET, _FAR_RETURNS = 0x8E, 0xCF, (0xCA, 0xCB)
_SS: Final = 2  # segment registers by their numbers in instructions
_BASES: Final = {4: ("fs_base",), 5: ("gs_base",)}
_SEGMENTS, _SEGMENT = 0xB8, 24  # CPUX86State.segs, from the first general register; bytes of each, of which the selector comes first
_FLAGS: Final = 0x250DD5  # what IRET loads in ring 3: all but IOPL, IF and those of virtual machines


class _Load(NamedTuple):
    """What an instruction wants.

    wanted: selectors, and for each those that may be in its place. to: registers and what they get. register: a segment's, or None.
    """

    wanted: tuple[tuple[int, frozenset[int]], ...]
    to: dict[str, int]
    register: int | None = None


_AS_CODE: Final = frozenset({USER_CS})
_AS_STACK: Final = frozenset({USER_DS})
_AS_DATA: Final = frozenset(selector & ~_RPL | rpl for selector in (USER32_CS, USER_DS, USER_CS) for rpl in range(4))


def opcode(code: bytes) -> tuple[bytes, int]:
    """An instruction from its opcode on, and its REX prefix or 0."""
    code = code.lstrip(_PREFIXES)
    return (code[1:], code[0]) if code and code[0] & 0xF0 == 0x40 else (code, 0)


def _load(engine: Engine, space: AddressSpace) -> _Load | None:
    """What the instruction at the pc wants; None: no segment that is known here."""
    pc = engine.get("pc")
    raw = space.peek(pc, 15)
    code, rex = opcode(raw)
    if len(code) < 2:
        return None
    sp, width = engine.get("sp"), 8 if rex & _REX_W else 4
    if code[0] == _MOV_TO_SEGMENT and code[1] >= 0xC0:
        register = code[1] >> 3 & 7
        selector = engine.get(_GENERAL[code[1] & 7 | (rex & 1) << 3]) & 0xFFFF
        after = pc + len(raw) - len(code) + 2
        bases = dict.fromkeys(_BASES.get(register, ()), 0)
        return _Load(((selector, _AS_STACK if register == _SS else _AS_DATA),), {"pc": after, **bases}, register)
    try:
        if code[0] in _FAR_RETURNS:
            ip, cs = (int.from_bytes(space.read(sp + i * width, width), "little") for i in range(2))
            popped = int.from_bytes(code[1:3], "little") if code[0] == _FAR_RETURNS[0] else 0
            return _Load(((cs & 0xFFFF, _AS_CODE),), {"sp": sp + 2 * width + popped, "pc": ip})
        if code[0] == _IRET:
            ip, cs, flags, new_sp, ss = (int.from_bytes(space.read(sp + i * width, width), "little") for i in range(5))
            flags = engine.get("flags") & ~_FLAGS | flags & _FLAGS
            return _Load(((cs & 0xFFFF, _AS_CODE), (ss & 0xFFFF, _AS_STACK)), {"flags": flags, "sp": new_sp, "pc": ip})
    except MemoryFault:
        pass
    return None


def done(engine: Engine, space: AddressSpace) -> bool:
    """Do what the instruction asks for, if a program may have that."""
    load = _load(engine, space) if engine.cpu_state_found else None
    if load is None or not all(selector in allowed for selector, allowed in load.wanted):
        return False
    if load.register is not None:
        ctypes.c_uint32.from_address(engine.cpu_state + _SEGMENTS + _SEGMENT * load.register).value = load.wanted[0][0]
    for name, value in load.to.items():
        engine.set(name, value)
    return True


def refused(engine: Engine, space: AddressSpace) -> int:
    """The error code of such an instruction: the first selector that is not allowed, without its privilege."""
    load = _load(engine, space)
    return next((selector & ~_RPL for selector, allowed in load.wanted if selector not in allowed), 0) if load is not None else 0
