"""The emulated kernel against the real ones: the same calls of its functions, and the same formats of its tracepoints."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from pyprobe.runtime.system.kernels.store import Kernel
from pyprobe.runtime.system.metadata.facts import Facts
from pyprobe.runtime.user.machine import UserMachine
from pyprobe.scripts.dev.kernel_functions import compare, table_text
from tests.conftest import ROOT, Result
from tests.runtime.system.conftest import COMPILERS

NEWER = {
    ("sched", "sched_process_exit"): ["comm", "pid", "prio", "group_dead"],  # since 6.16
    ("sched", "sched_process_fork"): ["parent_comm", "parent_pid", "child_comm", "child_pid"],  # strings of variable length since 6.16
}
"""The fields of the tracepoints that are as in a newer kernel than the ones compared with."""

INLINED = {"vfs_getattr"}
"""Functions that the compiler of these kernels has put into their callers."""


def test_functions(kernel: Kernel, root: Path, tool: Callable[[str], str], pyprobe: Callable[..., Result]) -> None:
    """One program that does a little of everything: calls, arguments, results and their order are those of the real kernel."""
    source = ROOT / "tests" / "programs" / "kernelwork.c"
    subprocess.run(
        [tool(COMPILERS[kernel.arch]), "-O1", "-w", "-static", "-o", str(root / "kernelwork"), str(source)], check=True, timeout=60
    )

    def run(options: list[str]) -> str:
        done = pyprobe(*options, timeout=120)
        assert done.status == 0, done.err
        return done.out

    table, ours, real = compare(run, kernel.name, "/kernelwork", "--root", str(root))
    assert len(table) > 50 and len(real) > 250
    assert ours == real, table_text(table)
    seen = {c.function.name for c in table if c.ours}
    reached = {c.function.name for c in table if c.real}
    assert {c.function.name for c in table} - reached == INLINED and seen >= reached - {"try_to_wake_up"}


def test_tracepoints(kernel: Kernel, facts: Facts) -> None:
    """Every tracepoint that the emulated kernel fires itself has the names, types and order of the real one's format file."""
    ours = [t for t in UserMachine(arch=kernel.arch).tracepoints if t.category != "syscalls"]
    assert len(ours) >= 18
    for tracepoint in ours:
        key = (tracepoint.category, tracepoint.name)
        real = facts.events[key]
        if key in NEWER:
            assert [name for _, name in tracepoint.fields] == NEWER[key]
        else:
            assert list(tracepoint.fields) == [(field.type, field.name) for field in real.fields], key


def test_tracepoints_of_system_calls(kernel: Kernel, facts: Facts) -> None:
    """Those of the system calls as well, wherever both kernels have the call."""
    ours = {t.name: t for t in UserMachine(arch=kernel.arch).tracepoints if t.category == "syscalls"}
    common = [(name, facts.events["syscalls", name]) for name in ours if ("syscalls", name) in facts.events]
    assert len(common) > 500
    different = [name for name, real in common if [n for _, n in ours[name].fields] != [field.name for field in real.fields]]
    assert not different
