"""What kernel modules do, from Python: kprobes in the emulated kernel, uprobes in programs, the kernel's samples."""

from __future__ import annotations

import errno
import re
import subprocess
import sys

import pytest

import pyprobe
from pyprobe.runtime.kprobes.uprobes import ENOTSUPP
from tests.conftest import ROOT


def test_kprobes_and_kretprobes_in_the_emulated_kernel(capfd):
    seen = []
    with pyprobe.Machine(["/bin/sh", "-c", "true & wait"]) as machine:
        kp = pyprobe.Kprobe(symbol_name="kernel_clone", pre_handler=lambda p, regs: seen.append(("pre", machine.current_comm)))
        rp = pyprobe.Kretprobe(
            symbol_name="kernel_clone",
            entry_handler=lambda ri, regs: seen.append(("entry", ri.function == kp.addr)),
            handler=lambda ri, regs: seen.append(("return", pyprobe.regs_return_value(regs))),
        )
        pyprobe.register_kprobe(kp)
        pyprobe.register_kretprobe(rp)
        for wrong, number in (({"symbol_name": "nothing"}, errno.ENOENT), ({"symbol_name": "vfs_read", "offset": 4}, errno.EILSEQ)):
            with pytest.raises(pyprobe.KprobeError) as error:
                pyprobe.register_kprobe(pyprobe.Kprobe(**wrong))
            assert error.value.errno == number
        assert machine.run() == 0
    assert seen == [("pre", "sh"), ("entry", True), ("return", 1001)]


def test_a_hit_within_a_handler_is_missed():
    """The handler of one function calls another that is probed too."""
    seen = []
    with pyprobe.Machine(["/bin/true"]) as machine:
        inner = pyprobe.Kprobe(symbol_name="do_mmap", pre_handler=lambda p, regs: seen.append("inner"))

        def outer_handler(p, regs):
            seen.append("outer")
            machine.kprobes.table[inner.addr].hit()

        outer = pyprobe.Kprobe(symbol_name="vfs_read", pre_handler=outer_handler)
        pyprobe.register_kprobes([inner, outer])
        machine.run()
    assert "inner" in seen and inner.nmissed == seen.count("outer") > 0 and outer.nmissed == 0


def test_uprobes(compiled, capfd):
    program = str(compiled("calls.c"))
    seen = []
    with pyprobe.Machine([program, "3"]) as machine:
        u = pyprobe.Uprobe(
            program,
            symbol_name="leaf",
            handler=lambda u, regs: seen.append(("leaf", pyprobe.regs_get_kernel_argument(regs, 0))),
            ret_handler=lambda u, func, regs: seen.append(("ret", pyprobe.regs_return_value(regs))),
        )
        pyprobe.register_uprobe(u)
        for wrong, number in (
            (pyprobe.Uprobe(program, symbol_name="leaf"), errno.EINVAL),
            (pyprobe.Uprobe(program, symbol_name="nothing", handler=print), errno.ENOENT),
            (pyprobe.Uprobe("/nothing", offset=4, handler=print), errno.ENOENT),
            (pyprobe.Uprobe(program, offset=1 << 30, handler=print), errno.EINVAL),
        ):
            with pytest.raises(pyprobe.KprobeError) as error:
                pyprobe.register_uprobe(wrong)
            assert error.value.errno == number
        machine.run()
    assert seen == [event for n in range(3) for event in (("leaf", n), ("ret", n + 1))]
    assert u.nhits == 3


def test_uprobes_come_and_go_while_the_program_runs(compiled, capfd):
    """The handler of one function plants a probe on the next one and takes its own away."""
    program = str(compiled("calls.c"))
    seen = []
    with pyprobe.Machine([program, "3"]) as machine:
        second = pyprobe.Uprobe(program, symbol_name="rec", handler=lambda u, regs: seen.append("rec"))

        def leaf(u, regs):
            seen.append("leaf")
            machine.uprobes.unregister_uprobe(u)
            machine.uprobes.register_uprobe(second)

        pyprobe.register_uprobe(pyprobe.Uprobe(program, symbol_name="leaf", handler=leaf))
        machine.run()
    assert seen == ["leaf", "rec", "rec", "rec", "rec"]


def test_an_array_of_uprobes_is_all_or_nothing(compiled):
    program = str(compiled("calls.c"))
    with pyprobe.Machine([program]) as machine:
        us = [pyprobe.Uprobe(program, symbol_name=n, handler=print) for n in ("leaf", "nothing")]
        with pytest.raises(pyprobe.KprobeError):
            pyprobe.register_uprobes(us)
        assert all(not file.consumers for file in machine.uprobes._files.values())
    assert ENOTSUPP == 524


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        (
            ["kprobe_example.py"],
            [
                r"Planted kprobe at 0x[0-9a-f]{16}",
                r"<kernel_clone> p->addr = 0x[0-9a-f]{16}, ip = [0-9a-f]{16}, flags = 0x0",
                r"<kernel_clone> p->addr = 0x[0-9a-f]{16}, flags = 0x0",
                r"kprobe at 0x[0-9a-f]{16} unregistered",
            ],
        ),
        (
            ["kretprobe_example.py", "kernel_clone"],
            [
                r"Planted return probe at kernel_clone: 0x[0-9a-f]{16}",
                r"kernel_clone returned 1001 and took \d+ ns to execute",
                r"kretprobe at 0x[0-9a-f]{16} unregistered",
                r"Missed probing 0 instances of kernel_clone",
            ],
        ),
    ],
)
def test_samples(script, lines):
    command = [sys.executable, f"scripts/{script[0]}", *script[1:], "/bin/sh", "-c", "true & wait"]
    environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    assert len(shown) == len(lines)
    assert all(re.fullmatch(wanted, line) for wanted, line in zip(lines, shown, strict=True)), shown


def test_blacklist_is_listed():
    from tests.conftest import run_pyprobe

    shown = run_pyprobe("-l", "kprobes:blacklist").out.splitlines()
    assert [line.partition("\t")[2] for line in shown] == ["do_syscall_64", "entry_SYSCALL_64_after_hwframe"]
    assert all(re.match(r"0x[0-9a-f]{16}-0x[0-9a-f]{16}\t", line) for line in shown)


@pytest.mark.parametrize("how", ["hook", "breakpoint"])
def test_how_probes_are_attached_is_seen(compiled, how):
    from tests.conftest import run_pyprobe

    program = str(compiled("calls.c"))
    script = f"uprobe:{program}:leaf {{ }} uretprobe:{program}:leaf {{ }} kprobe:vfs_write {{ }}"
    done = run_pyprobe("-v", "--stats", "--attach", how, "-e", script, "-c", f"{program} 3")
    assert f"  {how} at {program}+0x" in done.err and ": lea eax, [rdi + 1]" in done.err
    assert "hook in the emulated kernel, which has no machine code" in done.err
    (row,) = [line.split() for line in done.err.splitlines() if line.startswith(f"uretprobe:{program}:leaf ")]
    assert row[1:4] == ["3", "0", how] and row[-4:] == ["lea", "eax,", "[rdi", "+", "1]"][-4:]


def test_a_wrong_way_to_attach_is_refused():
    from tests.conftest import run_pyprobe

    done = run_pyprobe("--attach", "magic", "-e", "begin { }")
    assert done.status == 1 and "--attach must be 'hook' or 'breakpoint', got magic" in done.err
