"""The emulated kernel's tracepoints: Linux's names and fields, fired where this kernel does what they report.

A place that fires one writes `if tp.callbacks: tp.fire(...)`, so that an unattached tracepoint costs one attribute test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyprobe.runtime.user.kernel import Kernel

Callback = Callable[[], object]
Fields = tuple[tuple[str, str], ...]
Value = int | bytes | tuple[int, ...]


class Tracepoint:
    """One tracepoint.

    fields: (C type, name) in the order of Linux's format file, the common ones left out.
    values: valid during callbacks, one for each field: an int (as the field's C type holds it), bytes for character arrays and
    `__data_loc` strings (no terminator), a tuple for an array of integers.
    """

    __slots__ = ("callbacks", "category", "fields", "name", "values")

    def __init__(self, category: str, name: str, fields: Fields) -> None:
        self.category = category
        self.name = name
        self.fields = fields
        self.callbacks: tuple[Callback, ...] = ()
        self.values: tuple[Value, ...] = ()

    def fire(self, *values: Value) -> None:
        """Call what is attached, with these values."""
        self.values = values
        for callback in self.callbacks:
            callback()


# category, name, fields: as /sys/kernel/tracing/events/CATEGORY/NAME/format of Linux 6.18 has them
EVENTS: tuple[tuple[str, str, Fields], ...] = (
    ("raw_syscalls", "sys_enter", (("long", "id"), ("unsigned long[6]", "args"))),
    ("raw_syscalls", "sys_exit", (("long", "id"), ("long", "ret"))),
    ("sched", "sched_process_exec", (("__data_loc char[]", "filename"), ("pid_t", "pid"), ("pid_t", "old_pid"))),
    ("sched", "sched_process_exit", (("char[16]", "comm"), ("pid_t", "pid"), ("int", "prio"), ("bool", "group_dead"))),
    ("sched", "sched_process_fork",
     (("__data_loc char[]", "parent_comm"), ("pid_t", "parent_pid"), ("__data_loc char[]", "child_comm"), ("pid_t", "child_pid"))),
    ("sched", "sched_switch",
     (("char[16]", "prev_comm"), ("pid_t", "prev_pid"), ("int", "prev_prio"), ("long", "prev_state"), ("char[16]", "next_comm"),
      ("pid_t", "next_pid"), ("int", "next_prio"))),
)  # fmt: skip


class Tracepoints:
    """All tracepoints of one emulated kernel. Those the kernel fires itself are attributes by their names."""

    def __init__(self, kernel: Kernel, arch: str) -> None:
        self._k = kernel
        self._all = {(category, name): Tracepoint(category, name, fields) for category, name, fields in EVENTS}
        self.sys_enter = self._all["raw_syscalls", "sys_enter"]
        self.sys_exit = self._all["raw_syscalls", "sys_exit"]
        self.sched_process_exec = self._all["sched", "sched_process_exec"]
        self.sched_process_exit = self._all["sched", "sched_process_exit"]
        self.sched_process_fork = self._all["sched", "sched_process_fork"]
        self.sched_switch = self._all["sched", "sched_switch"]
        for syscall in kernel.syscalls.all(arch):
            for tracepoint in (syscall.enter, syscall.exit):
                self._all["syscalls", tracepoint.name] = tracepoint

    def __iter__(self) -> Iterator[Tracepoint]:
        """All, sorted by category and name."""
        return (self._all[key] for key in sorted(self._all))

    def get(self, category: str, name: str) -> Tracepoint | None:
        """The tracepoint of that category and name."""
        return self._all.get((category, name))

    def attach(self, category: str, name: str, callback: Callback) -> None:
        """Have `callback` called whenever it fires. Raises KeyError if there is none of that name."""
        self._all[category, name].callbacks += (callback,)
        if category in ("syscalls", "raw_syscalls"):
            self._k.syscalls.trace()
