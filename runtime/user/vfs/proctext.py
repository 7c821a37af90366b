"""The texts of /proc files, made from the machine's state; formats as proc(5) and fs/proc/{array,base,task_mmu}.c have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.machine.memory import MemoryFault, R, W, X
from pyprobe.runtime.user.vfs.abi import guest_open_flags, major, minor
from pyprobe.runtime.user.words import NANOSECONDS

if TYPE_CHECKING:
    from pyprobe.runtime.machine.memory import Vma
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task
    from pyprobe.runtime.user.vfs.openfile import OpenFile

USER_HZ: Final = 100
PAGE: Final = 4096
OSRELEASE: Final = b"6.18.0"
VERSION: Final = b"#1 SMP PREEMPT_DYNAMIC"
HOSTNAME: Final = b"pyprobe"
_INFINITY: Final = (1 << 64) - 1
_ALL_CAPABILITIES: Final = (1 << 41) - 1  # up to CAP_CHECKPOINT_RESTORE


def _ticks(ns: int) -> int:
    return ns * USER_HZ // NANOSECONDS


# the machine


def uptime(k: Kernel) -> bytes:
    now = k.clock.now()
    return b"%d.%02d 0.00\n" % (now // NANOSECONDS, now % NANOSECONDS // 10_000_000)


def loadavg(k: Kernel) -> bytes:
    return b"0.00 0.00 0.00 1/%d %d\n" % (len(k.tasks), max(k.tasks, default=1))


def meminfo(k: Kernel) -> bytes:
    total = 4 << 20  # kB: fixed, so that it does not tell about the host
    rows = (
        (b"MemTotal", total), (b"MemFree", total // 2), (b"MemAvailable", total // 4 * 3), (b"Buffers", 0), (b"Cached", total // 4),
        (b"SwapCached", 0), (b"Active", 0), (b"Inactive", 0), (b"SwapTotal", 0), (b"SwapFree", 0), (b"Dirty", 0), (b"Shmem", 0),
        (b"Slab", 0), (b"CommitLimit", total), (b"Committed_AS", 0), (b"VmallocTotal", 34359738367), (b"Hugepagesize", 2048),
    )  # fmt: skip
    return b"".join(b"%-16s%8d kB\n" % (name + b":", value) for name, value in rows)


_FLAGS_X86: Final = (
    b"fpu de pse tsc msr pae mce cx8 apic sep pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm pni ssse3 cx16"
    b" sse4_1 sse4_2 popcnt"
)


def cpuinfo(k: Kernel) -> bytes:
    if k.arch == "arm64":
        return (
            b"processor\t: 0\nBogoMIPS\t: 100.00\nFeatures\t: fp asimd aes pmull sha1 sha2 crc32 atomics\nCPU implementer\t: 0x00\n"
            b"CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0x051\nCPU revision\t: 0\n\n"
        )
    return (
        b"processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 60\nmodel name\t: pyprobe emulated CPU\nstepping\t: 1\n"
        b"cpu MHz\t\t: 1000.000\ncache size\t: 4096 KB\nphysical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\n"
        b"fpu\t\t: yes\nwp\t\t: yes\nflags\t\t: " + _FLAGS_X86 + b"\nbogomips\t: 2000.00\nclflush size\t: 64\n"
        b"address sizes\t: 46 bits physical, 48 bits virtual\n\n"
    )


def machine_stat(k: Kernel) -> bytes:
    ticks = _ticks(k.clock.now())
    line = b"%d 0 0 0 0 0 0 0 0 0\n" % ticks
    return (
        b"cpu  " + line + b"cpu0 " + line + b"intr 0\nctxt 0\nbtime %d\nprocesses %d\nprocs_running 1\nprocs_blocked 0\n"
        % (k.clock.epoch_ns // NANOSECONDS, len(k.processes))
    )


def version(k: Kernel) -> bytes:
    return b"Linux version " + OSRELEASE + b" (pyprobe@pyprobe) (emulated) " + VERSION + b"\n"


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
    b"swaps": _fixed(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    b"partitions": _fixed(b"major minor  #blocks  name\n\n"),
    b"diskstats": _fixed(b""),
    b"modules": _fixed(b""),
    b"cgroups": _fixed(b"#subsys_name\thierarchy\tnum_cgroups\tenabled\n"),
    b"sys/kernel/ostype": _fixed(b"Linux\n"),
    b"sys/kernel/osrelease": _fixed(OSRELEASE + b"\n"),
    b"sys/kernel/version": _fixed(VERSION + b"\n"),
    b"sys/kernel/hostname": _fixed(HOSTNAME + b"\n"),
    b"sys/kernel/domainname": _fixed(b"(none)\n"),
    b"sys/kernel/pid_max": _fixed(b"32768\n"),
    b"sys/kernel/threads-max": _fixed(b"4096\n"),
    b"sys/kernel/ngroups_max": _fixed(b"65536\n"),
    b"sys/kernel/cap_last_cap": _fixed(b"40\n"),
    b"sys/kernel/core_pattern": _fixed(b"core\n"),
    b"sys/kernel/randomize_va_space": _fixed(b"0\n"),
    b"sys/kernel/perf_event_paranoid": _fixed(b"2\n"),
    b"sys/kernel/random/boot_id": _fixed(b"70797072-6f62-4000-8000-000000000001\n"),
    b"sys/kernel/random/uuid": random_uuid,
    b"sys/kernel/random/entropy_avail": _fixed(b"256\n"),
    b"sys/kernel/random/poolsize": _fixed(b"256\n"),
    b"sys/vm/overcommit_memory": _fixed(b"0\n"),
    b"sys/vm/max_map_count": _fixed(b"65530\n"),
    b"sys/vm/mmap_min_addr": _fixed(b"65536\n"),
    b"sys/vm/swappiness": _fixed(b"60\n"),
    b"sys/fs/file-max": _fixed(b"9223372036854775807\n"),
    b"sys/fs/nr_open": _fixed(b"1048576\n"),
    b"sys/fs/pipe-max-size": _fixed(b"1048576\n"),
    b"sys/net/core/somaxconn": _fixed(b"4096\n"),
    b"sys/net/ipv4/ip_local_port_range": _fixed(b"32768\t60999\n"),
    b"sys/net/ipv6/conf/all/disable_ipv6": _fixed(b"0\n"),
}

NET: Final = {
    b"dev": b"Inter-|   Receive                                                |  Transmit\n"
    b" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
    b"    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n",
    b"route": b"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
    b"if_inet6": b"00000000000000000000000000000001 01 80 10 80       lo\n",
    b"unix": b"Num       RefCount Protocol Flags    Type St Inode Path\n",
    b"tcp": b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
}

# one process


def _leader(process: Process) -> Task | None:
    return process.leader or next(iter(process.threads.values()), None)


def comm(k: Kernel, process: Process) -> bytes:
    task = _leader(process)
    return (task.comm if task is not None else k.last_comm.get(process.pid, b"")) + b"\n"


def _state(k: Kernel, process: Process) -> bytes:
    if not process.alive:
        return b"Z"
    if process.stopped:
        return b"T"
    return b"R" if k.current is not None and k.current.process is process else b"S"


_STATE_NAMES: Final = {b"R": b"R (running)", b"S": b"S (sleeping)", b"T": b"T (stopped)", b"Z": b"Z (zombie)"}


def _memory(process: Process) -> tuple[int, int]:
    """(virtual size, resident size) in bytes."""
    if not process.alive:
        return 0, 0
    space = process.space
    return sum(vma.end - vma.start for vma in space.vmas()), len(space.pages) * PAGE


def stat(k: Kernel, process: Process) -> bytes:
    size, resident = _memory(process)
    start, end = process.argument_area
    ticks = _ticks(process.cpu_time)
    task = _leader(process)
    values = [
        process.ppid, process.pgid, process.sid, 0, -1, 0, 0, 0, 0, 0, ticks, 0, _ticks(process.children_cpu_time), 0, 20 + process.nice,
        process.nice, len(process.threads), 0, _ticks(process.start_time), size, resident // PAGE, _INFINITY, 0, 0, 0, 0, 0,
        0, task.blocked & 0x7FFFFFFF if task is not None else 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, start, end, 0, 0,
        process.exit_status or 0,
    ]  # fmt: skip
    return b"%d (%s) %s %s\n" % (process.pid, comm(k, process)[:-1], _state(k, process), " ".join(map(str, values)).encode())


def statm(k: Kernel, process: Process) -> bytes:
    size, resident = _memory(process)
    return b"%d %d 0 0 0 %d 0\n" % (size // PAGE, resident // PAGE, size // PAGE)


def status(k: Kernel, process: Process) -> bytes:
    size, resident = _memory(process)
    task = _leader(process)
    state = _STATE_NAMES[_state(k, process)]
    rows = [b"Name:\t" + comm(k, process)[:-1], b"Umask:\t%04o" % (process.fs.umask if process.alive else 0), b"State:\t" + state]
    rows += [b"Tgid:\t%d" % process.pid, b"Ngid:\t0", b"Pid:\t%d" % process.pid, b"PPid:\t%d" % process.ppid, b"TracerPid:\t0"]
    if task is not None:
        cred = task.cred
        rows.append(b"Uid:\t%d\t%d\t%d\t%d" % (cred.uid, cred.euid, cred.suid, cred.fsuid))
        rows.append(b"Gid:\t%d\t%d\t%d\t%d" % (cred.gid, cred.egid, cred.sgid, cred.fsgid))
        rows.append(b"FDSize:\t64")
        rows.append(b"Groups:\t" + b" ".join(b"%d" % group for group in cred.groups) + b" ")
    if process.alive:
        amounts = ((b"VmPeak", size), (b"VmSize", size), (b"VmLck", 0), (b"VmHWM", resident), (b"VmRSS", resident), (b"VmData", size),
                   (b"VmSwap", 0))  # fmt: skip
        rows += [b"%s:\t%8d kB" % (name, amount >> 10) for name, amount in amounts]
    rows.append(b"Threads:\t%d" % max(1, len(process.threads)))
    if task is not None:
        ignored = sum(1 << number - 1 for number, action in process.actions.items() if action.handler == 1)
        caught = sum(1 << number - 1 for number, action in process.actions.items() if action.handler > 1)
        capabilities = _ALL_CAPABILITIES if task.cred.euid == 0 else 0
        sets = ((b"SigPnd", 0), (b"ShdPnd", 0), (b"SigBlk", task.blocked), (b"SigIgn", ignored), (b"SigCgt", caught),
                (b"CapInh", 0), (b"CapPrm", capabilities), (b"CapEff", capabilities), (b"CapBnd", _ALL_CAPABILITIES))  # fmt: skip
        rows += [b"%s:\t%016x" % one for one in sets]
    rows += [b"NoNewPrivs:\t%d" % process.no_new_privs, b"Seccomp:\t0", b"Cpus_allowed:\t1", b"Cpus_allowed_list:\t0"]
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


def smaps(k: Kernel, process: Process) -> bytes:
    if not process.alive:
        return b""
    rows = []
    for line, vma in zip(maps(k, process).splitlines(keepends=True), process.space.vmas(), strict=True):
        size = (vma.end - vma.start) >> 10
        rows.append(line + b"Size:           %8d kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n" % size)
        rows.append(b"Rss:            %8d kB\n" % size)
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
    b"oom_score_adj": _text(b"0\n"),
    b"personality": personality,
    b"setgroups": _text(b"allow\n"),
    b"smaps": smaps,
    b"stat": stat,
    b"statm": statm,
    b"status": status,
    b"wchan": _text(b"0"),
}


def fdinfo(file: OpenFile, arch: str) -> bytes:
    """/proc/PID/fdinfo/N."""
    flags = guest_open_flags(arch, file.flags)
    return b"pos:\t%d\nflags:\t0%o\nmnt_id:\t22\nino:\t%d\n" % (file.position.value, flags, file.inode.ino)
