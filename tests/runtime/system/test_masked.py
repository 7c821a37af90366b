"""An interrupt that waits for the processor to accept it, for a while or for ever, on a bare x86-64 processor."""

from __future__ import annotations

import pytest

from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.system.cpu import LOCKUP_NS, LockedUp
from pyprobe.runtime.system.ram import Ram
from pyprobe.runtime.system.x86_64 import X86

TURNS = 10_000
LOOP = b"\xb9" + TURNS.to_bytes(4, "little") + b"\xff\xc9\x75\xfc"  # mov ecx, TURNS; 1: dec ecx; jnz 1b
OPEN = b"\xfb\x90\xeb\x00\x90\xeb\x00\xf4"  # sti; nop; jmp; nop; jmp; hlt


def run(native: bool | None, *, pending: bool) -> tuple[int, list[int], list[int], int]:
    """(looks of Python, when a timer of the loop's time ran, when the interrupt was asked for, the end)"""
    ram = Ram(0, 1 << 20)
    clock = Clock()
    cpu = X86(ram, clock, native=native)
    ram.view[: len(LOOP + OPEN)] = LOOP + OPEN
    looks: list[int] = []
    rang: list[int] = []
    asked: list[int] = []

    def acknowledge() -> int:
        asked.append(clock.now())
        cpu.interrupt(False)
        return -1

    def first() -> None:  # a timer that starts another, which nobody waited for when the interrupt came
        rang.append(clock.now())
        clock.add(clock.now() + 9_000, lambda: rang.append(clock.now()))

    cpu.on_attend = lambda: looks.append(clock.now())
    cpu.acknowledge = acknowledge
    clock.add(clock.now() + 5_000, first)
    cpu.interrupt(pending)
    assert not cpu.run()
    end = clock.now()
    cpu.close()
    return len(looks), rang, asked, end


@pytest.mark.parametrize("native", [None, False], ids=["native", "plain"])
def test_a_pending_interrupt_waits_in_the_callback(native: bool | None) -> None:
    """Until the guest accepts interrupts Python is left alone, but for what is due; what happens, and when, is as without the interrupt."""
    looks, rang, asked, end = run(native, pending=True)
    free, rang_without, none, end_without = run(native, pending=False)
    assert rang == rang_without and len(rang) == 2 and end == end_without and not none
    assert len(asked) == 1 and end - len(OPEN) <= asked[0] < end
    assert free < looks < 20 < TURNS
    assert run(native, pending=True) == (looks, rang, asked, end) == run(None if native is False else False, pending=True)


def test_a_processor_that_never_accepts_it_is_given_up() -> None:
    ram, clock = Ram(0, 1 << 20), Clock()
    cpu = X86(ram, clock)
    code = b"\xff\xc9\x90\x90\xeb\xfa"  # 1: dec ecx; nop; nop; jmp 1b
    ram.view[: len(code)] = code
    clock.add(1_000_000, lambda: cpu.interrupt(True))
    clock.add(50_000_000, lambda: clock.charge(LOCKUP_NS))  # so long it has to wait, but not we
    with pytest.raises(LockedUp):
        cpu.run()
    assert LOCKUP_NS < clock.now() < LOCKUP_NS + 100_000_000
    cpu.close()
