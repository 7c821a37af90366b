"""What is read in the code of an arm64 kernel, where nothing else says it: which functions have a frame record, and where its task is.

Instructions are told by their encodings (DDI 0487, C6.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.system.ram import PAGE

if TYPE_CHECKING:
    from pyprobe.runtime.system.description import SystemDescription

_RESTORE, _RESTORE_MASK = 0xA840_7BFD, 0xFE40_7FFF  # ldp x29, x30, [sp...]
_FRAME, _FRAME_MASK = 0x9100_03FD, 0xFFC0_03FF  # add x29, sp, OFFSET; mov x29, sp is that with 0
_RET, _BRANCH, _BRANCH_MASK = 0xD65F_03C0, 0x1400_0000, 0xFC00_0000
_REACH = 4096  # bytes of a function that are looked at

_LDR_TASK = bytes.fromhex("9c6b74f8")  # ldr x28, [x28, x20]
_ADRP, _ADRP_MASK, _ADD, _ADD_MASK = 0x9000_001C, 0x9F00_001F, 0x9100_039C, 0xFFC0_03FF  # adrp x28, PAGE; add x28, x28, OFFSET


def frameless(kernel: SystemDescription, pc: int) -> bool:
    """Whether the function that an instruction is in has no frame record before it executes: it has not made one, or has undone it."""
    symbol = kernel.table.at(pc)
    if symbol is None or pc == symbol.address:
        return True
    start = max(symbol.address, pc - _REACH)
    try:
        code = memoryview(kernel.code(start, pc - start)).cast("I")
    except LookupError:
        return False
    leaving = True  # what comes next in the code is where this comes from
    for word in reversed(code):
        if word & _FRAME_MASK == _FRAME:
            return False
        if word & _RESTORE_MASK == _RESTORE and leaving:
            return True
        if word == _RET or word & _BRANCH_MASK == _BRANCH:
            leaving = False
    return True


def entry_task(kernel: SystemDescription) -> int:
    """The address of `__entry_task`, which kallsyms often lacks, from the code that reads it (`kernel_entry`, arch/arm64/kernel/entry.S);
    0 if that is not what it was."""
    known = kernel.symbols.get("__entry_task")
    if known is not None:
        return known
    symbol = kernel.symbol("el0t_64_sync")
    code = kernel.code(symbol.address, symbol.size) if symbol else b""
    end = code.find(_LDR_TASK)
    page = -1
    for at in range(0, max(end, 0), 4):
        word = int.from_bytes(code[at : at + 4], "little")
        if word & _ADRP_MASK == _ADRP and symbol is not None:
            distance = (word >> 5 & 0x7_FFFF) << 2 | word >> 29 & 3
            distance -= distance >> 20 << 21
            page = (symbol.address + at & -PAGE) + distance * PAGE
        elif word & _ADD_MASK == _ADD and page >= 0:
            return page + (word >> 10 & 0xFFF)
    return 0
