"""What the kernel does before a tracepoint's first user comes, done from outside (`regfunc` of `struct tracepoint`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.system.machine import SystemMachine
    from pyprobe.runtime.system.tasks import SystemTask
    from pyprobe.runtime.system.tracing.branches import Branches

_TIF_SYSCALL_TRACEPOINT = 10  # arch/arm64/include/asm/thread_info.h, before it had the generic words
_LIMIT = 1 << 20  # tasks


def register(machine: SystemMachine, branches: Branches, function: int) -> None:
    """Do what the function at an address would."""
    found = machine.description.symbol_at(function)
    work = _WORK.get(found[0]) if found else None
    if work is not None:
        work(machine, branches)


def idle_task(machine: SystemMachine) -> int:
    """The address of the idle task, the kernel's first, which all others come from; 0 before there is one."""
    parent, group_leader = (machine.description.offset("task_struct", name) for name in ("real_parent", "group_leader"))
    first = machine.processor.number(machine.current_address() + group_leader)
    while first and (above := machine.processor.number(first + parent)) != first:
        first = above
    return first


def tasks(machine: SystemMachine) -> Iterator[int]:
    """The addresses of all tasks, threads behind their leaders, as the kernel's lists have them: from the idle task on."""
    of = machine.description.offset
    tasks_at = of("task_struct", "tasks")
    signal = of("task_struct", "signal")
    head, node = of("signal_struct", "thread_head"), of("task_struct", "thread_node")
    task = first = idle_task(machine)
    for _ in range(_LIMIT):
        if not task:
            return
        threads = machine.processor.number(task + signal) + head
        place = machine.processor.number(threads)
        if task == first or place == threads:  # the idle task is on no list of threads
            yield task
        while place not in (0, threads) and task != first:
            yield place - node
            place = machine.processor.number(place)
        task = machine.processor.number(task + tasks_at) - tasks_at
        if task == first:
            return


class TaskTable:
    """`get(tid)` finds a task as the kernel's lists are now."""

    def __init__(self, machine: SystemMachine) -> None:
        self._machine = machine

    def get(self, tid: int) -> SystemTask | None:
        """The task with a thread id, None where there is none."""
        found = (self._machine.task_at(address) for address in tasks(self._machine))
        return next((task for task in found if task is not None and task.tid == tid), None)


def _syscalls(machine: SystemMachine, branches: Branches) -> None:
    """syscall_regfunc() of kernel/tracepoint.c: the slow way in and out of system calls for every task. Children inherit it."""
    description = machine.description
    constant = description.types.constant("SYSCALL_WORK_BIT_SYSCALL_TRACEPOINT")
    try:
        at = description.offset("task_struct", "thread_info", "syscall_work")
        bit = constant[0] if constant else 0
    except KeyError:
        at, bit = description.offset("task_struct", "thread_info", "flags"), _TIF_SYSCALL_TRACEPOINT
    for task in tasks(machine):
        flags = machine.processor.number(task + at) | 1 << bit
        machine.processor.write(task + at, flags.to_bytes(8, "little"))


def _page_faults(machine: SystemMachine, branches: Branches) -> None:
    """trace_pagefault_reg() of arch/x86/kernel/tracepoint.c: a static branch before the tracepoints' own."""
    from pyprobe.runtime.system.metadata import tracepoints

    facts = machine.description.facts
    key = facts.symbols.address("trace_pagefault_key")
    if key is not None:
        for branch in tracepoints.branches(facts.memory, facts.symbols, {key}).get(key, ()):
            branches.take(branch)


_WORK: dict[str, Callable[[SystemMachine, Branches], None]] = {
    "syscall_regfunc": _syscalls,
    "trace_pagefault_reg": _page_faults,
}
