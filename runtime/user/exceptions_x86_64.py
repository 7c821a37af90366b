"""Exceptions of x86-64 processors as signals: arch/x86/kernel/traps.c, arch/x86/mm/fault.c; Intel SDM volume 3, chapter 6.

The emulated processor gives no error codes, and knows some instructions that fault in ring 3 as undefined only: what is missing is told
from the instruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.disassembly import first, instructions
from pyprobe.runtime.machine.memory import R, W, X
from pyprobe.runtime.user import segments
from pyprobe.runtime.user.exceptions import Raised, page_fault, present
from pyprobe.runtime.user.signals import BUS_ADRALN, FPE_INTDIV, ILL_ILLOPN, SI_KERNEL, TRAP_BRKPT, TRAP_TRACE, Sig

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.memory import AddressSpace

DE, DB, BP, OF, UD, SS, GP, PF, MF, AC, XM = 0, 1, 3, 4, 6, 12, 13, 14, 16, 17, 19
PF_PROT, PF_WRITE, PF_USER, PF_INSTR = 1, 2, 4, 16
USER_END, KERNEL_BASE = 1 << 47, 0xFFFF_8000_0000_0000
TASK_SIZE_MAX = USER_END - 0x1000  # what lies above looks present to programs (sanitize_error_code)

# fpu__exception_code: bits of the x87 status word that are not masked, the first of which decides
_FPE_CODES = ((0x01, 7), (0x04, 3), (0x08, 4), (0x12, 5), (0x20, 6))  # FPE_FLTINV, FLTDIV, FLTOVF, FLTUND, FLTRES

_PRIVILEGED = (b"\x0f\x07", b"\x0f\x33", b"\x0f\x35")  # SYSRET, RDPMC, SYSEXIT: known to the decoder, but not in ring 3
_INT1, _LOCK = b"\xf1", 0xF0
_AC_FLAG, _RF = 1 << 18, 1 << 16
_TRAPS = (DB, BP, OF)
_UNALIGNED = ("movups", "movupd", "movdqu", "lddqu")
_BY_STACK = ("push", "pop", "call", "ret", "leave", "enter")


def _protection(error: int = 0) -> Raised:
    return Raised(Sig.SEGV, SI_KERNEL, 0, GP, error)


def memory(engine: Engine, space: AddressSpace, address: int, access: int) -> Raised:
    """An access that the page tables do not allow."""
    return _resumable(engine, _memory(engine, space, address, access))


def trap(engine: Engine, space: AddressSpace, number: int) -> Raised | None:
    """Any other exception. None: the instruction is one that the emulator knows no descriptors for, and is done."""
    found = _trap(engine, space, number)
    return _resumable(engine, found) if found is not None else None


def _resumable(engine: Engine, found: Raised) -> Raised:
    """Faults, other than traps, set RF in the flags that are saved, so that a breakpoint does not stop their instruction again."""
    if found.number not in _TRAPS:
        engine.set("flags", engine.get("flags") | _RF)
    return found


def _memory(engine: Engine, space: AddressSpace, address: int, access: int) -> Raised:
    pc = engine.get("pc")
    code = space.peek(pc, 15)
    if _LOCK in code[:4] and first("x86_64", code) is None:  # LOCK before an instruction that does not take it
        return Raised(Sig.ILL, ILL_ILLOPN, pc, UD)
    if access == R and segments.opcode(code)[0][:1] in (b"\x6e", b"\x6f"):  # OUTS: the port is refused before memory is read
        return _protection()
    if USER_END <= address < KERNEL_BASE:  # no address at all: an exception that does not tell where
        if access == X:
            _back_to_branch(engine, space)
            return _protection()
        return Raised(Sig.BUS, SI_KERNEL, 0, SS) if _uses_stack(code) else _protection()
    error = PF_USER | (access & W and PF_WRITE) | (access & X and PF_INSTR)
    if address >= TASK_SIZE_MAX or present(space, address):
        error |= PF_PROT
    return Raised(*page_fault(space, address, access), address, PF, error, address)


def _uses_stack(code: bytes) -> bool:
    """Is the memory that the instruction names found by the stack or frame pointer, and so in the stack segment?"""
    found = first("x86_64", code)
    if found is None:
        return False
    mnemonic, _, operands = found[1].partition(" ")
    inside = operands.partition("[")[2]
    return inside.startswith(("rsp", "rbp", "esp", "ebp")) if inside else mnemonic.startswith(_BY_STACK)


def _is_wide(code: bytes) -> bool:
    """Does the instruction have a memory operand of 16 bytes that must be aligned?"""
    found = first("x86_64", code)
    return found is not None and "xmmword ptr" in found[1] and not found[1].startswith(_UNALIGNED)


def _back_to_branch(engine: Engine, space: AddressSpace) -> None:
    """A jump, call or return to no address at all faults itself, and has done nothing; the emulator has gone there."""
    block, size = engine.state.block, engine.state.size
    decoded = list(instructions("x86_64", space.peek(block, size), block))
    if not decoded:
        return
    last = decoded[-1]
    mnemonic = last.mnemonic.rsplit(" ", 1)[-1]
    if mnemonic not in ("jmp", "call", "ret"):
        return
    if mnemonic != "jmp":
        popped = int(last.operands, 0) if mnemonic == "ret" and last.operands else 0
        engine.set("sp", engine.get("sp") + (8 if mnemonic == "call" else -8 - popped))
    engine.set("pc", last.address)


def _trap(engine: Engine, space: AddressSpace, number: int) -> Raised | None:
    pc = engine.get("pc")
    before = space.peek(pc - 2, 2)
    state = engine.state
    if before == bytes((0xCD, number & 0xFF)) and number not in (BP, OF) and pc == state.block + state.size:  # INT n: a gate not for ring 3
        engine.set("pc", pc - 2)
        return _protection(number * 8 + 2)
    if number == DE:
        return Raised(Sig.FPE, FPE_INTDIV, pc, DE)
    if number == DB:
        return Raised(Sig.TRAP, TRAP_TRACE, pc, DB)
    if number == BP:
        return Raised(Sig.TRAP, SI_KERNEL, 0, BP)
    if number == UD:
        code = space.peek(pc, 15)
        if segments.opcode(code)[0][:1] == _INT1:
            engine.set("pc", pc + 1)
            return Raised(Sig.TRAP, TRAP_BRKPT, pc + 1, DB)
        return _protection() if segments.opcode(code)[0][:2] in _PRIVILEGED else Raised(Sig.ILL, ILL_ILLOPN, pc, UD)
    if number == GP:
        return None if segments.done(engine, space) else _protection(segments.refused(engine, space))
    if number in (MF, XM):
        control = engine.get("mxcsr")
        pending = engine.get("fpsw") & ~engine.get("fpcw") if number == MF else control & ~(control >> 7)
        return Raised(Sig.FPE, next((code for bits, code in _FPE_CODES if pending & bits), FPE_INTDIV), pc, number)
    if number == AC:  # or what the emulator takes for it: an operand of 16 bytes is to be aligned anyway
        return Raised(Sig.BUS, BUS_ADRALN, 0, AC) if engine.get("flags") & _AC_FLAG and not _is_wide(space.peek(pc, 15)) else _protection()
    return Raised(Sig.SEGV, SI_KERNEL, 0, number)
