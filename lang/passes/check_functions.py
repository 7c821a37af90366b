"""The calls of which more is to be checked than the kinds of their arguments, such as formats and what can be printed, or that mean
something simpler: one small function each, in the tables `SPECIAL` and `FIRST`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyprobe.lang import formats
from pyprobe.lang import nodes as n
from pyprobe.lang.passes import getopt
from pyprobe.lang.passes.casts import convert
from pyprobe.lang.promote import is_integer, kind
from pyprobe.lang.signatures import PROBE_TYPES, USER
from pyprobe.lang.typesys import (
    BOOL,
    INT8,
    NONE,
    UINT64,
    Aggregate,
    Array,
    Context,
    Enum,
    Integer,
    Nanoseconds,
    Pointer,
    Stack,
    String,
    Struct,
    Type,
)

if TYPE_CHECKING:
    from pyprobe.lang.passes.check import Checker

_FORMATTED = frozenset({"printf", "errorf", "warnf", "debugf", "cat", "system", "fail"})

TRACEABLE = frozenset("duxps")  # conversions of bpf_trace_printk(), see kernel/trace/bpf_trace.c


def _boolean(node: n.Call, value: bool) -> n.Expr:
    return n.Boolean(value=value, type=BOOL, span=node.span)


def expression(node: n.Call, position: int) -> n.Expr:
    """An argument that is no type."""
    arg = node.args[position]
    assert isinstance(arg, n.Expr)
    return arg


Special = Callable[["Checker", n.Call, list[Type]], n.Expr]


def _format(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    text = node.args[0]
    assert isinstance(text, n.String)
    if node.name == "fail" and not all(isinstance(arg, (n.Integer, n.String, n.Boolean)) for arg in node.args[1:]):
        check.error("fail() arguments need to be literals", node.span)
        return node
    message = formats.count_error(text.value, len(node.args) - 1)
    if message:
        check.error(message, node.span)
        return node
    for spec, t in zip(formats.specs(text.value), types[1:], strict=True):
        if node.name == "debugf" and spec.letter not in TRACEABLE:
            check.error(f"Invalid format specifier for `debugf`: {spec.letter}", text.span)
            break
        message = spec.refuses(t)
        if message:
            check.error(message, node.span)
            return node
    if node.name == "fail":
        check.error(_filled_in(text.value, node), node.span)
    node.args = [arg if not isinstance(arg, n.Expr) or isinstance(arg, n.Map) else check.read(arg) for arg in node.args]
    return node


def _filled_in(text: bytes, node: n.Call) -> str:
    """The text of fail(): its arguments are literals."""
    values = iter(node.args[1:])
    words = [getattr(next(values), "value", "") if isinstance(part, formats.Spec) else part for part in formats.parse(text)]
    return "".join(word.decode(errors="replace") if isinstance(word, bytes) else str(word) for word in words)


PRINTED_LATER = (
    "Due to it's asynchronous nature using 'print()' in a loop can lead to unexpected behavior. "
    "The map will likely be updated before the runtime can 'print' it."
)


def _print(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    first, t = node.args[0], types[0]
    if isinstance(first, n.Map):
        first.type = check.map_value(first.name)
        if check.loops:
            check.warning(PRINTED_LATER, node.span)
        if len(node.args) > 1 and isinstance(first.type, Aggregate) and first.type.function == "stats":
            check.warning("print()'s top and div arguments are ignored when used on stats() maps.", node.span)
        return node
    if t is NONE:
        check.error("none type passed to print() is not printable", node.span)
    elif len(node.args) > 1:
        check.error(f"Non-map print() only takes 1 argument, {len(node.args)} found", node.span)
    elif isinstance(t, Context) or (isinstance(first, n.Unary) and first.op == "*" and isinstance(first.operand.type, Context)):
        check.error(f"{t} type passed to print() is not printable", node.span)
    elif isinstance(t, Aggregate) and not t.castable and isinstance(first, n.MapAccess) and t.function != "stats":
        check.error(f"Map type {t} cannot print the value of individual keys. You must print the whole map.", node.span)
    elif isinstance(first, n.Builtin) and first.name == "args" and check.inference.body.point.provider == "tracepoint":
        point = check.inference.body.point
        check.error(f"struct tracepoint:{point.target}:{point.function}_args type passed to print() is not printable", node.span)
    if isinstance(node.args[0], n.Expr):
        node.args[0] = check.read(node.args[0])
    return node


def _keyed(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    """has_key, find and delete: the key as the map has it; `delete(@m[k])` is `delete(@m, k)`."""
    first = node.args[0]
    if isinstance(first, n.MapAccess):
        node.args[:1] = [first.map, first.key]
    elif len(node.args) > 1 and isinstance(first, n.Map):
        node.args[1] = convert(check.read(expression(node, 1)), check.map_key(first.name), check.diagnostics)
    if isinstance(node.args[0], n.Map):
        node.args[0].type = check.map_value(node.args[0].name)
    return node


def _whole_map(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    if isinstance(node.args[0], n.Map):
        node.args[0].type = check.map_value(node.args[0].name)
    return node


def _len(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    first = node.args[0]
    if isinstance(first, n.Map):
        state = check.inference.map(first.name)
        if state.scalar:
            check.error("call to len() expects a map with explicit keys (non-scalar map)", node.span)
        first.type = check.map_value(first.name)
    elif not isinstance(types[0], Stack):
        check.error("call to len() expects a map, ustack, or kstack", node.span)
    return node


def _is_scalar(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    first = node.args[0]
    return _boolean(node, isinstance(first, n.Map) and check.inference.map(first.name).scalar is not False)


def _length(check: Checker, node: n.Call, types: list[Type]) -> bool:
    """The optional second argument of str and buf; False after an error."""
    if len(node.args) < 2:
        return True
    length = node.args[1]
    most = check.config.max_strlen
    if isinstance(length, n.Integer):
        if length.value < 0:
            check.error(f"{node.name}cannot use negative length ({length.value})", node.span)
            return False
        if node.name == "str" and length.value + 1 > most:
            shortened = f"will be shortened to {most} bytes (see BPFTRACE_MAX_STRLEN)"
            check.warning(f"length param ({length.value}) is too long and {shortened}", node.span)
    return True


def _string_like(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    """strlen and strcap read pointers to characters only."""
    t = types[0]
    if isinstance(t, Array) and t.element != INT8:
        check.error("string-like arrays must contain a char-like type", node.span)
    elif isinstance(t, Pointer) and t.to != INT8:
        check.error("string-like pointers must point to a char-like type", node.span)
    return node


def _texts(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    """Functions on two texts: arrays and pointers of characters are read as strings first."""
    for position, t in enumerate(types):
        if isinstance(t, (Array, Pointer)):
            text = expression(node, position)
            _string_like(check, node, [t])
            node.args[position] = n.Call(name="str", args=[text], type=String(check.config.max_strlen), name_span=text.span, span=text.span)
    return node


def _str(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    first = node.args[0]
    if not _length(check, node, types):
        return node
    if isinstance(first, n.Integer):
        node.args[0] = n.String(value=str(first.value).encode(), type=String(len(str(first.value)) + 1), span=first.span)
    first, length = node.args[0], node.args[1] if len(node.args) == 2 else None
    if isinstance(first, n.String) and (length is None or isinstance(length, n.Integer)):
        text = first.value if length is None else first.value[: length.value]
        return n.String(value=text, type=node.type, span=node.span)
    return node


def _path(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    size = node.args[1] if len(node.args) == 2 else None
    most = check.config.max_strlen
    if not isinstance(types[0], (Struct, Pointer)):
        check.error(f"path() only supports pointer or C type argument ({kind(types[0])} provided)", node.span)
    elif size is not None and (not isinstance(size, n.Integer) or size.value < 0):
        check.error("path: invalid size value, need non-negative literal", node.span)
    elif isinstance(size, n.Integer) and size.value > most:
        check.error(f"path: size is too long (over {most} bytes): {size.value}", node.span).hint("Increase BPFTRACE_MAX_STRLEN.")
    return node


def _buf(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    if len(node.args) == 1 and not isinstance(types[0], Array):
        check.error(f"buf() expects a length argument for non-array type {kind(types[0])}", node.span)
    else:
        _length(check, node, types)
    return node


def _strftime(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    when = node.args[1]
    if isinstance(when, n.Integer) and when.value < 0:
        check.error("strftime() does not accept negative timestamps", node.span)
    if isinstance(types[1], Nanoseconds) and types[1].mode == "monotonic":
        check.error("strftime() can not take a monotonic timestamp", node.span)
    return node


def _kaddr(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    name = _text(node)
    address = check.unit.world.kernel_symbol(name)
    if address is None:
        found = check.error(f"Failed to resolve kernel symbol: {name}", node.span)
        if hint := check.unit.world.symbols_hint():
            found.hint(hint)
        return node
    return n.Integer(value=address, flexible=False, type=UINT64, span=node.span)


def _percpu_kaddr(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    check.error(f'Could not resolve variable "{_text(node)}" from BTF', node.span)
    return node


def _uaddr(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    name = _text(node)
    found = check.unit.world.user_symbol(check.inference.body.point, name)
    if found is None:
        check.error(f"Could not resolve symbol: {check.inference.body.point.target}:{name}", node.span)
    return node


def _text(node: n.Call) -> str:
    first = node.args[0]
    return first.value.decode(errors="replace") if isinstance(first, n.String) else ""


def _pton(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    literal = node.args[0]
    if isinstance(literal, n.String):
        literal.value = literal.value.split(b"\0")[0]
    text = _text(node)
    try:
        if set(text) >= {".", ":"} or "%" in text:  # the table of inet_pton() has these, but not the one that bpftrace uses
            raise ValueError
        ipaddress.ip_address(text)
    except ValueError:
        wanted = "a valid IPv4/IPv6 address" if set(text) & {".", ":"} else "an string argument of an IPv4/IPv6 address"
        check.error(f"pton() expects {wanted}, got {text}", node.span)
    return node


def _ntop(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    address = types[-1]
    if len(types) == 2 and kind(types[0]) != "int":
        check.error(f"ntop() only supports int arguments ({kind(types[0])} provided)", node.span)
        return node
    if not isinstance(address, (Integer, Enum)) and address.size not in (4, 16):
        check.error("ntop() argument must be 4 or 16 bytes in size", node.span)
    return node


def _macaddr(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    if isinstance(node.args[0], n.String):
        check.error("macaddr() does not support literal string arguments", node.span)
    elif isinstance(types[0], (Array, String)) and types[0].size < 6:
        check.error("macaddr() argument must be at least 6 bytes in size", node.span)
    return node


def _comm(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    """The name of another process: of which one, and whether it can be told at this probe."""
    t = types[0]
    whole = is_integer(t) or t is NONE
    if not whole:
        check.error("Only integer supported for comm()'s pid", node.span)
    provider = check.inference.body.point.provider
    if provider in _WITHOUT_COMM:
        probe = PROBE_TYPES.get(provider, provider)
        check.error(f"Syntax comm(PID) is not supported in this probe type yet. Type: {probe}", node.span)
    elif not whole and t is not BOOL and not isinstance(t, Pointer):
        check.error(f'Cannot cast from "{t}" to "int32"', node.span)
        check.error(f"unsupported format specifier for type '{t}': d", node.span)
    node.args[0] = check.read(expression(node, 0))
    return node


_WITHOUT_COMM = USER | {name for name, probe in PROBE_TYPES.items() if probe == "special"}


def _space(check: Checker, node: n.Call, types: list[Type]) -> n.Expr:
    """kptr and uptr only say where a pointer points. An integer's type has no place for that: there the call itself stays."""
    if not isinstance(node.type, Pointer):
        return node
    return n.Cast(spec=None, operand=expression(node, 0), type=node.type, span=node.span)


SPECIAL: dict[str, Special] = {
    **dict.fromkeys(_FORMATTED, _format),
    "print": _print,
    "clear": _whole_map,
    "zero": _whole_map,
    "has_key": _keyed,
    "find": _keyed,
    "delete": _keyed,
    "len": _len,
    "is_scalar": _is_scalar,
    "strlen": _string_like,
    "strcap": _string_like,
    **dict.fromkeys(("strstr", "strcontains", "str_concat"), _texts),
    "str": _str,
    "buf": _buf,
    "path": _path,
    "strftime": _strftime,
    "kaddr": _kaddr,
    "percpu_kaddr": _percpu_kaddr,
    "uaddr": _uaddr,
    "pton": _pton,
    "ntop": _ntop,
    "macaddr": _macaddr,
    "kptr": _space,
    "uptr": _space,
    "comm": _comm,
}
"""What is done when the arguments have been checked, by function."""


# ---- functions that are gone after the check


def _is_literal(check: Checker, node: n.Call) -> n.Expr:
    return _boolean(node, isinstance(node.args[0], (n.Integer, n.String, n.Boolean)))


def _getopt(check: Checker, node: n.Call) -> n.Expr:
    return getopt.literal(check.unit, node)


def _kernel_function(check: Checker, node: n.Call) -> n.Expr:
    return _boolean(node, False)


FIRST: dict[str, Callable[[Checker, n.Call], n.Expr]] = {
    "is_literal": _is_literal,
    "getopt": _getopt,
    "kfunc_exist": _kernel_function,
    "kfunc_allowed": _kernel_function,
}
"""What is done instead of checking the arguments."""
