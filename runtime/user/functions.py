"""The emulated kernel's functions, as kprobes see them.

Each is the one place where this kernel does the work of the Linux function of that name. The body is an ordinary
Python function marked with `kernel_function`; everybody calls it through the kernel instance (`k.vfs_read(file, ...)`).
While nothing is attached that attribute is the plain bound body; attaching puts a tracing wrapper in its place, so an
unattached function costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from errno import EFAULT
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar

from pyprobe.runtime.user.errors import MAX_ERRNO, Block, Errno
from pyprobe.runtime.user.hrtimers import FUNCTIONS
from pyprobe.runtime.user.objects import KernelObjects

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.task import Task

Callback = Callable[[], object]
Body = TypeVar("Body", bound=Callable[..., Any])

U64 = (1 << 64) - 1

# Where made-up addresses lie; Documentation/arch/x86/x86_64/mm.rst and Documentation/arch/arm64/memory.rst give the ranges.
TEXT_BASE = {"x86_64": 0xFFFF_FFFF_8100_0000, "arm64": 0xFFFF_8000_0801_0000}
FUNCTION_SIZE = 0x100  # every function's made-up length; also the distance between two

# What lies below a system call's function on the kernel stack, innermost first, with offsets as a stock kernel shows them.
ENTRY_FRAMES = {
    "x86_64": (("do_syscall_64", 0x5B), ("entry_SYSCALL_64_after_hwframe", 0x76)),
    "arm64": (("invoke_syscall", 0x48), ("el0_svc_common.constprop.0", 0x40), ("do_el0_svc", 0x1C), ("el0_svc", 0x28),
              ("el0t_64_sync_handler", 0x100), ("el0t_64_sync", 0x190)),
}  # fmt: skip
SYSCALL_PREFIX = {"x86_64": "__x64_", "arm64": "__arm64_"}
CALL_OFFSET = 0x20  # offset of the made-up call instruction that a caller's frame shows
PROBE_OFFSET = 1  # offset a probed function's own frame shows: the kernel's int3 has been executed

_PROTOTYPE = re.compile(r"\s*(?P<type>.*?[\s*])(?P<name>\w+)\s*\((?P<parameters>.*)\)\s*", re.S)
_PARAMETER = re.compile(r"\s*(?P<type>.*?[\s*])(?P<name>\w+)\s*", re.S)

# name -> (prototype, body), filled by the decorator when the modules that hold the bodies are imported
_BODIES: dict[str, tuple[str, Callable[..., Any]]] = {}


def kernel_function(prototype: str) -> Callable[[Body], Body]:
    """Mark `body(k, *arguments)` as the emulated kernel's implementation of a Linux function.

    prototype: the C prototype; its parameters are, in order, the first arguments after `k`. An argument is an int, or a
    kernel object of ours (a task, a file ...), which probes see as a made-up pointer; None is NULL. Further
    arguments of the body, beyond the prototype's, are not shown. The result is an int, an object or None (0); a raised Errno
    shows as the negative error number.
    """

    def mark(body: Body) -> Body:
        name, _, _ = parse_prototype(prototype)
        _BODIES[name] = (prototype, body)
        return body

    return mark


def parse_prototype(prototype: str) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """C prototype to (name, result type, ((type, name), ...)).

    Raises ValueError for what is not a prototype with named parameters.
    """
    whole = _PROTOTYPE.fullmatch(prototype)
    if whole is None:
        raise ValueError(f"not a prototype: {prototype}")
    parameters: list[tuple[str, str]] = []
    inside = whole["parameters"].strip()
    for one in inside.split(",") if inside not in ("", "void") else ():
        match = _PARAMETER.fullmatch(one)
        if match is None:
            raise ValueError(f"parameter without a name in: {prototype}")
        parameters.append((match["type"].strip(), match["name"]))
    return whole["name"], whole["type"].strip(), tuple(parameters)


def pointed_to(ctype: str) -> str:
    """What a pointer leads to: `const struct path *` gives `struct path`."""
    return ctype.replace("const ", "").rstrip(" *")


class KernelFunction:
    """One function that kprobe and kretprobe can attach to.

    name, result, parameters: of the C prototype; address: made up, stable for one version of the emulated kernel.
    args, retval: valid during callbacks: ints as a register would hold them (unsigned 64-bit); args at exits only if somebody asked.
    override: set by a callback at the entry: the function does not run but returns this.
    """

    __slots__ = (
        "address", "args", "args_at_exit", "body", "entries", "exits", "name", "override", "parameters", "prototype", "result",
        "result_struct", "retval", "structs",
    )  # fmt: skip

    def __init__(self, prototype: str, body: Callable[..., Any]) -> None:
        self.prototype = prototype
        self.name, self.result, self.parameters = parse_prototype(prototype)
        self.structs = tuple(pointed_to(ctype) for ctype, _ in self.parameters)
        self.result_struct = pointed_to(self.result)
        self.body = body
        self.address = 0
        self.entries: tuple[Callback, ...] = ()
        self.exits: tuple[Callback, ...] = ()
        self.args: tuple[int, ...] = ()
        self.args_at_exit = False
        self.override: int | None = None
        self.retval = 0


class KernelFunctions:
    """All functions of one emulated kernel, by name, with the attachments and the made-up kernel addresses."""

    def __init__(self, kernel: Kernel, arch: str) -> None:
        self._k = kernel
        self.arch = arch
        self.tracing_stack = False
        self.objects = KernelObjects(kernel, arch)
        self.object_address = self.objects.address
        self.object_at = self.objects.at
        self._all: dict[str, KernelFunction] = {}
        for name, (prototype, body) in _BODIES.items():
            self._all[name] = KernelFunction(prototype, body)
            setattr(kernel, name, MethodType(body, kernel))
        for syscall in kernel.syscalls.implemented(arch):
            assert syscall.handler is not None
            function = KernelFunction(f"long {SYSCALL_PREFIX[arch]}{syscall.function}(struct pt_regs * regs)", syscall.handler)
            self._all[function.name] = function
        names = sorted({*self._all, *FUNCTIONS, *(name for name, _ in ENTRY_FRAMES[arch])})
        base = TEXT_BASE[arch]
        self.addresses: dict[str, int] = {name: base + FUNCTION_SIZE * i for i, name in enumerate(names)}
        self._names = names
        for name, function in self._all.items():
            function.address = self.addresses[name]

    def __iter__(self) -> Iterator[KernelFunction]:
        """All probe-able functions, sorted by name."""
        return (self._all[name] for name in self._names if name in self._all)

    def __contains__(self, name: str) -> bool:
        return name in self._all

    def __getitem__(self, name: str) -> KernelFunction:
        return self._all[name]

    def get(self, name: str) -> KernelFunction | None:
        """The function of that name."""
        return self._all.get(name)

    def symbol(self, address: int) -> tuple[str, int] | None:
        """(name, offset) of a made-up kernel text address."""
        index, offset = divmod(address - TEXT_BASE[self.arch], FUNCTION_SIZE)
        return (self._names[index], offset) if 0 <= index < len(self._names) else None

    def task_at(self, address: int) -> Task | None:
        """The task that has a made-up address."""
        from pyprobe.runtime.user.task import Task

        found = self.object_at(address)
        return found if isinstance(found, Task) else None

    def attach(
        self, name: str, on_entry: Callback | None = None, on_exit: Callback | None = None, *, arguments: bool = False
    ) -> None:
        """Have callbacks called at the entry and exit of a function; several may be attached to one.

        arguments: the exit's callback needs them too. Raises KeyError if there is no function of that name.
        """
        function = self._all[name]
        if on_entry is not None:
            function.entries += (on_entry,)
        if on_exit is not None:
            function.exits += (on_exit,)
            function.args_at_exit = function.args_at_exit or arguments
        self._wrap(function)
        if name == "handle_mm_fault":
            self._k.watch_faults()

    def trace_stack(self) -> None:
        """Keep every task's stack of active kernel functions from now on: `stack` is complete."""
        self.tracing_stack = True
        for function in self._all.values():
            self._wrap(function)

    def stack(self) -> list[int]:
        """The current task's kernel stack as made-up text addresses, innermost first; empty when it is in user mode."""
        task = self._k.current
        if task is None or (not task.kernel_stack and not task.syscall):
            return []
        addresses = self.addresses
        frames = [addresses[name] + CALL_OFFSET for name in reversed(task.kernel_stack)]
        if frames:
            frames[0] += PROBE_OFFSET - CALL_OFFSET
        if task.syscall is not None:
            name = SYSCALL_PREFIX[self.arch] + task.syscall.function
            if name in addresses and name not in task.kernel_stack:
                frames.append(addresses[name] + CALL_OFFSET)
            frames += [addresses[name] + offset for name, offset in ENTRY_FRAMES[self.arch]]
        return frames

    def _wrap(self, function: KernelFunction) -> None:
        if function.name in _BODIES:
            setattr(self._k, function.name, self.traced(function, MethodType(function.body, self._k)))
        else:
            self._k.syscalls.trace_function(self, function)

    def interrupted(self, task: Task, result: int) -> None:
        """The functions of a call that a signal took the current task out of return, innermost first, with `result`, an error number."""
        names = list(task.suspended)
        task.suspended.clear()
        for name in names:
            self._leave(self._all[name], (), result)

    def traced(self, function: KernelFunction, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call` with the function's callbacks around it.

        A call that blocks is made again from the system call's start; the functions that were active then are remembered by the
        task, outermost last, and entered again without firing.
        """
        k, name, shown = self._k, function.name, len(function.parameters)

        def traced_call(*arguments: Any, **further: Any) -> Any:
            task = k.current
            if task is not None and task.suspended and task.suspended[-1] == name:
                task.suspended.pop()
            elif function.entries:
                function.args = tuple(map(self.object_address, arguments[:shown], function.structs))
                if task is not None:
                    task.kernel_stack.append(name)
                try:
                    for callback in function.entries:
                        callback()
                finally:
                    if task is not None:
                        task.kernel_stack.pop()
                if function.override is not None:
                    return self._overridden(function, arguments)
            if task is not None:
                task.kernel_stack.append(name)
            try:
                result = call(*arguments, **further)
            except Block:
                if task is not None:
                    task.suspended.append(name)
                raise
            except Errno as error:
                self._leave(function, arguments, -error.errno)
                raise
            finally:
                if task is not None and task.kernel_stack:
                    task.kernel_stack.pop()
            self._leave(function, arguments, result)
            return result

        return traced_call

    def _overridden(self, function: KernelFunction, arguments: tuple[object, ...]) -> int:
        """Return what a probe wants in place of running the function. Raises Errno for an error number, and where a pointer would be
        returned, which nobody could follow."""
        value, function.override = function.override or 0, None
        self._leave(function, arguments, value)
        bits = {"int": 32, "bool": 8}.get(function.result, 64)
        value &= (1 << bits) - 1
        value -= value >> (bits - 1) << bits
        if -MAX_ERRNO <= value < 0:
            raise Errno(-value)
        if function.result.endswith("*"):
            raise Errno(EFAULT)
        return value

    def _leave(self, function: KernelFunction, arguments: tuple[object, ...], result: object) -> None:
        if function.exits:
            if function.args_at_exit:
                function.args = tuple(map(self.object_address, arguments[: len(function.parameters)], function.structs))
            function.retval = self.object_address(result, function.result_struct)
            for callback in function.exits:
                callback()
