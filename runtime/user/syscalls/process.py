"""System calls that make, replace and end processes (kernel/fork.c, fs/exec.c, kernel/exit.c, kernel/sys.c)."""

from __future__ import annotations

import struct
from errno import E2BIG, EINVAL, ENODEV, EPERM
from typing import TYPE_CHECKING

from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.fork import (
    CLONE_FILES,
    CLONE_FS,
    CLONE_NAMESPACES,
    CLONE_VFORK,
    CLONE_VM,
    CSIGNAL,
    CloneArgs,
)
from pyprobe.runtime.user.signals import NSIG, Sig
from pyprobe.runtime.user.syscalls import capabilities
from pyprobe.runtime.user.syscalls.seccomp import sys_seccomp
from pyprobe.runtime.user.task import COMM_LENGTH, DEFAULT_TIMER_SLACK
from pyprobe.runtime.user.vfs.abi import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from pyprobe.runtime.user.words import U32, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

ARGUMENT_BYTES = 6 << 20  # three quarters of the largest stack that counts (_STK_LIM)
CLONE_ARGS_SIZE_VER0, CLONE_ARGS_SIZE_MAX = 64, 4096

# new tasks


def sys_fork(k: Kernel, t: Task) -> int:
    """fork(2)."""
    result: int = k.kernel_clone(CloneArgs(0, exit_signal=Sig.CHLD))
    return result


def sys_vfork(k: Kernel, t: Task) -> int:
    """vfork(2)."""
    result: int = k.kernel_clone(CloneArgs(CLONE_VFORK | CLONE_VM, exit_signal=Sig.CHLD))
    return result


def sys_clone(k: Kernel, t: Task, flags: int, newsp: int, parent_tid: int, fourth: int, fifth: int) -> int:
    """clone(2); the architectures differ in the order of the last two."""
    child_tid, tls = (fourth, fifth) if t.process.arch == "x86_64" else (fifth, fourth)
    args = CloneArgs(
        flags & U32 & ~CSIGNAL, stack=newsp, parent_tid=parent_tid, child_tid=child_tid, tls=tls, exit_signal=flags & CSIGNAL
    )
    result: int = k.kernel_clone(args)
    return result


def sys_clone3(k: Kernel, t: Task, uargs: int, size: int) -> int:
    """clone3(2)."""
    if size > CLONE_ARGS_SIZE_MAX:
        raise Errno(E2BIG)
    if size < CLONE_ARGS_SIZE_VER0:
        raise Errno(EINVAL)
    raw = t.space.read(uargs, size)
    flags, pidfd, child_tid, parent_tid, signal, stack, stack_size, tls = struct.unpack_from("<8Q", raw)
    if any(raw[CLONE_ARGS_SIZE_VER0:]) or flags & CSIGNAL or signal > NSIG or bool(stack) != bool(stack_size):
        raise Errno(EINVAL)
    args = CloneArgs(
        flags, stack=stack + stack_size, parent_tid=parent_tid, child_tid=child_tid, tls=tls, exit_signal=signal, pidfd=pidfd
    )
    result: int = k.kernel_clone(args)
    return result


def sys_unshare(k: Kernel, t: Task, flags: int) -> int:
    """unshare(2) of files and directories; there are no other namespaces to go to."""
    process = t.process
    if flags & CLONE_NAMESPACES:
        raise Errno(EPERM)
    if flags & CLONE_FILES and process.files.users > 1:
        process.files.users -= 1
        process.files = process.files.copy()
    if flags & CLONE_FS and process.fs.users > 1:
        process.fs.release()
        process.fs = process.fs.copy()
    return 0


def sys_set_tid_address(k: Kernel, t: Task, tidptr: int) -> int:
    """set_tid_address(2)."""
    t.clear_child_tid = tidptr
    return t.tid


# exec


def _strings(t: Task, address: int) -> tuple[bytes, ...]:
    """A NULL-terminated array of strings. Raises Errno(E2BIG) when it cannot be an argument list."""
    found: list[bytes] = []
    room = ARGUMENT_BYTES
    space = t.space
    while address:
        pointer = space.u64(address)
        if not pointer:
            break
        text = space.cstring(pointer, room)
        room -= len(text) + 9
        if room <= 0:
            raise Errno(E2BIG)
        found.append(text)
        address += 8
    return tuple(found)


def _execute(k: Kernel, t: Task, fd: int, filename: int, argv: int, envp: int, flags: int) -> int:
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise Errno(EINVAL)
    path = t.space.cstring(filename, 4096)
    result: int = k.do_execveat_common(fd, path, _strings(t, argv), _strings(t, envp), flags)
    return result


def sys_execve(k: Kernel, t: Task, filename: int, argv: int, envp: int) -> int:
    """execve(2)."""
    return _execute(k, t, AT_FDCWD, filename, argv, envp, 0)


def sys_execveat(k: Kernel, t: Task, fd: int, filename: int, argv: int, envp: int, flags: int) -> int:
    """execveat(2)."""
    return _execute(k, t, s32(fd), filename, argv, envp, flags)


# exit


def sys_exit(k: Kernel, t: Task, code: int) -> int:
    """_exit(2) of one thread."""
    k.do_exit((code & 0xFF) << 8)
    return 0


def sys_exit_group(k: Kernel, t: Task, code: int) -> int:
    """exit_group(2)."""
    k.do_group_exit((code & 0xFF) << 8)
    return 0


# prctl

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_GET_KEEPCAPS, PR_SET_KEEPCAPS = 1, 2, 3, 4, 7, 8
PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_SET_SECCOMP, PR_CAPBSET_READ, PR_GET_TSC, PR_GET_SECUREBITS = 15, 16, 21, 22, 23, 25, 27
PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 29, 30
PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 36, 37, 38, 39
PR_GET_TID_ADDRESS, PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, PR_CAP_AMBIENT = 40, 41, 42, 47
PR_CAPBSET_DROP = 24
PR_SET_PTRACER, PR_SET_PTRACER_ANY = 0x59616D61, -1  # security/yama


def sys_prctl(k: Kernel, t: Task, option: int, arg2: int, arg3: int, arg4: int, arg5: int) -> int:
    """prctl(2), the parts that have a meaning here."""
    process, option = t.process, s32(option)
    if option == PR_SET_NAME:
        k.set_comm(t, t.space.cstring(arg2, COMM_LENGTH))
    elif option == PR_GET_NAME:
        t.space.write(arg2, t.comm.ljust(16, b"\0"))
    elif option == PR_SET_PDEATHSIG:
        if arg2 > NSIG:
            raise Errno(EINVAL)
        process.parent_death_signal = arg2
    elif option == PR_GET_PDEATHSIG:
        t.space.put_u32(arg2, process.parent_death_signal)
    elif option == PR_GET_DUMPABLE:
        return process.dumpable
    elif option == PR_SET_DUMPABLE:
        if arg2 > 1:
            raise Errno(EINVAL)
        process.dumpable = arg2
    elif option == PR_SET_CHILD_SUBREAPER:
        process.child_subreaper = bool(arg2)
    elif option == PR_GET_CHILD_SUBREAPER:
        t.space.put_u32(arg2, int(process.child_subreaper))
    elif option == PR_SET_NO_NEW_PRIVS:
        if arg2 != 1 or arg3 or arg4 or arg5:
            raise Errno(EINVAL)
        process.no_new_privs = True
    elif option == PR_GET_NO_NEW_PRIVS:
        return int(process.no_new_privs)
    elif option == PR_SET_SECCOMP:
        return sys_seccomp(k, t, arg2 - 1, 0, arg3 if arg2 == 2 else 0)
    elif option == PR_GET_SECCOMP:
        return 2 if t.seccomp is not None else 0
    elif option == PR_GET_TIMERSLACK:
        return t.process.timer_slack
    elif option == PR_CAPBSET_READ:
        return capabilities.bounding_read(t, arg2)
    elif option == PR_CAPBSET_DROP:
        return capabilities.bounding_drop(t, arg2)
    elif option == PR_CAP_AMBIENT:
        if arg4 or arg5:
            raise Errno(EINVAL)
        return capabilities.ambient(t, arg2, arg3)
    elif option == PR_GET_TID_ADDRESS:
        t.space.put_u64(arg2, t.clear_child_tid)
    elif option == PR_SET_KEEPCAPS:
        process.keep_caps = bool(arg2)
    elif option == PR_GET_KEEPCAPS:
        return int(process.keep_caps)
    elif option == PR_SET_TIMERSLACK:
        process.timer_slack = arg2 or DEFAULT_TIMER_SLACK
    elif option == PR_SET_PTRACER:
        if s32(arg2) not in (0, PR_SET_PTRACER_ANY) and s32(arg2) not in k.tasks:
            raise Errno(EINVAL)
        process.ptracer = s32(arg2)
    elif option not in (PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, PR_GET_SECUREBITS):
        raise Errno(EINVAL)
    return 0


ARCH_SET_GS, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS = 0x1001, 0x1002, 0x1003, 0x1004
ARCH_BASES = {ARCH_SET_GS: "gs_base", ARCH_SET_FS: "fs_base", ARCH_GET_FS: "fs_base", ARCH_GET_GS: "gs_base"}


def sys_arch_prctl(k: Kernel, t: Task, option: int, arg2: int) -> int:
    """arch_prctl(2): the thread pointer of x86-64."""
    name = ARCH_BASES.get(s32(option))
    if name is None:
        raise Errno(ENODEV if option == 0x1012 else EINVAL)
    engine = t.process.engine
    if option in (ARCH_SET_FS, ARCH_SET_GS):
        if arg2 >= 0x7FFF_FFFF_F000:
            raise Errno(EPERM)
        engine.set(name, arg2)
    else:
        t.space.put_u64(arg2, engine.get(name))
    return 0


