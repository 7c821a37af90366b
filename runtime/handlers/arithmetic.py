"""Integer operations as Python expressions that compute what 64-bit hardware does.

Python's integers do not wrap. Every `Code` carries the range of its value, and a mask is written only where the range says that
the result may leave its type.
"""

from __future__ import annotations

from collections.abc import Callable

from pyprobe.lang.typesys import BOOL, Enum, Integer, Pointer, Type
from pyprobe.runtime.handlers.emitter import Code, number

MASK = (1 << 64) - 1


def limits(t: Type) -> tuple[int | None, int | None]:
    """The range of a type's values, (None, None) when they are no integers."""
    if isinstance(t, Integer):
        return t.low, t.high
    if isinstance(t, Pointer):
        return 0, MASK
    if isinstance(t, Enum):
        return 0, (1 << (t.size * 8)) - 1
    if t is BOOL:
        return 0, 1
    return None, None


def bounds(code: Code) -> tuple[int, int]:
    """The range of an integer expression; anything 64 bits wide when nothing is known."""
    return (code.low if code.low is not None else -(1 << 63), code.high if code.high is not None else MASK)


def fit(code: Code, size: int, signed: bool) -> Code:
    """`code` wrapped to an integer of `size` bytes, unless its range already fits."""
    low, high = bounds(code)
    mask = (1 << (size * 8)) - 1
    half = 1 << (size * 8 - 1)
    least, most = (-half, half - 1) if signed else (0, mask)
    if low >= least and high <= most:
        return code
    if code.constant is not None:
        value = code.constant & mask
        return number(value - (mask + 1) if signed and value >= half else value)
    depth = code.depth + 1
    if not signed:
        return Code(f"({code.text} & {mask:#x})", 0, min(mask, high) if low >= 0 else mask, depth=depth)
    if low >= 0 and high <= mask:
        return Code(f"(({code.text} ^ {half:#x}) - {half:#x})", least, most, depth=depth)
    return Code(f"(({code.text} + {half:#x} & {mask:#x}) - {half:#x})", least, most, depth=depth)


def fit_type(code: Code, t: Type) -> Code:
    """`code` wrapped to an integer, enum or pointer type."""
    if isinstance(t, Integer):
        return fit(code, t.size, t.signed)
    return fit(code, t.size, False)


def unsigned(code: Code) -> Code:
    """The 64 bits of a value, read as unsigned."""
    return fit(code, 8, False)


def _span(*values: int) -> tuple[int, int]:
    return min(values), max(values)


def _make(op: str, a: Code, b: Code, low: int, high: int) -> Code:
    return Code(f"({a.text} {op} {b.text})", low, high, depth=max(a.depth, b.depth) + 1)


def add(a: Code, b: Code) -> Code:
    (al, ah), (bl, bh) = bounds(a), bounds(b)
    return _make("+", a, b, al + bl, ah + bh)


def subtract(a: Code, b: Code) -> Code:
    (al, ah), (bl, bh) = bounds(a), bounds(b)
    return _make("-", a, b, al - bh, ah - bl)


def multiply(a: Code, b: Code) -> Code:
    (al, ah), (bl, bh) = bounds(a), bounds(b)
    return _make("*", a, b, *_span(al * bl, al * bh, ah * bl, ah * bh))


def _ones(value: int) -> int:
    return (1 << value.bit_length()) - 1


def bit_and(a: Code, b: Code) -> Code:
    (al, ah), (bl, bh) = bounds(a), bounds(b)
    if al >= 0 or bl >= 0:
        return _make("&", a, b, 0, min(ah if al >= 0 else MASK, bh if bl >= 0 else MASK))
    return _make("&", a, b, -_ones(~min(al, bl)) - 1, max(ah, bh, 0))


def _or(op: str) -> Callable[[Code, Code], Code]:
    def operation(a: Code, b: Code) -> Code:
        (al, ah), (bl, bh) = bounds(a), bounds(b)
        ones = max(_ones(max(ah, 0)), _ones(max(bh, 0)), _ones(~min(al, 0)), _ones(~min(bl, 0)))
        return _make(op, a, b, 0 if al >= 0 and bl >= 0 else -ones - 1, ones)

    return operation


def shift_left(a: Code, b: Code) -> Code:
    """Counts are taken modulo 64, as the BPF machine does."""
    (al, ah), (_, bh) = bounds(a), bounds(b)
    count = fit_count(b)
    most = min(bh, 63) if b.constant is None else b.constant & 63
    if b.low is None or b.low < 0:
        most = 63
    return _make("<<", a, count, min(al, al << most), max(ah, ah << most, 0))


def shift_right(a: Code, b: Code) -> Code:
    """Logical, for signed values too."""
    a = unsigned(a)
    count = fit_count(b)
    least = count.low if count.low is not None and count.low >= 0 else 0
    return _make(">>", a, count, 0, bounds(a)[1] >> least)


def fit_count(b: Code) -> Code:
    low, high = bounds(b)
    if low >= 0 and high <= 63:
        return b
    if b.constant is not None:
        return number(b.constant & 63)
    return Code(f"({b.text} & 63)", 0, 63, depth=b.depth + 1)


def divide(a: Code, b: Code) -> Code:
    """Unsigned; the caller makes sure that b is not zero."""
    return _make("//", a, b, 0, bounds(a)[1] // max(1, bounds(b)[0]))


def remainder(a: Code, b: Code) -> Code:
    return _make("%", a, b, 0, max(1, min(bounds(a)[1], bounds(b)[1] - 1)))


def step(op: str, old: Code, t: Type, by: int) -> Code:
    """`old` (a name) after `++` or `--`; stepping over the end of an integer's range is tested, which is cheaper than a mask."""
    if isinstance(t, Integer) and by == 1:
        end, start = (t.high, t.low) if op == "++" else (t.low, t.high)
        return Code(f"({old.text} {op[0]} 1 if {old.text} != {number(end).text} else {number(start).text})", t.low, t.high, depth=1)
    return fit_type(BINARY[op[0]](old, number(by)), t)


BINARY: dict[str, Callable[[Code, Code], Code]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "&": bit_and,
    "|": _or("|"),
    "^": _or("^"),
    "<<": shift_left,
    ">>": shift_right,
}
COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
