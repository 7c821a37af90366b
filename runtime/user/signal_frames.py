"""Signal frames on the guest's stack, laid out as each architecture's kernel does it.

arch/x86/kernel/signal_64.c and arch/x86/include/uapi/asm/sigcontext.h; arch/arm64/kernel/signal.c. A handler finds siginfo and
ucontext where the ABI says and may change the registers there, those of floating point too. What has no room in the frame travels beside
it: the whole context is kept with the task under the frame's address, and the other registers are then taken from the frame.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pyprobe.runtime.user.abi import SIGCONTEXT_ARM64, SIGCONTEXT_X86_64

if TYPE_CHECKING:
    from pyprobe.runtime.user.signals import SigAction, SigInfo
    from pyprobe.runtime.user.task import Task

SA_ONSTACK, SA_RESTORER = 0x08000000, 0x04000000
SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 0x80000000
REDZONE = 128  # below the stack pointer of x86-64, the ABI's own
FLAGS_CLEARED = 0x400 | 0x100 | 0x10000  # DF, TF, RF
FLAGS_RESTORED = 0x40DD5 | 0x10000  # FIX_EFLAGS: AC OF DF TF SF ZF AF PF CF RF

_SIGCONTEXT = struct.Struct("<18Q4H4QQ64x")  # 18 registers, segments, err trapno oldmask cr2, fpstate
_UC_HEAD = struct.Struct("<QQQi4xQ")  # uc_flags, uc_link, uc_stack
_X86_UC_SIZE = _UC_HEAD.size + _SIGCONTEXT.size + 8
_X86_FRAME_SIZE = 8 + _X86_UC_SIZE + 128
_X86_SIGINFO = 8 + _X86_UC_SIZE
_FXSAVE = struct.Struct("<HHBxHQQII")
_FX_REGISTERS = 24 * 16  # which follow: ST0 to ST7, XMM0 to XMM15; Intel SDM, FXSAVE
_EMPTY = 3  # a register's tag
_FLOAT_INITIAL = {"fpcw": 0x37F, "fpsw": 0, "fptag": 0xFFFF, "mxcsr": 0x1F80}
UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS = 2, 4

_A64_SIGINFO_SIZE = 128
_A64_UC_MASK = 40
_A64_SIGCONTEXT = 176
_A64_RESERVED = _A64_SIGCONTEXT + 8 + 34 * 8 + 8
_A64_FRAME_SIZE = _A64_SIGINFO_SIZE + _A64_RESERVED + 4096
FPSIMD_MAGIC, ESR_MAGIC = 0x46508001, 0x45535201


def push_frame(task: Task, info: SigInfo, action: SigAction, mask: int) -> None:
    """Have the task, whose registers are in the engine, run a handler next; `mask` is what it returns to.

    Raises MemoryFault where the stack does not take the frame.
    """
    (_push_x86_64 if task.process.arch == "x86_64" else _push_arm64)(task, info, action, mask)


def pop_frame(task: Task) -> int:
    """Put the registers back from the frame at the stack pointer; the signal mask it holds.

    Raises MemoryFault where there is no frame.
    """
    return (_pop_x86_64 if task.process.arch == "x86_64" else _pop_arm64)(task)


def registers_used(tags: int) -> int:
    """The tag word of the x87 registers as FXSAVE has it: a bit for each that is not empty."""
    return sum(1 << i for i in range(8) if tags >> 2 * i & 3 != _EMPTY)


def register_tags(used: int) -> int:
    """The opposite: the registers' tags, of those in use without saying what they hold."""
    return sum(_EMPTY << 2 * i for i in range(8) if not used >> i & 1)


def on_altstack(task: Task, sp: int) -> bool:
    """Does the stack pointer lie in the alternate stack?"""
    address, flags, size = task.altstack
    return not flags & (SS_DISABLE | SS_AUTODISARM) and address < sp <= address + size


def _stack_for(task: Task, sp: int, action: SigAction) -> int:
    address, flags, size = task.altstack
    if action.flags & SA_ONSTACK and not flags & SS_DISABLE and size and not on_altstack(task, sp):
        return address + size
    return sp


def _altstack_words(task: Task, sp: int) -> tuple[int, int, int]:
    address, flags, size = task.altstack
    return address, flags | (SS_ONSTACK if on_altstack(task, sp) else 0), size


def _remember(task: Task, frame: int) -> None:
    """Keep the whole context for the frame; frames that were jumped over (longjmp) lie below it and are forgotten."""
    engine = task.process.engine
    frames = task.signal_frames
    context = engine.new_context()  # always a new one: a forked child shares those that are there
    engine.save(context)
    if not task.altstack[2]:  # with two stacks, addresses do not tell the nesting
        for stale in [address for address in frames if address < frame]:
            del frames[stale]
    frames[frame] = context


def _recall(task: Task, frame: int) -> None:
    context = task.signal_frames.pop(frame, None)
    if context is not None:
        task.process.engine.restore(context)


def _push_x86_64(task: Task, info: SigInfo, action: SigAction, mask: int) -> None:
    engine, space = task.process.engine, task.process.space
    get, put = engine.get, engine.set
    engine.settle_float()
    sp = get("sp")
    top = _stack_for(task, sp, action)
    if top == sp:
        top -= REDZONE
    fpstate = (top - 512) & ~63
    frame = ((fpstate - _X86_FRAME_SIZE) & ~15) - 8
    registers = [get(name) for name in SIGCONTEXT_X86_64]
    context = _SIGCONTEXT.pack(
        *registers, 0x33, 0, 0, 0x2B, task.trap_error, task.trap_number, mask, task.fault_address, fpstate
    )
    head = _UC_HEAD.pack(UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS, 0, *_altstack_words(task, sp))
    fx = _FXSAVE.pack(get("fpcw"), get("fpsw"), registers_used(get("fptag")), 0, 0, 0, get("mxcsr"), 0xFFFF)
    space.write(fpstate, (fx + engine.vectors()).ljust(512, b"\0"))
    space.write(frame, struct.pack("<Q", action.restorer) + head + context + struct.pack("<Q", mask) + info.pack())
    _remember(task, frame)
    put("di", info.signo)
    put("si", frame + _X86_SIGINFO)
    put("dx", frame + 8)
    put("ax", 0)
    put("sp", frame)
    put("flags", get("flags") & ~FLAGS_CLEARED)
    for name, value in _FLOAT_INITIAL.items():  # fpu__clear_user_states: a handler begins with a fresh one
        put(name, value)
    engine.set_vectors(bytes(_FX_REGISTERS))
    engine.float_loaded()
    put("pc", action.handler)
    if task.altstack[1] & SS_AUTODISARM:
        task.altstack = (0, SS_DISABLE, 0)


def _pop_x86_64(task: Task) -> int:
    engine, space = task.process.engine, task.process.space
    frame = engine.get("sp") - 8
    uc = frame + 8
    _, _, altstack, altflags, altsize = _UC_HEAD.unpack(space.read(uc, _UC_HEAD.size))
    values = _SIGCONTEXT.unpack(space.read(uc + _UC_HEAD.size, _SIGCONTEXT.size))
    mask = int.from_bytes(space.read(uc + _UC_HEAD.size + _SIGCONTEXT.size, 8), "little")
    flags = engine.get("flags")
    fpstate = values[-1]
    fx = space.read(fpstate, 512) if fpstate else b""
    _recall(task, frame)
    if fx:
        control, status, used, _, _, _, vector_control, _ = _FXSAVE.unpack_from(fx)
        tags = register_tags(used)
        for name, value in (("fpcw", control), ("fpsw", status), ("fptag", tags), ("mxcsr", vector_control & 0xFFFF)):
            engine.set(name, value)
        engine.set_vectors(fx[_FXSAVE.size : _FXSAVE.size + _FX_REGISTERS])
    for name, value in zip(SIGCONTEXT_X86_64, values, strict=False):
        if name == "flags":
            engine.set("flags", (flags & ~FLAGS_RESTORED) | (value & FLAGS_RESTORED))
        else:
            engine.set("pc" if name == "ip" else name, value)
    engine.float_loaded()
    _restore_altstack(task, altstack, altflags, altsize)
    return mask


def _push_arm64(task: Task, info: SigInfo, action: SigAction, mask: int) -> None:
    engine, space = task.process.engine, task.process.space
    get, put = engine.get, engine.set
    sp = get("sp")
    record = (_stack_for(task, sp, action) - 16) & ~15
    frame = (record - _A64_FRAME_SIZE) & ~15
    uc = frame + _A64_SIGINFO_SIZE
    registers = [get(name) for name in SIGCONTEXT_ARM64]
    head = _UC_HEAD.pack(0, 0, *_altstack_words(task, sp)) + struct.pack("<Q", mask)
    space.write(record, struct.pack("<QQ", get("r29"), get("r30")))
    space.write(frame, info.pack() + head.ljust(_A64_SIGCONTEXT, b"\0") + struct.pack("<35Q", task.fault_address, *registers))
    fpsimd = struct.pack("<IIII", FPSIMD_MAGIC, 0x210, get("fpsr"), get("fpcr")) + engine.vectors()
    syndrome = struct.pack("<IIQ", ESR_MAGIC, 16, task.trap_error) if task.trap_error else b""
    space.write(uc + _A64_RESERVED, fpsimd + syndrome + bytes(8))
    _remember(task, frame)
    put("r0", info.signo)
    put("r1", frame)
    put("r2", uc)
    put("r29", record)
    put("r30", action.restorer if action.flags & SA_RESTORER else task.process.sigreturn)
    put("sp", frame)
    put("pc", action.handler)


def _pop_arm64(task: Task) -> int:
    engine, space = task.process.engine, task.process.space
    frame = engine.get("sp")
    uc = frame + _A64_SIGINFO_SIZE
    _, _, altstack, altflags, altsize = _UC_HEAD.unpack(space.read(uc, _UC_HEAD.size))
    mask = int.from_bytes(space.read(uc + _A64_UC_MASK, 8), "little")
    values = struct.unpack("<34Q", space.read(uc + _A64_SIGCONTEXT + 8, 34 * 8))
    magic, size, fpsr, fpcr = struct.unpack("<IIII", space.read(uc + _A64_RESERVED, 16))
    vectors = space.read(uc + _A64_RESERVED + 16, 512) if (magic, size) == (FPSIMD_MAGIC, 0x210) else b""
    _recall(task, frame)
    for name, value in zip(SIGCONTEXT_ARM64, values, strict=True):
        engine.set(name, value & 0xF000_0000 if name == "pstate" else value)
    if vectors:
        engine.set("fpsr", fpsr)
        engine.set("fpcr", fpcr)
        engine.set_vectors(vectors)
    _restore_altstack(task, altstack, altflags, altsize)
    return mask


def _restore_altstack(task: Task, address: int, flags: int, size: int) -> None:
    task.altstack = (address, flags & ~SS_ONSTACK, size) if size else (0, SS_DISABLE, 0)
