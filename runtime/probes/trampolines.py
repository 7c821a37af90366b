"""Return probes as Linux makes them: the return address is replaced by that of a trampoline, a breakpoint in the slots of the process.

The rules are those of kernel/events/uprobes.c: instances by task, newest first; a probed function entered by a jump from another (its
return address is the trampoline already) is chained to it; instances that longjmp has jumped over are told by the stack pointer
(arch_uretprobe_is_alive); a forked child inherits its parent's (dup_utask). What unwinds the stack itself, as C++ exceptions do, meets the
trampoline there, as it does under Linux.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import MemoryFault, OutOfMemory
from pyprobe.runtime.probes.returns import LINK, reader

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.machine.file_breakpoints import FileBreakpoints
    from pyprobe.runtime.probes.base import Handler
    from pyprobe.runtime.user.kernel import Kernel

MAX_URETPROBE_DEPTH = 64  # instances of a task


class Instance:
    """A probed call that has not returned (return_instance): the function, the stack pointer at its entry, where it really returns to,
    whether it shares its return with the instance before it, the trampoline, and what to call."""

    __slots__ = ("chained", "function", "handler", "orig_ret_vaddr", "stack", "trampoline")

    def __init__(self, function: int, stack: int, orig_ret_vaddr: int, chained: bool, trampoline: int, handler: Handler) -> None:
        self.function = function
        self.stack = stack
        self.orig_ret_vaddr = orig_ret_vaddr
        self.chained = chained
        self.trampoline = trampoline
        self.handler = handler


class Trampolines:
    """The return probes of one processor.

    function: during a handler, the address of the function that has returned. nmissed: calls whose return is not seen because the task had
    too many instances.
    """

    def __init__(self, machine: Kernel, engine: Engine) -> None:
        self.machine = machine
        self.engine = engine
        self.function = 0
        self.nmissed = 0
        self._instances: dict[int, list[Instance]] = {}  # by thread id, newest last
        self._real = 0  # where the last one really returned to

        def returned() -> int | None:
            return self._returned()

        returned.step = lambda: self._real  # type: ignore[attr-defined]  # see Engine.trap: a handler has failed, its instance is gone
        self.returned: Callable[[], int | None] = returned
        self._trampolines: set[int] = set()
        self._sp = reader(engine.register("sp"))
        self._link = engine.register(LINK[engine.arch.name]) if engine.arch.name in LINK else None
        self._read_link = reader(self._link) if self._link is not None else None
        machine.lives.attach("sched", "sched_process_fork", self._forked)
        machine.lives.attach("sched", "sched_process_exec", self._forget)
        machine.lives.attach("sched", "sched_process_exit", self._forget)

    def entry(self, handler: Handler, points: FileBreakpoints) -> Handler:
        """What to call at the first instruction of a function of a file whose return `handler` waits for."""
        state = self.engine.state

        def enter() -> None:
            self._enter(state.pc, handler, points)

        return enter

    def _enter(self, function: int, handler: Handler, points: FileBreakpoints) -> None:
        task = self.machine.current
        assert task is not None
        instances = self._instances.setdefault(task.tid, [])
        space = task.process.space
        trampoline = points.trampoline(space, function)
        if not trampoline or len(instances) >= MAX_URETPROBE_DEPTH:
            self.nmissed += 1
            return
        sp = self._sp()
        try:
            address = self._read_link() if self._read_link is not None else space.u64(sp)
            chained = address in self._trampolines
            while instances and not (sp < instances[-1].stack or (chained and sp == instances[-1].stack)):
                instances.pop()
            if chained and not instances:
                return  # somebody has copied a return address of ours
            if self._read_link is not None:
                self.engine.set(LINK[self.engine.arch.name], trampoline)
            else:
                self.engine.store(sp, trampoline.to_bytes(8, "little"))
        except (MemoryFault, OutOfMemory):
            return
        self._trampolines.add(trampoline)
        real = instances[-1].orig_ret_vaddr if chained else address
        instances.append(Instance(function, sp, real, chained, trampoline, handler))

    def _returned(self) -> int | None:
        """The breakpoint of a trampoline (handle_trampoline): where the guest goes on, None if nobody returns here."""
        task = self.machine.current
        instances = self._instances.get(task.tid) if task is not None else None
        if not instances:
            return None
        sp, state = self._sp(), self.engine.state
        valid = False
        while instances and not valid:
            chain = [instances.pop()]
            while chain[-1].chained and instances:
                chain.append(instances.pop())
            valid = not instances or sp <= instances[-1].stack
            self._real = real = state.pc = chain[0].orig_ret_vaddr
            for instance in chain if valid else ():
                self.function = instance.function
                instance.handler()
        return real

    def shown(self, addresses: list[int], entry: bool) -> list[int]:
        """A stack with the real return addresses in place of trampolines, innermost first.

        entry: a function's first instruction is about to execute. Elsewhere a stack leaves out what is not in a frame yet.
        """
        task = self.machine.current
        if task is None or self._trampolines.isdisjoint(addresses):
            return addresses
        sp = self._sp() + (not entry)
        real = [i.orig_ret_vaddr for i in reversed(self._instances.get(task.tid, [])) if not i.chained and i.stack >= sp]
        return [real.pop(0) if a in self._trampolines and real else a for a in addresses]

    def _forked(self) -> None:
        parent = self.machine.current
        if parent is None:
            return
        child = self.machine.lives.sched_process_fork.values[3]
        instances = self._instances.get(parent.tid)
        assert isinstance(child, int)
        if instances and child in self.machine.processes:
            self._instances[child] = list(instances)
        else:
            self._instances.pop(child, None)

    def _forget(self) -> None:
        task = self.machine.current
        if task is not None:
            self._instances.pop(task.tid, None)
