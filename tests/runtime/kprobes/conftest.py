"""A text of three functions in machine code, on both architectures and both callbacks.

main(n) calls target(5), target2(5) and target2(5); target(n) is n + 1, target2(n) is target(n) + 10.
"""

from __future__ import annotations

import pytest

from pyprobe.runtime.kprobes.api import Kprobes
from pyprobe.runtime.kprobes.text import Code
from pyprobe.runtime.machine.arm64 import ARM64
from pyprobe.runtime.machine.x86_64 import X86_64
from tests.runtime.machine.conftest import CODE, CORES, DATA, Bench

TARGET, TARGET2, NOKPROBE = CODE + 0x40, CODE + 0x80, CODE + 0xC0


def x86_call(at, target):
    return b"\xe8" + (target - at - 5).to_bytes(4, "little", signed=True)


def arm_call(at, target):
    return (0x94000000 | (target - at >> 2) & 0x3FFFFFF).to_bytes(4, "little")


def functions(arch):
    """Name to address, code."""
    if arch == "x86_64":
        five, main = bytes.fromhex("bf05000000"), b""
        for target in (TARGET, TARGET2, TARGET2):
            main += five + x86_call(CODE + len(main) + 5, target)
        target2 = bytes.fromhex("554889e5") + x86_call(TARGET2 + 4, TARGET) + bytes.fromhex("83c00a5dc3")
        return {"main": (CODE, main + b"\xf4"), "target": (TARGET, bytes.fromhex("8d470190c3")), "target2": (TARGET2, target2)}
    five, main = bytes.fromhex("a0008052"), b""
    for target in (TARGET, TARGET2, TARGET2):
        main += five + arm_call(CODE + len(main) + 4, target)
    target2 = bytes.fromhex("fd7bbfa9fd030091") + arm_call(TARGET2 + 8, TARGET) + bytes.fromhex("00280011fd7bc1a8c0035fd6")
    return {"main": (CODE, main + bytes(4)), "target": (TARGET, bytes.fromhex("000400111f2003d5c0035fd6")), "target2": (TARGET2, target2)}


class Kernel:
    """The text with its probes. `run` calls main; `result` is what the last target2 has returned."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.arch = bench.arch.name
        code = functions(self.arch)
        for start, content in code.values():
            bench.space.write(start, content)
        bench.space.write(NOKPROBE, code["target"][1])
        symbols = {name: (start, len(content)) for name, (start, content) in code.items()}
        symbols["nokprobe"] = (NOKPROBE, 8)
        self.symbols = symbols
        self.text = Code(bench.engine, bench.space, symbols, blacklist=frozenset({"nokprobe"}))
        self.kprobes = Kprobes(self.text)
        self.argument, self.result = ("di", "ax") if self.arch == "x86_64" else ("r0", "r0")
        self.second = 3 if self.arch == "x86_64" else 4  # offset of target's second instruction

    def run(self) -> int:
        self.bench.engine.set("sp", DATA + 0x1000)
        self.bench.engine.set("pc", CODE)
        self.stop = self.bench.run()
        return self.bench.engine.get(self.result)

    def code(self) -> bytes:
        return self.bench.space.read(CODE, 0x100)


@pytest.fixture(params=CORES)
def native(request):
    return bool(request.param)


@pytest.fixture(params=[X86_64, ARM64], ids=["x86_64", "arm64"])
def kernel(request, native):
    bench = Bench(request.param, native)
    yield Kernel(bench)
    bench.engine.close()
