"""kprobe, kretprobe and tracepoint on the emulated kernel while real commands run in it."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest

from pyprobe.lang.attachpoint import PointError
from pyprobe.lang.typesys import INT32, INT64, UINT64, Array, Pointer, String
from pyprobe.runtime.probes.world import MachineWorld
from tests.runtime.probes.conftest import point


def test_kprobe_and_kretprobe(trace):
    run = trace(
        ["/bin/cat", "/etc/hostname"],
        ("kprobe:vfs_read", ("arg", 2), "comm", "func", ("arg", 5), ("reg", "dx")),
        ("kretprobe:vfs_read", "retval", "func"),
    )
    address = run.machine.functions.addresses["vfs_read"]
    reads = [e for e in run.events if e[0] == "kprobe:vfs_read"]
    results = [e[1] for e in run.events if e[0] == "kretprobe:vfs_read"]
    assert len(reads) == len(results) > 1
    assert all(e[2:] == (b"cat", address, 0, e[1]) for e in reads)
    assert len(run.out) in results and results[-1] == 0


def test_failures_are_negative_numbers(trace):
    run = trace(["/bin/cat", "/no/such/file"], ("kretprobe:do_sys_openat2", "retval"))
    assert (1 << 64) - 2 in [e[1] for e in run.events]  # -ENOENT


def test_historic_names_show_what_was_written(trace):
    run = trace(["/bin/sh", "-c", "/bin/true; /bin/true"], ("kprobe:do_fork", "probe", "func"))
    assert [e[1] for e in run.events] == [b"kprobe:do_fork"] * len(run.events) and run.events
    assert {run.machine.functions.symbol(e[2]) for e in run.events} == {("kernel_clone", 0)}


def test_kernel_stacks(trace):
    run = trace(["/bin/cat", "/etc/hostname"], ("kprobe:vfs_read", ("kstack", "bpftrace", 127)))
    names = [run.machine.functions.symbol(a)[0] for a in run.events[-1][1][1:]]
    assert names[0] == "vfs_read"
    assert "__x64_sys_read" in names and names[-1] == "entry_SYSCALL_64_after_hwframe"


def test_tracepoints_of_system_calls(trace):
    run = trace(
        ["/bin/cat", "/etc/hostname"],
        ("tracepoint:syscalls:sys_enter_openat", ("args", "filename"), ("args", "dfd"), "pid"),
        ("tracepoint:syscalls:sys_exit_openat", ("args", "ret")),
        ("tracepoint:raw_syscalls:sys_enter", ("args", "id"), ("args", "args")),
    )
    opened = [e for e in run.events if e[0].endswith("sys_enter_openat")]
    assert opened and all(e[2] == 0xFFFFFF9C and e[3] == 1000 for e in opened)
    assert [e[1] for e in run.events if e[0].endswith("sys_exit_openat")][-1] >= 3
    raw = [e for e in run.events if e[0].endswith(":sys_enter")]
    assert all(len(e[2]) == 48 for e in raw)
    assert opened[0][1] in [struct.unpack("<6Q", e[2])[1] for e in raw if e[1] == 257]


def test_tracepoints_of_the_scheduler(trace):
    run = trace(
        ["/bin/sh", "-c", "/bin/true; /bin/echo done"],
        ("tracepoint:sched:sched_process_fork", ("args", "child_pid")),
        ("tracepoint:sched:sched_process_exec", ("args", "filename"), ("args", "pid")),
        ("tracepoint:sched:sched_process_exit", ("args", "comm"), "pid"),
    )
    assert [e[1] for e in run.events if e[0].endswith("exec")][:2] == [b"/bin/sh", b"/bin/true"]
    forked = [e[1] for e in run.events if e[0].endswith("fork")]
    ended = [e[2] for e in run.events if e[0].endswith("exit")]
    assert sorted(ended) == [1000, *forked]


def test_switching_is_in_the_name_of_the_task_that_leaves(trace):
    run = trace(
        ["/bin/sh", "-c", "/bin/true; /bin/true"],
        ("tracepoint:sched:sched_switch", "pid", "comm", ("args", "prev_pid"), ("args", "prev_comm"), ("args", "next_comm")),
    )
    assert run.events[0][1:5] == (0, b"swapper/0", 0, b"swapper/0")
    assert all(pid == prev and comm == shown for _, pid, comm, prev, shown, _ in run.events)
    assert b"true" in {e[4] for e in run.events}


def test_wildcards_are_sorted(trace):
    world = MachineWorld()
    names = [p.name for p in world.matches(point("kprobe:vfs_*"))]
    assert names == sorted(names) and "kprobe:vfs_read" in names
    assert next(p.name for p in world.matches(point("kprobe:v*:vfs_rea*"))) == "kprobe:vmlinux:vfs_read"
    assert [p.name for p in world.matches(point("kprobe:vmlinux:vfs_read"))] == ["kprobe:vmlinux:vfs_read"]
    assert list(world.matches(point("kprobe:nomodule*:vfs_read"))) == []
    assert list(world.matches(point("kprobe:[v]fs_*"))) == []
    assert [p.name for p in world.matches(point("tracepoint:sched:sched_process_*"))] == [
        f"tracepoint:sched:sched_process_{e}" for e in ("exec", "exit", "fork", "free", "wait")
    ]
    assert list(world.matches(point("tracepoint:nosuch:thing"))) == []


def test_types_of_arguments():
    args = MachineWorld().args(point("tracepoint:syscalls:sys_enter_openat"))
    assert [n for n, _ in args.fields] == ["__syscall_nr", "dfd", "filename", "flags", "mode"]
    assert args.field("__syscall_nr") == INT32 and args.field("dfd") == UINT64
    filename = args.field("filename")
    assert isinstance(filename, Pointer) and filename.space == "user" and filename.to.size == 1
    assert MachineWorld().args(point("tracepoint:syscalls:sys_exit_openat")).field("ret") == INT64
    assert MachineWorld().args(point("tracepoint:raw_syscalls:sys_enter")).field("args") == Array(UINT64, 6)
    fields = MachineWorld().args(point("tracepoint:sched:sched_switch"))
    assert fields.field("prev_comm") == String(16) and fields.field("prev_pid") == INT32


@pytest.mark.parametrize(
    ("made", "message", "hint"),
    [
        (point("kprobe:vfs_raed"), "No matches for kprobe vfs_raed.", "Did you mean vfs_read"),
        (point("kretprobe:x:vfs_read"), "specified module x in probe kretprobe:x:vfs_read is not loaded.", "--kernel"),
        (point("kretprobe:vfs_read+4"), "Offset not allowed", ""),
        (point("kprobe:vfs_read+4"), "The functions of the emulated kernel have no instructions to probe.", "--kernel"),
        (point("fentry:vfs_raed"), "No matches for fentry vfs_raed.", "--kernel"),
    ],
)
def test_errors(made, message, hint):
    with pytest.raises(PointError) as raised:
        list(MachineWorld().matches(made))
    assert raised.value.message == message
    assert hint in " ".join(raised.value.hints)
    assert message.startswith("No matches") <= ("--kernel" in " ".join(raised.value.hints))


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_descriptions_agree_with_the_machine(arch):
    """What is listed without a machine is what a machine has."""
    from pyprobe.runtime.user.machine import UserMachine

    machine = UserMachine(native=False, arch=arch)
    described = MachineWorld(arch=arch).machine
    assert list(described.functions) == [f.name for f in machine.functions]
    assert dict(described.symbols) == machine.functions.addresses
    assert list(described.tracepoints) == [(t.category, t.name) for t in machine.tracepoints]


def test_historic_names_lead_to_functions():
    world = MachineWorld()
    for name, today in {
        "do_fork": "kernel_clone",
        "_do_fork": "kernel_clone",
        "sys_read": "__x64_sys_read",
        "do_execve": "do_execveat_common",
    }.items():
        (found,) = world.matches(point(f"kprobe:{name}"))
        assert (found.function, found.written, found.name) == (today, name, f"kprobe:{name}")


def test_a_fresh_process_lists_all_functions():
    """The tables are complete whatever has been imported before."""
    code = "from pyprobe.runtime.probes.world import MachineWorld; print(*MachineWorld().machine.functions)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == list(MachineWorld().machine.functions)
    assert {"do_exit", "kernel_clone", "vfs_read"} <= set(done.stdout.split())
