"""Calls that reach into the machine: signals, results put in place of a function's own, writes to memory, tasks and their names.

What such a call does is the event's to say: it asks its binding for a function and calls that.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Any

from pyprobe.lang import nodes
from pyprobe.lang.signalnames import signal_number
from pyprobe.lang.typesys import CGROUP_PATH, Integer, Pointer, Struct
from pyprobe.runtime import fields
from pyprobe.runtime.handlers import arithmetic, memory
from pyprobe.runtime.handlers.arguments import argument, literal, typed
from pyprobe.runtime.handlers.arithmetic import unsigned
from pyprobe.runtime.handlers.compiler import Compiler, bare
from pyprobe.runtime.handlers.emitter import Code, number


def _signal(kind: str) -> Callable[[Compiler, nodes.Call], None]:
    def rule(c: Compiler, node: nodes.Call) -> None:
        send = c.event(node.span, kind)
        first = argument(node, 0)
        code = number(signal_number(first.value.decode()) or 0) if isinstance(first, nodes.String) else c.expr(first)
        c.emitter.emit(f"{send}({bare(code.text)})")

    return rule


def _override(c: Compiler, node: nodes.Call) -> None:
    code = unsigned(c.expr(argument(node, 0)))
    c.emitter.emit(f"{c.event(node.span, 'override')}({bare(code.text)})")


def _write_user(c: Compiler, node: nodes.Call) -> Code:
    """The source is memory, or a value that is here already: what it looks like in memory is copied."""
    to, source, size = (argument(node, i) for i in range(3))
    destination, given, length = c.operands([to, source, size])
    write = c.event(node.span, "write_user")
    t = source.type
    if isinstance(t, (Integer, Pointer)):
        data = f"{c.bind(c.context.memory.read, 'read')}({bare(unsigned(given).text)}, {bare(unsigned(length).text)})"
    else:
        data = f"{c.bind(partial(fields.encoded, t), 'encoded')}({bare(given.text)})[:{bare(unsigned(length).text)}]"
    return Code(f"{write}({bare(unsigned(destination).text)}, {data})", 0, 1, depth=3)


def _comm(c: Compiler, node: nodes.Call) -> Code:
    """comm(pid)."""
    code = c.expr(argument(node, 0))
    return Code(f"{c.event(node.span, 'comm_of')}({bare(code.text)})", depth=code.depth + 1)


def _of_task(c: Compiler, node: nodes.Call) -> Code:
    """ppid(task) and its like."""
    code = unsigned(c.expr(argument(node, 0)))
    return typed(f"{c.event(node.span, 'of_task', node.name)}({bare(code.text)})", node.type, code.depth + 1)


def _path(c: Compiler, node: nodes.Call) -> Code:
    """Of a struct by the place where it is, or by its content where it has been copied."""
    path = argument(node, 0)
    place = memory.location(c, path) if isinstance(path.type, Struct) else None
    if place is not None:
        code = place.address
    else:
        code = c.expr(path) if isinstance(path.type, Struct) else unsigned(c.expr(path))
    size = literal(node, 1, c.context.config.max_strlen)
    fail = c.helper_error(node.span, "File name too long", "d_path", -errno.ENAMETOOLONG, b"")
    fitting = c.bind(_fitting(size, c.emitter.objects[fail]), "fitting")
    return Code(f"{fitting}({c.event(node.span, 'path_of')}({bare(code.text)}))", depth=code.depth + 2)


def _fitting(size: int, fail: Any) -> Callable[[bytes], bytes]:
    """The function that lets a path pass that fits into so many bytes with its NUL; without any, none was asked for."""
    return lambda path: path if len(path) < size else fail() if size else b""


def _socket_cookie(c: Compiler, node: nodes.Call) -> Code:
    code = unsigned(c.expr(argument(node, 0)))
    return typed(f"{c.event(node.span, 'cookie_of')}({bare(code.text)})", node.type, code.depth + 1)


def _cgroup_path(c: Compiler, node: nodes.Call) -> Code:
    assert node.type is CGROUP_PATH
    return arithmetic.unsigned(c.expr(argument(node, 0)))


def _debugf(c: Compiler, node: nodes.Call) -> None:
    """There is no trace pipe that somebody could read."""


STATEMENTS: dict[str, Callable[[Compiler, nodes.Call], None]] = {
    "signal": _signal("signal"),
    "signal_thread": _signal("signal_thread"),
    "override": _override,
    "debugf": _debugf,
}

CALLS: dict[str, Callable[[Compiler, nodes.Call], Code]] = {
    "write_user": _write_user,
    "comm": _comm,
    "ppid": _of_task,
    "pcomm": _of_task,
    "leader_tid": _of_task,
    "leader_comm": _of_task,
    "path": _path,
    "socket_cookie": _socket_cookie,
    "cgroup_path": _cgroup_path,
}
