"""Restartable sequences: rseq(2), kernel/rseq.c. With one CPU the ids are always 0; what matters is the abort of a sequence.

A thread registers a struct rseq. When it loses the CPU or gets a signal inside the critical section that the structure's `rseq_cs`
describes, it goes on at the section's abort handler.
"""

from __future__ import annotations

import struct
from errno import EBUSY, EFAULT, EINVAL, EPERM
from typing import TYPE_CHECKING, Final

from pyprobe.runtime.machine.memory import MemoryFault
from pyprobe.runtime.user.errors import Errno
from pyprobe.runtime.user.signals import Sig, SigInfo, force
from pyprobe.runtime.user.words import U32

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

RSEQ_FLAG_UNREGISTER: Final = 1
SIZE: Final = 32  # of struct rseq, and its alignment
_UNINITIALIZED: Final = U32  # RSEQ_CPU_ID_UNINITIALIZED
_IDS: Final = struct.Struct("<II8xIII")  # cpu_id_start, cpu_id, rseq_cs (left alone), flags, node_id, mm_cid
_SECTION: Final = struct.Struct("<IIQQQ")  # struct rseq_cs: version, flags, start_ip, post_commit_offset, abort_ip
_CS_AT: Final = 8


def register(t: Task, address: int, length: int, flags: int, signature: int) -> int:
    """rseq(2). Raises Errno."""
    if flags & RSEQ_FLAG_UNREGISTER:
        if flags & ~RSEQ_FLAG_UNREGISTER or t.rseq is None or t.rseq[0] != address:
            raise Errno(EINVAL)
        if t.rseq[1] != signature:
            raise Errno(EPERM)
        _publish(t, address, _UNINITIALIZED)
        t.rseq = None
        return 0
    if flags:
        raise Errno(EINVAL)
    if t.rseq is not None:
        if t.rseq[0] != address or length != SIZE:
            raise Errno(EINVAL)
        raise Errno(EPERM if t.rseq[1] != signature else EBUSY)
    if address % SIZE or length < SIZE:
        raise Errno(EINVAL)
    try:
        _publish(t, address, 0)
    except MemoryFault:
        raise Errno(EFAULT) from None
    t.rseq = (address, signature)
    return 0


def _publish(t: Task, address: int, cpu: int) -> None:
    section = t.space.read(address + _CS_AT, 8)
    packed = bytearray(_IDS.pack(0, cpu, 0, 0, 0))
    packed[_CS_AT : _CS_AT + 8] = section
    t.space.write(address, packed)


def interrupted(k: Kernel, t: Task) -> None:
    """The running task has lost the CPU or gets a signal: leave the critical section it may be in (rseq_ip_fixup)."""
    assert t.rseq is not None
    address, signature = t.rseq
    engine = t.process.engine
    try:
        pointer = t.space.u64(address + _CS_AT)
        if not pointer:
            return
        version, _, start, length, abort = _SECTION.unpack(t.space.read(pointer, _SECTION.size))
        pc = engine.get(engine.arch.pc)
        if not 0 <= pc - start < length:
            t.space.put_u64(address + _CS_AT, 0)
            return
        if version or 0 <= abort - start < length or t.space.u32(abort - 4) != signature:
            force(k, t, SigInfo(Sig.SEGV))
            return
        t.space.put_u64(address + _CS_AT, 0)
        engine.set(engine.arch.pc, abort)
    except MemoryFault:
        force(k, t, SigInfo(Sig.SEGV))
