"""A kretprobe that tells a function's return value and how long it took: samples/kprobes/kretprobe_example.c of the kernel.

python kretprobe_example.py [--kernel=NAME] [FUNCTION [COMMAND ARGUMENT...]]
"""

from __future__ import annotations

import sys

from pyprobe import KprobeError, Kretprobe, KretprobeInstance, Machine, PtRegs, register_kretprobe, regs_return_value, unregister_kretprobe


def main(words: list[str]) -> int:
    kernel = words.pop(0).partition("=")[2] if words and words[0].startswith("--kernel=") else None
    function = words[0] if words else "kernel_clone"
    with Machine(words[1:] or None, kernel=kernel) as machine:

        def entry_handler(ri: KretprobeInstance, regs: PtRegs) -> int:
            """Note the time of the function's entry."""
            ri.data[:8] = machine.ktime_get().to_bytes(8, "little")
            return 0

        def ret_handler(ri: KretprobeInstance, regs: PtRegs) -> int:
            """Log the return value and the duration."""
            duration = machine.ktime_get() - int.from_bytes(ri.data[:8], "little")
            print(f"{function} returned {regs_return_value(regs)} and took {duration} ns to execute")
            return 0

        rp = Kretprobe(symbol_name=function, handler=ret_handler, entry_handler=entry_handler, data_size=8, maxactive=20)
        try:
            register_kretprobe(rp)
        except KprobeError as error:
            print(f"register_kretprobe failed, returned {-error.number}")
            return 1
        address = rp.kp.addr
        print(f"Planted return probe at {function}: 0x{address:016x}")
        status = machine.run()
        unregister_kretprobe(rp)
        print(f"kretprobe at 0x{address:016x} unregistered")
        print(f"Missed probing {rp.nmissed} instances of {function}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
