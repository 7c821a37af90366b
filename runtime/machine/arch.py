"""What the engine needs to know of an architecture; the two tables are in x86_64.py and arm64.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine


class BreakpointTrap(NamedTuple):
    """The instruction that a debugger puts into code.

    number: the exception it raises; size: bytes that the clock counts for it; advance: how far behind it the pc is then;
    jump: bytes of the jump with which a displaced instruction goes back.
    """

    number: int
    size: int
    advance: int
    jump: int


class Arch(NamedTuple):
    """A table of an architecture, as the engine sees it. Register numbers are libunicorn's.

    name: as bpftrace spells it.
    uc_arch, uc_mode, cpu_model: for uc_open and the choice of the model.
    registers: every name that can be read, in bpftrace's spelling and the engine's own.
    state: where the general registers lie in libunicorn's CPU state, in bytes after the first one.
    state_pc: likewise, where the pc lies.
    magic: registers that lie one after the other at the beginning of `state`, for finding it.
    number, arguments, result: the syscall convention.
    page_size_4k: the page size has to be set.
    pc, sp: the names of these registers.
    initial: values a fresh CPU gets.
    vectors: the registers of floating point that a signal frame holds, each in 16 bytes, in their order.
    invalidate_symbol: the internal function of libunicorn that drops the translations of a physical range.
    repeats: whether an instruction that begins with these bytes executes in rounds.
    setup: installs the architecture's own hooks; called once the CPU state was looked for.
    without_translation: what is to be done besides where translation.py does not work.
    syscall_traces: registers in which the syscall instruction leaves the pc behind it and the flags, and the name of the flags.
    trapped: called when the guest trapped, with the exception's number.
    breakpoint: the instruction for breakpoints.
    tag_bits: bits of the address of data that the processor ignores.
    """

    name: str
    uc_arch: int
    uc_mode: int
    cpu_model: int
    page_size_4k: bool
    registers: dict[str, int]
    state: dict[str, int]
    state_pc: int
    magic: tuple[str, ...]
    number: str
    arguments: tuple[str, ...]
    result: str
    pc: str
    sp: str
    initial: dict[str, int]
    vectors: tuple[int, ...]
    invalidate_symbol: str
    repeats: Callable[[bytes], bool]
    setup: Callable[[Engine], None]
    without_translation: Callable[[Engine], None]
    syscall_traces: tuple[str, str, str] | None
    trapped: Callable[[Engine, int], None]
    breakpoint: BreakpointTrap
    tag_bits: int
