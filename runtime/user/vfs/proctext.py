"""The texts of /proc files, made from the machine's state; formats as proc(5) and fs/proc/{array,base,task_mmu}.c have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.machine.memory import MemoryFault, R, W, X
from pyprobe.runtime.user.sched import MAX_RT_PRIO, Scheduling
from pyprobe.runtime.user.syscalls.time import process_cpu_time
from pyprobe.runtime.user.vfs import procipc, procnet
from pyprobe.runtime.user.vfs.abi import guest_open_flags, major, minor
from pyprobe.runtime.user.vfs.cpuinfo import cpuinfo
from pyprobe.runtime.user.vfs.sysctl import RELEASE, SYSCTL, VERSION
from pyprobe.runtime.user.words import NANOSECONDS

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import Vma
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.signals import SigInfo
    from pyprobe.runtime.user.task import Process, Task
    from pyprobe.runtime.user.vfs.openfile import OpenFile

USER_HZ: Final = 100
PAGE: Final = 4096
_INFINITY: Final = (1 << 64) - 1


def _ticks(ns: int) -> int:
    return ns * USER_HZ // NANOSECONDS


# the machine


def uptime(k: Kernel) -> bytes:
    since_boot, idle = (divmod(_ticks(ns), 100) for ns in (k.clock.now(), k.scheduler.idle_time))
    return b"%d.%02d %d.%02d\n" % (*since_boot, *idle)


def loadavg(k: Kernel) -> bytes:
    return b"0.00 0.00 0.00 1/%d %d\n" % (len(k.tasks), max(k.tasks, default=1))


def meminfo(k: Kernel) -> bytes:
    total, free = k.memory.limit >> 10, k.memory.limit - k.memory.used >> 10  # the same that sysinfo(2) tells
    rows = (
        (b"MemTotal", total), (b"MemFree", free), (b"MemAvailable", free), (b"Buffers", 0), (b"Cached", 0),
        (b"SwapCached", 0), (b"Active", 0), (b"Inactive", 0), (b"SwapTotal", 0), (b"SwapFree", 0), (b"Dirty", 0), (b"Shmem", 0),
        (b"Slab", 0), (b"CommitLimit", total), (b"Committed_AS", 0), (b"VmallocTotal", 34359738367), (b"Hugepagesize", 2048),
    )  # fmt: skip
    return b"".join(b"%-16s%8d kB\n" % (name + b":", value) for name, value in rows)


def machine_stat(k: Kernel) -> bytes:
    idle = k.scheduler.idle_time
    line = b"%d 0 0 %d 0 0 0 0 0 0\n" % (_ticks(k.clock.now() - idle), _ticks(idle))
    return (
        b"cpu  " + line + b"cpu0 " + line + b"intr 0\nctxt 0\nbtime %d\nprocesses %d\nprocs_running 1\nprocs_blocked 0\n"
        % (k.clock.epoch_ns // NANOSECONDS, len(k.processes))
    )


def version(k: Kernel) -> bytes:
    return b"Linux version " + RELEASE + b" (pyprobe@pyprobe) (emulated) " + VERSION + b"\n"


def _fixed(text: bytes) -> Callable[[Kernel], bytes]:
    return lambda k: text


def random_uuid(k: Kernel) -> bytes:
    """A version 4 UUID from the machine's generator."""
    digits = k.rng.randbytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{'89ab'[int(digits[16], 16) & 3]}{digits[17:20]}-{digits[20:]}\n".encode()


MACHINE: Final[dict[bytes, Callable[[Kernel], bytes]]] = {
    b"uptime": uptime,
    b"loadavg": loadavg,
    b"meminfo": meminfo,
    b"cpuinfo": cpuinfo,
    b"stat": machine_stat,
    b"version": version,
    b"cmdline": _fixed(b"\n"),
    b"filesystems": _fixed(b"nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tpipefs\nnodev\tsockfs\nnodev\toverlay\n"),
    b"devices": _fixed(b"Character devices:\n  1 mem\n  5 /dev/tty\n136 pts\n\nBlock devices:\n"),
    b"sysvipc/shm": procipc.shm,
    b"sysvipc/sem": procipc.sem,
    b"sysvipc/msg": procipc.msg,
    b"vmstat": _fixed(b"nr_free_pages 524288\npgfault 0\npgmajfault 0\n"),
    b"locks": _fixed(b""),
    b"interrupts": _fixed(b"           CPU0\n"),
    b"consoles": _fixed(b""),
    b"misc": _fixed(b""),
    b"crypto": _fixed(b""),
    b"kallsyms": _fixed(b""),
    b"swaps": _fixed(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    b"partitions": _fixed(b"major minor  #blocks  name\n\n"),
    b"diskstats": _fixed(b""),
    b"modules": _fixed(b""),
    b"cgroups": _fixed(b"#subsys_name\thierarchy\tnum_cgroups\tenabled\n"),
    b"sys/kernel/random/uuid": random_uuid,
    **{b"sys/" + name: _fixed(value + b"\n") for name, value in SYSCTL.items()},
}

NET: Final[dict[bytes, Callable[[Kernel], bytes]]] = {
    b"dev": _fixed(
        b"Inter-|   Receive                                                |  Transmit\n"
        b" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
        b"    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n"
    ),
    b"route": _fixed(b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT".ljust(127) + b"\n"),
    b"arp": _fixed(b"IP address       HW type     Flags       HW address            Mask     Device\n"),
    b"if_inet6": _fixed(b"00000000000000000000000000000001 01 80 10 80       lo\n"),
    b"unix": procnet.unix,
    b"tcp": procnet.tcp,
    b"tcp6": procnet.tcp6,
    b"udp": procnet.udp,
    b"udp6": procnet.udp6,
    b"raw": procnet.raw,
    b"snmp": procnet.snmp,
    b"sockstat": procnet.sockstat,
    b"sockstat6": procnet.sockstat6,
}

# one process


def _leader(process: Process) -> Task | None:
    return process.leader or next(iter(process.threads.values()), None)


def _thread(process: Process, tid: int) -> Task | None:
    """The thread of that id, for files below task/; else the first."""
    return process.threads.get(tid) or _leader(process)


def comm(k: Kernel, process: Process, tid: int = 0) -> bytes:
    task = _thread(process, tid)
    return (task.comm if task is not None else k.last_words.get(process.pid, (b"", 0))[0]) + b"\n"


def _state(k: Kernel, process: Process, task: Task | None) -> bytes:
    if task is None:
        return b"Z"
    if task.held:
        return b"T" if task.tracing is None else b"t"
    return b"S" if task.parked is not None else b"R"


_STATE_NAMES: Final = {b"R": b"R (running)", b"S": b"S (sleeping)", b"T": b"T (stopped)", b"t": b"t (tracing stop)", b"Z": b"Z (zombie)"}


def _memory(process: Process) -> tuple[int, int]:
    """(virtual size, resident size) in bytes."""
    if not process.alive:
        return 0, 0
    space = process.space
    return sum(vma.end - vma.start for vma in space.vmas()), len(space.pages) * PAGE


def stat(k: Kernel, process: Process, tid: int = 0) -> bytes:
    size, resident = _memory(process)
    start, end = process.argument_area
    ticks = _ticks(process_cpu_time(k, process))
    task, terminal = _thread(process, tid), process.ctty
    sched = task.sched if task is not None else Scheduling()
    values = [
        process.ppid, process.pgid, process.sid, terminal.number if terminal is not None else 0,
        terminal.foreground if terminal is not None else -1, 0, 0, 0, 0, 0, ticks, 0, _ticks(process.children_cpu_time), 0,
        sched.prio - MAX_RT_PRIO, sched.nice, len(process.threads), 0,
        _ticks(process.start_time), size, resident // PAGE, _INFINITY, 0, 0, 0, 0, 0,
        0, task.blocked & 0x7FFFFFFF if task is not None else 0, 0, 0, 0, 0, 0,
        process.exit_signal, 0, sched.rt_priority, sched.policy, 0, 0, 0, 0, 0, 0, start, end, 0, 0,
        process.exit_status or 0,
    ]  # fmt: skip
    text = " ".join(map(str, values)).encode()
    return b"%d (%s) %s %s\n" % (tid or process.pid, comm(k, process, tid)[:-1], _state(k, process, task), text)


def statm(k: Kernel, process: Process) -> bytes:
    size, resident = _memory(process)
    return b"%d %d 0 0 0 %d 0\n" % (size // PAGE, resident // PAGE, size // PAGE)


def _part(process: Process, name: bytes) -> int:
    """Bytes of the mappings of this name."""
    return sum(vma.end - vma.start for vma in process.space.vmas() if vma.name == name)


def _set(queue: Iterable[SigInfo]) -> int:
    return sum({1 << info.signo - 1 for info in queue})


def _tracer(task: Task | None) -> int:
    if task is None:
        return 0
    return task.tracing.tracer.pid if task.tracing is not None else int(task.traced_by_init)


def status(k: Kernel, process: Process, tid: int = 0) -> bytes:
    size, resident = _memory(process)
    task = _thread(process, tid)
    state = _STATE_NAMES[_state(k, process, task)]
    rows = [b"Name:\t" + comm(k, process, tid)[:-1], b"Umask:\t%04o" % (process.fs.umask if process.alive else 0), b"State:\t" + state]
    rows += [b"Tgid:\t%d" % process.pid, b"Ngid:\t0", b"Pid:\t%d" % (tid or process.pid), b"PPid:\t%d" % process.ppid]
    rows.append(b"TracerPid:\t%d" % _tracer(task))
    if task is not None:
        cred = task.cred
        rows.append(b"Uid:\t%d\t%d\t%d\t%d" % (cred.uid, cred.euid, cred.suid, cred.fsuid))
        rows.append(b"Gid:\t%d\t%d\t%d\t%d" % (cred.gid, cred.egid, cred.sgid, cred.fsgid))
        rows.append(b"FDSize:\t64")
        rows.append(b"Groups:\t" + b" ".join(b"%d" % group for group in cred.groups) + b" ")
    if process.alive:
        stack, code = _part(process, b"[stack]"), sum(v.end - v.start for v in process.space.vmas() if v.path == process.exe and v.prot & X)
        amounts = (
            (b"VmPeak", size), (b"VmSize", size), (b"VmLck", 0), (b"VmPin", 0), (b"VmHWM", resident), (b"VmRSS", resident),
            (b"RssAnon", resident), (b"RssFile", 0), (b"RssShmem", 0), (b"VmData", size), (b"VmStk", stack), (b"VmExe", code),
            (b"VmLib", 0), (b"VmPTE", len(process.space.pages) * 8), (b"VmSwap", 0), (b"HugetlbPages", 0),
        )  # fmt: skip
        rows += [b"%s:\t%8d kB" % (name, amount >> 10) for name, amount in amounts]
    rows.append(b"Threads:\t%d" % max(1, len(process.threads)))
    rows.append(b"SigQ:\t%d/%d" % (len(process.pending), process.limits[11][0]))
    if task is not None:
        ignored = sum(1 << number - 1 for number, action in process.actions.items() if action.handler == 1)
        caught = sum(1 << number - 1 for number, action in process.actions.items() if action.handler > 1)
        sets = ((b"SigPnd", _set(task.pending)), (b"ShdPnd", _set(process.pending)), (b"SigBlk", task.blocked),
                (b"SigIgn", ignored), (b"SigCgt", caught),
                (b"CapInh", cred.cap_inheritable), (b"CapPrm", cred.cap_permitted), (b"CapEff", cred.cap_effective),
                (b"CapBnd", cred.cap_bounding), (b"CapAmb", cred.cap_ambient))  # fmt: skip
        rows += [b"%s:\t%016x" % one for one in sets]
    filtered = task is not None and task.seccomp is not None
    rows += [b"NoNewPrivs:\t%d" % process.no_new_privs, b"Seccomp:\t%d" % (2 * filtered), b"Seccomp_filters:\t%d" % filtered]
    rows += [b"Cpus_allowed:\t1", b"Cpus_allowed_list:\t0"]
    rows += [b"Mems_allowed:\t1", b"Mems_allowed_list:\t0", b"voluntary_ctxt_switches:\t0", b"nonvoluntary_ctxt_switches:\t0"]
    return b"\n".join(rows) + b"\n"


def _permissions(vma: Vma) -> bytes:
    prot = vma.prot
    return (b"r" if prot & R else b"-") + (b"w" if prot & W else b"-") + (b"x" if prot & X else b"-") + (b"s" if vma.shared else b"p")


def maps(k: Kernel, process: Process) -> bytes:
    if not process.alive:
        return b""
    rows = []
    for vma in process.space.vmas():
        dev, ino, offset = 0, 0, 0
        if vma.path:
            offset = vma.file_offset
            dev, ino = k.vfs.identity(vma.path)
        row = b"%08x-%08x %s %08x %02x:%02x %d " % (vma.start, vma.end, _permissions(vma), offset, major(dev), minor(dev), ino)
        rows.append((row.ljust(73) + vma.name if vma.name else row) + b"\n")
    return b"".join(rows)


def cmdline(k: Kernel, process: Process) -> bytes:
    start, end = process.argument_area
    if process.alive and end > start:
        try:
            return process.space.read(start, end - start)
        except MemoryFault:  # the program may have unmapped its stack
            return b""
    return b""


def environ(k: Kernel, process: Process) -> bytes:
    return b"".join(entry + b"\0" for entry in process.environ) if process.alive else b""


_LIMIT_NAMES: Final = (
    ("Max cpu time", "seconds"), ("Max file size", "bytes"), ("Max data size", "bytes"), ("Max stack size", "bytes"),
    ("Max core file size", "bytes"), ("Max resident set", "bytes"), ("Max processes", "processes"), ("Max open files", "files"),
    ("Max locked memory", "bytes"), ("Max address space", "bytes"), ("Max file locks", "locks"), ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"), ("Max nice priority", ""), ("Max realtime priority", ""), ("Max realtime timeout", "us"),
)  # fmt: skip


def limits(k: Kernel, process: Process) -> bytes:
    def show(value: int) -> str:
        return "unlimited" if value == _INFINITY else str(value)

    rows = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}\n"]
    for number, (name, unit) in enumerate(_LIMIT_NAMES):
        soft, hard = process.limits[number]
        rows.append(f"{name:<25} {show(soft):<20} {show(hard):<20} {unit:<10}\n")
    return "".join(rows).encode()


def mounts(k: Kernel, process: Process) -> bytes:
    return (
        b"overlay / overlay rw,relatime 0 0\ndevtmpfs /dev devtmpfs rw,nosuid 0 0\nproc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n"
        b"sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime 0 0\n"
    )


def mountinfo(k: Kernel, process: Process) -> bytes:
    return (
        b"22 1 0:30 / / rw,relatime - overlay overlay rw\n23 22 0:5 / /dev rw,nosuid - devtmpfs devtmpfs rw\n"
        b"24 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n"
        b"25 22 0:20 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw\n"
    )


def auxv(k: Kernel, process: Process) -> bytes:
    return process.auxv if process.alive else b""


def personality(k: Kernel, process: Process) -> bytes:
    return b"%08x\n" % process.personality


def _text(text: bytes) -> Callable[[Kernel, Process], bytes]:
    return lambda k, process: text


PROCESS: Final[dict[bytes, Callable[[Kernel, Process], bytes]]] = {
    b"auxv": auxv,
    b"cgroup": _text(b"0::/\n"),
    b"cmdline": cmdline,
    b"comm": comm,
    b"coredump_filter": _text(b"00000033\n"),
    b"environ": environ,
    b"io": _text(b"rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"),
    b"limits": limits,
    b"loginuid": _text(b"4294967295"),
    b"maps": maps,
    b"mountinfo": mountinfo,
    b"mounts": mounts,
    b"oom_score": _text(b"0\n"),
    b"oom_score_adj": lambda k, process: b"%d\n" % process.oom_score_adj,
    b"personality": personality,
    b"schedstat": lambda k, process: b"%d 0 1\n" % process.cpu_time,
    b"sessionid": _text(b"4294967295"),
    b"setgroups": _text(b"allow\n"),
    b"stat": stat,
    b"statm": statm,
    b"status": status,
    b"timerslack_ns": lambda k, process: b"%d\n" % process.timer_slack,
    b"uid_map": _text(b"         0          0 4294967295\n"),
    b"gid_map": _text(b"         0          0 4294967295\n"),
    b"wchan": _text(b"0"),
}


THREAD: Final[dict[bytes, Callable[[Kernel, Process, int], bytes]]] = {b"comm": comm, b"stat": stat, b"status": status}
"""Those that differ from thread to thread."""


def fdinfo(file: OpenFile, arch: str) -> bytes:
    """/proc/PID/fdinfo/N."""
    flags = guest_open_flags(arch, file.flags)
    return b"pos:\t%d\nflags:\t0%o\nmnt_id:\t22\nino:\t%d\n" % (file.position.value, flags, file.inode.ino)
