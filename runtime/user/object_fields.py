"""What the members of the emulated kernel's structs hold: for every struct of stdlib/kernel/types.h, from which of our objects each comes.

A table's functions take the object that the struct shows and give a number, bytes (an array, or the text that a pointer leads to), None
(reads as 0) or, for pointers and structs within, another object. A struct within that has no entry shows the same object as the one
around it. Where a member lies is told by kernel_types.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pyprobe.runtime.machine.memory import TASK_SIZE, AddressSpace, Vma
from pyprobe.runtime.user.abi import ABIS
from pyprobe.runtime.user.exec import Binprm
from pyprobe.runtime.user.kernel_types import kernel_types
from pyprobe.runtime.user.objects import IDLE, INIT, Outside
from pyprobe.runtime.user.pt_regs import SavedRegisters
from pyprobe.runtime.user.sched import NORMAL_PRIORITY
from pyprobe.runtime.user.signals import SigInfo
from pyprobe.runtime.user.syscalls.system import DOMAINNAME, SYSNAME
from pyprobe.runtime.user.task import Process, Task
from pyprobe.runtime.user.vfs.abi import CREATION_FLAGS, PIPEFS_MAGIC, major, minor
from pyprobe.runtime.user.vfs.attributes import KStat
from pyprobe.runtime.user.vfs.inode import Dentry, FileSystem, Inode
from pyprobe.runtime.user.vfs.openfile import OpenFile
from pyprobe.runtime.user.vfs.sockaddr import ANY, V4_MAPPED, InetAddress, pack
from pyprobe.runtime.user.vfs.socket import QUEUE_LIMIT, SHUT_RD, SHUT_WR, Socket, SocketInode
from pyprobe.runtime.user.vfs.sysctl import HOSTNAME, RELEASE, VERSION
from pyprobe.runtime.user.vfs.tcp import IPPROTO_TCP, TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, TcpSocket

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

Getter = Callable[[Any], Any]
OfKernel = Callable[["Kernel", Any], Any]

SECOND = 10**9
PAGE = 4096
PF_EXITING, PF_FORKNOEXEC, PF_RANDOMIZE = 0x4, 0x40, 0x400000  # include/linux/sched.h
FMODE_READ, FMODE_WRITE, FMODE_LSEEK, FMODE_OPENED = 1, 2, 4, 0x80000  # include/linux/fs.h
INITIAL_NAMESPACES = {"uts": 4026531838, "ipc": 4026531839, "pid": 4026531836, "mnt": 4026531841, "net": 4026531840}  # linux/proc_ns.h
SS_UNCONNECTED, SS_CONNECTED = 1, 3


class Namespace:
    """The one namespace of a kind. `inum`: its number under /proc/PID/ns."""

    def __init__(self, kind: str) -> None:
        self.inum = INITIAL_NAMESPACES[kind]


class Namespaces:
    """struct nsproxy: the one set of them."""

    def __init__(self) -> None:
        self.of = {kind: Namespace(kind) for kind in INITIAL_NAMESPACES}


NAMESPACES = Namespaces()


class Upid:
    """struct upid: a process id in the one pid namespace."""

    def __init__(self, nr: int) -> None:
        self.nr = nr


class Pid:
    """struct pid: the identity of a thread, process, group or session."""

    def __init__(self, nr: int) -> None:
        self.numbers = [Upid(nr)]


# ---- tasks


def _parent(t: Task) -> Task | Outside:
    """The task whose child this one is; a parent thread that has ended is shown as its process's first that lives."""
    parent = t.process.parent
    if parent is None or not parent.threads:
        return INIT
    return parent.leader or next(iter(parent.threads.values()))


def _leader(t: Task) -> Task:
    return t.process.leader or t


def _flags(t: Task) -> int:
    return (PF_EXITING if t.dead else 0) | (0 if t.process.has_execed else PF_FORKNOEXEC) | PF_RANDOMIZE


def _state(k: Kernel, t: Task) -> int:
    """TASK_RUNNING, TASK_INTERRUPTIBLE, __TASK_STOPPED, __TASK_TRACED or TASK_DEAD."""
    if t.dead:
        return 0x80
    if t.held:
        return 4 if t.tracing is None else 8
    return 1 if t.parked is not None and t is not k.current else 0


def _cpu_time(k: Kernel, t: Task) -> int:
    return t.cpu_time + (k.clock.now() - k.turn_began if t is k.current else 0)


def _pid(k: Kernel, nr: int) -> Pid:
    found: Pid = k.functions.objects.pids.setdefault(nr, Pid(nr))
    return found


def _bits(signals: Any) -> int:
    return sum({1 << (info.signo - 1) for info in signals})


def _owner(k: Kernel, space: AddressSpace) -> Task | None:
    return next((t for p in k.processes.values() if p.space is space and (t := p.leader)), None)


def _process_of(k: Kernel, space: AddressSpace) -> Process | None:
    return next((p for p in k.processes.values() if p.space is space), None)


def _vm_flags(vma: Vma) -> int:
    """VM_READ, VM_WRITE, VM_EXEC, VM_SHARED."""
    return vma.prot & 7 | vma.shared << 3


def _machine(k: Kernel, name: object) -> bytes:
    return ABIS[k.arch].machine


def _argument(k: Kernel, space: AddressSpace, index: int) -> int:
    process = _process_of(k, space)
    return process.argument_area[index] if process is not None else 0


TASK: dict[str, Getter] = {
    "flags": _flags,
    "on_cpu": lambda t: t.parked is None,
    "prio": attrgetter("sched.prio"),
    "static_prio": attrgetter("sched.static_prio"),
    "normal_prio": attrgetter("sched.prio"),
    "rt_priority": attrgetter("sched.rt_priority"),
    "policy": attrgetter("sched.policy"),
    "exit_state": lambda t: 0x20 if t.dead else 0,
    "exit_code": lambda t: t.process.group_exit or 0,
    "exit_signal": lambda t: t.process.exit_signal if t.tid == t.pid else -1,
    "pdeath_signal": lambda t: t.process.parent_death_signal,
    "pid": attrgetter("tid"),
    "tgid": attrgetter("pid"),
    "comm": attrgetter("comm"),
    "real_parent": _parent,
    "parent": _parent,
    "group_leader": _leader,
    "mm": attrgetter("process.space"),
    "active_mm": attrgetter("process.space"),
    "real_cred": attrgetter("cred"),
    "cred": attrgetter("cred"),
    "fs": attrgetter("process.fs"),
    "files": attrgetter("process.files"),
    "nsproxy": lambda t: NAMESPACES,
    "signal": attrgetter("process"),
    "blocked": attrgetter("blocked"),
    "saved_sigmask": lambda t: t.saved_mask or 0,
    "pending": attrgetter("pending"),
    "start_time": attrgetter("process.start_time"),
    "start_boottime": attrgetter("process.start_time"),
    "stime": lambda t: 0,
    "personality": attrgetter("process.personality"),
    "clear_child_tid": attrgetter("clear_child_tid"),
}


def _outside_parent(task: Outside) -> Outside:
    return INIT if task.pid > INIT.pid else IDLE


OUTSIDE: dict[str, Getter] = {
    "flags": lambda t: 0x200000 if t.pid == 0 else 0,  # PF_KTHREAD
    "prio": lambda t: NORMAL_PRIORITY, "static_prio": lambda t: NORMAL_PRIORITY, "normal_prio": lambda t: NORMAL_PRIORITY,
    "pid": attrgetter("pid"), "tgid": attrgetter("pid"), "comm": attrgetter("comm"), "real_parent": _outside_parent,
    "parent": _outside_parent, "group_leader": lambda t: t, "nsproxy": lambda t: NAMESPACES,
}  # fmt: skip
"""What is told of a task outside of the machine."""

CRED: dict[str, Getter] = {name: attrgetter(name) for name in ("uid", "gid", "suid", "sgid", "euid", "egid", "fsuid", "fsgid")}


# ---- files


def _device(number: int) -> int:
    """A device number as the kernel keeps it: MKDEV."""
    return major(number) << 20 | minor(number)


def _file_mode(f: OpenFile) -> int:
    return f.readable * FMODE_READ | f.writable * FMODE_WRITE | f.seekable * FMODE_LSEEK | FMODE_OPENED


def _path_dentry(path: Dentry | OpenFile) -> Dentry:
    return path if isinstance(path, Dentry) else path.dentry


def cookie_of(k: Kernel, address: int) -> int:
    """The number of the socket at an address, 0 where there is none (bpf_get_socket_cookie)."""
    found = k.functions.object_at(address)
    return found.cookie(k) if isinstance(found, Socket) else 0


def path_of(k: Kernel, path: int | bytes) -> bytes:
    """The text of the `struct path` at an address, or of one that was copied, from the root of the current task (d_path)."""
    struct = kernel_types(k.arch).struct("struct path")
    at = struct.fields["dentry"].offset
    address = int.from_bytes(path[at : at + 8], "little") if isinstance(path, bytes) else path
    found = k.functions.object_at(address)
    task = k.current
    return found.path(task.process.fs.root if task is not None else None) if isinstance(found, (Dentry, OpenFile)) else b""


def _times(kind: str) -> dict[str, Getter]:
    time = attrgetter(kind)
    return {f"i_{kind}_sec": lambda i: time(i) // SECOND, f"i_{kind}_nsec": lambda i: time(i) % SECOND}


def _of_stat(name: str, answer: KStat) -> int | None:
    return getattr(answer.value, name) if answer.value is not None else None


def _name(d: Dentry) -> bytes:
    """The name in a dentry: pipes have none, and sockets their protocol's."""
    if isinstance(d.inode, SocketInode):
        return d.inode.protocol
    return b"" if d.inode is not None and d.inode.fs.magic == PIPEFS_MAGIC else d.name


def _last_file(b: Binprm) -> OpenFile | None:
    return b.files[-1] if b.files else None


# ---- sockets


def sock_state(s: Socket) -> int:
    """The state of a socket of any family, in TCP's numbers: include/net/tcp_states.h."""
    if isinstance(s, TcpSocket):
        return s.state
    if s.backlog is not None:
        return TCP_LISTEN
    return TCP_ESTABLISHED if s.connected and not s.closed else TCP_CLOSE


def _host4(address: object) -> int:
    """An IPv4 host in network order; 0 for others."""
    if isinstance(address, InetAddress) and address.host.startswith(V4_MAPPED):
        return int.from_bytes(address.host[12:], "little")
    return 0


def _host6(address: object) -> bytes:
    return address.host if isinstance(address, InetAddress) else ANY


def _port(address: object, order: Any = "big") -> int:
    """A port; `order` little swaps it to network order, as it reads in memory."""
    port = address.port if isinstance(address, InetAddress) else 0
    return int.from_bytes(port.to_bytes(2, "big"), order)


def _pair(low: int, high: int, bits: int) -> int:
    return low | high << bits


def _sockaddr(k: Kernel, address: object) -> bytes:
    if isinstance(address, InetAddress):
        return pack(2 if address.host.startswith(V4_MAPPED) or address.host == ANY else 10, address)
    return pack(1, address) if isinstance(address, bytes) else b""


SOCK_COMMON: dict[str, Getter] = {
    "skc_daddr": lambda s: _host4(s.remote),
    "skc_rcv_saddr": lambda s: _host4(s.local),
    "skc_addrpair": lambda s: _pair(_host4(s.remote), _host4(s.local), 32),
    "skc_dport": lambda s: _port(s.remote, "little"),
    "skc_num": lambda s: _port(s.local),
    "skc_portpair": lambda s: _pair(_port(s.remote, "little"), _port(s.local), 16),
    "skc_family": attrgetter("family"),
    "skc_state": sock_state,
    "skc_net": lambda s: NAMESPACES.of["net"],
    "skc_v6_daddr": lambda s: _host6(s.remote),
    "skc_v6_rcv_saddr": lambda s: _host6(s.local),
}

FIELDS: dict[str, dict[str, Getter]] = {
    "struct task_struct": TASK,
    "struct cred": {**CRED, "group_info": lambda c: c},
    "struct group_info": {"ngroups": lambda c: len(c.groups), "gid": lambda c: c.groups[:32]},
    "struct ns_common": {"inum": attrgetter("inum")},
    "struct new_utsname": {
        "sysname": lambda n: SYSNAME, "nodename": lambda n: HOSTNAME, "release": lambda n: RELEASE, "version": lambda n: VERSION,
        "domainname": lambda n: DOMAINNAME,
    },
    "struct pid_namespace": {"level": lambda n: 0},
    "struct nsproxy": {
        "uts_ns": lambda n: n.of["uts"], "ipc_ns": lambda n: n.of["ipc"], "mnt_ns": lambda n: n.of["mnt"],
        "pid_ns_for_children": lambda n: n.of["pid"], "net_ns": lambda n: n.of["net"],
    },
    "struct uts_namespace": {}, "struct ipc_namespace": {}, "struct mnt_namespace": {}, "struct net": {},
    "struct upid": {"nr": attrgetter("nr"), "ns": lambda u: NAMESPACES.of["pid"]},
    "struct pid": {"level": lambda p: 0, "numbers": attrgetter("numbers")},
    "struct fs_struct": {"users": attrgetter("users"), "umask": attrgetter("umask"), "root": attrgetter("root"), "pwd": attrgetter("cwd")},
    "struct fdtable": {"max_fds": lambda f: 1 << max(6, (max((fd for fd, _ in f), default=0)).bit_length())},
    "struct files_struct": {"fdt": lambda f: f, "next_fd": lambda f: f.lowest},
    "struct sigpending": {"signal": _bits},
    "struct rlimit": {"rlim_cur": lambda pair: pair[0], "rlim_max": lambda pair: pair[1]},
    "struct signal_struct": {
        "nr_threads": lambda p: len(p.threads), "group_exit_code": lambda p: p.group_exit or 0, "shared_pending": attrgetter("pending"),
        "rlim": lambda p: [p.limits[i] for i in range(16)],
    },
    "struct mm_struct": {
        "mm_users": attrgetter("users"), "map_count": attrgetter("count"), "task_size": lambda m: TASK_SIZE,
        "mmap_base": attrgetter("mmap_base"), "total_vm": lambda m: sum(v.end - v.start for v in m.vmas()) // PAGE,
        "start_brk": attrgetter("start_brk"), "brk": attrgetter("brk"),
    },
    "struct vm_area_struct": {
        "vm_start": attrgetter("start"), "vm_end": attrgetter("end"), "vm_flags": _vm_flags,
        "vm_pgoff": lambda v: (v.offset if v.backing is not None else v.start) // PAGE,
    },
    "struct bpf_iter_meta": {"session_id": lambda i: 1, "seq_num": attrgetter("number")},
    **{
        f"struct bpf_iter__{kind}": {"meta": lambda i: i, **{name: attrgetter(name) for name in members}}
        for kind, members in {"task": ("task",), "task_file": ("task", "fd", "file"), "task_vma": ("task", "vma")}.items()
    },
    "struct kernel_clone_args": {
        name: attrgetter(name) for name in ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "tls")
    },
    "struct linux_binprm": {
        "file": _last_file, "argc": lambda b: len(b.argv), "envc": lambda b: len(b.envp), "filename": attrgetter("filename"),
        "interp": attrgetter("interp"),
    },
    "struct kernel_siginfo": {
        "si_signo": attrgetter("signo"), "si_errno": lambda i: 0, "si_code": attrgetter("code"), "_sifields": attrgetter("rest"),
    },
    "struct ksignal": {"info": lambda k: k[0][0] if k else None, "sig": lambda k: k[0][0].signo if k else 0},
    "struct qstr": {"hash": lambda d: zlib.crc32(_name(d)), "len": lambda d: len(_name(d)), "name": _name},
    "struct path": {"mnt": lambda p: _path_dentry(p).require().fs, "dentry": _path_dentry},
    "struct vfsmount": {"mnt_sb": lambda fs: fs},
    "struct file_system_type": {"name": lambda fs: fs.name.encode()},
    "struct super_block": {
        "s_dev": lambda fs: _device(fs.dev), "s_blocksize": lambda fs: PAGE, "s_magic": attrgetter("magic"), "s_type": lambda fs: fs,
        "s_id": lambda fs: fs.name.encode(),
    },
    "struct inode": {
        "i_mode": attrgetter("mode"), "i_uid": attrgetter("uid"), "i_gid": attrgetter("gid"), "i_sb": attrgetter("fs"),
        "i_ino": attrgetter("ino"), "i_nlink": attrgetter("nlink"), "i_rdev": lambda i: _device(i.rdev), "i_size": lambda i: i.size(),
        "i_blocks": lambda i: i.blocks(), **_times("atime"), **_times("mtime"), **_times("ctime"),
    },
    "struct dentry": {
        "d_parent": attrgetter("parent"), "d_inode": attrgetter("inode"), "d_iname": lambda d: _name(d)[:39],
        "d_sb": lambda d: (d.inode or d.parent.inode).fs,
    },
    "struct file": {
        "f_mode": _file_mode, "f_flags": lambda f: f.flags & ~CREATION_FLAGS, "f_inode": attrgetter("inode"),
        "f_pos": attrgetter("position.value"), "private_data": lambda f: f if isinstance(f, Socket) else None,
    },
    "struct filename": {"name": lambda name: name},
    "struct kstat": {
        **{name: partial(_of_stat, name) for name in ("mode", "nlink", "ino", "uid", "gid", "size", "blocks")},
        "result_mask": lambda s: 0x7FF if s.value is not None else 0,
        "dev": lambda s: _device(s.value.dev) if s.value is not None else 0,
        "rdev": lambda s: _device(s.value.rdev) if s.value is not None else 0,
    },
    "struct open_flags": {"open_flag": attrgetter("flags"), "mode": attrgetter("mode")},
    "struct open_how": {"flags": attrgetter("flags"), "mode": attrgetter("mode"), "resolve": attrgetter("resolve")},
    "struct renamedata": {
        "old_dentry": attrgetter("old_dentry"), "new_dentry": attrgetter("new_dentry"), "flags": attrgetter("flags"),
        "old_dir": attrgetter("old_dentry.parent.inode"), "new_dir": attrgetter("new_dentry.parent.inode"),
    },
    "struct sock_common": SOCK_COMMON,
    "struct sock": {
        "sk_ack_backlog": lambda s: len(s.backlog or ()), "sk_max_ack_backlog": lambda s: max(0, s.backlog_limit - 1),
        "sk_err": attrgetter("error"), "sk_rcvbuf": lambda s: QUEUE_LIMIT, "sk_sndbuf": lambda s: QUEUE_LIMIT,
        "sk_type": attrgetter("type"), "sk_protocol": lambda s: IPPROTO_TCP if isinstance(s, TcpSocket) else s.protocol,
        "sk_shutdown": lambda s: s.read_shut * (SHUT_RD + 1) | s.write_shut * (SHUT_WR + 1), "sk_socket": lambda s: s,
    },
    "struct inet_sock": {"inet_saddr": lambda s: _host4(s.local), "inet_sport": lambda s: _port(s.local, "little")},
    "struct inet_connection_sock": {},
    "struct tcp_sock": {
        "bytes_sent": lambda s: s.peer.incoming.total if s.peer is not None else 0, "bytes_received": lambda s: s.incoming.total,
    },
    "struct socket": {
        "state": lambda s: SS_CONNECTED if s.connected else SS_UNCONNECTED, "type": attrgetter("type"), "file": lambda s: s,
        "sk": lambda s: s,
    },
    "struct iov_iter": {"count": attrgetter("size")},
    "struct msghdr": {
        "msg_name": attrgetter("address"), "msg_flags": attrgetter("flags"),
    },
}  # fmt: skip
"""Members by struct."""

OF_KERNEL: dict[str, dict[str, OfKernel]] = {
    "struct task_struct": {
        "__state": _state,
        "thread_pid": lambda k, t: _pid(k, t.tid),
        "utime": _cpu_time,
    },
    "struct sched_entity": {"sum_exec_runtime": _cpu_time},
    "struct new_utsname": {"machine": _machine},
    "struct signal_struct": {"pids": lambda k, p: [_pid(k, p.pid), _pid(k, p.pid), _pid(k, p.pgid), _pid(k, p.sid)]},
    "struct mm_struct": {
        "arg_start": lambda k, m: _argument(k, m, 0),
        "arg_end": lambda k, m: _argument(k, m, 1),
        "owner": _owner,
    },
}
"""Those that need the kernel to be told."""


IMAGES: dict[str, OfKernel] = {
    "struct sockaddr": _sockaddr,
    "loff_t": lambda k, position: position.value.to_bytes(8, "little"),
    "struct pt_regs": lambda k, registers: registers.image(k),
}
"""Structs whose bytes are made whole."""

WHOLE = {"struct sock": "struct tcp_sock", "struct inet_sock": "struct tcp_sock"}
"""The larger struct that begins with the one pointed to, as casts expect it there."""

STRUCT_OF: dict[type, str] = {
    Task: "struct task_struct",
    Outside: "struct task_struct",
    SavedRegisters: "struct pt_regs",
    OpenFile: "struct file",
    Dentry: "struct dentry",
    Inode: "struct inode",
    FileSystem: "struct super_block",
    AddressSpace: "struct mm_struct",
    Binprm: "struct linux_binprm",
    SigInfo: "struct kernel_siginfo",
    InetAddress: "struct sockaddr",
}
"""What an object is shown as where no type says it."""


def getter(k: Kernel, struct: str, member: str) -> Getter | None:
    """The function from an object to the value of a member; None for structs within that show the same object."""
    of_kernel = OF_KERNEL.get(struct, {}).get(member)
    found = FIELDS.get(struct, {}).get(member) if of_kernel is None else partial(of_kernel, k)
    if struct != "struct task_struct":
        return found
    outside = OUTSIDE.get(member)

    def of_task(t: Any) -> Any:
        if isinstance(t, Outside):
            return outside(t) if outside is not None else None
        return found(t) if found is not None else t

    return of_task
