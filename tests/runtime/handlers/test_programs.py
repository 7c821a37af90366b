"""Random programs of statements (loops, branches, maps, tuples, records, blocks as values) against an evaluator of the checked tree."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pyprobe.lang import nodes as n
from pyprobe.lang.compiler import compile_program
from pyprobe.lang.source import Source
from pyprobe.lang.typesys import BOOL, Integer, Record, Tuple, Type
from tests.runtime.handlers.support import Script
from tests.runtime.handlers.test_arithmetic import BINARY, EDGES, TYPES, operate, wrap

NUMBERS = ("$a", "$b", "$c", "$d", "$t.0", "$t.1", "$r.x", "$r.y", "$n.1.0", "@m", "@k[$a & 3]", "@k[1]", "@p[$b & 1, 2]")
NUMBERS += ("(int64)$f", "strlen($s)")
TRUTHS = ("$f", "!$f", "$n.0", "has_key(@k, 2)", '$s == "abc"', '$s != "abcdef"', "$t == (1, 2)", "$r == (y=4, x=3)")
COMPARED = ("<", "<=", ">", ">=", "==", "!=")


class Maker:
    """Makes one program; it ends, because loops count."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loops = 0

    def program(self) -> str:
        choose = self.random
        types = [choose.choice(TYPES) for _ in range(4)]
        lines = [f"let ${name} : {t} = ({t}){choose.choice(EDGES)};" for name, t in zip("abcd", types, strict=True)]
        lines += ["$t = ((int64)1, (int64)-2);", "$r = (x=(int64)3, y=(int64)4);", "$n = (true, ((int64)5, (int64)6));"]
        lines += ['$s = "abcdef"; $s = "abc";', "$f = 1 == 2;", "@m = (int64)7;", "@k[9] = (int64)1;", "@p[9, 9] = (uint64)1;"]
        lines += [self.statement(3) for _ in range(14)]
        lines += ["@f = $f; @s = $s; @t = $t; @r = $r; @n = $n;"]
        return "begin { " + "\n".join([*lines, *(f"@v{name} = ${name};" for name in "abcd")]) + " }"

    def number(self, depth: int) -> str:
        choose, less = self.random, depth - 1
        if depth <= 0 or choose.random() < 0.2:
            return choose.choice(NUMBERS) if choose.random() < 0.8 else f"(int64){choose.choice(EDGES)}"
        kind = choose.randrange(9)
        if kind == 0:
            return f"({self.truth(less)} ? (int64)({self.number(less)}) : (int64)({self.number(less)}))"
        if kind == 1:
            return f"{{ {self.statement(0)} (int64)({self.number(less)}) }}"
        if kind == 2:
            condition, one, other = self.truth(less), self.number(less), self.number(less)
            return f"(if ({condition}) {{ (int64)({one}) }} else {{ {self.statement(0)} (int64)({other}) }})"
        if kind == 3:
            return f"({choose.choice(TYPES)})({self.number(less)})"
        if kind == 4:
            return choose.choice(("$a++", "--$b", "@m++", "++@k[2]", "$c--", "@p[1, 2]--"))
        if kind == 5:
            return f"{choose.choice('-~')}((int64)({self.number(less)}))"
        op = choose.choice(BINARY[:10])
        right = str(choose.choice((1, 3, 63))) if op in ("<<", ">>") else f"(int64)({self.number(less)})"
        return f"((int64)({self.number(less)}) {op} {right})"

    def truth(self, depth: int) -> str:
        choose, less = self.random, depth - 1
        if depth <= 0:
            return choose.choice(TRUTHS)
        kind = choose.randrange(4)
        if kind == 0:
            return f"({self.truth(less)} {choose.choice(('&&', '||'))} {self.truth(less)})"
        if kind == 1:
            return f"!({self.truth(less)})"
        return f"((int64)({self.number(less)}) {choose.choice(COMPARED)} (int64)({self.number(less)}))"

    def statement(self, depth: int) -> str:
        choose, less = self.random, depth - 1
        kind = choose.randrange(9) if depth <= 0 else choose.randrange(15)
        number, truth = self.number(depth), self.truth(depth)
        if kind < 3:
            name = choose.choice("abcd")
            op = choose.choice(("+", "-", "*", "&", "|", "^"))
            return f"${name} {op}= ${name};" if choose.random() < 0.2 else f"@k[{choose.randrange(4)}] = (int64)({number});"
        if kind == 3:
            return f"@m {choose.choice(('', '+', '-', '*', '/', '%', '&', '|', '^'))}= (int64)({number});"
        if kind == 4:
            return choose.choice((f"$t = ((int64)({number}), $t.0);", f"$r = (y=(int64)({number}), x=$r.y);", f"$n = ({truth}, $t);"))
        if kind == 5:
            return choose.choice(("$a++;", "$b--;", "$c--;", "@m++;", "@k[1]--;", "@p[0, 2]++;", "_ = delete(@k, 3);"))
        if kind == 6:
            return f"$f = {truth};"
        if kind == 7:
            return choose.choice(('$s = "abc";', '$s = "x";', f'$s = {truth} ? "abcdef" : "abc";'))
        if kind == 8:
            return f"@p[{choose.randrange(3)}, 2] = (uint64)({number});"
        self.loops += 1
        name = f"$i{self.loops}"
        inner = " ".join(self.statement(less) for _ in range(2))
        jump = choose.choice(("", "", f"if ({truth}) {{ break; }}", f"if ({truth}) {{ continue; }}"))
        if kind < 12:
            return f"if ({truth}) {{ {inner} }}" + (f" else {{ {self.statement(less)} }}" if choose.random() < 0.5 else "")
        if kind == 12:
            return f"for {name} : {choose.randrange(3)}..{choose.randrange(5)} {{ {jump} {inner} @m += {name}; }}"
        if kind == 13:
            return f"{name} = 0; while ({name} < 3) {{ {name}++; {jump} {inner} }}"
        return f"unroll(2) {{ {inner} }}"


class Leave(Exception):
    """A jump, to the loop around it."""


class Evaluator:
    """Runs a checked body by the book. Records are dictionaries, tuples tuples, strings bytes."""

    def __init__(self) -> None:
        self.variables: dict[tuple[str, int], Any] = {}
        self.maps: dict[str, dict[Any, Any]] = {}

    def block(self, block: n.Block) -> Any:
        for statement in block.statements:
            self.statement(statement)
        return self.value(block.result) if block.result is not None else None

    def statement(self, s: n.Statement) -> None:
        match s:
            case n.ExprStatement():
                self.value(s.expr)
            case n.Discard():
                self.value(s.value)
            case n.Assign(target=n.MapAccess() as target):
                key = self.value(target.key)
                self.maps.setdefault(target.map.name, {})[key] = self.value(s.value)
            case n.Assign():
                self.store(s.target, self.value(s.value))
            case n.Let():
                self.variables[s.variable.name, s.variable.slot] = self.value(s.value) if s.value is not None else 0
            case n.While():
                while self.value(s.condition):
                    if self.turn(s.body):
                        break
            case n.ForRange():
                for i in range(self.value(s.start), self.value(s.end)):
                    self.store(s.variable, i)
                    if self.turn(s.body):
                        break
            case n.Jump():
                raise Leave(s.kind)
            case _:
                raise TypeError(s)

    def turn(self, body: n.Block) -> bool:
        """One round of a loop; whether it was the last."""
        try:
            self.block(body)
        except Leave as jump:
            return jump.args == ("break",)
        return False

    def store(self, target: n.Expr, value: Any) -> None:
        if isinstance(target, n.Variable):
            self.variables[target.name, target.slot] = value
        elif isinstance(target, n.MapAccess):
            self.maps.setdefault(target.map.name, {})[self.value(target.key)] = value
        else:
            assert isinstance(target, n.Map)
            self.maps.setdefault(target.name, {})[0] = value

    def value(self, e: n.Expr) -> Any:
        match e:
            case n.Integer() | n.Boolean() | n.String():
                return e.value
            case n.Variable():
                return self.variables[e.name, e.slot]
            case n.Map():
                return self.maps.get(e.name, {}).get(0, 0)
            case n.MapAccess():
                key = self.value(e.key)
                return self.maps.get(e.map.name, {}).get(key, 0)
            case n.Unary(op="!"):
                return not self.value(e.operand)
            case n.Unary():
                operand = self.value(e.operand)
                return wrap(-operand if e.op == "-" else ~operand, e.type)
            case n.Increment():
                return self.increment(e)
            case n.Binary():
                return self.binary(e)
            case n.Ternary():
                assert e.then is not None
                return self.value(e.then if self.value(e.condition) else e.orelse)
            case n.If():
                taken = e.then if self.value(e.condition) else e.orelse
                return self.block(taken) if taken is not None else None
            case n.Block():
                return self.block(e)
            case n.Cast():
                return converted(self.value(e.operand), e.type)
            case n.Tuple():
                return tuple(self.value(item) for item in e.items)
            case n.Record():
                return {name: self.value(item) for name, item in e.items}
            case n.TupleAccess():
                return self.value(e.base)[e.index]
            case n.FieldAccess():
                return self.value(e.base)[e.field]
            case n.Call():
                return self.call(e)
        raise TypeError(e)

    def increment(self, e: n.Increment) -> Any:
        if isinstance(e.target, n.MapAccess):
            key = self.value(e.target.key)
            elements = self.maps.setdefault(e.target.map.name, {})
            old = elements.get(key, 0)
            new = elements[key] = wrap(old + (1 if e.op == "++" else -1), e.target.type)
        else:
            old = self.value(e.target)
            new = wrap(old + (1 if e.op == "++" else -1), e.target.type)
            self.store(e.target, new)
        return new if e.prefix else old

    def binary(self, e: n.Binary) -> Any:
        left = self.value(e.left)
        if e.op in ("&&", "||"):
            return bool(self.value(e.right)) if bool(left) == (e.op == "&&") else e.op == "||"
        right = self.value(e.right)
        if not isinstance(left, int):
            return (left == right) == (e.op == "==")
        return wrap(operate(e.op, left, right), e.type)

    def call(self, e: n.Call) -> Any:
        if e.name == "strlen":
            return len(self.value(e.args[0]))  # type: ignore[arg-type]  # an expression
        elements = self.maps.get(e.args[0].name, {})  # type: ignore[union-attr]  # a map
        key = self.value(e.args[1])  # type: ignore[arg-type]  # an expression
        return key in elements if e.name == "has_key" else elements.pop(key, None) is not None


def converted(value: Any, t: Type) -> Any:
    if isinstance(t, Tuple):
        return tuple(converted(part, element) for part, element in zip(value, t.elements, strict=True))
    if isinstance(t, Record):
        return {name: converted(value[name], element) for name, element in t.fields}
    return wrap(value, t) if isinstance(t, Integer) or t is BOOL else value


def stored(value: Any, t: Type) -> Any:
    """A value as maps have it."""
    if isinstance(t, Record):
        return tuple(stored(value[name], element) for name, element in t.fields)
    return tuple(stored(part, element) for part, element in zip(value, t.elements, strict=True)) if isinstance(t, Tuple) else value


def difference(seed: int) -> str:
    """What a made program leaves in its maps, where the evaluator says otherwise; empty when they agree."""
    text = Maker(seed).program()
    script = Script(text)
    for handler in script.handlers:
        handler()
    found = {m.name: dict(m.data) for m in script.context.maps}
    evaluator = Evaluator()
    evaluator.block(compile_program(Source("stdin", text)).probes[0].body)
    wanted = {m.name: {k: stored(v, m.value) for k, v in evaluator.maps.get(m.name, {}).items()} for m in script.context.maps}
    wrong = {name: (found[name], wanted[name]) for name in found if found[name] != wanted[name]}
    return f"{wrong}\n{text}" if wrong else ""


@pytest.mark.parametrize("seed", range(60))
def test_handlers_agree_with_the_evaluator(seed: int) -> None:
    assert difference(seed) == ""
