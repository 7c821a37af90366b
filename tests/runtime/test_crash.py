"""What is said when a guest program crashes."""

from __future__ import annotations

import pytest

from pyprobe.runtime.probes.world import MachineWorld
from pyprobe.runtime.symbolizer import Symbolizer
from pyprobe.runtime.user.crash import describe
from pyprobe.runtime.user.machine import UserMachine


def crash(program, *arguments, arch="x86_64", verbose=False):
    machine = UserMachine(native=False, arch=arch, architectures=(arch,))
    names = Symbolizer(machine, MachineWorld(arch=arch).machine)
    machine.spawn([str(program).encode(), *arguments], [], b"/", (b"", lambda _: None, lambda _: None))
    assert machine.run() == 128 + 11
    (found,) = machine.crashes
    return list(describe(found, names, verbose=verbose))


def test_place_and_code(compiled):
    program = compiled("crash.c")
    first, *code = crash(program)
    assert first == f"WARNING: process 1000 (crash) was ended by SIGSEGV at address 0x8 in reader+0 ({program})"
    (current,) = [line for line in code if line.startswith(" => ")]
    assert current.endswith("<reader+0>: mov eax, dword ptr [rdi]")
    assert len(code) <= 7


def test_registers_when_verbose(compiled):
    assert " di=0x8 " in crash(compiled("crash.c"), verbose=True)[-1]


def test_a_place_without_code(compiled):
    assert crash(compiled("crash.c"), b"jump") == ["WARNING: process 1000 (crash) was ended by SIGSEGV at address 0x1234"]


def test_a_null_pointer_is_told(compiled):
    assert "SIGSEGV at address 0x0 in" in crash(compiled("crash.c"), b"null")[0]


@pytest.mark.parametrize("arch", ["arm64"])
def test_arm64(compiled, arch):
    first, *code = crash(compiled("crash.c", "-static", arch=arch), arch=arch)
    assert "in reader+0" in first
    assert next(line for line in code if line.startswith(" => ")).endswith("<reader+0>: ldr w0, [x0]")
