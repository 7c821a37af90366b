"""Static branches of a running kernel, switched as its own patching does it: a jump where a no-op was, and back.

From then on a block of code begins at the jump's target, which makes it a place for a probe as cheap as a function's entry. The kernel, if
it switches one of these branches itself, is made to believe that it did (arch/*/kernel/jump_label.c): the jump is there already, and stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyprobe.runtime.machine.calling import ARGUMENTS

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.metadata.tracepoints import Branch

_ARM64_NOP = bytes.fromhex("1f2003d5")
_X86_NOPS = {bytes.fromhex("0f1f440000"): 5, bytes.fromhex("6690"): 2, bytes.fromhex("6666666690"): 5}
_TRANSFORM = ("arch_jump_label_transform", "arch_jump_label_transform_queue")
_SWITCHED = 1  # what the second of them returns


def jump(arch: str, code: bytes, branch: Branch) -> bytes:
    """The instruction that takes the place of the no-op at the beginning of `code`; empty where there is none."""
    distance = branch.target - branch.code
    if arch == "arm64":
        return (0x1400_0000 | distance >> 2 & 0x3FF_FFFF).to_bytes(4, "little") if code.startswith(_ARM64_NOP) else b""
    size = next((size for nop, size in _X86_NOPS.items() if code.startswith(nop)), 0)
    if size == 2:
        return b"\xeb" + (distance - 2).to_bytes(1, "little", signed=True)
    return b"\xe9" + (distance - 5).to_bytes(4, "little", signed=True) if size else b""


def size(arch: str, code: bytes) -> int:
    """Bytes of the instruction, no-op or jump, at the beginning of `code`."""
    if arch == "arm64":
        return 4
    return 2 if code.startswith((b"\x66\x90", b"\xeb")) else 5


class Branches:
    """The branches that were switched."""

    def __init__(self, machine: SystemMachine) -> None:
        self._machine = machine
        self._cpu = machine.processor
        self._taken: set[int] = set()

    def take(self, branch: Branch) -> int:
        """Have a branch taken from now on. The address behind it; 0 where the code is not there, or not what it should be."""
        arch = self._machine.arch
        code = self._cpu.read(branch.code, 4 if arch == "arm64" else 5)
        if code is None:
            return 0
        patch = jump(arch, code, branch)
        if patch:
            if not self._taken:
                self._guard()
            self._taken.add(branch.code)
            self._cpu.write(branch.code, patch)
            self._cpu.forget(branch.code)
        elif branch.code not in self._taken and jump(arch, _NOPS[arch][size(arch, code)], branch) != code[: size(arch, code)]:
            return 0
        return branch.code + size(arch, code)

    def _guard(self) -> None:
        """The kernel compares what is there with what it expects, and would find our jumps."""
        for name in _TRANSFORM:
            address = self._machine.description.symbols.get(name)
            if address is not None:
                self._machine.functions.attach(address, self._transform, exact=False, ours=True)

    def _transform(self) -> None:
        """The first argument is the entry of the jump table, which begins with its distance from the code."""
        cpu = self._cpu
        entry = cpu.get(ARGUMENTS[self._machine.arch][0])
        distance = int.from_bytes(cpu.read(entry, 4) or b"", "little", signed=True)
        if entry + distance in self._taken:
            cpu.go(*cpu.returned(cpu.general(), _SWITCHED))


_NOPS = {
    "arm64": {4: _ARM64_NOP},
    "x86_64": {2: bytes.fromhex("6690"), 5: bytes.fromhex("0f1f440000")},
}
