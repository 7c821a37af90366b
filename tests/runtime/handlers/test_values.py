"""Random programs of strings, tuples, casts and shifts: generated handlers against values computed while the text is made."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import pytest

from pyprobe.lang.compiler import compile_program
from pyprobe.lang.source import Source
from pyprobe.runtime.binding import FixedBinding
from pyprobe.runtime.context import NoMachine, RuntimeContext
from pyprobe.runtime.handlers import compile_probe
from pyprobe.runtime.maps import MapStore
from pyprobe.runtime.output import TextOutput
from pyprobe.runtime.values import Renderer
from tests.runtime.handlers.test_arithmetic import EDGES

WORDS = ["", "a", "ab", "abc", "b", "abd", "a b", "longer than the others", "ab\\n", "ä"]
BITS = (8, 16, 32, 64)

Value = int | str | tuple["Value", ...]
Made = tuple[str, Value]  # text of an expression and what it is worth


def output_of(statements: Sequence[str]) -> list[str]:
    program = compile_program(Source("stdin", "begin {\n" + "\n".join(statements) + "\n}"))
    out, nothing = io.BytesIO(), NoMachine()
    output = TextOutput(out, io.BytesIO(), Renderer(program.config, nothing, nothing), warnings=False)
    context = RuntimeContext(MapStore(program), output, program.config)
    for probe in program.probes:
        compile_probe(probe, program, FixedBinding({}), context)()
    return out.getvalue().decode().split("\x1e\n")[:-1]


def shown(value: Value) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))})"
    return value.replace("\\n", "\n") if isinstance(value, str) else str(value)


def wrapped(value: int, bits: int, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def cast(rng: random.Random, made: tuple[str, int]) -> tuple[str, int]:
    bits, signed = rng.choice(BITS), rng.random() < 0.5
    return f"({'' if signed else 'u'}int{bits})({made[0]})", wrapped(made[1], bits, signed)


def integer(rng: random.Random) -> tuple[str, int]:
    """A literal below one to three casts; every pair of integer types occurs."""
    value = rng.choice([*EDGES, rng.getrandbits(62)])
    made = (str(value), value) if rng.random() < 0.6 else (f"-{value}", -value)
    for _ in range(rng.randint(1, 3)):
        made = cast(rng, made)
    return made


def shift(rng: random.Random) -> tuple[str, int]:
    """A shift of an unsigned 64-bit value: the count goes by its low six bits."""
    value, count = rng.getrandbits(64) >> 1, rng.randrange(70)
    left = rng.random() < 0.5
    result = value << (count & 63) if left else value >> (count & 63)
    return f"(uint64){value} {'<<' if left else '>>'} $count{count}", result & ((1 << 64) - 1)


def division(rng: random.Random) -> tuple[str, int]:
    """Division and remainder without sign; by 0 they give 1."""
    a, b, op = rng.getrandbits(63), rng.choice([0, 1, 7, 255, 2**40]), rng.choice("/%")
    return f"(uint64){a} {op} (uint64)$by{b}", 1 if b == 0 else a // b if op == "/" else a % b


def word(rng: random.Random, depth: int = 2) -> tuple[str, str]:
    if depth == 0 or rng.random() < 0.5:
        chosen = rng.choice(WORDS)
        return f'"{chosen}"', chosen
    (a, left), (b, right) = word(rng, depth - 1), word(rng, depth - 1)
    return f"str_concat({a}, {b})", left + right


def tuple_of(rng: random.Random, depth: int) -> tuple[str, tuple[Value, ...]]:
    members = [value(rng, depth - 1) for _ in range(rng.randint(2, 4))]
    return f"({', '.join(text for text, _ in members)})", tuple(worth for _, worth in members)


def value(rng: random.Random, depth: int) -> Made:
    kind = rng.random()
    if depth > 0 and kind < 0.4:
        return tuple_of(rng, depth)
    return word(rng) if kind < 0.65 else integer(rng)


def changed(rng: random.Random, worth: Value) -> Value:
    """The same value, or one of the same shape that differs in one place."""
    if isinstance(worth, tuple):
        at = rng.randrange(len(worth))
        return (*worth[:at], changed(rng, worth[at]), *worth[at + 1 :])
    if rng.random() < 0.5:
        return worth
    return worth + 1 if isinstance(worth, int) and worth < 2**62 else worth if isinstance(worth, int) else worth + "x"


def literal(worth: Value) -> str:
    if isinstance(worth, tuple):
        return f"({', '.join(map(literal, worth))})"
    return f'"{worth}"' if isinstance(worth, str) else f"(int64){worth}"


def plain(rng: random.Random, depth: int) -> Value:
    """A value of 64-bit numbers, texts and tuples of them."""
    if depth > 0 and rng.random() < 0.5:
        return tuple(plain(rng, depth - 1) for _ in range(rng.randint(2, 3)))
    return rng.choice(WORDS) if rng.random() < 0.5 else rng.choice(EDGES)


def comparison(rng: random.Random) -> Made:
    """Two tuples of one shape, nested, equal or not."""
    left = tuple(plain(rng, 2) for _ in range(rng.randint(2, 3)))
    right = changed(rng, left)
    op = rng.choice(["==", "!="])
    return f"{literal(left)} {op} {literal(right)}", "true" if (left == right) == (op == "==") else "false"


def member(rng: random.Random) -> Made:
    """A member of a member of a nested tuple."""
    text, worth = tuple_of(rng, 3)
    path, found = "", worth
    while isinstance(found, tuple):
        at = rng.randrange(len(found))
        path, found = f"{path}.{at}", found[at]  # type: ignore[assignment]  # a Value again, which the loop asks for
    return f"{text}{path}", found


def strings(rng: random.Random) -> Made:
    """Questions about two texts."""
    (a, left), (b, right) = word(rng), word(rng)
    x, y = (text.replace("\\n", "\n").encode() for text in (left, right))
    n = rng.randint(0, 4)
    return rng.choice([
        (f"strlen({a})", len(x)),
        (f"{a} == {b}", "true" if x == y else "false"),
        (f"{a} != {b}", "false" if x == y else "true"),
        (f"strcontains({a}, {b})", "true" if y in x else "false"),
        (f"strncmp({a}, {b}, {n})", int((x + b"\0")[:n] != (y + b"\0")[:n])),
        (a, left),
    ])  # fmt: skip


def test_a_long_chain_of_branches() -> None:
    """Each looked at in turn, also where a condition does something; no deeper than one."""
    branches = " else ".join(f"if ($x == {i}) {{ print({i * 2}); }}" for i in range(180))
    assert output_of(["$x = 179;", branches, 'printf("\\x1e\\n");']) == ["358\n"]
    branches = " else ".join(f"if ($x++ == {i * 2}) {{ print(({i}, $x)); }}" for i in range(60))
    assert output_of(["$x = 7;", branches, 'printf("\\x1e\\n");']) == ["(7, 15)\n"]


@pytest.mark.parametrize("seed", range(40))
def test_handlers_agree_with_the_made_values(seed: int) -> None:
    rng = random.Random(seed)
    makers = [integer, shift, division, strings, comparison, member, lambda r: tuple_of(r, 3)]
    made = [makers[i % len(makers)](rng) for i in range(42)]
    lines = [f"$count{n} = (uint64){n}; _ = $count{n};" for n in range(70)]
    lines += [f"$by{n} = (uint64){n}; _ = $by{n};" for n in (0, 1, 7, 255, 2**40)]
    given = output_of([*lines, *(f'print({text}); printf("\\x1e\\n");' for text, _ in made)])
    for (text, worth), printed in zip(made, given, strict=True):
        assert printed == shown(worth) + "\n", text
