"""A machine for tests of the language: a few functions, tracepoints and programs, given as tables."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyprobe.lang.attachpoint import AttachPoint, PointError
from pyprobe.lang.typesys import INT32, INT64, UINT64, Enum, Field, Pointer, Record, String, Struct, Type

KERNEL_FUNCTIONS = ("vfs_open", "vfs_read", "vfs_write")
PROGRAMS = {"/bin/prog": ("add", "greet", "main", "main_loop")}
TRACEPOINTS: dict[tuple[str, str], tuple[tuple[str, Type], ...]] = {
    ("sched", "sched_switch"): (("prev_comm", String(16)), ("prev_pid", INT32), ("next_pid", INT32)),
    ("sched", "sched_process_exit"): (("comm", String(16)), ("pid", INT32)),
    ("syscalls", "sys_enter_close"): (("fd", UINT64),),
    ("syscalls", "sys_enter_read"): (("fd", UINT64), ("buf", Pointer(INT64)), ("count", UINT64)),
    ("syscalls", "sys_exit_close"): (("ret", INT64),),
    ("syscalls", "sys_exit_read"): (("ret", INT64),),
}
TASK = Struct("struct task_struct", 8, lambda: [Field("pid", INT32, 0), Field("tgid", INT32, 4)])
COLOR = Enum("color", {0: "RED", 1: "GREEN"})
TYPES: dict[str, Type] = {"struct task_struct": TASK, "enum color": COLOR}
ALWAYS = frozenset(("begin", "end", "interval", "profile", "self", "test", "bench", "software", "hardware", "watchpoint"))


def _glob(pattern: str, names: Iterable[str]) -> list[str]:
    expression = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.S)
    return sorted(name for name in names if expression.fullmatch(name))


class TableWorld:
    """A World whose answers are the tables above."""

    arch = "x86_64"

    def __init__(self) -> None:
        self.asked_args = 0

    def matches(self, point: AttachPoint) -> list[AttachPoint]:
        if point.provider in ALWAYS:
            return [point]
        if point.provider in ("kprobe", "kretprobe", "fentry", "fexit"):
            return [point.copy(function=name) for name in _glob(point.function, KERNEL_FUNCTIONS)]
        if point.provider in ("uprobe", "uretprobe"):
            if point.target not in PROGRAMS:
                raise PointError(f"{point.provider} target file '{point.target}' does not exist or is not executable")
            return [point.copy(function=name) for name in _glob(point.function, PROGRAMS[point.target])]
        if point.provider == "tracepoint":
            found = [(c, e) for c, e in TRACEPOINTS if c in _glob(point.target, [c]) and e in _glob(point.function, [e])]
            return [point.copy(target=category, function=event) for category, event in sorted(found)]
        return []

    def args(self, point: AttachPoint) -> Record | None:
        self.asked_args += 1
        fields = TRACEPOINTS.get((point.target, point.function))
        return None if fields is None else Record(fields)

    def retval(self, point: AttachPoint) -> Type | None:
        return INT64 if point.provider == "fexit" else None

    def type_named(self, name: str) -> Type | None:
        return TYPES.get(name)

    def enum_constant(self, name: str) -> tuple[int, Enum] | None:
        return next(((value, COLOR) for value, known in COLOR.names.items() if known == name), None)

    def kernel_symbol(self, name: str) -> int | None:
        return {"jiffies": 0xFFFFFFFF81000000}.get(name)

    def symbols_hint(self) -> str:
        return ""

    def user_symbol(self, point: AttachPoint, name: str) -> tuple[int, int] | None:
        return None

    def registers(self) -> frozenset[str]:
        return frozenset(("ip", "sp", "ax"))
