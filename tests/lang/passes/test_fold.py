"""What constants fold to. The values are what bpftrace 0.27 prints for the same expressions."""

from __future__ import annotations

import pytest

from pyprobe.lang.compiler import prepare, run_passes
from pyprobe.lang.diagnostics import CompileError
from pyprobe.lang.literals import LiteralError
from pyprobe.lang.nodes import Assign, Boolean, Integer, String
from pyprobe.lang.passes.fold import number
from pyprobe.lang.passes.unit import Options
from pyprobe.lang.source import Source
from pyprobe.lang.world import NoWorld

PARAMS = ("42", "abc", "-7", "0x10", "5ms", "1e3", "0b11", "12x")


def _folded(expression: str) -> object:
    unit = prepare(Source("stdin", f"BEGIN {{ $x = {expression}; }}"), NoWorld(), Options(params=PARAMS))
    run_passes(unit, until="fold")
    statement = unit.bodies[0].block.statements[0]
    assert isinstance(statement, Assign)
    value = statement.value
    assert isinstance(value, (Integer, Boolean, String)), value
    return value.value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("3 << 63", 1 << 63),
        ("-8 << 62", 0),
        ("-1 << 63", -(1 << 63)),
        ("-8 >> 1", -4),
        ("~10", 18446744073709551605),
        ("~-5", 4),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("1 % -3", 1),
        ("9223372036854775807 + 1", 1 << 63),
        ("-1 - 9223372036854775807", -(1 << 63)),
        ("0xffffffffffffffff - 1", (1 << 64) - 2),
        ("-5 & 7", 3),
        ("-5 | 7", -1),
        ("0xff ^ -1", -256),
        ("7 - 9", -2),
        ("- -5", 5),
        ("!5", False),
        ("true + true", True),
        ("true + 1", 2),
        ("true == 1", True),
        ("-1 == -1", True),
        ("1 && 0 || 5", True),
        ('"a" < "b"', True),
        ('"a" && ""', False),
        ('"" || "a"', True),
        ('"a" + "b"', b"ab"),
        ('"foo" + 1', b"oo"),
        ('1 + "abc"', b"bc"),
        ('"abc"[1]', 98),
        ('"abc"[3]', 0),
        ("1 ? 5 : 600", 5),
        ("0 ?: 6", 6),
        ("7 ?: 6", 7),
        ("(1, 2).1", 2),
        ("(1, 2)[0]", 1),
        ("(a=1, b=2).b", 2),
        ("comptime (1 + 1)", 2),
        ("{ 5 } + 1", 6),
        ("$#", 8),
        ("$1 + 1", 43),
        ("$2", b"abc"),
        ("$3", -7),
        ("$4", 16),
        ("$5", 5_000_000),
        ("$6", 1000),
        ("$7", 3),
        ("$8", b"12x"),
        ("$99", 0),
        ("str($1)", b"42"),
        ("str($1 + 1)", b"2"),
        ("str($99)", b""),
        ("str($#)", b"8"),
        ("str(5)", b"5"),
        ("str(-5)", b"-5"),
        ('$1 == 42 ? "yes" : "no"', b"yes"),
    ],
)
def test_values(expression: str, value: object) -> None:
    folded = _folded(expression)
    assert (type(folded), folded) == (type(value), value)


@pytest.mark.parametrize(
    "expression",
    [
        "1/0",
        "5 % 0",
        "1 << 64",
        "1 >> -1",
        "18446744073709551615 + 1",
        "0 - 9223372036854775809",
        "-1 < 18446744073709551615",
        "-1 || 1 << 63",
    ],
)
def test_overflow(expression: str) -> None:
    with pytest.raises(CompileError, match="unable to fold literals due to overflow or underflow"):
        _folded(expression)


def test_underflow_of_a_literal() -> None:
    with pytest.raises(CompileError, match="negative value will underflow"):
        _folded("-9223372036854775809")


def test_negative_results_keep_their_sign() -> None:
    unit = prepare(Source("stdin", "BEGIN { $x = 1 - 2; $y = 2 - 1; }"), NoWorld(), Options())
    run_passes(unit, until="fold")
    literals = [s.value for s in unit.bodies[0].block.statements if isinstance(s, Assign)]
    assert [literal.flexible for literal in literals if isinstance(literal, Integer)] == [False, True]


@pytest.mark.parametrize("text", ["", "-", "abc", "12x", "1_", "0b2", "18446744073709551616", "-9223372036854775809", "--5", "0x"])
def test_words_that_are_no_numbers(text: str) -> None:
    with pytest.raises(LiteralError):
        number(text)
