"""The one table of builtins and functions: what the compiler checks calls against and what the runtime implements.

Adding a function is one entry here, one implementation under `runtime`, and one help topic. An entry says how many arguments there
are, which kinds each may have, whether one must be a literal, what the result is, when the work is done, and which probes may use it.

Argument kinds are the words that messages use for types (`kind()` of `lang.typesys`): `int`, `bool`, `string`, `pointer`, ... and
some that are not types: `map` (a map as a whole), `variable` (a scratch variable), `type` (a type), `any`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pyprobe.lang.config import Config
from pyprobe.lang.nodes import Boolean, Builtin, Cast, Expr, Integer, Node, String
from pyprobe.lang.typesys import (
    BOOL,
    CGROUP_PATH,
    INT32,
    INT64,
    KSYM,
    MAC,
    NONE,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    USERNAME,
    USYM,
    VOID,
    Aggregate,
    Array,
    Buffer,
    Inet,
    Nanoseconds,
    Pointer,
    Stack,
    Timestamp,
    Type,
)
from pyprobe.lang.typesys import Integer as IntegerType
from pyprobe.lang.typesys import String as StringType

# ---- probes, by provider

USER = frozenset({"uprobe", "uretprobe", "usdt"})
KERNEL = frozenset({"kprobe", "kretprobe", "fentry", "fexit", "tracepoint", "rawtracepoint", "iter"})
TRAMPOLINE = frozenset({"fentry", "fexit", "iter"})
TIMER = frozenset({"profile", "interval"})
WITHOUT_VALUE = frozenset({"exit", "signal", "signal_thread", "override"})  # not even the void of functions that print
EVENT = frozenset({"software", "hardware", "watchpoint"})
REGISTERS = frozenset({"kprobe", "kretprobe"}) | USER | TIMER | EVENT  # a full register set is at hand

PROBE_TYPES = {
    "begin": "special",
    "end": "special",
    "self": "special",
    "bench": "benchmark",
}
"""What the `probetype` builtin shows, where that is not the provider's own name."""


# ---- parameters and signatures

Mode = Literal["sync", "async", "compile", "aggregate"]


class Param:
    """One parameter. `kinds` are the kinds accepted (empty: any value); `literal` wants a constant of that kind; `to` is the type the
    argument is converted to, None to leave it as it is."""

    __slots__ = ("kinds", "literal", "name", "optional", "to")

    def __init__(self, name: str, *kinds: str, literal: bool = False, optional: bool = False, to: Type | None = None) -> None:
        self.name = name
        self.kinds = kinds
        self.literal = literal
        self.optional = optional
        self.to = to


Rule = Callable[[Sequence[Node], Config], Type]
"""Gives the result type from the (already typed) arguments and the configuration."""


class Signature:
    """A function.

    `mode`: `sync` gives its result in the handler; `async` is done by the output side in event order; `compile` is gone after the
    check; `aggregate` is the right side of a map assignment only. `rest` is set where any number of further arguments may follow (the
    values of a format). `library`: upstream writes it as a library macro, so that a wrong count reads differently. `later`: known, but
    not built yet. `providers` is None where every probe may call it.
    """

    __slots__ = ("brief", "later", "library", "mode", "name", "params", "providers", "rest", "result", "statement", "unsafe")

    def __init__(
        self,
        name: str,
        params: tuple[Param, ...],
        result: Type | Rule,
        brief: str,
        *,
        mode: Mode = "sync",
        rest: bool = False,
        unsafe: bool = False,
        library: bool = False,
        later: bool = False,
        providers: frozenset[str] | None = None,
    ) -> None:
        self.name = name
        self.params = params
        self.result = result
        self.brief = brief
        self.mode: Mode = mode
        self.rest = rest
        self.unsafe = unsafe
        self.library = library
        self.later = later
        self.providers = providers
        self.statement = result is VOID

    @property
    def least(self) -> int:
        """The smallest number of arguments."""
        return sum(not p.optional for p in self.params)

    @property
    def most(self) -> int | None:
        """The largest number of arguments; None: no limit."""
        return None if self.rest else len(self.params)


class BuiltinValue:
    """A value about the event. `type` is None where it depends on the probe (`args`, `retval`, `func`, the stacks). `words` are what
    may stand as argument (`nsecs(tai)`), in Builtin.args as text. `contextual`: not readable in the body of a `for` loop."""

    __slots__ = ("brief", "contextual", "later", "library", "name", "providers", "refusal", "type", "words")

    def __init__(
        self,
        name: str,
        type: Type | None,
        brief: str,
        *,
        providers: frozenset[str] | None = None,
        refusal: str = "",
        words: tuple[str, ...] = (),
        library: bool = True,
        contextual: bool = False,
        later: bool = False,
    ) -> None:
        self.name = name
        self.type = type
        self.brief = brief
        self.providers = providers
        self.refusal = refusal
        self.words = words
        self.library = library
        self.contextual = contextual
        self.later = later


# ---- result rules


def _signed(arg: Node) -> bool:
    """Whether an aggregation over this argument is a signed one; a literal that may be either is taken as signed."""
    kind = arg.type if isinstance(arg, Expr) else NONE
    if isinstance(kind, Aggregate):
        return kind.signed and kind.function != "count"
    return not isinstance(kind, IntegerType) or kind.signed


def _aggregate(name: str) -> Rule:
    return lambda args, config: Aggregate(name, _signed(args[0]))


def _literals(args: Sequence[Node]) -> tuple[int | str, ...]:
    return tuple(a.value.decode(errors="replace") if isinstance(a, String) else a.value if isinstance(a, Integer) else 0 for a in args)


def _hist(args: Sequence[Node], config: Config) -> Type:
    return Aggregate("hist", True, _literals(args[1:]) or (0,))


def _lhist(args: Sequence[Node], config: Config) -> Type:
    return Aggregate("lhist", True, _literals(args[1:]))


def _tseries(args: Sequence[Node], config: Config) -> Type:
    params = _literals(args[1:])
    return Aggregate("tseries", _signed(args[0]), (*params, "") if len(params) == 2 else params)


def _str(args: Sequence[Node], config: Config) -> Type:
    value = args[0]
    limit = args[1].value if len(args) == 2 and isinstance(args[1], Integer) and args[1].value >= 0 else None
    if isinstance(value, (String, Integer)):
        text = value.value if isinstance(value, String) else str(value.value).encode()
        return StringType(len(text) + 1 if limit is None else min(len(text), limit) + 1)
    return StringType(config.max_strlen if limit is None else min(config.max_strlen, limit + 1))


def _buf(args: Sequence[Node], config: Config) -> Type:
    most = config.max_strlen - 4
    given = args[0].type if isinstance(args[0], Expr) else NONE
    if len(args) == 2 and isinstance(args[1], Integer):
        return Buffer(max(0, min(most, args[1].value)))
    if len(args) == 1 and isinstance(given, Array):
        return Buffer(min(most, given.size))
    return Buffer(most)


def _bswap(args: Sequence[Node], config: Config) -> Type:
    given = args[0].type if isinstance(args[0], Expr) else NONE
    return {0: NONE, 1: UINT8, 2: UINT16, 4: UINT32}.get(given.size, UINT64)  # not known yet, or no number


def _space(space: str) -> Rule:
    def rule(args: Sequence[Node], config: Config) -> Type:
        given = args[0].type if isinstance(args[0], Expr) else NONE
        return Pointer(given.to, space) if isinstance(given, Pointer) else given

    return rule


def _pton(args: Sequence[Node], config: Config) -> Type:
    text = args[0].value if isinstance(args[0], String) else b""
    return Array(UINT8, 16 if b":" in text else 4)


def _strftime(args: Sequence[Node], config: Config) -> Type:
    given = args[1].type if isinstance(args[1], Expr) else NONE
    if isinstance(args[1], Builtin) and args[1].name == "nsecs" and args[1].args:
        return Timestamp(str(args[1].args[0]))
    if isinstance(args[1], Cast):
        return Timestamp("boot")
    return Timestamp(given.mode if isinstance(given, Nanoseconds) else "boot")


def _getopt(args: Sequence[Node], config: Config) -> Type:
    if len(args) < 2 or isinstance(args[1], Boolean):
        return BOOL
    if isinstance(args[1], String):
        return StringType(config.max_strlen)
    return INT64 if isinstance(args[1], Integer) and args[1].value < 0 else UINT64


def _first(args: Sequence[Node], config: Config) -> Type:
    return args[0].type if isinstance(args[0], Expr) else NONE


# ---- the functions

_FORMAT = Param("format", "string", literal=True)
_NUMBER = Param("n", "int")
_ADDRESS = ("int", "pointer")


def _a(name: str, result: Type | Rule, brief: str, *params: Param, later: bool = False) -> Signature:
    return Signature(name, params, result, brief, mode="aggregate", later=later)


_ALL = (
    # aggregations
    _a("count", Aggregate("count", False), "count how often this is reached"),
    _a("sum", _aggregate("sum"), "add up", _NUMBER),
    _a("min", _aggregate("min"), "the smallest value", _NUMBER),
    _a("max", _aggregate("max"), "the largest value", _NUMBER),
    _a("avg", _aggregate("avg"), "the average, truncated", _NUMBER),
    _a("stats", _aggregate("stats"), "count, average and total", _NUMBER),
    _a("hist", _hist, "log2 histogram", Param("n", "int", to=INT64), Param("bits", "int", literal=True, optional=True)),
    _a(
        "lhist",
        _lhist,
        "linear histogram",
        Param("n", "int", to=INT64),
        Param("min", "int", literal=True),
        Param("max", "int", literal=True),
        Param("step", "int", literal=True),
    ),
    _a(
        "tseries",
        _tseries,
        "the last value (or an aggregate) per interval of time",
        _NUMBER,
        Param("interval_ns", "int", literal=True),
        Param("num_intervals", "int", literal=True),
        Param("aggregation", "string", literal=True, optional=True),
    ),
    # maps
    Signature(
        "print",
        (Param("value", "any"), Param("top", "int", literal=True, optional=True), Param("div", "int", literal=True, optional=True)),
        VOID,
        "print a value or a map",
        mode="async",
    ),
    Signature("clear", (Param("map", "map"),), VOID, "delete all keys of a map", mode="async"),
    Signature("zero", (Param("map", "map"),), VOID, "set all values of a map to zero", mode="async"),
    Signature("delete", (Param("map", "map"), Param("key", "any", optional=True)), BOOL, "delete a key; true if it existed", library=True),
    Signature("has_key", (Param("map", "map"), Param("key", "any")), BOOL, "whether a key exists", library=True),
    Signature(
        "find",
        (Param("map", "map"), Param("key", "any"), Param("value", "variable")),
        BOOL,
        "read an element if it exists",
        library=True,
    ),
    Signature("len", (Param("map", "any"),), INT64, "number of elements of a map, or of frames of a stack", library=True),
    Signature("is_scalar", (Param("map", "map"),), BOOL, "whether a map is used without keys", mode="compile", library=True),
    # output
    Signature("printf", (_FORMAT,), VOID, "print a format", mode="async", rest=True),
    Signature("errorf", (_FORMAT,), VOID, "print a format as an error of this place", mode="async", rest=True),
    Signature("warnf", (_FORMAT,), VOID, "print a format as a warning of this place", mode="async", rest=True),
    Signature("debugf", (_FORMAT,), VOID, "print to the kernel's trace pipe", rest=True),
    Signature("time", (Param("format", "string", literal=True, optional=True),), VOID, "print the time of day", mode="async"),
    Signature("strftime", (_FORMAT, Param("ns", "int")), _strftime, "a time, formatted when it is printed"),
    Signature(
        "join",
        (Param("array", "int", "pointer"), Param("separator", "string", literal=True, optional=True)),
        VOID,
        "print an array of strings",
        mode="async",
    ),
    Signature("cat", (_FORMAT,), VOID, "print a file", mode="async", rest=True),
    Signature("system", (_FORMAT,), VOID, "run a shell command", mode="async", rest=True, unsafe=True),
    Signature("exit", (Param("code", "int", optional=True),), VOID, "stop the program", mode="async"),
    Signature(
        "skboutput",
        (Param("file", "string", literal=True), Param("skb", "pointer"), Param("length", "int"), Param("offset", "int")),
        UINT32,
        "write a packet to a capture file",
        providers=TRAMPOLINE,
    ),
    # memory and strings
    Signature("str", (Param("p", "int", "pointer", "string"), Param("n", "int", optional=True)), _str, "the string at an address"),
    Signature(
        "buf", (Param("p", "int", "pointer", "string", "array", "buffer"), Param("n", "int", optional=True)), _buf, "bytes at an address"
    ),
    Signature("strlen", (Param("s", "string", "pointer", "array"),), UINT64, "length of a string", library=True),
    Signature("strcap", (Param("s", "string", "pointer", "array"),), UINT64, "capacity of a string", library=True),
    Signature(
        "strncmp", (Param("a", "string"), Param("b", "string"), Param("n", "int", literal=True)), UINT64, "0 if n bytes agree, else 1"
    ),
    Signature("strstr", (Param("haystack", "string"), Param("needle", "string")), INT32, "index of a string in another", library=True),
    Signature(
        "strcontains", (Param("haystack", "string"), Param("needle", "string")), BOOL, "whether a string is in another", library=True
    ),
    Signature("str_concat", (Param("a", "string"), Param("b", "string")), StringType(1024), "two strings as one", library=True),
    Signature(
        "memcmp",
        (Param("a", "any"), Param("b", "any"), Param("n", "int")),
        INT32,
        "difference of the first bytes that differ",
        library=True,
    ),
    Signature("strerror", (Param("errno", "int", "pointer", "bool"),), StringType(64), "text of an error number", library=True),
    Signature("signal_name", (Param("signal", "int", "pointer", "bool"),), StringType(64), "text of a signal number", library=True),
    Signature("syscall_name", (Param("number", "int", "pointer", "bool"),), StringType(64), "name of a system call", library=True),
    Signature("kptr", (Param("p", "int", "pointer"),), _space("kernel"), "mark an address as one of the kernel"),
    Signature("uptr", (Param("p", "int", "pointer"),), _space("user"), "mark an address as one of the program"),
    Signature("bswap", (_NUMBER,), _bswap, "bytes of an integer in reverse order"),
    Signature(
        "write_user",
        (Param("to", "any"), Param("from", "any"), Param("n", "int")),
        BOOL,
        "write to the program's memory",
        unsafe=True,
        library=True,
    ),
    Signature("fail", (_FORMAT,), VOID, "a compile-time error when reached", mode="compile", rest=True),
    Signature("is_literal", (Param("x", "any"),), BOOL, "whether the expression is a literal", mode="compile"),
    Signature("kfunc_exist", (Param("name", "string", literal=True),), BOOL, "whether the kernel has a callable function", mode="compile"),
    Signature(
        "kfunc_allowed", (Param("name", "string", literal=True),), BOOL, "whether this probe may call a kernel function", mode="compile"
    ),
    # addresses, network
    Signature("kaddr", (Param("symbol", "string", literal=True),), UINT64, "address of a kernel symbol", mode="compile"),
    Signature(
        "percpu_kaddr",
        (Param("symbol", "string", literal=True), Param("cpu", "int", optional=True)),
        UINT64,
        "address of a per-CPU kernel symbol",
    ),
    Signature(
        "uaddr", (Param("symbol", "string", literal=True),), Pointer(UINT64, "user"), "address of a symbol of the program", providers=USER
    ),
    Signature("reg", (Param("name", "string", literal=True),), UINT64, "value of a register", providers=REGISTERS),
    Signature("ksym", (Param("address", *_ADDRESS),), KSYM, "kernel symbol of an address"),
    Signature("usym", (Param("address", *_ADDRESS),), USYM, "program symbol of an address"),
    Signature(
        "ntop",
        (Param("family_or_address", "int", "array", "string"), Param("address", "int", "array", "string", optional=True)),
        Inet(24),
        "text of an IP address",
    ),
    Signature("pton", (Param("address", "string", literal=True),), _pton, "bytes of an IP address"),
    Signature("macaddr", (Param("address", "int", "pointer", "array", "string"),), MAC, "text of a hardware address"),
    Signature("cgroupid", (Param("path", "string", literal=True),), UINT64, "id of a control group", mode="compile"),
    Signature(
        "cgroup_path",
        (Param("id", "int"), Param("filter", "string", literal=True, optional=True)),
        CGROUP_PATH,
        "path of a control group",
    ),
    Signature(
        "path",
        (Param("path", "any"), Param("size", "int", literal=True, optional=True)),
        StringType(1024),
        "text of a kernel path",
        providers=TRAMPOLINE,
    ),
    Signature("socket_cookie", (Param("socket", "pointer"),), UINT64, "the kernel's number of a socket", providers=TRAMPOLINE),
    Signature(
        "signal",
        (Param("signal", "int", "string"),),
        VOID,
        "send a signal to the process",
        unsafe=True,
        library=True,
        providers=KERNEL - {"iter"} | USER | {"profile"},
    ),
    Signature(
        "signal_thread",
        (Param("signal", "int", "string"),),
        VOID,
        "send a signal to the thread",
        unsafe=True,
        library=True,
        providers=KERNEL - {"iter"} | USER | {"profile"},
    ),
    Signature(
        "override",
        (Param("value", "int"),),
        VOID,
        "return this value without running the function",
        unsafe=True,
        providers=frozenset({"kprobe", "uprobe"}),
    ),
    Signature("unwatch", (Param("address", "int"),), VOID, "accepted, does nothing", mode="async"),
    # parameters of the command line
    Signature(
        "getopt",
        (
            Param("name", "string", literal=True),
            Param("default", "any", literal=True, optional=True),
            Param("description", "string", literal=True, optional=True),
        ),
        _getopt,
        "a named parameter of the command line",
        mode="compile",
    ),
    # builtin values that take an argument which is a value (the others take words, see BUILTINS)
    Signature("comm", (Param("pid", "int", optional=True),), StringType(64), "name of a process"),
    Signature("ppid", (Param("task", "pointer"),), UINT32, "process id of a task's parent", library=True),
    Signature("pcomm", (Param("task", "pointer"),), StringType(16), "name of a task's parent", library=True),
    Signature("leader_tid", (Param("task", "pointer"),), UINT32, "thread id of a task's group leader", library=True),
    Signature("leader_comm", (Param("task", "pointer"),), StringType(16), "name of a task's group leader", library=True),
)

FUNCTIONS = {s.name: s for s in _ALL}


# ---- the builtin values

_FUNC = frozenset({"kprobe", "kretprobe", "uprobe", "uretprobe", "fentry", "fexit"})

_VALUES = (
    BuiltinValue("pid", UINT32, "process id", words=("curr_ns", "init"), library=False),
    BuiltinValue("tid", UINT32, "thread id", words=("curr_ns", "init"), library=False),
    BuiltinValue("uid", UINT64, "user id"),
    BuiltinValue("gid", UINT64, "group id"),
    BuiltinValue("username", USERNAME, "name of the user"),
    BuiltinValue("comm", StringType(16), "name of the thread"),
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
    BuiltinValue("pcomm", StringType(16), "name of the parent"),
    BuiltinValue("leader_tid", UINT32, "thread id of the group leader"),
    BuiltinValue("leader_comm", StringType(16), "name of the group leader"),
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
        Pointer(VOID, "kernel"),
        "context of the event",
        providers=frozenset({"kprobe", "kretprobe", "iter"}) | USER | TIMER | EVENT,
        refusal="The ctx builtin can not be used with '{probe}' probes",
        library=False,
        contextual=True,
    ),
    BuiltinValue("kstack", None, "stack of the kernel", words=("bpftrace", "perf", "raw", "build_id"), library=False),
    BuiltinValue("ustack", None, "stack of the program", words=("bpftrace", "perf", "raw", "build_id"), library=False),
    BuiltinValue(
        "dw_ustack", None, "stack of the program, by its debug information", words=("bpftrace", "perf", "raw", "build_id"), later=True
    ),
    BuiltinValue("usermode", UINT8, "1 if the program was interrupted, 0 if the kernel was"),
    BuiltinValue("config", None, "the configuration in force"),
    BuiltinValue("reg", UINT64, "value of a register", providers=REGISTERS, library=False, contextual=True),
)

BUILTINS = {b.name: b for b in _VALUES}

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


def nanoseconds_type(args: tuple[object, ...]) -> IntegerType:
    """The type of `nsecs(mode)`."""
    return Nanoseconds(str(args[0])) if args and args[0] != "boot" else UINT64


def is_aggregation(name: str) -> bool:
    """Whether a function is an aggregation: count, sum, hist ..."""
    return name in FUNCTIONS and FUNCTIONS[name].mode == "aggregate"
