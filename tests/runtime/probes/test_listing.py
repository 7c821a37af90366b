"""What `-l` and `-lv` show."""

from __future__ import annotations

import pytest

from pyprobe.runtime.probes.world import MachineWorld


def names(query, **machine):
    return [one.name for one in MachineWorld(**machine).listing(query)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("kprobe:vfs_rea*", ["kprobe:vfs_read", "kprobe:vfs_readv"]),
        ("k:vmlinux:vfs_read", ["kprobe:vmlinux:vfs_read"]),
        ("k:nomod:vfs_read", []),
        ("kretprobe:vfs_read", ["kretprobe:vfs_read"]),
        ("fexit:vfs_rea*", ["fexit:vmlinux:vfs_read", "fexit:vmlinux:vfs_readv"]),
        ("rt:sys_*", ["rawtracepoint:vmlinux:sys_enter", "rawtracepoint:vmlinux:sys_exit"]),
        ("rt:nomod:*", []),
        ("self:*", ["self:signal:SIGUSR1"]),
        ("s:c*", ["software:context-switches:", "software:cpu-clock:", "software:cpu-migrations:", "software:cpu:", "software:cs:"]),
        ("vfs_read", ["fentry:vmlinux:vfs_read", "kprobe:vfs_read"]),
        ("*:vfs_read", ["fentry:vmlinux:vfs_read", "kprobe:vfs_read"]),
        ("t:sched:sched_process_e*", ["tracepoint:sched:sched_process_exec", "tracepoint:sched:sched_process_exit"]),
        ("tracepoint:sched:sched_switch,k:vfs_read", ["tracepoint:sched:sched_switch", "kprobe:vfs_read"]),
        ("interval:*", ["interval:hz:", "interval:ms:", "interval:s:", "interval:us:"]),
        ("p:m*", ["profile:ms:"]),
        ("begin", []),
        ("foo:bar", []),
        ("nosuchthing", []),
        ("u:/no/such/program:*", []),
    ],
)
def test_patterns(query, expected):
    assert names(query) == expected


def test_programs(compiled):
    program = compiled("calls.c")
    assert names(f"uprobe:{program}:r*c,uretprobe:{program}:leaf") == [f"uprobe:{program}:rec", f"uretprobe:{program}:leaf"]
    assert f"uprobe:{program}:main" in names(f"uprobe:{program}")
    assert names(f"*:{program}:leaf") == [f"uprobe:{program}:leaf"]


def test_arguments():
    (fexit,) = MachineWorld().listing("fexit:vfs_write")
    assert fexit.arguments == ["struct file * file", "char * buf", "size_t count", "loff_t * pos", "ssize_t retval"]
    (openat,) = MachineWorld().listing("t:syscalls:sys_enter_openat")
    assert openat.arguments == ["int __syscall_nr", "int dfd", "const char * filename", "int flags", "umode_t mode"]
    (read,) = MachineWorld().listing("kprobe:vfs_read")
    assert read.arguments == ["struct file * arg0", "char * arg1", "size_t arg2", "loff_t * arg3"]
    (switch,) = MachineWorld().listing("t:sched:sched_switch")
    assert switch.arguments[0] == "char prev_comm[16]"
    (raw,) = MachineWorld().listing("t:raw_syscalls:sys_enter")
    assert raw.arguments == ["long id", "unsigned long args[6]"]


def test_the_command_decides_the_architecture(compiled):
    assert MachineWorld([b"/bin/sh"]).arch == "x86_64"
    program = compiled("calls.c", "-static", arch="arm64")
    assert MachineWorld([str(program).encode()]).arch == "arm64"
    assert names("kprobe:__arm64_sys_read", command=[str(program).encode()]) == ["kprobe:__arm64_sys_read"]
    assert MachineWorld([b"/no/such/program"]).arch == "x86_64"


def test_everything_can_be_listed():
    everything = names("*")
    assert "kprobe:vfs_read" in everything and "tracepoint:syscalls:sys_exit_close" in everything
    assert everything == sorted(everything)


def test_symbols_and_registers():
    world = MachineWorld()
    assert world.kernel_symbol("vfs_read") > 1 << 63
    assert world.kernel_symbol("nosuch") is None
    assert {"di", "ip", "orig_rax", "flags"} <= world.registers()
    assert {"r0", "regs[3]", "sp", "pc", "pstate"} <= MachineWorld(arch="arm64").registers()
