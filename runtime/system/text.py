"""The kernel's code as probes see it: callbacks at addresses, names, stacks, returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from pyprobe.runtime.probes.base import combined
from pyprobe.runtime.system.ram import PAGE

if TYPE_CHECKING:
    from pyprobe.runtime.kprobes.api import Kprobes
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.tasks import SystemTask

Callback = Callable[[], object]
DEEPEST = 127  # frames


class Names(Protocol):
    """The kernel's symbols."""

    @property
    def symbols(self) -> Mapping[str, int]: ...

    def symbol_at(self, address: int) -> tuple[str, int] | None: ...


class KernelText:
    """`machine.functions` of a booted kernel. Callbacks at one address are called in the order they were attached."""

    def __init__(self, machine: SystemMachine, names: Names) -> None:
        self.machine = machine
        self.names = names
        self._cpu = machine.processor
        self.in_program = False  # what is called now is about the program that has entered the kernel
        self._callbacks: dict[tuple[int, bool], list[Callback]] = {}

    @property
    def addresses(self) -> Mapping[str, int]:
        return self.names.symbols

    def symbol(self, address: int) -> tuple[str, int] | None:
        """The name of the symbol at or before an address, and the distance to it."""
        return self.names.symbol_at(address)

    def object_address(self, thing: object, struct: str = "") -> int:
        """The address of an object of the kernel: tasks are known by it. struct: as what it is asked for, which its address is for all."""
        return getattr(thing, "address", 0)

    def task_at(self, address: int) -> SystemTask | None:
        """The task whose task_struct lies at an address."""
        return self.machine.task_at(address)

    def trace_stack(self) -> None:
        """Nothing: a real stack is there whether somebody looks or not."""

    def attach(self, address: int, callback: Callback, *, exact: bool, ours: bool = False) -> None:
        """Call `callback` when the instruction at `address` is about to execute. exact: see `Processor.plant`.
        ours: in every task, for the machine itself; else not in those that belong to it."""
        callbacks = self._callbacks.setdefault((address, exact), [])
        callbacks.append(callback if ours else self.machine.shown(callback))
        self._cpu.plant(address, combined(callbacks), exact=exact)

    def stack(self) -> tuple[int, ...]:
        """The kernel's stack, innermost first: where it is, then return addresses; the real ones, where kretprobes have put others."""
        if self.in_program:
            return ()
        found = self._cpu.kernel_stack(DEEPEST, self.machine.description)
        kprobes: Kprobes | None = vars(self.machine).get("kprobes")  # not to make what nobody needs
        return found if kprobes is None else tuple(kprobes.real_stack(list(found)))


class Frame:
    """A call that has not returned: the stack pointer after its return, the address it returns to, its function, what to call."""

    __slots__ = ("address", "callback", "function", "sp")

    def __init__(self, sp: int, address: int, function: int, callback: Callback) -> None:
        self.sp = sp
        self.address = address
        self.function = function
        self.callback = callback


class KernelReturns:
    """Return probes in the kernel: points at the real return addresses, matched by task and stack pointer. The guest is not touched.

    A frame below the stack pointer of a later call on the same stack is gone: its function never returned. So are all of a task that has
    become another one. function: during a callback, the address of the function that has returned.
    """

    def __init__(self, machine: SystemMachine) -> None:
        self.machine = machine
        self.function = 0
        self._cpu = machine.processor
        self._frames: dict[int, list[Frame]] = {}  # by the address of the task, innermost last
        self._owner: dict[int, int] = {}  # the thread id that a task had
        self._planted: set[int] = set()

    def entry(self, callback: Callback) -> Callback:
        """What to call at the first instruction of a function whose return `callback` waits for."""
        state, place = self._cpu.state, self._cpu.return_place

        def enter() -> None:
            task = self.machine.current
            after, address = place()
            if task is None or not address:
                return
            frames = self._frames.setdefault(task.address, [])
            tid = task.tid
            if self._owner.get(task.address) != tid:
                self._owner[task.address] = tid
                frames.clear()
            stack = after & -STACK
            while frames and frames[-1].sp < after and frames[-1].sp & -STACK == stack:
                frames.pop()
            frames.append(Frame(after, address, state.pc, callback))
            if address not in self._planted:
                self._planted.add(address)
                self.machine.functions.attach(address, self._returned, exact=False)

        return enter

    def _returned(self) -> None:
        task = self.machine.current
        frames = self._frames.get(task.address) if task is not None else None
        if not frames:
            return
        sp, address = self._cpu.stack_pointer(), self._cpu.state.pc
        while frames and frames[-1].sp == sp and frames[-1].address == address:
            frame = frames.pop()
            self.function = frame.function
            frame.callback()
            if self._cpu.state.stopping:
                return
        # a frame that a deeper one hides: an interrupt's, on another stack, or one that never returned
        for i in range(len(frames) - 1, -1, -1):
            if frames[i].sp == sp and frames[i].address == address:
                frame = frames[i]
                del frames[i:]
                self.function = frame.function
                frame.callback()
                return


STACK = 4 * PAGE  # THREAD_SIZE with pages of 4 KB, on both architectures
