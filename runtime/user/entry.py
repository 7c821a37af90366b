"""The way into the kernel and out of it again: dispatch of system calls, their tracepoints, waits and restarts (arch/*/entry)."""

from __future__ import annotations

import struct
from errno import EFAULT, EINTR, EINVAL, ENOMEM, ENOSYS
from typing import TYPE_CHECKING

from pyprobe.runtime.machine.memory import MemoryFault, OutOfMemory
from pyprobe.runtime.user import ptrace, tracee
from pyprobe.runtime.user.abi import ABIS
from pyprobe.runtime.user.errors import Block, Errno, TaskGone
from pyprobe.runtime.user.ptrace import ERESTARTSYS
from pyprobe.runtime.user.seccomp import decide
from pyprobe.runtime.user.signals import has_deliverable
from pyprobe.runtime.user.task import Parked
from pyprobe.runtime.user.words import U32, U64

if TYPE_CHECKING:
    from pyprobe.runtime.machine.engine import Engine
    from pyprobe.runtime.user.kernel import Kernel
    from pyprobe.runtime.user.syscall_table import Syscall
    from pyprobe.runtime.user.task import Task

UNFORESEEN = (struct.error, ArithmeticError, RecursionError, IndexError, KeyError, ValueError, MemoryError)
"""What a handler raises when a program's numbers are larger, or its objects deeper, than anybody thought of: no reason to end the run."""


class Entry:
    """What an engine calls for a system call instruction.

    watched: seccomp(2) or ptrace(2) is in use.
    engine, table: of the task that runs. attention: the task must not go on in user mode before the kernel has looked at it.
    failures: calls that went wrong because of a mistake in this kernel, by name, and how; the program gets EINVAL.
    unknown: calls without a handler that were tried, by name or number, and how often.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._k = kernel
        self.engine: Engine | None = None
        self.table: dict[int, Syscall] = {}
        self.attention = False
        self.watched = False  # some task has seccomp filters, or is traced
        self.unknown: dict[str, int] = {}
        self.failures: dict[str, str] = {}

    def syscall(self) -> bool:
        """Do the system call of the current task; whether it goes on in user mode at once."""
        k, engine = self._k, self.engine
        task = k.current
        assert engine is not None and task is not None
        words = engine.syscall_arguments()
        number, arguments = words[0] & U32, words[1:]
        if self.watched:
            if task.tracing is not None:
                tracee.enters(task.tracing, number, arguments)
                return False
            decision = decide(k, task, number, arguments) if task.seccomp is not None else None
            if decision is not None:
                engine.set_result(decision & U64)
                return False
        syscall = self.table.get(number)
        if syscall is None or k.syscalls.traced:
            result = self._traced(task, number, syscall, arguments)
        else:
            result = self._dispatch(task, syscall, arguments)
        if result is None:
            return False
        engine.set_result(result)
        return not self.attention

    def perform(self, task: Task, number: int, arguments: tuple[int, ...]) -> int | None:
        """What `syscall` does in the end, for a tracee: the system call, told to probes. The result is that of `_dispatch`."""
        syscall = self.table.get(number)
        if syscall is None or self._k.syscalls.traced:
            return self._traced(task, number, syscall, arguments)
        return self._dispatch(task, syscall, arguments)

    def _dispatch(self, task: Task, syscall: Syscall, arguments: tuple[int, ...]) -> int | None:
        """Do a system call for the current task; None: it waits (`task.parked`) or is gone. Errors are negative numbers."""
        task.syscall = syscall
        task.syscall_arguments = arguments
        call = syscall.call
        if call is None:
            self.unknown[syscall.name] = self.unknown.get(syscall.name, 0) + 1
            task.syscall = None
            return -ENOSYS
        try:
            result = call(self._k, task, *arguments[: syscall.arity])
        except Errno as error:
            result = -error.errno
        except MemoryFault:
            result = -EFAULT
        except Block as block:
            parked = Parked(syscall, arguments, block)
            if block.interruptible and has_deliverable(task):  # a signal it has sent itself, or a probe has
                task.interrupted = parked
            else:
                task.parked = parked
            return None
        except OutOfMemory:
            self._k.out_of_memory(task)
            result = -ENOMEM
        except TaskGone:
            return None
        except UNFORESEEN as error:
            self.failures.setdefault(syscall.name, f"{type(error).__name__}: {error}")
            result = -EINVAL
        if task.restart or task.suspended:
            task.restart.clear()
            task.suspended.clear()
        task.syscall = None
        return result

    def _traced(self, task: Task, number: int, syscall: Syscall | None, arguments: tuple[int, ...]) -> int | None:
        tp = self._k.tracepoints.sys_enter
        if tp.callbacks:
            tp.fire(number, arguments)
        if syscall is None:
            self.unknown[str(number)] = self.unknown.get(str(number), 0) + 1
            result: int | None = -ENOSYS
        else:
            if syscall.enter.callbacks:
                syscall.enter.fire(number, *arguments[: len(syscall.parameters)])
            result = self._dispatch(task, syscall, arguments)
        if result is not None:
            self._exit(number, syscall, result)
        return result

    def _exit(self, number: int, syscall: Syscall | None, result: int) -> None:
        """The tracepoints of a call that returns."""
        tp = self._k.tracepoints.sys_exit
        if tp.callbacks:
            tp.fire(number, result)
        if syscall is not None and syscall.exit.callbacks:
            syscall.exit.fire(number, result)

    def retry(self, task: Task) -> bool:
        """Execute a parked task's system call again; whether the task can go on."""
        parked = task.parked
        assert parked is not None
        task.parked = None
        if parked.block.timer is not None:
            parked.block.timer.cancel()
        result = self._dispatch(task, parked.syscall, parked.arguments)
        if result is None:
            return False
        if self._k.syscalls.traced:
            self._exit(parked.syscall.number, parked.syscall, result)
        task.result = result
        if task.tracing is not None:
            task.tracing.phase = ptrace.Phase.LEAVING
        return True

    def finish_interrupted(self, task: Task, restart: bool) -> None:
        """A signal took the current task out of a wait: make the call again, or let it fail with EINTR."""
        parked = task.interrupted
        assert parked is not None
        engine = task.process.engine
        result = self._interrupted(task, parked, -ERESTARTSYS if restart else -EINTR)
        if result == -ERESTARTSYS:
            arch = engine.arch
            engine.set(arch.result, parked.syscall.number if arch.result == arch.number else parked.arguments[0])
            engine.set(arch.pc, engine.get(arch.pc) - ABIS[task.process.arch].syscall_length)
        else:
            engine.set_result(result & U64)

    def leave_interrupted(self, task: Task) -> None:
        """The same for a tracee, which may show how it ends: whether the call is made again is decided when it goes on."""
        parked, tracing = task.interrupted, task.tracing
        assert parked is not None and tracing is not None
        code = ERESTARTSYS if parked.block.restart else ptrace.ERESTARTNOHAND
        if parked.block.deadline is not None and parked.syscall.name in ptrace.RESTARTED_BY_BLOCK:
            code = ptrace.ERESTART_RESTARTBLOCK
            block = task.restart_block if parked.syscall.name == "restart_syscall" else None
            call, arguments = block[:2] if block is not None else (parked.syscall, parked.arguments)
            task.restart_block = call, arguments, parked.block.deadline
        result = self._interrupted(task, parked, -code)
        tracing.number, tracing.first = parked.syscall.number, parked.arguments[0]
        task.process.engine.set_result(result & U64)

    def _interrupted(self, task: Task, parked: Parked, otherwise: int) -> int:
        """The result of a call that a signal took the current task out of: what it has done so far, or `otherwise`."""
        task.interrupted = None
        result: int | None = None
        if parked.block.timer is not None:
            parked.block.timer.cancel()
        try:
            if parked.block.interrupted is not None:
                result = parked.block.interrupted()
        except Errno as error:
            result = -error.errno
        except MemoryFault:
            result = -EFAULT
        if result is None:
            result = otherwise
        task.restart.clear()
        if task.suspended:
            self._k.functions.interrupted(task, result)
        task.syscall = None
        if self._k.syscalls.traced:
            self._exit(parked.syscall.number, parked.syscall, result)
        return result
