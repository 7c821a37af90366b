"""The bench's peer: how a script with the official Unicorn binding does it (maps the program, hooks one address, reads one register).

    plain_unicorn.py PROGRAM WHAT N [ADDRESS]     counts the first argument at ADDRESS, when given
"""

import sys

from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_X86, UC_HOOK_CODE, UC_HOOK_INSN, UC_MODE_64, Uc
from unicorn.x86_const import UC_X86_INS_SYSCALL, UC_X86_REG_RDI, UC_X86_REG_RSP

STACK = 0x7FFF00000000


def main() -> None:
    program, *arguments = sys.argv[1:4]
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    with open(program, "rb") as file:
        elf = ELFFile(file)
        for segment in elf.iter_segments("PT_LOAD"):
            start = segment["p_vaddr"] & ~0xFFF
            uc.mem_map(start, (segment["p_vaddr"] + segment["p_memsz"] - start + 0xFFF) & ~0xFFF)
            uc.mem_write(segment["p_vaddr"], segment.data())
        entry = elf.header["e_entry"]
    uc.mem_map(STACK, 0x100000)
    top = STACK + 0xFF000
    words = [program, *arguments]
    pointers = []
    for i, word in enumerate(words):
        uc.mem_write(top + 64 * i, word.encode()[:63] + b"\0")
        pointers.append(top + 64 * i)
    values = [len(words), *pointers, 0, 0]
    uc.mem_write(top - 256, b"".join(v.to_bytes(8, "little") for v in values))
    uc.reg_write(UC_X86_REG_RSP, top - 256)
    uc.hook_add(UC_HOOK_INSN, lambda uc, _: uc.emu_stop(), None, 1, 0, UC_X86_INS_SYSCALL)
    counts: dict[int, int] = {}
    if len(sys.argv) > 4:

        def count(uc: Uc, address: int, size: int, _: object) -> None:
            n = uc.reg_read(UC_X86_REG_RDI)
            counts[n] = counts.get(n, 0) + 1

        address = int(sys.argv[4], 0)
        uc.hook_add(UC_HOOK_CODE, count, None, address, address)
    uc.emu_start(entry, 0)
    print(sum(counts.values()))


main()
