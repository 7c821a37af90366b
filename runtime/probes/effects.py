"""What probes do to the machine: signals to the current task, results in place of a function's own, writes to its memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import MemoryFault, OutOfMemory

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.user.kernel import Kernel

LAST_SIGNAL = 64
WORD = (1 << 64) - 1


def signal_sender(machine: Kernel, group: bool) -> Callable[[int], None]:
    """The function that sends a signal to the current task's process (`group`) or to itself. It takes effect before the program goes
    on, as bpf_send_signal(9)'s does."""
    from pyprobe.runtime.user.errors import Errno
    from pyprobe.runtime.user.signals import SigInfo, do_send_sig_info

    def send(number: int) -> None:
        task = machine.current
        if task is None or not 1 <= number <= LAST_SIGNAL:
            return
        try:
            do_send_sig_info(machine, number, SigInfo(number), task, int(group))
        except Errno:
            return  # the queue of signals is full
        if task.syscall is None:
            task.process.engine.request_stop()

    return send


def memory_writer(machine: Kernel) -> Callable[[int, bytes | None], bool]:
    """The function that writes bytes to the memory of the current task; whether it could."""

    def write(address: int, data: bytes | None) -> bool:
        task = machine.current
        if task is None or data is None:
            return False
        try:
            task.process.space.write(address, data)
        except (MemoryFault, OutOfMemory):
            return False
        return True

    return write


def function_skipper(machine: Kernel, engine: Engine) -> Callable[[int], None]:
    """The function that makes the program's function whose first instruction is about to execute return a value at once."""
    arch = engine.arch
    result = {"x86_64": "ax", "arm64": "r0"}[arch.name]

    def skip(value: int) -> None:
        task = machine.current
        if task is None:
            return
        space = task.process.space
        sp = engine.get("sp")

        def leave() -> None:
            if arch.name == "x86_64":
                engine.set("sp", sp + 8)
                engine.set(arch.pc, int.from_bytes(space.read(sp, 8), "little"))
            else:
                engine.set(arch.pc, engine.get("r30"))
            engine.set(result, value & WORD)

        machine.after_run(leave)

    return skip
