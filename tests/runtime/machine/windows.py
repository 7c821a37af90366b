"""Random windows of instructions, run with and without a breakpoint on one of them: everything must be equal afterwards.

`python -m tests.runtime.machine.windows [COUNT [SEED]]` checks that many per architecture.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator

from pyprobe.runtime.machine.arch import Arch
from pyprobe.runtime.machine.arm64 import ARM64
from pyprobe.runtime.machine.breakpoints import Breakpoints
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.disassembly import instructions
from pyprobe.runtime.machine.displaced import Refused
from pyprobe.runtime.machine.engine import Engine, Stop, StopKind
from pyprobe.runtime.machine.memory import PAGE, AddressSpace, PhysicalMemory, R, W, X
from pyprobe.runtime.machine.unicorn import UnicornError
from pyprobe.runtime.machine.x86_64 import X86_64

CODE, DATA, DATA_SIZE = 0x400000, 0x600000, 0x4000
GUARD = 0x1FE000  # free of slots around the code: what jumps or loads from too far must not meet one
LENGTH = 7  # instructions in a window
PATIENCE_NS = 100_000  # windows that run longer are loops, and not compared

REGISTERS = {
    "x86_64": ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{i}" for i in range(8, 16))),
    "arm64": (*(f"x{i}" for i in range(31)), "sp"),
}
FLAGS = {"x86_64": ("flags", 0x10DD5), "arm64": ("pstate", 0xF000_0000)}
END = {"x86_64": b"\xf4" * 16, "arm64": bytes(16)}  # HLT faults in ring 3, UDF everywhere

# Not comparable (time, the address itself as data) or not instructions of a program
_EXCLUDED = {
    "x86_64": (
        *("rdtsc", "rdpmc", "fnstenv", "fstenv", "fnsave", "fsave", "fxsave", "xsave", "rdrand", "rdseed", "l", "in", "out", "sys", "int"),
        *("hlt", "iret", "vm", "sg", "st", "cli", "sti", "swapgs", "invlpg", "wrmsr", "rdmsr", "ud", "xbegin", "xabort", "xend", "f2xm1"),
        *("rsm", "clac", "stac", "ret", "wait", "monitor", "mwait", "pause", "enc", "xrstor", "wr", "rd", "xset", "clts", "skinit", "fl"),
        *("frstor", "str"),
    ),
    "arm64": (
        *("msr", "sys", "mrs", "dc", "ic", "tlbi", "at", "hvc", "smc", "hlt", "brk", "wf", "eret", "drps", "dcps", "udf", "yield", "sev"),
        *("svc", "ldg", "stg", "st2g", "stzg", "irg", "gmi", "cfp", "dvp", "cpp", "setf", "rmif", "cfinv", "axflag", "xaflag"),
    ),
}
_KEPT = {"x86_64": ("lea", "leave", "lods", "loop", "in", "inc", "stos", "stc", "std", "setl", "lock", "sal", "sysc"), "arm64": ()}


def usable(arch: str, text: str) -> bool:
    mnemonic = text.split(" ")[0]
    if mnemonic.startswith(("set", "rc")) and "[" in text:
        return False  # where these fault, the emulator gives wrong flags, breakpoint or not
    if "seg" in text or any(f" {s}s," in f" {text}" or f", {s}s" in f"{text}," for s in ("c", "d", "e", "s", "f", "g")):
        return False
    kept = mnemonic in ("in",) or (mnemonic != "in" and mnemonic.startswith(_KEPT[arch]))
    return (kept and mnemonic not in ("in", "ins", "insb", "insd", "int")) or not mnemonic.startswith(_EXCLUDED[arch])


def x86_instruction(rng: random.Random, at: int) -> bytes:
    """One encoding: of those that breakpoints have rules for, or any."""
    byte, word = rng.randrange(256), rng.getrandbits(32).to_bytes(4, "little")
    near = (DATA + rng.randrange(DATA_SIZE) - at - 7 & 0xFFFF_FFFF).to_bytes(4, "little")
    special = (
        lambda: bytes([0x70 | byte & 15, rng.randrange(12)]),
        lambda: bytes([0x0F, 0x80 | byte & 15, rng.randrange(12), 0, 0, 0]),
        lambda: bytes([0xE0 | byte & 3, rng.randrange(12)]),
        lambda: bytes([0x67, 0xE3, rng.randrange(12)]),
        lambda: b"\xe8" + bytes([rng.randrange(12), 0, 0, 0]),
        lambda: rng.choice((b"\xeb", b"\xe9")) + bytes([rng.randrange(12), 0, 0, 0]),
        lambda: rng.choice((b"\xc3", b"\xc2\x10\x00", b"\xf3\xc3")),
        lambda: b"\xff" + bytes([0x10 | byte & 7 | 0xC0 * (byte >> 7)]) + word,  # CALL r/m
        lambda: b"\xff\x15" + near,
        lambda: b"\x41\xff" + bytes([0xD0 | byte & 7]),
        lambda: b"\xff\x25" + near,
        lambda: b"\xff\x54\x24" + bytes([byte & 0x78]),  # CALL [RSP+N]
        lambda: bytes([0x48, 0x8B, 0x05 | (byte & 7) << 3]) + near,  # MOV R64, [RIP+N]
        lambda: bytes([0x48, 0x8D, 0x05 | (byte & 7) << 3]) + word,  # LEA
        lambda: bytes([0x48, 0x89, 0x05 | (byte & 7) << 3]) + near,
        lambda: bytes([0x0F, 0x10, 0x05 | (byte & 7) << 3]) + near,  # MOVUPS
        lambda: bytes([0x50 | byte & 15]),  # PUSH, POP
        lambda: rng.choice((b"\x9c", b"\x9d", b"\xf3\xa4", b"\xf2\xae", b"\xf3\x48\xab", b"\xc9", b"\x0f\x05", b"\xf3\x0f\x1e\xfa")),
    )
    if rng.random() < 0.5:
        return rng.choice(special)()
    prefix = rng.choice((b"", b"", b"\x66", b"\xf3", b"\xf2", b"\xf0")) + rng.choice((b"", b"", b"\x48", bytes([0x40 | byte & 15])))
    return prefix + rng.choice((b"", b"\x0f")) + rng.randbytes(12)


def arm_instruction(rng: random.Random, at: int) -> bytes:
    bits, forward = rng.getrandbits(32), rng.randrange(1, 4)
    data = (DATA + 8 * rng.randrange(DATA_SIZE // 8) - at) // 4 & 0x7FFFF
    special = (
        0x54000000 | forward << 5 | bits & 15,
        0x34000000 | bits & 0x8100001F | forward << 5,
        0x36000000 | bits & 0x81F8001F | forward << 5,
        0x14000000 | bits & 0x80000000 | forward,
        0xD61F0000 | bits & 0x3E0,
        0xD63F0000 | bits & 0x3E0,
        0xD65F0000 | bits & 0x3E0,
        0x10000000 | bits & 0xE0FFFFFF,
        0x18000000 | bits & 0x4000001F | data << 5,
        0x98000000 | bits & 0x1F | data << 5,
        0xD4000001 | bits & 0x1FFFE0,
        0xF9400000 | bits & 0x3FFFFF,
        0xA9BF0000 | bits & 0x7FFF,
        0xD503233F,
    )
    word = rng.choice(special) if rng.random() < 0.5 else bits
    return word.to_bytes(4, "little")


MAKERS: dict[str, Callable[[random.Random, int], bytes]] = {"x86_64": x86_instruction, "arm64": arm_instruction}


def window(arch: str, rng: random.Random) -> tuple[bytes, list[int]]:
    """Code, and the offsets of its instructions."""
    code, offsets = b"", []
    while len(offsets) < LENGTH:
        made = next(instructions(arch, MAKERS[arch](rng, CODE + len(code)), CODE + len(code)), None)
        if made is None or made.mnemonic in (".byte", ".word") or not usable(arch, str(made).lower()):
            continue
        offsets.append(len(code))
        code += made.code
    return code, offsets


class Windows:
    """Runs windows of one architecture, each in registers and memory made from the seed."""

    def __init__(self, arch: Arch, *, native: bool | None = None) -> None:
        self.arch = arch
        self.memory = PhysicalMemory(64 << 20)
        self.clock = Clock()
        self.engine = Engine(arch, self.memory, self.clock, native=native)
        self.engine.on_syscall = self._syscall
        self.syscalls: list[tuple[int, ...]] = []
        self.probed = self.refused = self.endless = 0

    def _syscall(self) -> bool:
        self.syscalls.append(self.engine.syscall_arguments())
        self.engine.set_result(len(self.syscalls))
        return True

    def run(self, code: bytes, seed: int, probe: int | None, offsets: list[int]) -> dict[str, object] | None:
        """What is there at the end; None for a loop, and where an instruction begins within another. Raises Refused."""
        rng = random.Random(seed)
        engine, name = self.engine, self.arch.name
        space = AddressSpace(self.memory)
        space.map(CODE, 0x2000, R | X)
        space.map(CODE - GUARD, GUARD, 0)
        space.map(CODE + 0x2000, GUARD, 0)
        space.map(DATA, DATA_SIZE, R | W)
        space.poke(CODE, code + END[name])
        space.write(DATA, rng.randbytes(DATA_SIZE // 2))
        for i in range(0, DATA_SIZE // 2, 64):  # some pointers, to code and to data
            space.put_u64(DATA + i, CODE + rng.randrange(len(code)) if rng.random() < 0.5 else DATA + rng.randrange(DATA_SIZE))
        context = engine.new_context()
        engine.activate(space)
        engine.restore(context)
        for register in REGISTERS[name]:
            engine.set(register, DATA + 8 * rng.randrange(DATA_SIZE // 8) if rng.random() < 0.8 else rng.getrandbits(64))
        engine.set(self.arch.sp, DATA + DATA_SIZE // 4 & ~15)
        flags, mask = FLAGS[name]
        engine.set(flags, engine.get(flags) & ~mask | rng.getrandbits(32) & mask & ~0x10500)
        engine.set("pc", CODE)
        self.syscalls = []
        hits: list[int] = []
        if probe is not None:
            Breakpoints(engine, space).insert(CODE + probe, lambda: hits.append(engine.state.pc))
        for page in range(CODE // PAGE, CODE // PAGE + 2):  # code is not data here: what reads a breakpoint sees one
            space.pages[page] = space.fault(page * PAGE, X) & ~R
        ends: list[int] = []

        def astray() -> None:
            ends.append(1)
            engine.request_stop()

        if name == "x86_64":
            for at in range(len(code)):
                if at not in offsets:
                    engine.plant(space, CODE + at, astray)
        timer = self.clock.add(self.clock.now() + PATIENCE_NS * (1 if probe is None else 1000), astray)
        try:
            stop = engine.run()
        except UnicornError as error:
            stop = str(error).split(":")[-1]  # type: ignore[assignment]  # only compared
        self.clock.cancel(timer)
        if ends:
            space.destroy()
            return None
        if probe is not None:
            self.probed += bool(hits)
            assert all(hit == CODE + probe for hit in hits)
        result: dict[str, object] = {register: engine.get(register) for register in (*REGISTERS[name], "pc")}
        result["stop"] = stop
        result["flags"] = engine.get(flags) & mask
        result["memory"] = space.read(DATA, DATA_SIZE)
        result["syscalls"] = self.syscalls
        if not isinstance(stop, str) and stop.kind is StopKind.TRAP:
            engine.restore(context)
        space.destroy()
        return result

    def check(self, seed: int) -> str | None:
        """Compare one window; what differs."""
        rng = random.Random(seed)
        code, offsets = window(self.arch.name, rng)
        probe = rng.choice(offsets)
        plain = self.run(code, seed, None, offsets)
        if plain is None or single_steps(plain):
            self.endless += 1
            return None
        try:
            probed = self.run(code, seed, probe, offsets)
        except Refused:
            self.refused += 1
            return None
        if probed == plain or (probed is not None and single_steps(probed)):
            return None
        lines = [f"seed {seed}, breakpoint at {CODE + probe:#x}"]
        lines += [f"  {i.address:#x}: {i}" for i in instructions(self.arch.name, code, CODE)]
        for name, value in plain.items():
            other = probed[name] if probed else None
            if other != value:
                lines.append(f"  {name}: {_shown(value)}, with the breakpoint {_shown(other)}")
        return "\n".join(lines)


def single_steps(result: dict[str, object]) -> bool:
    """Whether the window has set TF, with which the guest traces itself and meets the slot."""
    return result["stop"] == Stop(StopKind.TRAP, number=1) or bool(result["flags"] & 0x100)  # type: ignore[operator]  # an int


def _shown(value: object) -> str:
    return f"{value:#x}" if isinstance(value, int) else f"{len(value)} bytes" if isinstance(value, bytes) else str(value)


def differences(windows: Windows, count: int, seed: int) -> Iterator[str]:
    """Compares until `count` windows have hit their breakpoint."""
    while windows.probed < count:
        found = windows.check(seed)
        if found:
            yield found
        seed += 1


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    failed = False
    for arch in (X86_64, ARM64):
        failures = 0
        windows = Windows(arch)
        for found in differences(windows, count, seed):
            failed, failures = True, failures + 1
            print(arch.name, found)
        others = f"{windows.refused} refused, {windows.endless} not comparable"
        print(f"{arch.name}: {windows.probed} breakpoints hit, {others}, {failures} differences")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
