"""Kprobe events of ours against those of the kernel itself: the same definitions, the same command, the same lines of trace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pyprobe
from pyprobe.runtime.system.kernels.store import Kernel
from tests.runtime.system.conftest import with_second_instructions

SHELL = """mount -t tracefs t /sys/kernel/tracing; cd /sys/kernel/tracing; cp /etc/events kprobe_events; head -n 9 error_log >&2
[ -s /etc/events ] && cat /etc/filter > events/kprobes/write/filter && echo 1 > events/kprobes/enable
mkdir /tmp/d; cat /etc/lines > /tmp/d/file; ls /tmp/d > /tmp/list; wc -c /tmp/d/file > /tmp/wc; mv /tmp/d/file /tmp/d/g
rm /tmp/d/g; rmdir /tmp/d
[ -s /etc/events ] && echo 0 > events/kprobes/enable
head -n 99999 trace"""
TASKS = ("mkdir", "cat", "ls", "wc", "mv", "rm", "rmdir")
EVENTS = """
p:open do_sys_openat2 dfd=$arg1:s32 name=+0($arg2):ustring flags=+0($arg3):x64 mode=+8($arg3):x16
p:read vfs_read count=$arg3:u64 comm=$comm
r:read_back vfs_read ret=$retval:s64
p:write vfs_write count=$arg3 text=+0($arg2):ustring
r:write_back vfs_write $retval
p:mkdir do_mkdirat dfd=$arg1:s32 mode=$arg3:x16
r:mkdir_back do_mkdirat $retval:s32
p:rmdir do_rmdir dfd=$arg1:s32
p:unlink do_unlinkat dfd=$arg1:s32 comm=$comm
r:unlink_back do_unlinkat ret=$retval:s32
p:rename do_renameat2 old=$arg1:s32 new=$arg3:s32 flags=$arg5:u32
p:exit do_exit code=$arg1:u32 stack=%sp:b3@0/64
p:execve do_execveat_common.isra.0 fd=$arg1:s32 comm=$comm
r:exec begin_new_exec $retval:s32
p:close __ARCH_sys_close regs=+0($arg1):x8
r:close_back __ARCH_sys_close $retval:s32
p:dup ksys_dup3 old=$arg1:u32 new=$arg2:u32 flags=$arg3
p:ioctl __ARCH_sys_ioctl regs=+0($arg1):x8
r:stat vfs_fstatat $retval:s32
p:fork_read ksys_read fd=$arg1:u8 size=$arg3:x32 banner=@linux_banner:string
r:enough __vm_enough_memory $retval:s32
p:inside vfs_read+SECOND sp=%sp:b3@0/64
p:inside_too ksys_write+SECOND flag=\\\\1:u8
"""
FILTER = '(count > 5 && text ~ "*file*") || comm == "ls"'
LINE = re.compile(r"\s*(\S+)-(\d+) +\[000\] \S+ +[\d.]+: (.*)")


def definitions(kernel: Kernel) -> list[str]:
    text = with_second_instructions(kernel, EVENTS).replace("\\\\", "\\")
    text = text.replace("__ARCH_sys", "__x64_sys" if kernel.arch == "x86_64" else "__arm64_sys")
    known = kernel.arch == "x86_64"  # cloud-arm64 has no symbols of data
    return [line if known else line.replace(" banner=@linux_banner:string", "") for line in text.strip().splitlines()]


def shown(trace: str) -> str:
    """The hits of the commands, without what tells one run from another. The kernel names each task as it was called last."""
    lines = [match.groups() for match in map(LINE.fullmatch, trace.splitlines()) if match]
    names = {pid: name for name, pid, _ in lines}
    return "\n".join(f"{names[pid]} {text}" for _, pid, text in lines if names[pid] in TASKS)


def test_same_hits_arguments_and_results_in_the_same_order(
    kernel: Kernel, root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    events = definitions(kernel)
    (root / "etc/lines").write_text("one\ntwo\n" * 100)
    (root / "etc/events").write_text("")
    (root / "etc/filter").write_text(FILTER)
    with pyprobe.Machine(["sh", "-c", SHELL], kernel=kernel.name, root=str(root)) as machine:
        machine.kprobe_events.write("\n".join((*events, f"filter:write {FILTER}")))
        assert machine.run() == 0
        ours = shown("\n".join(machine.trace))
        hits = {e.event: e.nhits for e in machine.kprobe_events.events.values()}
    capfd.readouterr()
    (root / "etc/events").write_text("\n".join(events) + "\n")
    with pyprobe.Machine(["sh", "-c", SHELL], kernel=kernel.name, root=str(root)) as machine:
        machine.run()
    out, err = capfd.readouterr()
    theirs = shown(out)
    assert len(events) >= 20 and all(hits.values()), (hits, err)
    assert ours == theirs, err
