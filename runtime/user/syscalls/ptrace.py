"""ptrace(2): the requests (kernel/ptrace.c, arch/x86/kernel/ptrace.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from errno import EINVAL, EIO, EPERM, ESRCH
from typing import TYPE_CHECKING

from pyprobe.runtime.machine import covered
from pyprobe.runtime.machine.memory import MemoryFault
from pyprobe.runtime.user import ptrace, regsets, tracee
from pyprobe.runtime.user.access import may_access
from pyprobe.runtime.user.errors import MAX_ERRNO, Errno
from pyprobe.runtime.user.ptrace import EVENT_SECCOMP, EVENT_STOP, EVENTMSG_SYSCALL_ENTRY, SYSGOOD, Mode, Tracing
from pyprobe.runtime.user.seccomp import ARCHES
from pyprobe.runtime.user.signals import NSIG, UNBLOCKABLE, Sig, SigInfo
from pyprobe.runtime.user.words import U64, s32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

# include/uapi/linux/ptrace.h, arch/x86/include/uapi/asm/ptrace-abi.h
TRACEME, PEEKTEXT, PEEKDATA, PEEKUSER, POKETEXT, POKEDATA, POKEUSER, CONT, KILL, SINGLESTEP = range(10)
GETREGS, SETREGS, GETFPREGS, SETFPREGS, ATTACH, DETACH = 12, 13, 14, 15, 16, 17
OLDSETOPTIONS, SYSCALL, ARCH_PRCTL, SYSEMU, SYSEMU_SINGLESTEP = 21, 24, 30, 31, 32
SETOPTIONS, GETEVENTMSG, GETSIGINFO, SETSIGINFO, GETREGSET, SETREGSET, SEIZE, INTERRUPT, LISTEN, PEEKSIGINFO, GETSIGMASK, SETSIGMASK = (
    range(0x4200, 0x420C)
)
GET_SYSCALL_INFO, GET_RSEQ_CONFIGURATION = 0x420E, 0x420F

PEEKSIGINFO_SHARED = 1
INFO_NONE, INFO_ENTRY, INFO_EXIT, INFO_SECCOMP = range(4)
_INFO_HEAD = struct.Struct("<B3xIQQ")  # struct ptrace_syscall_info
_RSEQ = struct.Struct("<QIII4x")  # struct ptrace_rseq_configuration
RSEQ_SIZE = 32

Request = Callable[["Kernel", "Task", Tracing, int, int], int]
"""(kernel, tracer, tracee, addr, data): the result. Raises Errno, MemoryFault."""


def sys_ptrace(k: Kernel, t: Task, request: int, pid: int, addr: int, data: int) -> int:
    """ptrace(2)."""
    if request == TRACEME:
        return _traceme(k, t)
    tid = s32(pid)
    if request in (ATTACH, SEIZE):
        return _attach(k, t, tid, request == SEIZE, addr, data)
    tracing = t.process.tracees.get(tid)
    if tracing is None or tracing.tracer is not t:
        raise Errno(ESRCH)
    if request == KILL:
        return _kill(k, tracing)
    if request != INTERRUPT and (not tracing.stopped or tracing.listening):
        raise Errno(ESRCH)
    handler = REQUESTS.get(request)
    if tracing.task.process.arch == "x86_64":
        handler = handler or OF_X86_64.get(request)
    if handler is None:
        raise Errno(EIO)
    return handler(k, t, tracing, addr, data)


# beginning and end


def _traceme(k: Kernel, t: Task) -> int:
    if t.tracing is not None or t.traced_by_init:
        raise Errno(EPERM)
    parent = t.process.parent
    if parent is None or not parent.alive:
        t.traced_by_init = True
    else:
        maker = t.process.forked_by
        if maker is None or maker.dead or maker.process is not parent:
            maker = parent.leader or next(iter(parent.threads.values()))
        ptrace.link(k, t, maker)
    return 0


def _attach(k: Kernel, t: Task, tid: int, seize: bool, addr: int, options: int) -> int:
    task = k.tasks.get(tid)
    if task is None:
        raise Errno(EPERM if tid in k.processes else ESRCH)
    if seize and (addr or options & ~ptrace.O_MASK):
        raise Errno(EIO)
    if task.process is t.process:
        raise Errno(EPERM)
    may_access(t, task.process, attach=True)
    if task.tracing is not None or task.traced_by_init:
        raise Errno(EPERM)
    tracing = ptrace.link(k, task, t, seized=seize, options=options if seize else 0)
    if task.process.stopped:
        tracing.trap = True
        if task.parked is None:
            k.scheduler.unpark(task)
    if not seize:
        k.do_send_sig_info(Sig.STOP, SigInfo(Sig.STOP), task, 0)
    return 0


def _detach(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    tracing.code, tracing.stopped = _signal(data), False
    tracee.let_go(k, tracing)
    return 0


def _kill(k: Kernel, tracing: Tracing) -> int:
    k.do_send_sig_info(Sig.KILL, SigInfo(Sig.KILL), tracing.task, 0)
    return 0


# going on


def _signal(data: int) -> int:
    if data > NSIG:
        raise Errno(EIO)
    return data


def _resuming(mode: Mode) -> Request:
    def request(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
        ptrace.resume(k, tracing, mode, _signal(data))
        return 0

    return request


def _interrupt(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    if not tracing.seized:
        raise Errno(EIO)
    tracing.trap = True
    ptrace.trap(k, tracing)
    return 0


def _listen(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    if not tracing.seized or tracing.info is None or tracing.info.code >> 8 != EVENT_STOP:
        raise Errno(EIO)
    tracing.listening = True
    if tracing.notify:
        ptrace.wake(k, tracing)
    return 0


def _rseq(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    if addr != _RSEQ.size:
        raise Errno(EINVAL)
    address, signature = tracing.task.rseq or (0, 0)
    t.space.write(data, _RSEQ.pack(address, RSEQ_SIZE if address else 0, signature, 0))
    return _RSEQ.size


def _set_options(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    if data & ~ptrace.O_MASK:
        raise Errno(EINVAL)
    tracing.options = data
    return 0


# memory


def _peek(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    word = covered.read(tracing.task.process.engine, tracing.task.space, addr, 8)
    if len(word) < 8:
        raise Errno(EIO)
    t.space.write(data, word)
    return 0


def _poke(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    try:
        covered.write(tracing.task.process.engine, tracing.task.space, addr, data.to_bytes(8, "little"))
    except MemoryFault:
        raise Errno(EIO) from None
    return 0


# what it has stopped for


def _get_event_message(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    t.space.put_u64(data, tracing.message)
    return 0


def _get_siginfo(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    if tracing.info is None:
        raise Errno(EINVAL)
    t.space.write(data, tracing.info.pack())
    return 0


def _set_siginfo(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    raw = t.space.read(data, 128)
    if tracing.info is None:
        raise Errno(EINVAL)
    signo, _, code = struct.unpack_from("<iii", raw)
    tracing.info = SigInfo(signo, code, raw[16:])
    return 0


def _peek_siginfo(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    offset, flags, count = struct.unpack("<QIi", t.space.read(addr, 16))
    if flags & ~PEEKSIGINFO_SHARED or count < 0:
        raise Errno(EINVAL)
    queue = tracing.task.process.pending if flags & PEEKSIGINFO_SHARED else tracing.task.pending
    found = list(queue)[offset : offset + count]
    for i, info in enumerate(found):
        t.space.write(data + 128 * i, info.pack())
    return len(found)


def _get_mask(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    if addr != 8:
        raise Errno(EINVAL)
    task = tracing.task
    t.space.put_u64(data, task.blocked if task.saved_mask is None else task.saved_mask)
    return 0


def _set_mask(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    if addr != 8:
        raise Errno(EINVAL)
    tracing.task.blocked = t.space.u64(data) & ~UNBLOCKABLE
    tracing.task.saved_mask = None
    return 0


def _call_info(tracing: Tracing) -> bytes:
    task = tracing.task
    engine, context, arch = task.process.engine, task.context, task.process.engine.arch
    code = tracing.info.code if tracing.info is not None else 0
    kind, rest = INFO_NONE, b""
    if code in (Sig.TRAP | SYSGOOD, EVENT_SECCOMP << 8 | Sig.TRAP):
        call = struct.pack("<7Q", tracing.number & U64, *(engine.context_get(context, name) for name in arch.arguments))
        if code >> 8:
            kind, rest = INFO_SECCOMP, call + struct.pack("<I", tracing.message)
        elif tracing.message == EVENTMSG_SYSCALL_ENTRY:
            kind, rest = INFO_ENTRY, call
        else:
            value = engine.context_get(context, arch.result)
            kind, rest = INFO_EXIT, struct.pack("<QB", value, value > U64 - MAX_ERRNO)
    place = (engine.context_get(context, name) for name in (arch.pc, arch.sp))
    return _INFO_HEAD.pack(kind, ARCHES[task.process.arch], *place) + rest


def _get_syscall_info(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    info = _call_info(tracing)
    t.space.write(data, info[:addr])
    return len(info)


# registers


def _iovec(t: Task, tracing: Tracing, note: int, data: int) -> tuple[regsets.Regset, int, int]:
    base, length = struct.unpack("<QQ", t.space.read(data, 16))
    regset = regsets.REGSETS[tracing.task.process.arch].get(note)
    if regset is None or length % regset.unit:
        raise Errno(EINVAL)
    return regset, base, length


def _get_regset(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    regset, base, length = _iovec(t, tracing, addr, data)
    found = regset.read(tracing)[:length]
    t.space.write(base, found)
    t.space.put_u64(data + 8, len(found))
    return 0


def _set_regset(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    regset, base, length = _iovec(t, tracing, addr, data)
    if regset.write is None:
        raise Errno(EINVAL)
    length = min(length, len(regset.read(tracing)))
    regset.write(tracing, t.space.read(base, length))
    t.space.put_u64(data + 8, length)
    return 0


def _reading(note: int) -> Request:
    def request(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
        t.space.write(data, regsets.REGSETS["x86_64"][note].read(tracing))
        return 0

    return request


def _writing(note: int) -> Request:
    regset = regsets.REGSETS["x86_64"][note]

    def request(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
        assert regset.write is not None
        regset.write(tracing, t.space.read(data, len(regset.read(tracing))))
        return 0

    return request


def _user_offset(addr: int) -> int:
    if addr % 8 or addr >= regsets.USER_SIZE:
        raise Errno(EIO)
    return addr // 8


def _peek_user(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    number = _user_offset(addr)
    if addr >= regsets.DEBUG_REGISTERS:
        value = tracing.debug.get((addr - regsets.DEBUG_REGISTERS) // 8)
    else:
        value = regsets.get_register(tracing, regsets.USER_REGS[number]) if number < len(regsets.USER_REGS) else 0
    t.space.put_u64(data, value)
    return 0


def _poke_user(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    number = _user_offset(addr)
    if addr >= regsets.DEBUG_REGISTERS:
        tracing.debug.set((addr - regsets.DEBUG_REGISTERS) // 8, data)
        return 0
    if number >= len(regsets.USER_REGS):
        raise Errno(EIO)
    regsets.set_register(tracing, regsets.USER_REGS[number], data)
    return 0


_ARCH_BASES = {0x1001: "gs_base", 0x1002: "fs_base", 0x1003: "fs_base", 0x1004: "gs_base"}  # ARCH_SET_GS, SET_FS, GET_FS, GET_GS


def _arch_prctl(k: Kernel, t: Task, tracing: Tracing, addr: int, data: int) -> int:
    name = _ARCH_BASES.get(data)
    if name is None:
        raise Errno(EINVAL)
    if data <= 0x1002:
        regsets.set_register(tracing, name, addr)
    else:
        t.space.put_u64(addr, regsets.get_register(tracing, name))
    return 0


REQUESTS: dict[int, Request] = {
    PEEKTEXT: _peek,
    PEEKDATA: _peek,
    POKETEXT: _poke,
    POKEDATA: _poke,
    CONT: _resuming(Mode.RUN),
    SYSCALL: _resuming(Mode.SYSCALL),
    SINGLESTEP: _resuming(Mode.STEP),
    SYSEMU: _resuming(Mode.SYSEMU),
    SYSEMU_SINGLESTEP: _resuming(Mode.SYSEMU_STEP),
    DETACH: _detach,
    INTERRUPT: _interrupt,
    LISTEN: _listen,
    OLDSETOPTIONS: _set_options,
    SETOPTIONS: _set_options,
    GETEVENTMSG: _get_event_message,
    GETSIGINFO: _get_siginfo,
    SETSIGINFO: _set_siginfo,
    PEEKSIGINFO: _peek_siginfo,
    GETSIGMASK: _get_mask,
    SETSIGMASK: _set_mask,
    GET_SYSCALL_INFO: _get_syscall_info,
    GET_RSEQ_CONFIGURATION: _rseq,
    GETREGSET: _get_regset,
    SETREGSET: _set_regset,
}

OF_X86_64: dict[int, Request] = {
    PEEKUSER: _peek_user,
    POKEUSER: _poke_user,
    GETREGS: _reading(regsets.NT_PRSTATUS),
    SETREGS: _writing(regsets.NT_PRSTATUS),
    GETFPREGS: _reading(regsets.NT_PRFPREG),
    SETFPREGS: _writing(regsets.NT_PRFPREG),
    ARCH_PRCTL: _arch_prctl,
}
