"""System calls about signals (kernel/signal.c)."""

from __future__ import annotations

import struct
from errno import EAGAIN, EINTR, EINVAL, ENOMEM, EPERM, ESRCH
from typing import TYPE_CHECKING

from pyprobe.runtime.user import signals
from pyprobe.runtime.user.capabilities import CAP_KILL
from pyprobe.runtime.user.errors import Block, Errno
from pyprobe.runtime.user.hrtimers import HRTIMER_MODE_REL, sleeper
from pyprobe.runtime.user.signal_frames import SS_AUTODISARM, SS_DISABLE, SS_ONSTACK, on_altstack
from pyprobe.runtime.user.signals import NSIG, SI_TKILL, UNBLOCKABLE, SigAction, SigInfo, bit, has_deliverable, pending_set
from pyprobe.runtime.user.words import NANOSECONDS, U64, read_timespec, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Process, Task

SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = 0, 1, 2
SIGSET_SIZE = 8
MINSIGSTKSZ = 2048


def _check_size(size: int) -> None:
    if size != SIGSET_SIZE:
        raise Errno(EINVAL)


def sys_rt_sigaction(k: Kernel, t: Task, signo: int, act: int, oact: int, size: int) -> int:
    """rt_sigaction(2)."""
    _check_size(size)
    signo = s32(signo)
    if not 1 <= signo <= NSIG or (act and bit(signo) & UNBLOCKABLE):
        raise Errno(EINVAL)
    process = t.process
    old = signals.action_of(process, signo)
    if act:
        handler, flags, restorer, mask = struct.unpack("<QQQQ", t.space.read(act, 32))
        process.actions[signo] = SigAction(handler, flags, restorer, mask)
        if signals.is_ignored(process, signo):
            for queue in (process.pending, *(thread.pending for thread in process.threads.values())):
                for info in [i for i in queue if i.signo == signo]:
                    queue.remove(info)
    if oact:
        t.space.write(oact, old.pack())
    return 0


def _changed(k: Kernel, t: Task) -> None:
    """The mask has changed: look at pending signals before going on."""
    if has_deliverable(t):
        k.signal_wake(t)


def sys_rt_sigprocmask(k: Kernel, t: Task, how: int, new: int, old: int, size: int) -> int:
    """rt_sigprocmask(2)."""
    _check_size(size)
    before = t.blocked
    if new:
        mask = t.space.u64(new) & ~UNBLOCKABLE
        how = s32(how)
        if how == SIG_BLOCK:
            t.blocked |= mask
        elif how == SIG_UNBLOCK:
            t.blocked &= ~mask
        elif how == SIG_SETMASK:
            t.blocked = mask
        else:
            raise Errno(EINVAL)
        _changed(k, t)
    if old:
        t.space.put_u64(old, before)
    return 0


def sys_rt_sigpending(k: Kernel, t: Task, uset: int, size: int) -> int:
    """rt_sigpending(2)."""
    if size > SIGSET_SIZE:
        raise Errno(EINVAL)
    pending = pending_set(t.pending, t.process.pending) & t.blocked
    t.space.write(uset, pending.to_bytes(8, "little")[:size])
    return 0


def sys_rt_sigsuspend(k: Kernel, t: Task, mask: int, size: int) -> int:
    """rt_sigsuspend(2)."""
    _check_size(size)
    if t.saved_mask is None:
        wanted = t.space.u64(mask) & ~UNBLOCKABLE
        t.saved_mask, t.blocked = t.blocked, wanted
    return _wait_for_signal(k, t)


def sys_pause(k: Kernel, t: Task) -> int:
    """pause(2)."""
    return _wait_for_signal(k, t)


def _wait_for_signal(k: Kernel, t: Task) -> int:
    if has_deliverable(t):
        k.signal_wake(t)
        raise Errno(EINTR)
    raise Block(_never, why="a signal", restart=False)


def _never() -> bool:
    return False


def sys_rt_sigtimedwait(k: Kernel, t: Task, uthese: int, uinfo: int, uts: int, size: int) -> int:
    """rt_sigtimedwait(2)."""
    _check_size(size)
    these = t.space.u64(uthese) & ~UNBLOCKABLE
    t.wake_signal = False
    info = signals.dequeue(t, these)
    if info is not None:
        if uinfo:
            t.space.write(uinfo, info.pack())
        return info.signo
    deadline = t.restart.get("deadline")
    if uts and deadline is None:
        seconds, nanoseconds = read_timespec(t.space, uts)
        if seconds < 0 or not 0 <= nanoseconds < NANOSECONDS:
            raise Errno(EINVAL)
        deadline = t.restart["deadline"] = k.clock.now() + seconds * NANOSECONDS + nanoseconds
    assert deadline is None or isinstance(deadline, int)
    if deadline is not None and k.clock.now() >= deadline:
        raise Errno(EAGAIN)
    if pending_set(t.pending, t.process.pending) & ~t.blocked & ~these:
        raise Errno(EINTR)
    t.wake_signal = True

    def ready() -> bool:
        return bool(pending_set(t.pending, t.process.pending) & (these | ~t.blocked & U64))

    timer = sleeper(k, deadline, mode=HRTIMER_MODE_REL)
    raise Block(ready, deadline, why="a signal", restart=False, timer=timer)


def sys_rt_sigreturn(k: Kernel, t: Task) -> int:
    """rt_sigreturn(2)."""
    k.after_syscall(lambda: signals.sigreturn(k, t))
    return 0


def sys_sigaltstack(k: Kernel, t: Task, uss: int, uoss: int) -> int:
    """sigaltstack(2)."""
    sp = t.process.engine.get("sp")
    inside = on_altstack(t, sp)
    address, flags, size = t.altstack
    new = struct.unpack("<Qi4xQ", t.space.read(uss, 24)) if uss else None
    if uoss:
        t.space.write(uoss, struct.pack("<Qi4xQ", address, s32(flags | (SS_ONSTACK if inside else 0)), size))
    if new is not None:
        if inside:
            raise Errno(EPERM)
        mode = new[1] & 0xFFFFFFFF & ~SS_AUTODISARM
        if mode not in (0, SS_ONSTACK, SS_DISABLE):
            raise Errno(EINVAL)
        if mode == SS_DISABLE:
            t.altstack = (0, SS_DISABLE, 0)
        else:
            if new[2] < MINSIGSTKSZ:
                raise Errno(ENOMEM)
            t.altstack = (new[0], new[1] & SS_AUTODISARM, new[2])
    return 0


def _may_signal(t: Task, target: Process) -> bool:
    leader = target.leader or next(iter(target.threads.values()), None)
    return leader is None or t.cred.capable(CAP_KILL) or not {t.uid, t.euid}.isdisjoint({leader.cred.uid, leader.cred.suid})


def _send(k: Kernel, t: Task, target: Process, signo: int) -> None:
    if not _may_signal(t, target):
        raise Errno(EPERM)
    if signo and target.alive:
        signals.send_to_process(k, target, SigInfo.from_user(signo, t))


def _check_signo(signo: int) -> int:
    signo = s32(signo)
    if not 0 <= signo <= NSIG:
        raise Errno(EINVAL)
    return signo


def sys_kill(k: Kernel, t: Task, pid: int, sig: int) -> int:
    """kill(2)."""
    signo = _check_signo(sig)
    pid = s32(pid)
    if pid > 0:
        target = k.processes.get(pid)
        if target is None:
            raise Errno(ESRCH)
        _send(k, t, target, signo)
        return 0
    group = t.process.pgid if pid == 0 else -pid
    targets = [p for p in list(k.processes.values()) if (pid == -1 and p is not t.process) or (pid != -1 and p.pgid == group)]
    if not targets:
        raise Errno(ESRCH)
    failures = 0
    for target in targets:
        try:
            _send(k, t, target, signo)
        except Errno:
            failures += 1
    if failures == len(targets):
        raise Errno(EPERM)
    return 0


def _send_thread(k: Kernel, t: Task, tgid: int | None, tid: int, sig: int, info: SigInfo | None = None) -> int:
    signo = _check_signo(sig)
    target = k.tasks.get(tid)
    if target is None or (tgid is not None and target.process.pid != tgid):
        raise Errno(ESRCH)
    if not _may_signal(t, target.process):
        raise Errno(EPERM)
    if signo:
        k.do_send_sig_info(signo, info or SigInfo.from_user(signo, t, SI_TKILL), target, 0)
    return 0


def sys_tkill(k: Kernel, t: Task, pid: int, sig: int) -> int:
    """tkill(2)."""
    if s32(pid) <= 0:
        raise Errno(EINVAL)
    return _send_thread(k, t, None, s32(pid), sig)


def sys_tgkill(k: Kernel, t: Task, tgid: int, pid: int, sig: int) -> int:
    """tgkill(2)."""
    if s32(pid) <= 0 or s32(tgid) <= 0:
        raise Errno(EINVAL)
    return _send_thread(k, t, s32(tgid), s32(pid), sig)


def _user_info(t: Task, signo: int, uinfo: int) -> SigInfo:
    raw = t.space.read(uinfo, 128)
    code = int.from_bytes(raw[8:12], "little", signed=True)
    if code >= 0 or code == SI_TKILL:
        raise Errno(EPERM)
    return SigInfo(signo, code, raw[16:])


def sys_rt_sigqueueinfo(k: Kernel, t: Task, pid: int, sig: int, uinfo: int) -> int:
    """rt_sigqueueinfo(2)."""
    signo = _check_signo(sig)
    info = _user_info(t, signo, uinfo)
    target = k.processes.get(s32(pid))
    if target is None:
        raise Errno(ESRCH)
    if not _may_signal(t, target):
        raise Errno(EPERM)
    if signo:
        signals.send_to_process(k, target, info)
    return 0


def sys_rt_tgsigqueueinfo(k: Kernel, t: Task, tgid: int, pid: int, sig: int, uinfo: int) -> int:
    """rt_tgsigqueueinfo(2)."""
    return _send_thread(k, t, s32(tgid), s32(pid), sig, _user_info(t, s32(sig), uinfo))


def sys_restart_syscall(k: Kernel, t: Task) -> int:
    """restart_syscall(2): go on with a wait that a tracer's stop has interrupted; other calls are made again in another way."""
    if t.restart_block is None:
        raise Errno(EINTR)
    call, arguments, deadline = t.restart_block
    t.restart.setdefault("deadline", deadline)
    assert call.handler is not None
    return call.handler(k, t, *arguments[: call.arity])
