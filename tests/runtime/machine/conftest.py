"""One machine per test, with the callbacks in C and in Python: both must behave the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyprobe.runtime.machine.arch import Arch
from pyprobe.runtime.machine.arm64 import ARM64
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.machine.engine import Engine, Stop
from pyprobe.runtime.machine.memory import AddressSpace, PhysicalMemory, R, W, X
from pyprobe.runtime.machine.x86_64 import X86_64

CODE = 0x400000
DATA = 0x600000


class Bench:
    """An engine with one address space: code at CODE, two writable pages at DATA."""

    def __init__(self, arch: Arch, native: bool) -> None:
        self.arch = arch
        self.native = native
        self.memory = PhysicalMemory(64 << 20)
        self.clock = Clock()
        self.engine = Engine(arch, self.memory, self.clock, native=native)
        self.space = AddressSpace(self.memory)
        self.space.map(CODE, 16 * 4096, R | W | X)
        self.space.map(DATA, 2 * 4096, R | W)
        self.engine.activate(self.space)

    def load(self, code: str | bytes, at: int = CODE) -> None:
        """Put hexadecimal machine code at an address and set the pc there."""
        self.space.write(at, bytes.fromhex(code) if isinstance(code, str) else code)
        self.engine.set("pc", at)

    def run(self) -> Stop:
        return self.engine.run()


def _native_there() -> bool:
    try:
        import pyprobe.runtime.machine._native  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


CORES = [
    pytest.param(True, id="native", marks=pytest.mark.skipif(not _native_there(), reason="extension not built")),
    pytest.param(False, id="twin"),
]


@pytest.fixture(params=CORES)
def native(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def x86(native: bool) -> Iterator[Bench]:
    bench = Bench(X86_64, native)
    yield bench
    bench.engine.close()


@pytest.fixture
def arm(native: bool) -> Iterator[Bench]:
    bench = Bench(ARM64, native)
    yield bench
    bench.engine.close()
