"""The emulated kernel against the real ones: the same calls of its functions, and the same formats of its tracepoints."""

from __future__ import annotations

import re
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


ENDS = "args.sport, args.dport, args.family, ntop(args.saddr), ntop(args.daddr), ntop(args.saddr_v6), ntop(args.daddr_v6)"
OF_TCP = {
    "sock:inet_sk_error_report": "args.error, args.protocol",
    "sock:inet_sock_set_state": "args.oldstate, args.newstate, args.protocol",
    "tcp:tcp_destroy_sock": "args.sock_cookie",
    "tcp:tcp_receive_reset": "args.sock_cookie",
    "tcp:tcp_send_reset": "args.state, (uint64)args.skbaddr != 0",
}
FREE_PORT = re.compile(r"(?<= )[0-9]{5}(?=,)")


def test_tcp(kernel: Kernel, root: Path, tool: Callable[[str], str], pyprobe: Callable[..., Result]) -> None:
    """What happens to connections, in the order in which it is told: only the ports that the kernel chooses are others."""
    source = ROOT / "tests" / "programs" / "tcp.c"
    subprocess.run([tool(COMPILERS[kernel.arch]), "-O1", "-w", "-static", "-o", str(root / "tcp"), str(source)], check=True, timeout=60)
    script = "".join(f"tracepoint:{event} {{ print((probe, {ENDS}, {rest})); }}\n" for event, rest in OF_TCP.items())

    def told(*options: str) -> list[str]:
        done = pyprobe("-q", "-e", script, "-c", "/tcp", "--root", str(root), *options, timeout=120)
        assert done.status == 0, done.err
        ports: dict[str, str] = {}
        return [FREE_PORT.sub(lambda m: ports.setdefault(m[0], f"port{len(ports)}"), line) for line in done.out.splitlines()]

    ours = told()
    assert ours == told("--kernel", kernel.name)
    assert len(ours) > 160 and all(any(event in line for line in ours) for event in OF_TCP)


OF_TIMERS = """
tracepoint:timer:hrtimer_init /comm == "timers"/ { @id[args.hrtimer] = ++@timers; print((probe, @timers, args.clockid, args.mode)); }
tracepoint:timer:hrtimer_start /@id[args.hrtimer]/ {
    print((probe, @id[args.hrtimer], comm, ksym(args.function), args.mode, args.was_armed, args.expires == args.softexpires));
}
tracepoint:timer:hrtimer_expire_entry /@id[args.hrtimer]/ { print((probe, @id[args.hrtimer], ksym(args.function))); }
tracepoint:timer:hrtimer_cancel, tracepoint:timer:hrtimer_expire_exit /@id[args.hrtimer]/ { print((probe, @id[args.hrtimer], 0)); }
tracepoint:syscalls:sys_enter_* /comm == "timers" && probe != "tracepoint:syscalls:sys_enter_clock_gettime"/ { print((probe, 0, comm)); }
end { clear(@id); clear(@timers); }
"""


def test_timers(kernel: Kernel, root: Path, tool: Callable[[str], str], pyprobe: Callable[..., Result]) -> None:
    """What happens to timers of high resolution, between which system calls. Whom one that runs out interrupts is no matter of timers,
    and whether a program asks for the time by a system call, of its vDSO."""
    source = ROOT / "tests" / "programs" / "timers.c"
    subprocess.run([tool(COMPILERS[kernel.arch]), "-O1", "-w", "-static", "-o", str(root / "timers"), str(source)], check=True, timeout=60)

    def told(*options: str) -> list[str]:
        done = pyprobe("-q", "-e", OF_TIMERS, "-c", "/timers", "--root", str(root), *options, timeout=120)
        assert done.status == 0, done.err
        return done.out.splitlines()

    ours = told()
    assert ours == told("--kernel", kernel.name)
    functions = ("hrtimer_wakeup", "it_real_fn", "posix_timer_fn", "timerfd_tmrproc")
    assert all(any(f"hrtimer_expire_entry, {n}, {name}" in line for n in range(60) for line in ours) for name in functions)
    assert sum("hrtimer_cancel" in line for line in ours) > 10


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


def _comparable(text: str) -> list[tuple[str, list[str]]]:
    """Tables, their rows in no order, without what is chance: numbers of rows, ports, inodes and timers, and who has a reference."""
    tables = re.split(r"(?m)^(/proc/net/\w+)\n", text.strip("\n"))[1:]
    found = []
    for name, rows in zip(tables[::2], tables[1::2], strict=True):
        ports = re.sub(r":(?!1FA[0-9A-F]|00[0-9A-F]{2}\b)[0-9A-F]{4}\b", ":PORT", rows)
        plain = re.sub(r"(?m)^(?:\S{16}|\(____ptrval____\)): \d+|^ *\d+:(?= [0-9A-F]{8})", "ROW", ports)
        timed = re.sub(r"( +\d+ +\d+) (\d+) \d+ (?:\S{16}|\(____ptrval____\))", lambda m: f"{m[1]} {m[2] != '0'} REFERENCES", plain)
        numbered = re.sub(r"(ROW \d{8} \d{8} \d{4} \d\d) +(\d+)", lambda m: f"{m[1]} {m[2] != '0'}", timed)
        found.append((name, sorted(line.rstrip() for line in re.sub(r"used \d+", "used N", numbered).splitlines())))
    return found


def test_tables_of_sockets(kernel: Kernel, root: Path, tool: Callable[[str], str], pyprobe: Callable[..., Result]) -> None:
    source = ROOT / "tests" / "programs" / "proc_net.c"
    program = root / "proc_net"
    subprocess.run([tool(COMPILERS[kernel.arch]), "-O1", "-w", "-static", "-o", str(program), str(source)], check=True, timeout=60)

    def told(*options: str) -> list[tuple[str, list[str]]]:
        done = pyprobe("-q", "-e", "begin { }", "-c", "/proc_net", "--root", str(root), *options, timeout=120)
        assert done.status == 0, done.err
        return _comparable(done.out)

    ours = told()
    assert ours == told("--kernel", kernel.name)
    assert len(ours) == 11 and sum(len(rows) for _, rows in ours) > 30
