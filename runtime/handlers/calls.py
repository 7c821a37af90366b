"""Functions and builtin values in generated code: one table from name to the rule that compiles a call.

What a function does at run time is in `runtime.functions`; here it is only decided what is passed to it, and what can be worked out
while the handler is compiled. Calls that print are in `runtime.handlers.printing`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pyprobe.lang import nodes
from pyprobe.lang.typesys import UINT64, Array, Buffer, Integer, Record, Stack, String, Timestamp
from pyprobe.runtime import functions
from pyprobe.runtime.handlers import arithmetic, mapaccess, strings
from pyprobe.runtime.handlers.arguments import argument, literal, plain, typed
from pyprobe.runtime.handlers.arithmetic import unsigned
from pyprobe.runtime.handlers.compiler import Compiler, bare, operand, placed
from pyprobe.runtime.handlers.emitter import Code, number

if TYPE_CHECKING:
    from pyprobe.runtime.context import RuntimeContext

MISSING = object()
NO_PROGRAM = b"No DWARF unwind data available for this process. Use -p or --dwarf-pid to specify target PIDs."


def call(c: Compiler, node: nodes.Call) -> Code:
    """A call as an expression."""
    rule = CALLS.get(node.name)
    if rule is not None:
        return rule(c, node)
    statement = STATEMENTS.get(node.name)
    if statement is None:
        raise NotImplementedError(f"function {node.name}")
    statement(c, node)
    return Code("None", stable=True)


# ---- maps


def _delete(c: Compiler, node: nodes.Call) -> Code:
    p = _element(c, node)
    missing = c.bind(MISSING, "MISSING")
    return Code(f"({c.bind(p.storage.data.pop, p.data + '_pop')}({bare(p.key.text)}, {missing}) is not {missing})", 0, 1, depth=2)


def _delete_statement(c: Compiler, node: nodes.Call) -> None:
    p = _element(c, node)
    c.emitter.emit(f"{c.bind(p.storage.data.pop, p.data + '_pop')}({bare(p.key.text)}, None)")


def _element(c: Compiler, node: nodes.Call) -> mapaccess.Place:
    """The element that has_key, find and delete name by a map and a key; delete's old form names it by indexing."""
    first = node.args[0]
    if isinstance(first, nodes.MapAccess):
        return mapaccess.place(c, first, touch=False)
    assert isinstance(first, nodes.Map)
    if len(node.args) > 1 and c.storage(first).keyed:
        return mapaccess.place(c, placed(nodes.MapAccess(map=first, key=argument(node, 1)), node.span), touch=False)
    return mapaccess.place(c, first, touch=False)


def _has_key(c: Compiler, node: nodes.Call) -> Code:
    p = _element(c, node)
    return Code(f"({p.key.text} in {p.data})", 0, 1, depth=p.key.depth + 1)


def _find(c: Compiler, node: nodes.Call) -> Code:
    p = _element(c, node)
    target = node.args[2]
    assert isinstance(target, nodes.Variable)
    missing, found, stored = c.bind(MISSING, "MISSING"), c.emitter.temporary(), c.emitter.temporary()
    c.emitter.emit(f"{stored} = {c.bind(p.storage.data.get, p.data + '_get')}({bare(p.key.text)}, {missing})")
    c.emitter.emit(f"{found} = {stored} is not {missing}")
    with c.emitter.block(f"if {found}:"):
        value = mapaccess.stored_as_value(c, stored, p.storage.value)
        c.emitter.emit(f"{c.variable(target)} = {bare(value.text)}")
    return Code(found, 0, 1, stable=True)


def _len(c: Compiler, node: nodes.Call) -> Code:
    first = node.args[0]
    if isinstance(first, nodes.Map):
        return Code(f"len({c.bind(c.storage(first).data, 'm' + first.name.replace('@', '_'))})", 0, 1 << 62, depth=1)
    code = c.expr(argument(node, 0))
    if isinstance(argument(node, 0).type, Stack):
        return Code(f"(len({code.text}) - 1)", 0, 1 << 20, depth=code.depth + 2)
    return Code(f"len({code.text})", 0, 1 << 62, depth=code.depth + 1)


# ---- ending


def _exit(c: Compiler, node: nodes.Call) -> None:
    code = c.expr(argument(node, 0)) if node.args else number(0)
    c.effect(c.context.request_exit, "request_exit", bare(code.text))
    c.emitter.emit("return")


def _same(c: Compiler, node: nodes.Call) -> Code:
    return c.expr(argument(node, 0))


def _bswap(c: Compiler, node: nodes.Call) -> Code:
    size = argument(node, 0).type.size
    code = arithmetic.fit(c.expr(argument(node, 0)), size, False)
    if size == 1:
        return code
    return typed(f"{c.bind(functions.SWAP[size], 'bswap')}({bare(code.text)})", Integer(size, False), code.depth + 1)


# ---- addresses, network, time


def _syscall_name(c: Compiler, node: nodes.Call) -> Code:
    return plain(functions.syscall_namer(c.context.arch), "syscall_name")(c, node)


def _ntop(c: Compiler, node: nodes.Call) -> Code:
    source = argument(node, len(node.args) - 1)
    given = source.type
    if len(node.args) == 2:
        family, code = c.operands([argument(node, 0), source])
    else:
        family, code = number(0), c.expr(source)
    if isinstance(given, Integer):
        size = 4
        value = Code(f"{operand(arithmetic.fit(code, 4, False).text)}.to_bytes(4, 'little')", depth=code.depth + 1)
    elif isinstance(given, String):
        size, value = given.size, Code(f"{code.text}.ljust({given.size}, b'\\0')", depth=code.depth)
    else:
        size, value = given.size, code
    if family.constant == 0:
        return value
    return Code(f"{c.bind(functions.address_of_family, 'address')}({family.text}, {value.text})", depth=value.depth + size)


def _pton(c: Compiler, node: nodes.Call) -> Code:
    return c.constant(functions.pton(literal(node, 0)), "address")


def _macaddr(c: Compiler, node: nodes.Call) -> Code:
    given = argument(node, 0).type
    code = c.expr(argument(node, 0))
    if isinstance(given, (Array, Buffer)):
        return Code(f"{code.text}[:6]", depth=code.depth)
    if isinstance(given, String):
        return Code(f"{code.text}.ljust(6, b'\\0')[:6]", depth=code.depth)
    reader = functions.exact_reader(c.context.memory, 6, strings.read_failure(c, node))
    return Code(f"{c.bind(reader, 'read_6')}({bare(unsigned(code).text)})", depth=code.depth + 1)


def _strftime(c: Compiler, node: nodes.Call) -> Code:
    mode = node.type.mode if isinstance(node.type, Timestamp) else "boot"
    code = c.expr(argument(node, 1))
    return Code(f"({mode!r}, {c.constant(literal(node, 0)).text}, {bare(code.text)})", depth=code.depth + 1)


def _usym(c: Compiler, node: nodes.Call) -> Code:
    code = unsigned(c.expr(argument(node, 0)))
    return Code(f"({bare(code.text)}, {c.event(node.span, 'pid')})", depth=code.depth + 1)


def _reg(c: Compiler, node: nodes.Call) -> Code:
    name = literal(node, 0)
    return typed(c.event(node.span, "reg", name.decode()), UINT64)


def _from_binding(c: Compiler, node: nodes.Call) -> Code:
    """A call that the event itself answers (`uaddr`, `kaddr` of a module...), with literal arguments."""
    literals = [v.decode() if isinstance(v, bytes) else v for v in (literal(node, i) for i in range(len(node.args)))]
    return typed(c.event(node.span, node.name, *literals), node.type)


CALLS: dict[str, Callable[[Compiler, nodes.Call], Code]] = {
    "delete": _delete,
    "has_key": _has_key,
    "find": _find,
    "len": _len,
    "str": strings.str_,
    "buf": strings.buf_,
    "strlen": strings.strlen_,
    "strcap": strings.strcap_,
    "strncmp": strings.strncmp_,
    "strstr": plain(functions.strstr, "strstr"),
    "strcontains": plain(functions.strcontains, "strcontains"),
    "str_concat": plain(functions.str_concat, "str_concat"),
    "memcmp": strings.memcmp_,
    "strerror": plain(functions.strerror, "strerror"),
    "signal_name": plain(functions.signal_name, "signal_name"),
    "syscall_name": _syscall_name,
    "kptr": _same,
    "uptr": _same,
    "bswap": _bswap,
    "ntop": _ntop,
    "pton": _pton,
    "macaddr": _macaddr,
    "strftime": _strftime,
    "ksym": _same,
    "usym": _usym,
    "reg": _reg,
    "kaddr": _from_binding,
    "uaddr": _from_binding,
    "percpu_kaddr": _from_binding,
}

STATEMENTS: dict[str, Callable[[Compiler, nodes.Call], None]] = {
    "delete": _delete_statement,
    "exit": _exit,
}
"""Calls that need statements; `runtime.handlers.printing` adds those that print."""


# ---- builtin values that no event is needed for


def _clock(mode: str) -> Callable[[Compiler], Code]:
    def rule(c: Compiler) -> Code:
        clock = c.context.clock
        return Code(f"{c.bind(clock.now if mode in ('boot', 'monotonic') else clock.wall, 'now')}()", 0, arithmetic.MASK, depth=1)

    return rule


def _nsecs(c: Compiler, node: nodes.Builtin) -> Code:
    return _clock(str(node.args[0]) if node.args else "boot")(c)


def _elapsed(c: Compiler, node: nodes.Builtin) -> Code:
    return Code(f"{c.bind(c.context.elapsed, 'elapsed')}()", 0, arithmetic.MASK, depth=1)


def _rand(c: Compiler, node: nodes.Builtin) -> Code:
    return Code(f"{c.bind(partial(c.context.rng.getrandbits, 32), 'rand')}()", 0, (1 << 32) - 1, depth=1)


def _probe(c: Compiler, node: nodes.Builtin) -> Code:
    c.named = True
    return c.constant(c.probe.point.place.encode(), "probe_name")


def _config(c: Compiler, node: nodes.Builtin) -> Code:
    """The configuration as a record."""
    assert isinstance(node.type, Record)
    values = [getattr(c.context.config, name) for name, _ in node.type.fields]
    return c.constant(tuple(v.encode() if isinstance(v, str) else v for v in values), "config")


def _cpid(c: Compiler, node: nodes.Builtin) -> Code:
    """The command's process id; without a command it is 0, with a warning."""
    if c.context.command_pid:
        return number(c.context.command_pid)
    warn = functions.messenger(c.context, "warnf", node.span)
    fail = c.bind(partial(_warned, c.context, warn, b"No child command (`-c`); cpid is zero"), "no_command")
    return Code(f"{fail}()", 0, 0, depth=1)


def _warned(context: RuntimeContext, warn: Callable[[bytes], None], text: bytes) -> int:
    context.soon(warn, text)
    return 0


def _dw_ustack(c: Compiler, node: nodes.Builtin) -> Code:
    """The stack of the program by call frame information; where no program runs it is empty, with a warning."""
    assert isinstance(node.type, Stack)
    warn = functions.messenger(c.context, "warnf", node.span)
    return Code(f"{c.bind(partial(_program_stack, c.context, warn, node.type.limit), 'dw_ustack')}()", depth=1)


def _program_stack(context: RuntimeContext, warn: Callable[[bytes], None], limit: int) -> tuple[int, ...]:
    found = context.names.program_stack(limit)
    if not found[0]:
        context.soon(warn, NO_PROGRAM)
    return found


def _has_cpid(c: Compiler, node: nodes.Builtin) -> Code:
    """Whether there is no command: bpftrace's test is the wrong way round, and scripts may rely on it."""
    return c.constant(not c.context.command_pid)


BUILTINS: dict[str, Callable[[Compiler, nodes.Builtin], Code]] = {
    "nsecs": _nsecs,
    "elapsed": _elapsed,
    "rand": _rand,
    "probe": _probe,
    "config": _config,
    "cpid": _cpid,
    "dw_ustack": _dw_ustack,
    "has_cpid": _has_cpid,
}
