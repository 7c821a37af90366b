"""The system calls of each architecture, from the tables in the stdlib, joined with the handlers in `syscalls/`.

A handler is a plain function `sys_NAME(k, t, ...)` in a module of that package. It is found by the call's name in unistd.h or by
the name of the kernel's function (`sys_fstat` or `sys_newfstat`), and is called with as many arguments as it takes.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pyprobe import stdlib
from pyprobe.runtime.user.tracepoints import Tracepoint

if TYPE_CHECKING:
    from pyprobe.runtime.user.functions import KernelFunction, KernelFunctions

Handler = Callable[..., int]
ARCHITECTURES = ("x86_64", "arm64")


class Syscall:
    """One system call of one architecture.

    name: as in unistd.h; function: the kernel's, `sys_NAME`; parameters: (C type, name) each; handler: ours, or None.
    call: what the dispatcher calls: the handler, or the traced handler. arity: how many of the arguments it takes.
    enter, exit: its tracepoints.
    """

    __slots__ = ("arity", "call", "enter", "exit", "function", "handler", "name", "number", "parameters")

    def __init__(self, number: int, name: str, function: str, parameters: tuple[tuple[str, str], ...], handler: Handler | None) -> None:
        self.number = number
        self.name = name
        self.function = "sys_" + function
        self.parameters = parameters
        self.handler = handler
        self.call = handler
        self.arity = handler.__code__.co_argcount - 2 if handler else 0
        self.enter = Tracepoint("syscalls", "sys_enter_" + function, (("int", "__syscall_nr"), *parameters))
        self.exit = Tracepoint("syscalls", "sys_exit_" + function, (("int", "__syscall_nr"), ("long", "ret")))


def handlers() -> dict[str, Handler]:
    """Every `sys_NAME` function of the modules in `syscalls/`, by NAME."""
    package = importlib.import_module("pyprobe.runtime.user.syscalls")
    found: dict[str, Handler] = {}
    files = os.listdir(package.__path__[0])  # pkgutil imports inspect for this, which takes longer
    for module in sorted(name[:-3] for name in files if name.endswith(".py") and not name.startswith("_")):
        contents = vars(importlib.import_module(f"{package.__name__}.{module}"))
        found.update({name[4:]: value for name, value in contents.items() if name.startswith("sys_") and callable(value)})
    return found


def parse_parameters(text: str) -> tuple[tuple[str, str], ...]:
    """`int dfd, const char * filename` as ((type, name), ...)."""
    parameters = []
    for one in text.split(", ") if text else ():
        ctype, _, name = one.rpartition(" ")
        parameters.append((ctype, name))
    return tuple(parameters)


class SyscallTable:
    """The calls of every architecture the machine may run, and whether something watches them."""

    def __init__(self) -> None:
        self._handlers = handlers()
        self._tables: dict[str, dict[int, Syscall]] = {}
        self.traced = False  # a tracepoint of some system call is attached

    def table(self, arch: str) -> dict[int, Syscall]:
        """Number to call."""
        known = self._tables.get(arch)
        if known is None:
            known = self._tables[arch] = self._load(arch)
        return known

    def _load(self, arch: str) -> dict[int, Syscall]:
        table = {}
        for line in stdlib.text(f"syscalls_{arch}.tsv").splitlines():
            if line.startswith("#"):
                continue
            number, name, function, parameters = line.split("\t")
            if parameters != "-":
                handler = self._handlers.get(name) or self._handlers.get(function)
                table[int(number)] = Syscall(int(number), name, function, parse_parameters(parameters), handler)
        return table

    def all(self, arch: str) -> Iterator[Syscall]:
        """The architecture's calls in the order of their numbers."""
        return iter(self.table(arch).values())

    def implemented(self, arch: str) -> Iterator[Syscall]:
        """Those this kernel has a handler for."""
        return (syscall for syscall in self.all(arch) if syscall.handler)

    def trace(self) -> None:
        """A tracepoint has been attached: the dispatcher must look at the tracepoints from now on."""
        self.traced = True

    def trace_function(self, functions: KernelFunctions, function: KernelFunction) -> None:
        """Put the callbacks of `__x64_sys_NAME` around the handler."""
        for syscall in self.implemented(functions.arch):
            if function.name.endswith("_" + syscall.function) and function.body is syscall.handler:
                syscall.call = traced_handler(functions, function, syscall)


def traced_handler(functions: KernelFunctions, function: KernelFunction, syscall: Syscall) -> Handler:
    """The handler as its kernel function: what a probe sees as arguments is the pointer to the saved registers."""
    body = syscall.handler
    assert body is not None

    def with_registers(regs: object, *arguments: Any) -> Any:
        return body(*arguments)

    traced = functions.traced(function, with_registers)

    def handler(k: Any, t: Any, *arguments: int) -> int:
        result: int = traced(t.registers, k, t, *arguments)
        return result

    return handler
