"""Named parameters: what their words on the command line give, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from pyprobe.lang.compiler import compile_program
from pyprobe.lang.diagnostics import CompileError, render
from pyprobe.lang.dump import tree
from pyprobe.lang.source import Source


def value(call: str, *named: str) -> str:
    program = compile_program(Source("stdin", f"begin {{ print({call}); }}"), named=named)
    (line,) = [line for line in tree(program.probes[0].body).splitlines() if "value=" in line]
    return line.split("value=")[1].replace(", flexible=False", "")


def failure(program: str, *named: str) -> list[str]:
    with pytest.raises(CompileError) as caught:
        compile_program(Source("stdin", program), named=named)
    assert caught.value.exit_code == 1
    return "\n".join(map(render, caught.value.diagnostics.ordered())).splitlines()


@pytest.mark.parametrize(
    ("call", "word", "wanted"),
    [
        ('getopt("a")', "", "False) : bool"),
        ('getopt("a")', "--a", "True) : bool"),
        ('getopt("a", true)', "--a=off", "False) : bool"),
        ('getopt("a", 5)', "", "5) : uint64"),
        ('getopt("a", 5)', "--a=0x10", "16) : uint64"),
        ('getopt("a", 5)', "--a=1s", "1000000000) : uint64"),
        ('getopt("a", 5)', "--a=-1", "18446744073709551615) : uint64"),
        ('getopt("a", -5)', "--a=-8", "-8) : int64"),
        ('getopt("a", "x")', "--a=y=z", "b'y=z') : string[1024]"),
        ('getopt("a", "x" + "y", "text")', "", "b'xy') : string[1024]"),
    ],
)
def test_value(call: str, word: str, wanted: str) -> None:
    assert value(call, *word.split()) == wanted


def test_last_word_counts() -> None:
    assert value('getopt("a", 1)', "--a=2", "--a=3") == "3) : uint64"


@pytest.mark.parametrize(
    ("call", "word", "message"),
    [
        ('getopt("a")', "--a=x", "expects a boolean (e.g. 'true') (value: x)"),
        ('getopt("a")', "--a=", "expects a boolean (e.g. 'true') (value: )"),
        ('getopt("a", 3)', "--a", "expects an integer (value: true)"),
        ('getopt("a", 3)', "--a=x", "invalid integer (value: x)"),
        ('getopt("a", 3)', "--a=1k", "invalid trailing bytes (value: 1k)"),
        ('getopt("a", 3)', "--a=99999999999999999999", "value is out of range (value: 99999999999999999999)"),
        ('getopt("a", -3)', "--a=18446744073709551615", "value is out of range (value: 18446744073709551615)"),
        ('getopt("a", "s")', "--a", "expects a string (value: true)"),
    ],
)
def test_wrong_value(call: str, word: str, message: str) -> None:
    assert failure(f"begin {{ print({call}); }}", word) == [f"ERROR: program command line option --a {message}"]


def test_unknown_word() -> None:
    program = 'begin { print(getopt("a")); print(getopt("b", 1)); }'
    assert failure(program, "--c=3", "--a=x", "--d") == [
        "ERROR: unexpected program command line options: --c, --d",
        "HINT: expected program options: --a: --b",
    ]
    assert failure("begin { print(1); }", "--c") == [
        "ERROR: unexpected program command line options: --c",
        "HINT: no custom program options defined.",
    ]


def test_script_comes_before_words() -> None:
    assert "Undefined" in failure('begin { print(getopt("a", 1)); print($x); }', "--a=x")[0]


def test_help() -> None:
    program = 'begin { print(getopt("a")); print(getopt("b", true, "some text")); }'
    assert failure(program, "--a=x", "--help") == ["HINT: expected program options:", "--a", "--b: some text"]
    assert failure("begin { print(1); }", "--help") == ["HINT: no custom program options defined."]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("getopt(5)", "stdin:1:22-23: ERROR: First argument to 'getopt' must be a string literal."),
        (
            'getopt("a", pid)',
            "stdin:1:27-30: ERROR: Second argument to 'getopt' must be a string literal, integer literal, or a boolean literal.",
        ),
        ('getopt("a", 1, 5)', "stdin:1:15-32: ERROR: Unknown function: 'getopt'"),
        (
            'getopt("a", 1, "b", 3)',
            "stdin:1:15-37: ERROR: The 'getopt' function can take a maximum of three arguments and a minimum of one argument.",
        ),
        (
            'getopt("a", 3) + getopt("a", 4)',
            "stdin:1:32-46: ERROR: Command line option 'a' needs to have the same default value in all places it is used. "
            "Previous default value: 3",
        ),
        (
            'getopt("a", 3, "x") + getopt("a", 3, "y")',
            "stdin:1:37-56: ERROR: Command line option 'a' must have the same description in all places it's used. "
            "Hint: You can wrap it in a macro",
        ),
        ('lhist(1, 2, getopt("x", 5), 1)', "stdin:1:15-45: ERROR: lhist() must be assigned directly to a map"),
    ],
)
def test_refused(call: str, line: str) -> None:
    assert failure(f"begin {{ print({call}); }}")[0] == line
