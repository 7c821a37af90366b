"""Functions on strings and bytes: str, buf, strlen, strcap, strncmp, memcmp."""

from __future__ import annotations

from functools import partial

from pyprobe.lang import nodes
from pyprobe.lang.passes.infer_builtins import space_of
from pyprobe.lang.typesys import Array, Buffer, String, Struct, Type
from pyprobe.runtime import fields, functions
from pyprobe.runtime.functions import Fail
from pyprobe.runtime.handlers import memory
from pyprobe.runtime.handlers.arguments import argument, arguments, literal
from pyprobe.runtime.handlers.arithmetic import unsigned
from pyprobe.runtime.handlers.compiler import Compiler, bare
from pyprobe.runtime.handlers.emitter import Code, number


def read_failure(c: Compiler, node: nodes.Call, suffix: str = "") -> Fail:
    """What to tell of the first argument when it is an address that could not be read."""
    return memory.read_failure(c, node.span, space_of(argument(node, 0), c.probe.point.provider), suffix)


def str_(c: Compiler, node: nodes.Call) -> Code:
    source, t = argument(node, 0), node.type
    size = t.size if isinstance(t, String) else c.context.config.max_strlen
    given = source.type
    if isinstance(source, nodes.Integer):
        return c.constant(b"%d" % source.value, "text")
    if isinstance(given, (String, Array, Buffer)):
        return _string_of(c, node, given, size)
    if len(node.args) == 1:
        address = unsigned(c.expr(source))
        most: str | int = size
    else:
        address, count = c.operands([source, argument(node, 1)])
        address = unsigned(address)
        length = unsigned(count)
        limit = c.context.config.max_strlen
        most = f"min({bare(length.text)}, {limit})" if length.constant is None else min(length.constant, limit)
    reader = functions.string_reader(c.context.memory, read_failure(c, node, "str"))
    if len(node.args) == 1:
        return Code(f"{c.bind(reader, 'read_string')}({bare(address.text)}, {most})", depth=address.depth + 1)
    last = most - 1 if isinstance(most, int) else f"{most} - 1"  # an explicit length counts the final NUL
    return Code(f"{c.bind(reader, 'read_string')}({bare(address.text)}, {last})", depth=address.depth + 1)


def _string_of(c: Compiler, node: nodes.Call, given: Type, size: int) -> Code:
    """str() of what already is bytes: a string passes through, at most cut to the length."""
    source = argument(node, 0)
    if len(node.args) == 1:
        code = c.expr(source)
        return code if isinstance(given, String) else Code(f"{code.text}.split(b'\\0', 1)[0]", depth=code.depth)
    text, count = c.operands([source, argument(node, 1)])
    if isinstance(source, nodes.String) and count.constant is not None:
        return c.constant(source.value.split(b"\0", 1)[0][: max(0, count.constant)], "text")
    cut = c.bind(functions.cut, "cut")
    return Code(f"{cut}({bare(text.text)}, {bare(unsigned(count).text)}, {c.context.config.max_strlen})", depth=text.depth + 1)


def buf_(c: Compiler, node: nodes.Call) -> Code:
    source, t = argument(node, 0), node.type
    limit = t.capacity if isinstance(t, Buffer) else c.context.config.max_strlen - 4
    given = source.type
    if isinstance(given, Buffer):
        return c.expr(source)
    if isinstance(given, (Array, String)):
        codes = arguments(c, node)
        if isinstance(given, String):
            text = c.constant(source.value, "bytes") if isinstance(source, nodes.String) else codes[0]  # a literal may hold NULs
            data = Code(f"{text.text}.ljust({given.size}, b'\\0')", depth=text.depth)
        else:
            data = codes[0]
        if len(codes) == 1:
            return Code(f"{data.text}[:{min(limit, given.size)}]", depth=data.depth)
        return Code(f"{data.text}[:min({bare(unsigned(codes[1]).text)}, {limit})]", depth=data.depth + 1)
    address, count = c.operands([source, argument(node, 1)])
    reader = functions.buffer_reader(c.context.memory, limit, read_failure(c, node))
    return Code(f"{c.bind(reader, 'read_buffer')}({bare(unsigned(address).text)}, {bare(unsigned(count).text)})", depth=address.depth + 1)


def strlen_(c: Compiler, node: nodes.Call) -> Code:
    source = argument(node, 0)
    code = c.expr(source)
    if isinstance(source.type, String):
        return Code(f"len({bare(code.text)})", 0, 1 << 30, depth=code.depth + 1)
    if isinstance(source.type, Array):
        return Code(f"len({code.text}.split(b'\\0', 1)[0])", 0, 1 << 30, depth=code.depth + 1)
    reader = functions.string_reader(c.context.memory, None)
    return Code(f"len({c.bind(reader, 'read_string')}({bare(code.text)}, {c.context.config.max_strlen}))", 0, 1 << 30, depth=code.depth + 2)


def strcap_(c: Compiler, node: nodes.Call) -> Code:
    t = argument(node, 0).type
    if isinstance(t, String):
        return number(t.size)
    return number(t.count) if isinstance(t, Array) else strlen_(c, node)


def strncmp_(c: Compiler, node: nodes.Call) -> Code:
    a, b = c.operands([argument(node, 0), argument(node, 1)])
    count = min(literal(node, 2), argument(node, 0).type.size, argument(node, 1).type.size)
    text = f"({a.text}[:{count}] != {b.text}[:{count}])"
    return Code(f"int({bare(text)})", 0, 1, depth=max(a.depth, b.depth) + 1)


def memcmp_(c: Compiler, node: nodes.Call) -> Code:
    a, b, n = c.operands([argument(node, 0), argument(node, 1), argument(node, 2)])
    one, other = (_bytes_of(c, argument(node, i).type, code) for i, code in enumerate((a, b)))
    return Code(f"{c.bind(functions.memcmp, 'memcmp')}({one}, {other}, {bare(n.text)})", -255, 255, depth=max(a.depth, b.depth) + 2)


def _bytes_of(c: Compiler, t: Type, code: Code) -> str:
    """The value itself as it is in memory; a pointer is not followed."""
    if isinstance(t, String):
        return f"{code.text}.ljust({t.size}, b'\\0')"
    if isinstance(t, (Array, Struct)):
        return code.text
    return f"{c.bind(partial(fields.encoded, t), 'encoded')}({bare(code.text)})"
