"""A kernel, booted: the same to the last byte whatever happens around it, and its processes as the kernel sees them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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
from tests.conftest import ROOT
from tests.runtime.system.conftest import COMPILERS

Pyprobe = Callable[..., Any]  # gives a Result


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


def test_stops_and_probes_change_nothing(kernel: Kernel) -> None:
    plain = boot(fresh(kernel, Clock()))
    clock = Clock()
    machine = fresh(kernel, clock)
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
    machine.processor.plant(symbols["schedule"] + 8 if kernel.arch == "arm64" else symbols["schedule"], hit, exact=True)
    assert boot(machine) == plain
    assert hits.count(b"swapper/0") > 500 and hits.count(b"kthreadd") > 20


def test_maps_by_command(kernel: Kernel, pyprobe: Pyprobe) -> None:
    script = "kprobe:kernel_clone { @[comm] = count(); } kretprobe:kernel_clone { @r = min(retval); }"
    done = pyprobe("-q", "--kernel", kernel.name, "--boot", "-e", script)
    assert done.status == 0, done
    assert "@[kthreadd]: " in done.out and "@[swapper/0]: 2\n" in done.out and "@r: 1\n" in done.out


@pytest.mark.parametrize("told", ["-UUNTOLD", "-DUNTOLD"], ids=["told", "untold"])
@pytest.mark.parametrize("native", [None, False], ids=["native", "plain"])
def test_stale_code_is_never_executed(
    kernel: Kernel, tmp_path: Path, pyprobe: Pyprobe, build: Callable[..., Path], native: bool | None, told: str
) -> None:
    """A page of code that is written at one address and executed at another, again and again. That it has changed need not be said of its
    address: as arm64 kernels patch themselves they say it of all code at once."""
    shutil.copy(build("alias.c", "-static", told, compiler=COMPILERS[kernel.arch]), tmp_path / "alias")
    for folder in ("dev", "proc", "sys", "tmp"):
        (tmp_path / folder).mkdir()
    env = {} if native is None else {"PYPROBE_NATIVE": "0"}
    done = pyprobe("-q", "--kernel", kernel.name, "--root", str(tmp_path), "-e", "begin { }", "-c", "/alias", env=env, timeout=300)
    assert done.out.strip() == "0 of 400 are stale", done


def test_another_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internals, "build_id", lambda path: "0123")
    with pytest.raises(UnsupportedLibrary, match="is build 0123"):
        internals.offsets()


WRONG = [{"halted": 0x8190}, {"icount": 0x138}, {"arm_syndrome": 0xBE0}, {"env": 0x120}, {"arm_x0": 0x48}, {"interrupt_request": 0x24}]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_wrong_places_are_noticed(monkeypatch: pytest.MonkeyPatch, wrong: dict[str, int]) -> None:
    """Before anything of a kernel runs. Run in a process of its own, which a wrong place might take down."""
    code = f"""
from pyprobe.runtime.system import cpu, internals
from pyprobe.runtime.machine.clock import Clock
from pyprobe.runtime.system.arm64 import Arm64
from pyprobe.runtime.system.ram import Ram
from pyprobe.runtime.system.x86_64 import X86
right = internals.offsets()
cpu.offsets = lambda: right._replace(**{wrong!r})
try:
    Arm64(Ram(0x40000000, 1 << 20), Clock())
    X86(Ram(0, 1 << 20), Clock())
except internals.UnsupportedLibrary as error:
    print("refused", error)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert done.stdout.startswith("refused --kernel: this libunicorn"), done


def test_options_need_a_kernel(pyprobe: Pyprobe) -> None:
    for words in (("--boot",), ("--memory", "256"), ("--append", "quiet"), ("--kernel", "none", "--memory", "7")):
        done = pyprobe(*words, "-e", "begin { }")
        assert done.status == 1 and words[-2 if len(words) > 1 else 0] in done.err + "--kernel"
