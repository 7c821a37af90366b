"""Return probes without touching the guest: hooks at the real return addresses, matched by task and stack pointer.

When a probed function is entered, a frame is noted: the stack pointer that there will be after its return, and the return address,
where a point is planted once and stays. When that address executes with that stack pointer, the function has returned.

Frames that never return (longjmp, exceptions, a thread's end) must be dropped, and be told from tail calls, where several functions share
one return:

* On the thread's own stack, which grows down, a frame below the stack pointer of a new call or of a return is gone.
* On other stacks (sigaltstack, coroutines) order says nothing. On x86-64 such a frame is gone when its return address was overwritten.
* A frame with the very stack pointer and return address of a new entry is a tail caller if the entry was reached by a jump, and gone if it
  was reached by a call: then the block of code that executed last ends at the return address. A call may reach the function by a jump all
  the same, through the procedure linkage table or a thunk; so the direct target of the call is watched too: when that is called, frames
  waiting for this return are gone.

A forked child inherits the frames, as a Linux kernel's uprobes do (dup_utask in kernel/events/uprobes.c); exec and exit drop them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import MemoryFault, OutOfMemory

if TYPE_CHECKING:
    from pyprobe.runtime.machine.bound import Bound
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.memory import AddressSpace
    from pyprobe.runtime.probes.base import Handler
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

LINK = {"arm64": "lr"}  # where the return address is at a function's entry, if not on the stack
SLOT = {"x86_64": 8, "arm64": 0}  # bytes of the return address on the stack, which the return pops
OTHER = 0  # a stack that is not the thread's own


class Frame:
    """A call that has not returned: `sp` after its return, the address it returns to, the stack it lies on (the end of its mapping, or
    OTHER), the address of the function and what to call."""

    __slots__ = ("address", "function", "handler", "sp", "stack")

    def __init__(self, sp: int, address: int, stack: int, function: int, handler: Handler) -> None:
        self.sp = sp
        self.address = address
        self.stack = stack
        self.function = function
        self.handler = handler


class Returns:
    """The return probes of one processor.

    function: during a handler, the address of the function that has returned.
    """

    def __init__(self, machine: Kernel, engine: Engine) -> None:
        self.machine = machine
        self.engine = engine
        self.function = 0
        self._arch = engine.arch.name
        self._slot = SLOT[self._arch]
        self._frames: dict[int, list[Frame]] = {}  # by thread id, innermost last
        self._own: dict[int, tuple[int, int]] = {}  # thread id -> bounds of its own stack, as last seen
        self._state = engine.state
        self._sp = reader(engine.register("sp"))
        self._link = reader(engine.register(LINK[self._arch])) if self._arch in LINK else None
        self._on_return: Handler = self._returned  # one object each, so that a point of ours is known again
        self._on_target: Handler = self._target_called
        machine.lives.attach("sched", "sched_process_fork", self._forked)
        machine.lives.attach("sched", "sched_process_exec", self._forget)
        machine.lives.attach("sched", "sched_process_exit", self._forget)

    def entry(self, handler: Handler, exact: bool) -> Handler:
        """What to call at the first instruction of a function whose return `handler` waits for; exact: the point there is an exact one."""
        state = self._state

        def enter() -> None:
            self._enter(state.pc, handler, exact)

        return enter

    def _enter(self, function: int, handler: Handler, exact: bool) -> None:
        task = self.machine.current
        assert task is not None
        space = task.process.space
        sp = self._sp()
        try:
            address = self._link() if self._link is not None else space.u64(sp)
        except (MemoryFault, OutOfMemory):
            return  # the function will not get far with a stack like this
        after = sp + self._slot
        frames = self._frames.get(task.tid)
        if frames is None:
            frames = self._frames[task.tid] = []
        stack = self._stack(task, sp)
        called = self._called(space, address, function, exact)
        if frames:
            self._drop(frames, space, after, stack, called)
        if space.points.blocks.get(address) is not self._on_return:
            self._plant(space, address, self._on_return)
        if not called:
            self._watch_target(space, address, function)
        frames.append(Frame(after, address, stack, function, handler))

    def _drop(self, frames: list[Frame], space: AddressSpace, sp: int, stack: int, called: bool) -> None:
        """Drop the frames that a new entry shows to be gone."""
        while frames and stack != OTHER and frames[-1].stack == stack and frames[-1].sp < sp:
            frames.pop()
        if stack == OTHER or (called and frames and (frames[-1].sp == sp or frames[-1].stack == OTHER)):
            frames[:] = [f for f in frames if not self._gone(f, space, sp, stack, called)]

    def _gone(self, frame: Frame, space: AddressSpace, sp: int, stack: int, called: bool) -> bool:
        if frame.sp == sp and frame.stack == stack:
            return called
        if frame.stack != OTHER or not self._slot:
            return False
        try:
            return space.u64(frame.sp - self._slot) != frame.address
        except (MemoryFault, OutOfMemory):
            return True

    def _called(self, space: AddressSpace, address: int, function: int, exact: bool = False) -> bool:
        """Whether the instruction executed last is the call that returns to `address`.

        Exact points are reached after the block that holds them has begun, and after an interruption the last block is not known: then
        it is taken for a call if that call's target is the function.
        """
        state = self._state
        if state.size and not exact:
            return state.block + state.size == address
        return call_target(self._arch, space, address) == function

    def _stack(self, task: Task, sp: int) -> int:
        low, high = self._own.get(task.tid, (0, 0))
        if not low <= sp < high:
            low, high = own_stack(task, sp, self.engine.get("tls"))
            if not high:
                return OTHER
            self._own[task.tid] = low, high
        base, flags, size = task.altstack
        if not flags & SS_DISABLE and base <= sp < base + size:
            return OTHER
        return high

    def _returned(self) -> None:
        task = self.machine.current
        assert task is not None
        frames = self._frames.get(task.tid)
        if not frames:
            return
        sp, pc = self._sp(), self._state.pc
        last = frames[-1]
        if last.sp == sp and last.address == pc and (len(frames) == 1 or frames[-2].sp != sp):
            frames.pop()
            self.function = last.function
            last.handler()
            return
        done = [f for f in reversed(frames) if f.sp == sp and f.address == pc]
        if not done:
            return
        stack = done[0].stack
        frames[:] = [f for f in frames if not ((f.sp == sp and f.address == pc) or (f.sp < sp and f.stack == stack != OTHER))]
        for frame in done:
            self.function = frame.function
            frame.handler()

    def _watch_target(self, space: AddressSpace, address: int, function: int) -> None:
        """The function was reached by a jump: watch what the call at `address` calls, to see when it is called again."""
        target = call_target(self._arch, space, address)
        if target is not None and target != function:
            self._plant(space, target, self._on_target)

    def _target_called(self) -> None:
        task = self.machine.current
        assert task is not None
        frames = self._frames.get(task.tid)
        if not frames:
            return
        space, sp = task.process.space, self._sp()
        try:
            address = self._link() if self._link is not None else space.u64(sp)
        except (MemoryFault, OutOfMemory):
            return
        if self._called(space, address, self._state.pc):
            self._drop(frames, space, sp + self._slot, self._stack(task, sp), True)

    def _plant(self, space: AddressSpace, address: int, ours: Handler) -> None:
        """Plant ours at an address once, before what may be planted there."""
        known = space.points.blocks.get(address)
        if known is None:
            self.engine.plant(space, address, ours)
        elif known is not ours and not (isinstance(known, Both) and ours in known):
            self.engine.plant(space, address, Both(ours, known))

    def _forked(self) -> None:
        """sched_process_fork: a child process starts with its parent's frames, a thread with none."""
        parent = self.machine.current
        if parent is None:
            return
        child = self.machine.lives.sched_process_fork.values[3]
        frames = self._frames.get(parent.tid)
        assert isinstance(child, int)
        self._own.pop(child, None)
        if frames and child in self.machine.processes:
            self._frames[child] = list(frames)
        else:
            self._frames.pop(child, None)

    def _forget(self) -> None:
        """sched_process_exec, sched_process_exit: the current thread's calls will never return."""
        task = self.machine.current
        if task is not None:
            self._frames.pop(task.tid, None)
            self._own.pop(task.tid, None)


class Both:
    """Two callbacks at one address."""

    __slots__ = ("first", "second")

    def __init__(self, first: Handler, second: Handler) -> None:
        self.first = first
        self.second = second

    def __call__(self) -> None:
        self.first()
        self.second()

    def __contains__(self, callback: object) -> bool:
        return callback is self.first or callback is self.second or (isinstance(self.second, Both) and callback in self.second)


SS_DISABLE = 2  # sigaltstack(2)


def own_stack(task: Task, sp: int, tls: int) -> tuple[int, int]:
    """Bounds of the stack that the kernel or the C library made for a thread, if `sp` is in it, else (0, 0).

    The first thread's grows down by itself; those of others end at the thread's control block, which `tls` points to.
    """
    vma = task.process.space.find(sp)
    if vma is None:
        return 0, 0
    if task.tid == task.pid:
        return (vma.start, vma.end) if vma.grows_down else (0, 0)
    return (vma.start, tls) if sp < tls <= vma.end else (0, 0)


def call_target(arch: str, space: AddressSpace, address: int) -> int | None:
    """The target of the direct call whose return address is `address`; None for an indirect one."""
    try:
        if arch == "arm64":
            word = int.from_bytes(space.read(address - 4, 4), "little")
            if word >> 26 != 0b100101:  # BL
                return None
            offset = (word & 0x3FFFFFF) - ((word & 0x2000000) << 1)
            return address - 4 + 4 * offset
        code = space.read(address - 5, 5)
    except (MemoryFault, OutOfMemory):
        return None
    if code[0] != 0xE8:  # CALL rel32
        return None
    return address + int.from_bytes(code[1:], "little", signed=True)


def reader(bound: Bound) -> Callable[[], int]:
    """A function that reads a register."""
    read: Callable[[], int] = eval(f"lambda: {bound.expression}", dict(bound.names))
    return read
