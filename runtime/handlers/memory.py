"""Reading guest memory: `*p`, members, elements, bit-fields.

A chain of members and indexes on a pointer reads only the bytes that are used: `p.in.s` is one read of two bytes. Values that are
already here (a struct in a variable) are sliced. A read that fails gives zero, with a warning under `-k`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from pyprobe.lang import nodes
from pyprobe.lang.source import Span
from pyprobe.lang.typesys import UINT64, Array, Integer, Pointer, Record, String, Struct, Tuple, Type
from pyprobe.runtime.fields import decoder, field_decoder, stored_size
from pyprobe.runtime.functions import Fail
from pyprobe.runtime.handlers import arithmetic
from pyprobe.runtime.handlers.arithmetic import limits
from pyprobe.runtime.handlers.compiler import Compiler, bare
from pyprobe.runtime.handlers.emitter import Code, number
from pyprobe.runtime.names import ERRORS
from pyprobe.runtime.zeros import zero_of

USER_END, KERNEL_START = 1 << 47, 0xFFFF_8000_0000_0000  # the canonical addresses of x86-64, with four levels of page tables
OUT_OF_BOUNDS = "Array access out of bounds. This can lead to unexpected results."
# ---- places in memory


def load(c: Compiler, address: Code, t: Type, span: Span, space: str | None) -> Code:
    """The value of type `t` at an address."""
    size = stored_size(t)
    return _read(c, address, size, decoder(t), t, span, space)


def _read(c: Compiler, address: Code, size: int, decode: Callable[[bytes, int], Any], t: Type, span: Span, space: str | None) -> Code:
    zero = zero_of(t) if not isinstance(t, (Struct, Array)) else bytes(size)
    reader = _reader(c.context.memory.read, size, decode, zero, read_failure(c, span, space))
    name = c.bind(reader, f"read_{size}")
    low, high = limits(t)
    return Code(f"{name}({bare(address.text)})", low, high, depth=address.depth + 1)


def read_failure(c: Compiler, span: Span, space: str | None, suffix: str = "") -> Fail:
    """What to tell of an address that could not be read: under -k, a warning that names the kernel's helper function.

    On x86-64 the kernel refuses to look for memory of its own (-ERANGE) where none can be, see copy_from_kernel_nofault_allowed() in
    arch/x86/mm/maccess.c.
    """
    if not c.context.verbose_helpers:
        return None
    helper = "_".join(part for part in ("probe_read", space, suffix) if part)
    warn, x86 = c.context.helper_error, c.context.arch == "x86_64"
    lowest = {"kernel": 0, "user": KERNEL_START}.get(space or "", USER_END)

    def fail(address: int) -> None:
        code = errno.ERANGE if x86 and lowest <= address < KERNEL_START else errno.EFAULT
        warn(span, ERRORS[code], helper, -code)

    return fail


def _reader(
    read: Callable[[int, int], bytes | None], size: int, decode: Callable[[bytes, int], Any], zero: Any, fail: Fail
) -> Callable[[int], Any]:
    def reader(address: int) -> Any:
        data = read(address, size)
        if data is None:
            if fail is not None:
                fail(address)
            return zero
        return decode(data, 0)

    return reader


class Location:
    """Where in memory a struct or array is: an address, a number of bytes to add to it, and the address space."""

    __slots__ = ("base", "offset", "space")

    def __init__(self, base: Code, space: str | None, offset: int = 0) -> None:
        self.base = base
        self.offset = offset
        self.space = space

    def at(self, offset: int) -> Location:
        """The place of a member."""
        return Location(self.base, self.space, self.offset + offset)

    @property
    def address(self) -> Code:
        """The address as an expression. It is not wrapped to 64 bits: what a wrapped one could reach, the first page, is never mapped."""
        if not self.offset:
            return self.base
        return Code(f"({self.base.text} + {self.offset})", 0, arithmetic.MASK, depth=self.base.depth + 1)


def location(c: Compiler, node: nodes.Expr) -> Location | None:
    """Where the struct or array is that an expression reaches by reading memory; None when the value is here already."""
    if isinstance(node, nodes.Unary) and node.op == "*" and isinstance(node.operand.type, Pointer):
        return Location(c.expr(node.operand), node.operand.type.space)
    if isinstance(node, nodes.FieldAccess):
        found = _base(c, node.base)
        if found is not None:
            place, kind = found
            field = kind.fields[node.field]
            return place.at(field.offset) if field.bits is None else None
    if isinstance(node, nodes.Index):
        return _element(c, node)
    return None


def _base(c: Compiler, base: nodes.Expr) -> tuple[Location, Struct] | None:
    """The place of the struct that a member is taken of; pointers to pointers are followed."""
    t = base.type
    if isinstance(t, Pointer):
        address = c.expr(base)
        while isinstance(t.to, Pointer):
            address = load(c, address, t.to, base.span, t.space)
            t = Pointer(t.to.to, t.to.space or t.space)
        return (Location(address, t.space), t.to) if isinstance(t.to, Struct) else None
    if isinstance(t, Struct):
        found = location(c, base)
        return (found, t) if found is not None else None
    return None


def dereference(c: Compiler, node: nodes.Unary) -> Code:
    """`*p`; an integer is taken as an address of as many bytes as it is wide."""
    if isinstance(node.operand, nodes.Unary) and node.operand.op == "&":
        return c.expr(node.operand.operand)
    if isinstance(node.operand, nodes.Variable):
        own = c.pointees.get((node.operand.name, node.operand.slot))  # variables of the script lie nowhere in memory
        if own is not None:
            return c.expr(own)
    t = node.operand.type
    if isinstance(t, Pointer):
        return _of_variable(c, c.expr(node.operand), node, t)
    size = t.size if t.size in (1, 2, 4, 8) else 8
    code = load(c, arithmetic.unsigned(c.expr(node.operand)), Integer(size, False), node.span, None)
    return Code(code.text, *limits(UINT64), depth=code.depth)


def _of_variable(c: Compiler, address: Code, node: nodes.Expr, t: Pointer) -> Code:
    """What lies at an address that may be one of the scratch variables'."""
    variables = [(place, variable) for place, variable in c.addressed() if variable.type == t.to]
    if not variables:
        return load(c, address, node.type, node.span, t.space)
    address = c.keep(address)
    code = load(c, address, node.type, node.span, t.space)
    for place, variable in variables:
        text = f"({c.variable(variable)} if {address.text} == {place:#x} else {code.text})"
        code = Code(text, code.low, code.high, depth=code.depth + 1)
    return code


def field_access(c: Compiler, node: nodes.FieldAccess) -> Code:
    """`a.f` of a struct, a pointer to one, a record, or the arguments of a probe."""
    t = node.base.type
    low, high = limits(node.type)
    if isinstance(t, Record):
        if isinstance(node.base, nodes.Builtin) and node.base.name == "args":
            return Code(c.event(node.span, "args", node.field), low, high)
        at = [name for name, _ in t.fields].index(node.field)
        base = c.expr(node.base)
        return Code(f"{base.text}[{at}]", low, high, depth=base.depth)
    found = _base(c, node.base)
    if found is not None:
        place, kind = found
        field = kind.fields[node.field]
        size, decode = field_decoder(field)
        return _read(c, place.at(field.offset).address, size, decode, node.type, node.span, place.space)
    assert isinstance(t, Struct), t
    field = t.fields[node.field]
    _, decode = field_decoder(field)
    base = c.expr(node.base)
    return Code(f"{c.bind(decode, 'field_' + node.field)}({bare(base.text)}, {field.offset})", low, high, depth=base.depth + 1)


def _element(c: Compiler, node: nodes.Index, guards: list[str] | None = None) -> Location | None:
    """The place of `a[i]` where that is in memory."""
    t = node.base.type
    if isinstance(t, Pointer):
        base, index = c.operands([node.base, node.index])
        size = max(1, t.to.size)
        if index.constant is not None and 0 <= index.constant < 1 << 16:
            return Location(base, t.space, index.constant * size)
        return Location(arithmetic.unsigned(arithmetic.add(base, arithmetic.multiply(index, number(size)))), t.space)
    if isinstance(t, Array):
        mark = len(c.emitter.lines)
        found = location(c, node.base)
        if found is None:
            del c.emitter.lines[mark:], c.emitter.spans[mark:]
            return None
        index = _checked(c, node, c.expr(node.index), t.count, guards)
        if index.constant is not None:
            return found.at(index.constant * t.element.size)
        moved = arithmetic.add(found.base, arithmetic.multiply(index, number(t.element.size)))
        return Location(arithmetic.unsigned(moved), found.space, found.offset)
    return None


def _checked(c: Compiler, node: nodes.Index, index: Code, count: int, guards: list[str] | None) -> Code:
    """An index of an array of `count` elements. Where it may lie outside, the test goes to `guards`; without them, an index outside
    warns and becomes 0."""
    low, high = arithmetic.bounds(index)
    if low >= 0 and high < count:
        return index
    index = c.keep(index)
    test = f"0 <= {index.text} < {count}"
    if guards is None:
        fail = c.runtime_error(node.span, OUT_OF_BOUNDS, 0)
        return Code(f"({index.text} if {test} else {fail}())", 0, max(0, count - 1), depth=1)
    guards.append(test)
    return Code(index.text, 0, max(0, count - 1), stable=True)


def index(c: Compiler, node: nodes.Index) -> Code:
    """`a[i]` on arrays, pointers, strings and tuples; outside of an array it warns and gives zero."""
    guards: list[str] = []
    code = _index(c, node, guards)
    if not guards:
        return code
    fail = c.runtime_error(node.span, OUT_OF_BOUNDS, zero_of(node.type))
    return Code(f"({code.text} if {guards[0]} else {fail}())", *limits(node.type), depth=code.depth + 1)


def _index(c: Compiler, node: nodes.Index, guards: list[str]) -> Code:
    t = node.base.type
    low, high = limits(node.type)
    if isinstance(t, Tuple) and isinstance(node.index, nodes.Integer):
        base = c.expr(node.base)
        return Code(f"{base.text}[{node.index.value}]", low, high, depth=base.depth)
    if isinstance(t, Pointer) and isinstance(node.index, nodes.Integer) and not node.index.value and c.addressed():
        return _of_variable(c, c.expr(node.base), node, t)
    found = _element(c, node, guards)
    if found is not None:
        if isinstance(t, Array) and not t.element.size:
            return number(0)
        return load(c, found.address, node.type, node.span, found.space)
    base, at = c.operands([node.base, node.index])
    if isinstance(t, String):
        name = c.bind(_character, "character")
        at = _checked(c, node, at, t.size, guards)
        return Code(f"{name}({bare(base.text)}, {bare(at.text)})", -128, 127, depth=base.depth + 1)
    assert isinstance(t, Array), t
    base = c.keep(base)
    at = _checked(c, node, at, t.count, guards)
    decode = c.bind(decoder(t.element), "element")
    scaled = arithmetic.multiply(at, number(t.element.size)) if t.element.size != 1 else at
    return Code(f"{decode}({bare(base.text)}, {bare(scaled.text)})", low, high, depth=max(base.depth, at.depth) + 1)


def _character(text: bytes, at: int) -> int:
    if at >= len(text):
        return 0
    value = text[at]
    return value - 256 if value > 127 else value
