"""A kernel, booted: the same to the last byte whatever happens around it, and its processes as the kernel sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.system import internals
from pyprobe.runtime.system.booting import Boot, Options
from pyprobe.runtime.system.description import SystemDescription
from pyprobe.runtime.system.internals import UnsupportedLibrary
from pyprobe.runtime.system.kernels.store import Kernel
from pyprobe.runtime.system.machine import SystemMachine
from pyprobe.runtime.system.root import initramfs
from pyprobe.runtime.system.root.channel import Event

GetKernel = Callable[[str], Kernel]
Pyprobe = Callable[..., Any]  # gives a Result
ARCHITECTURES = pytest.mark.parametrize("arch", ["arm64", "x86_64"])


class End(NamedTuple):
    now: int
    ram: str


def fresh(kernel: Kernel, clock: Clock) -> SystemMachine:
    modules = [(path.stem, path.read_bytes()) for path in kernel.load_order("fuse", "overlay")]
    machine = Boot(kernel, Options(), initramfs.build(kernel.arch, modules), SystemDescription(kernel, None)).fresh(clock)  # type: ignore[arg-type]  # no programs
    machine.until(Event.READY)
    return machine


def boot(machine: SystemMachine) -> End:
    while not machine.ready:
        machine.run()
        assert not machine.power, machine.board.console.decode(errors="replace")[-2000:]
    return End(machine.clock.now(), hashlib.sha256(machine.board.ram.view).hexdigest())


@ARCHITECTURES
def test_stops_and_probes_change_nothing(kernel: GetKernel, arch: str) -> None:
    found = kernel(arch)
    plain = boot(fresh(found, Clock()))
    clock = Clock()
    machine = fresh(found, clock)
    hits: list[bytes] = []

    def stop() -> None:
        machine.processor.request_stop()
        clock.add(clock.now() + 54_321, stop)

    def hit() -> None:
        task = machine.current
        hits.append(task.comm if task else b"")

    clock.add(1000, stop)
    symbols = machine.description.symbols
    for name in ("kernel_clone", "vfs_read", "do_one_initcall"):
        machine.processor.plant(symbols[name], hit)
    machine.processor.plant(symbols["schedule"] + 8 if arch == "arm64" else symbols["schedule"], hit, exact=True)
    assert boot(machine) == plain
    assert hits.count(b"swapper/0") > 500 and hits.count(b"kthreadd") > 20


@ARCHITECTURES
def test_maps_by_command(kernel: GetKernel, pyprobe: Pyprobe, arch: str) -> None:
    name = kernel(arch).name
    script = "kprobe:kernel_clone { @[comm] = count(); } kretprobe:kernel_clone { @r = min(retval); }"
    done = pyprobe("-q", "--kernel", name, "--boot", "-e", script)
    assert done.status == 0, done
    assert "@[kthreadd]: " in done.out and "@[swapper/0]: 2\n" in done.out and "@r: 1\n" in done.out


@pytest.mark.parametrize("native", [None, False], ids=["native", "plain"])
def test_stale_code_is_never_executed(kernel: GetKernel, pyprobe: Pyprobe, build: Callable[..., object], native: bool | None) -> None:
    """A page of code that is written at one address and executed at another, again and again."""
    name = kernel("x86_64").name
    program = str(build("alias.c", "-static"))
    env = {} if native is None else {"PYPROBE_NATIVE": "0"}
    done = pyprobe("-q", "--kernel", name, "-e", "begin { }", "-c", program, env=env, timeout=300)
    assert done.out.strip() == "0 of 400 are stale", done


def test_another_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internals, "build_id", lambda path: "0123")
    with pytest.raises(UnsupportedLibrary, match="is build 0123"):
        internals.offsets()


def test_options_need_a_kernel(pyprobe: Pyprobe) -> None:
    for words in (("--boot",), ("--memory", "256"), ("--append", "quiet"), ("--kernel", "none", "--memory", "7")):
        done = pyprobe(*words, "-e", "begin { }")
        assert done.status == 1 and words[-2 if len(words) > 1 else 0] in done.err + "--kernel"
