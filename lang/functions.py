"""The one table of functions: what the compiler checks calls against and what the runtime implements.

Adding a function is one entry here, one implementation under `runtime`, and one help topic.
"""

from __future__ import annotations

from pyprobe.lang.results import (
    aggregate_result,
    bswap_result,
    buf_result,
    getopt_result,
    hist_result,
    lhist_result,
    path_result,
    pton_result,
    space_result,
    str_result,
    strftime_result,
    tseries_result,
)
from pyprobe.lang.signatures import KERNEL, REGISTERS, TRAMPOLINE, USER, Param, Rule, Signature
from pyprobe.lang.typesys import (
    BOOL,
    CGROUP_PATH,
    INT32,
    INT64,
    KSYM,
    MAC,
    NONE,
    UINT32,
    UINT64,
    USYM,
    VOID,
    Aggregate,
    Inet,
    Pointer,
    String,
    Type,
)

_FORMAT = Param("format", "string", literal=True)
_NUMBER = Param("n", "int")
_ADDRESS = ("int", "pointer")
_TEXT = ("string", "pointer", "array")
_TWO_TEXTS = (Param("text", *_TEXT), Param("other", *_TEXT))


def _a(name: str, result: Type | Rule, brief: str, *params: Param) -> Signature:
    return Signature(name, params, result, brief, mode="aggregate")


_ALL = (
    # aggregations
    _a("count", Aggregate("count", False), "count how often this is reached"),
    _a("sum", aggregate_result("sum"), "add up", _NUMBER),
    _a("min", aggregate_result("min"), "the smallest value", _NUMBER),
    _a("max", aggregate_result("max"), "the largest value", _NUMBER),
    _a("avg", aggregate_result("avg"), "the average, truncated", _NUMBER),
    _a("stats", aggregate_result("stats"), "count, average and total", _NUMBER),
    _a("hist", hist_result, "log2 histogram", Param("n", "int", to=INT64), Param("bits", "int", literal=True, optional=True)),
    _a(
        "lhist",
        lhist_result,
        "linear histogram",
        Param("n", "int", to=INT64),
        Param("min", "int", literal=True),
        Param("max", "int", literal=True),
        Param("step", "int", literal=True),
    ),
    _a(
        "tseries",
        tseries_result,
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
    Signature("strftime", (_FORMAT, Param("ns", "int")), strftime_result, "a time, formatted when it is printed"),
    Signature(
        "join",
        (Param("array", "int", "pointer"), Param("separator", "string", literal=True, optional=True)),
        VOID,
        "print an array of strings",
        mode="async",
    ),
    Signature("cat", (_FORMAT,), VOID, "print a file", mode="async", rest=True),
    Signature("system", (_FORMAT,), VOID, "run a shell command", mode="async", rest=True, unsafe=True),
    Signature("exit", (Param("code", "int", optional=True),), NONE, "stop the program", mode="async"),
    Signature(
        "skboutput",
        (Param("file", "string", literal=True), Param("skb", "pointer"), Param("length", "int"), Param("offset", "int")),
        UINT32,
        "write a packet to a capture file",
        providers=TRAMPOLINE,
    ),
    # memory and strings
    Signature("str", (Param("p", "int", "pointer", "string"), Param("n", "int", optional=True)), str_result, "the string at an address"),
    Signature(
        "buf",
        (Param("p", "int", "pointer", "string", "array", "buffer"), Param("n", "int", optional=True)),
        buf_result,
        "bytes at an address",
    ),
    Signature("strlen", (Param("s", *_TEXT),), UINT64, "length of a string", library=True),
    Signature("strcap", (Param("s", *_TEXT),), UINT64, "capacity of a string", library=True),
    Signature(
        "strncmp", (Param("a", "string"), Param("b", "string"), Param("n", "int", literal=True)), UINT64, "0 if n bytes agree, else 1"
    ),
    Signature("strstr", _TWO_TEXTS, INT32, "index of a string in another", library=True),
    Signature("strcontains", _TWO_TEXTS, BOOL, "whether a string is in another", library=True),
    Signature("str_concat", _TWO_TEXTS, String(1024), "two strings as one", library=True),
    Signature(
        "memcmp",
        (Param("a", "any"), Param("b", "any"), Param("n", "int")),
        INT32,
        "difference of the first bytes that differ",
        library=True,
    ),
    Signature("strerror", (Param("errno", "int", "pointer", "bool"),), String(64), "text of an error number", library=True),
    Signature("signal_name", (Param("signal", "int", "pointer", "bool"),), String(64), "text of a signal number", library=True),
    Signature("syscall_name", (Param("number", "int", "pointer", "bool"),), String(64), "name of a system call", library=True),
    Signature("kptr", (Param("p", "int", "pointer"),), space_result("kernel"), "mark an address as one of the kernel"),
    Signature("uptr", (Param("p", "int", "pointer"),), space_result("user"), "mark an address as one of the program"),
    Signature("bswap", (_NUMBER,), bswap_result, "bytes of an integer in reverse order"),
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
        "uaddr", (Param("symbol", "string", literal=True),), Pointer(INT64, "user"), "address of a symbol of the program", providers=USER
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
    Signature("pton", (Param("address", "string", literal=True),), pton_result, "bytes of an IP address"),
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
        (Param("path", "any"), Param("size", "any", optional=True)),
        path_result,
        "text of a kernel path",
        providers=TRAMPOLINE,
    ),
    Signature("socket_cookie", (Param("socket", "pointer"),), UINT64, "the kernel's number of a socket", providers=TRAMPOLINE),
    Signature(
        "signal",
        (Param("signal", "int", "string"),),
        NONE,
        "send a signal to the process",
        unsafe=True,
        library=True,
        providers=KERNEL - {"iter"} | USER | {"profile"},
    ),
    Signature(
        "signal_thread",
        (Param("signal", "int", "string"),),
        NONE,
        "send a signal to the thread",
        unsafe=True,
        library=True,
        providers=KERNEL - {"iter"} | USER | {"profile"},
    ),
    Signature(
        "override",
        (Param("value", "int"),),
        NONE,
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
        getopt_result,
        "a named parameter of the command line",
        mode="compile",
    ),
    # builtin values that take an argument which is a value (the others take words, see BUILTINS)
    Signature("comm", (Param("pid", "any", optional=True),), String(64), "name of a process"),
    Signature("ppid", (Param("task", "any"),), UINT32, "process id of a task's parent", library=True),
    Signature("pcomm", (Param("task", "any"),), String(16), "name of a task's parent", library=True),
    Signature("leader_tid", (Param("task", "any"),), UINT32, "thread id of a task's group leader", library=True),
    Signature("leader_comm", (Param("task", "any"),), String(16), "name of a task's group leader", library=True),
)

FUNCTIONS = {s.name: s for s in _ALL}


def known(name: str) -> bool:
    """Whether there is such a function, `nsecs` with a value as argument among them."""
    return name in FUNCTIONS or name == "nsecs"


def is_aggregation(name: str) -> bool:
    """Whether a function is an aggregation: count, sum, hist ..."""
    return name in FUNCTIONS and FUNCTIONS[name].mode == "aggregate"
