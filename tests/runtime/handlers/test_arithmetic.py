"""Random integer programs: generated handlers, which leave out masks where ranges allow it, against a plain evaluator that masks always."""

from __future__ import annotations

import io
import random

import pytest

from pyprobe.lang.compiler import compile_program
from pyprobe.lang.nodes import Assign, Binary, Cast, Expr, Integer, Unary, Variable
from pyprobe.lang.program import Program
from pyprobe.lang.source import Source
from pyprobe.lang.typesys import BOOL, Type
from pyprobe.lang.typesys import Integer as IntegerType
from pyprobe.runtime.binding import FixedBinding
from pyprobe.runtime.context import NoMachine, RuntimeContext
from pyprobe.runtime.handlers import compile_probe
from pyprobe.runtime.maps import MapStore
from pyprobe.runtime.output import TextOutput
from pyprobe.runtime.values import Renderer

MASK = (1 << 64) - 1
TYPES = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
EDGES = [0, 1, 2, 5, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1]
BINARY = ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "<", "<=", ">", ">=", "==", "!=", "&&", "||"]


def expression(rng: random.Random, depth: int, names: list[str]) -> str:
    """A random integer expression over the variables."""
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(names)
    kind = rng.random()
    if kind < 0.12:
        return f"{rng.choice('-~')}({expression(rng, depth - 1, names)})"
    if kind < 0.3:
        return f"({rng.choice(TYPES)})({expression(rng, depth - 1, names)})"
    op = rng.choice(BINARY)
    right = str(rng.choice([1, 3, 8, 63, 16])) if op in ("<<", ">>") or rng.random() < 0.3 else expression(rng, depth - 1, names)
    text = f"({expression(rng, depth - 1, names)} {op} {right})"
    return f"(int64){text}" if op in BINARY[10:] else text


def wrap(value: int, t: Type) -> int:
    if t is BOOL:
        return int(value != 0)
    assert isinstance(t, IntegerType)
    return t.wrap(value)


def evaluate(node: Expr, values: dict[str, int]) -> int:
    """The value of a typed expression by the book."""
    if isinstance(node, Integer):
        return node.value
    if isinstance(node, Variable):
        return values[node.name]
    if isinstance(node, Cast):
        return wrap(evaluate(node.operand, values), node.type)
    if isinstance(node, Unary):
        value = evaluate(node.operand, values)
        result = -value if node.op == "-" else ~value
        t = node.operand.type
        if isinstance(t, IntegerType) and not t.signed:
            result = t.wrap(result)
        return wrap(result, node.type)
    assert isinstance(node, Binary), node
    a, b = evaluate(node.left, values), evaluate(node.right, values)
    return wrap(operate(node.op, a, b), node.type)


def operate(op: str, a: int, b: int) -> int:
    if op in ("/", "%"):
        a, b = a & MASK, b & MASK
        return 1 if b == 0 else a // b if op == "/" else a % b
    if op == ">>":
        return (a & MASK) >> (b & 63)
    if op == "<<":
        return a << (b & 63)
    if op in ("&&", "||"):
        return int(bool(a and b)) if op == "&&" else int(bool(a or b))
    table = {"+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b}
    if op in table:
        return table[op]
    return int({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "==": a == b, "!=": a != b}[op])


def run(program: Program) -> dict[str, int]:
    nothing = NoMachine()
    output = TextOutput(io.BytesIO(), io.BytesIO(), Renderer(program.config, nothing, nothing), warnings=False)
    context = RuntimeContext(MapStore(program), output, program.config)
    for probe in program.probes:
        compile_probe(probe, program, FixedBinding({}), context)()
    return {m.name: m.data[0] for m in context.maps}


@pytest.mark.parametrize("seed", range(60))
def test_handlers_agree_with_the_evaluator(seed: int) -> None:
    rng = random.Random(seed)
    names, lines, values = [], [], {}
    for i in range(6):
        kind = rng.choice(TYPES)
        literal = rng.choice([*EDGES, rng.getrandbits(63)])
        bits, signed = int(kind.lstrip("uint")), not kind.startswith("u")
        value = IntegerType(bits // 8, signed).wrap(-literal if rng.random() < 0.4 else literal)
        names.append(f"$v{i}")
        lines.append(f"$v{i} = ({kind})({'-' if value < 0 else ''}{abs(value) if value > -(2**63) else 0});")
        values[f"v{i}"] = value if value > -(2**63) else 0
    for j in range(12):
        lines.append(f"@r{j} = (int64)({expression(rng, 4, names)});")
    program = compile_program(Source("stdin", "begin { " + " ".join(lines) + " }"))
    results = run(program)
    for statement in program.probes[0].body.statements:
        if isinstance(statement, Assign) and not isinstance(statement.target, Variable):
            assert results[statement.target.name] == evaluate(statement.value, values), (statement.target.name, lines)  # type: ignore[union-attr]
