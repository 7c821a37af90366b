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


_TASK: Fields = (("char[16]", "comm"), ("pid_t", "pid"), ("int", "prio"))
_WOKEN: Fields = (*_TASK, ("int", "target_cpu"))
_PORTS: Fields = (("__u16", "sport"), ("__u16", "dport"), ("__u16", "family"))
_HRTIMER: Fields = (("void *", "hrtimer"),)
_PROTOCOL: Fields = (("__u16", "protocol"),)
_HOSTS: Fields = (("__u8[4]", "saddr"), ("__u8[4]", "daddr"), ("__u8[16]", "saddr_v6"), ("__u8[16]", "daddr_v6"))
_TCP: Fields = (("const void *", "skaddr"), *_PORTS, *_HOSTS, ("__u64", "sock_cookie"))

# category, name, fields: as /sys/kernel/tracing/events/CATEGORY/NAME/format of Linux 6.1 to 6.18 has them; where they differ, the newest
EVENTS: tuple[tuple[str, str, Fields], ...] = (
    ("exceptions", "page_fault_user", (("unsigned long", "address"), ("unsigned long", "ip"), ("unsigned long", "error_code"))),
    ("raw_syscalls", "sys_enter", (("long", "id"), ("unsigned long[6]", "args"))),
    ("raw_syscalls", "sys_exit", (("long", "id"), ("long", "ret"))),
    ("sched", "sched_process_exec", (("__data_loc char[]", "filename"), ("pid_t", "pid"), ("pid_t", "old_pid"))),
    ("sched", "sched_process_exit", (("char[16]", "comm"), ("pid_t", "pid"), ("int", "prio"), ("bool", "group_dead"))),
    ("sched", "sched_process_free", _TASK),
    ("sched", "sched_process_wait", _TASK),
    ("sched", "sched_wakeup", _WOKEN),
    ("sched", "sched_wakeup_new", _WOKEN),
    ("sched", "sched_waking", _WOKEN),
    ("signal", "signal_deliver",
     (("int", "sig"), ("int", "errno"), ("int", "code"), ("unsigned long", "sa_handler"), ("unsigned long", "sa_flags"))),
    ("signal", "signal_generate",
     (("int", "sig"), ("int", "errno"), ("int", "code"), ("char[16]", "comm"), ("pid_t", "pid"), ("int", "group"), ("int", "result"))),
    ("sock", "inet_sk_error_report", (("int", "error"), *_PORTS, *_PROTOCOL, *_HOSTS)),
    ("sock", "inet_sock_set_state",
     (("const void *", "skaddr"), ("int", "oldstate"), ("int", "newstate"), *_PORTS, *_PROTOCOL, *_HOSTS)),
    ("tcp", "tcp_destroy_sock", _TCP),
    ("tcp", "tcp_receive_reset", _TCP),
    ("tcp", "tcp_send_reset", (("const void *", "skbaddr"), ("const void *", "skaddr"), ("int", "state"), *_PORTS, *_HOSTS)),
    ("task", "task_newtask", (("pid_t", "pid"), ("char[16]", "comm"), ("unsigned long", "clone_flags"), ("short", "oom_score_adj"))),
    ("task", "task_rename", (("pid_t", "pid"), ("char[16]", "oldcomm"), ("char[16]", "newcomm"), ("short", "oom_score_adj"))),
    ("timer", "hrtimer_cancel", _HRTIMER),
    ("timer", "hrtimer_expire_entry", (*_HRTIMER, ("s64", "now"), ("void *", "function"))),
    ("timer", "hrtimer_expire_exit", _HRTIMER),
    ("timer", "hrtimer_init", (*_HRTIMER, ("clockid_t", "clockid"), ("enum hrtimer_mode", "mode"))),
    ("timer", "hrtimer_start",
     (*_HRTIMER, ("void *", "function"), ("s64", "expires"), ("s64", "softexpires"), ("enum hrtimer_mode", "mode"),
      ("bool", "was_armed"))),
    ("timer", "itimer_expire", (("int", "which"), ("pid_t", "pid"), ("unsigned long long", "now"))),
    ("timer", "itimer_state",
     (("int", "which"), ("unsigned long long", "expires"), ("long", "value_sec"), ("long", "value_nsec"), ("long", "interval_sec"),
      ("long", "interval_nsec"))),
    ("sched", "sched_process_fork",
     (("__data_loc char[]", "parent_comm"), ("pid_t", "parent_pid"), ("__data_loc char[]", "child_comm"), ("pid_t", "child_pid"))),
    ("sched", "sched_switch",
     (("char[16]", "prev_comm"), ("pid_t", "prev_pid"), ("int", "prev_prio"), ("long", "prev_state"), ("char[16]", "next_comm"),
      ("pid_t", "next_pid"), ("int", "next_prio"))),
)  # fmt: skip


class Tracepoints:
    """All tracepoints of one emulated kernel. Those the kernel fires itself are attributes by their names."""

    hrtimer_cancel: Tracepoint
    hrtimer_expire_entry: Tracepoint
    hrtimer_expire_exit: Tracepoint
    hrtimer_init: Tracepoint
    hrtimer_start: Tracepoint
    inet_sk_error_report: Tracepoint
    inet_sock_set_state: Tracepoint
    itimer_expire: Tracepoint
    itimer_state: Tracepoint
    page_fault_user: Tracepoint
    sched_process_exec: Tracepoint
    sched_process_exit: Tracepoint
    sched_process_fork: Tracepoint
    sched_process_free: Tracepoint
    sched_process_wait: Tracepoint
    sched_switch: Tracepoint
    sched_wakeup: Tracepoint
    sched_wakeup_new: Tracepoint
    sched_waking: Tracepoint
    signal_deliver: Tracepoint
    signal_generate: Tracepoint
    task_newtask: Tracepoint
    task_rename: Tracepoint
    tcp_destroy_sock: Tracepoint
    tcp_receive_reset: Tracepoint
    tcp_send_reset: Tracepoint

    def __init__(self, kernel: Kernel, arch: str) -> None:
        self._k = kernel
        self._all = {(category, name): Tracepoint(category, name, fields) for category, name, fields in EVENTS}
        self.sys_enter = self._all["raw_syscalls", "sys_enter"]
        self.sys_exit = self._all["raw_syscalls", "sys_exit"]
        for (_, name), tracepoint in self._all.items():
            setattr(self, name, tracepoint)
        if arch != "x86_64":
            del self._all["exceptions", "page_fault_user"]  # arch/x86/mm/fault.c
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
        if category == "exceptions":
            self._k.watch_faults()
        if category in ("syscalls", "raw_syscalls"):
            self._k.syscalls.trace()
