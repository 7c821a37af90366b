"""The one table of builtin values, and what the arguments in parentheses after some of them mean."""

from __future__ import annotations

from pyprobe.lang.config import Config
from pyprobe.lang.signatures import EVENT, REGISTERS, TIMER, USER, BuiltinValue
from pyprobe.lang.typesys import (
    BOOL,
    UINT8,
    UINT32,
    UINT64,
    USERNAME,
    Integer,
    Nanoseconds,
    Stack,
    String,
)

_FUNC = frozenset({"kprobe", "kretprobe", "uprobe", "uretprobe", "fentry", "fexit"})

_VALUES = (
    BuiltinValue("pid", UINT32, "process id", words=("curr_ns", "init"), library=False),
    BuiltinValue("tid", UINT32, "thread id", words=("curr_ns", "init"), library=False),
    BuiltinValue("uid", UINT64, "user id"),
    BuiltinValue("gid", UINT64, "group id"),
    BuiltinValue("username", USERNAME, "name of the user"),
    BuiltinValue("comm", String(16), "name of the thread"),
    BuiltinValue("nsecs", UINT64, "nanoseconds since boot", words=("boot", "monotonic", "tai", "sw_tai"), library=False),
    BuiltinValue("elapsed", UINT64, "nanoseconds since the program was started"),
    BuiltinValue("cpu", UINT64, "number of the processor"),
    BuiltinValue("ncpus", UINT64, "how many processors there are"),
    BuiltinValue("numaid", UINT64, "number of the memory node"),
    BuiltinValue("jiffies", UINT64, "timer ticks since boot"),
    BuiltinValue("cpid", UINT64, "process id of the command"),
    BuiltinValue("has_cpid", BOOL, "whether there is a command"),
    BuiltinValue("cgroup", UINT64, "id of the control group"),
    BuiltinValue("curtask", None, "address of the current task"),
    BuiltinValue("ppid", UINT32, "process id of the parent"),
    BuiltinValue("pcomm", String(16), "name of the parent"),
    BuiltinValue("leader_tid", UINT32, "thread id of the group leader"),
    BuiltinValue("leader_comm", String(16), "name of the group leader"),
    BuiltinValue("rand", UINT64, "a random 32-bit number"),
    BuiltinValue("func", None, "the probed function", providers=_FUNC, refusal="The func builtin can not be used with '{probe}' probes"),
    BuiltinValue("probe", None, "full name of the probe"),
    BuiltinValue("probetype", None, "kind of the probe"),
    BuiltinValue(
        "retval",
        None,
        "the returned value",
        providers=frozenset({"kretprobe", "uretprobe", "fentry", "fexit"}),
        refusal="The retval builtin can only be used with 'kretprobe' and 'uretprobe' and 'fentry' probes",
        contextual=True,
    ),
    BuiltinValue(
        "arg",
        None,
        "argument n of the function",
        providers=frozenset({"kprobe", "uprobe", "usdt", "rawtracepoint"}),
        refusal="The {name} builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes",
        library=False,
        contextual=True,
    ),
    BuiltinValue(
        "args",
        None,
        "all arguments, with their types",
        providers=frozenset({"tracepoint", "rawtracepoint", "fentry", "fexit", "uprobe"}),
        refusal="The args builtin can only be used with tracepoint, rawtracepoint, fentry/fexit, and uprobe probes ({probe} used here)",
        library=False,
        contextual=True,
    ),
    BuiltinValue(
        "ctx",
        None,
        "context of the event",
        providers=frozenset({"kprobe", "kretprobe", "iter"}) | USER | TIMER | EVENT,
        refusal="The ctx builtin can not be used with '{probe}' probes",
        library=False,
        contextual=True,
    ),
    BuiltinValue("kstack", None, "stack of the kernel", words=("bpftrace", "perf", "raw", "build_id"), library=False),
    BuiltinValue("ustack", None, "stack of the program", words=("bpftrace", "perf", "raw", "build_id"), library=False),
    BuiltinValue("dw_ustack", None, "stack of the program, by its debug information", words=("bpftrace", "perf", "raw", "build_id")),
    BuiltinValue("usermode", UINT8, "1 if the program was interrupted, 0 if the kernel was"),
    BuiltinValue("config", None, "the configuration in force"),
    BuiltinValue("reg", UINT64, "value of a register", providers=REGISTERS, library=False),
)

BUILTINS = {b.name: b for b in _VALUES}
WORDS = frozenset(word for value in _VALUES for word in value.words)

STACK_MODES = ("bpftrace", "perf", "raw", "build_id")
STACK_LIMIT = 127
STACK_MOST = 1024

ARGUMENT_REGISTERS = {"x86_64": 6, "arm64": 8}
"""How many `argN` there are, by architecture (usdt has its own number)."""

TIMESTAMP_MODES = ("boot", "monotonic", "tai", "sw_tai")


def stack_type(kind: str, args: tuple[object, ...], config: Config) -> Stack:
    """The type of `kstack(...)`: `args` are the mode word and the limit, each optional."""
    mode, limit = config.stack_mode, STACK_LIMIT
    for arg in args:
        if isinstance(arg, int):
            limit = arg
        else:
            mode = str(arg)
    return Stack("ustack" if kind == "dw_ustack" else kind, mode, limit)


def nanoseconds_type(args: tuple[object, ...]) -> Integer:
    """The type of `nsecs(mode)`."""
    return Nanoseconds(str(args[0])) if args and args[0] != "boot" else UINT64
