"""System calls on processes by descriptor: pidfd_open(2), pidfd_send_signal(2)."""

from __future__ import annotations

import struct
from errno import EBADF, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from pyprobe.runtime.user.capabilities import CAP_KILL
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.pidfd import PidFile, pidfd_create
from pyprobe.runtime.user.signals import NSIG, SI_USER, SigInfo
from pyprobe.runtime.user.vfs.abi import O_NONBLOCK
from pyprobe.runtime.user.words import U32, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task


def process_of(t: Task, fd: int) -> Process:
    """The process a pidfd stands for. Raises Errno(EBADF)."""
    file = t.process.files.get(fd)
    if not isinstance(file, PidFile):
        raise Errno(EBADF)
    return file.process


def sys_pidfd_open(k: Kernel, t: Task, pid: int, flags: int) -> int:
    """pidfd_open(2)."""
    if flags & U32 & ~O_NONBLOCK or s32(pid) <= 0:
        raise Errno(EINVAL)
    process = k.processes.get(s32(pid))
    if process is None:
        raise Errno(EINVAL if s32(pid) in k.tasks else ESRCH)  # of a thread that leads no group
    return pidfd_create(k, t, process, flags & O_NONBLOCK)


def sys_pidfd_send_signal(k: Kernel, t: Task, pidfd: int, sig: int, info: int, flags: int) -> int:
    """pidfd_send_signal(2)."""
    process, signo = process_of(t, pidfd), s32(sig)
    if flags & U32 or not 0 <= signo <= NSIG:
        raise Errno(EINVAL)
    if not process.alive:
        raise Errno(ESRCH)
    target = process.leader or next(iter(process.threads.values()))
    if not t.cred.capable(CAP_KILL) and not {t.cred.uid, t.cred.euid} & {target.cred.uid, target.cred.suid}:
        raise Errno(EPERM)
    made = SigInfo.from_user(signo, t)
    if info:
        raw = t.space.read(info, 128)
        number, _, code = struct.unpack_from("<iii", raw)
        if number != signo:
            raise Errno(EINVAL)
        if (code >= 0 or code == -6) and process is not t.process:
            raise Errno(EPERM)
        made = SigInfo(signo, code, raw[16:])
    assert made.code <= SI_USER or info
    if signo:
        k.do_send_sig_info(signo, made, target, 1)
    return 0
