"""A kprobe on the function that makes processes: samples/kprobes/kprobe_example.c of the kernel, for emulated and booted kernels.

python kprobe_example.py [--kernel=NAME] [COMMAND ARGUMENT...]
"""

from __future__ import annotations

import sys

from pyprobe import Kprobe, KprobeError, Machine, PtRegs, register_kprobe, unregister_kprobe

SYMBOL = "kernel_clone"


def handler_pre(p: Kprobe, regs: PtRegs) -> int:
    """Called just before the probed instruction is executed."""
    if regs.arch == "x86_64":
        print(f"<{p.symbol_name}> p->addr = 0x{p.addr:016x}, ip = {regs.ip:x}, flags = 0x{regs.flags:x}")
    else:
        print(f"<{p.symbol_name}> p->addr = 0x{p.addr:016x}, pc = 0x{regs.pc:x}, pstate = 0x{regs.pstate:x}")
    return 0


def handler_post(p: Kprobe, regs: PtRegs, flags: int) -> None:
    """Called after the probed instruction is executed."""
    name, value = ("flags", regs.flags) if regs.arch == "x86_64" else ("pstate", regs.pstate)
    print(f"<{p.symbol_name}> p->addr = 0x{p.addr:016x}, {name} = 0x{value:x}")


def main(words: list[str]) -> int:
    kernel = words.pop(0).partition("=")[2] if words and words[0].startswith("--kernel=") else None
    kp = Kprobe(symbol_name=SYMBOL, pre_handler=handler_pre, post_handler=handler_post)
    with Machine(words or None, kernel=kernel) as machine:
        try:
            register_kprobe(kp)
        except KprobeError as error:
            print(f"register_kprobe failed, returned {-error.number}")
            return 1
        address = kp.addr
        print(f"Planted kprobe at 0x{address:016x}")
        status = machine.run()
        unregister_kprobe(kp)
        print(f"kprobe at 0x{address:016x} unregistered")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
