"""Inputs that try to break the front end, and the judgement over what it does with them.

Kinds: made-up programs with few or many wrong holes, calls of every name of the language, derivations of the grammar, byte-level damage
to all of them and to the packaged scripts, plain noise, and nesting of every construct to any depth. For every input the compiler must
give diagnostics or a program, in bounded time, and must print what it parsed so that it parses to the same tree again, with the same
comments; and the handlers of what it accepts must run.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from pyprobe.lang import topics
from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.compiler import compile_program
from pyprobe.lang.deep import with_room
from pyprobe.lang.diagnostics import CompileError, Diagnostics, render
from pyprobe.lang.nodes import Script
from pyprobe.lang.parser import parse
from pyprobe.lang.printer import print_script
from pyprobe.lang.source import Source
from pyprobe.lang.world import NoWorld
from pyprobe.scripts.dev import made_runs
from pyprobe.scripts.dev.derived import TERMINALS, Deriver
from pyprobe.scripts.dev.made_programs import Maker
from pyprobe.scripts.dev.plain_trees import plain

SECONDS = 2.0  # for one input; ordinary ones take milliseconds
FRAGMENTS = (
    *("{", "}", "(", ")", "[", "]", "/", "//", "/*", "*/", '"', "\\", "@", "$", "$1", "->", "..", "=", "==", ";", ",", ":", "?", "#"),
    *("#define A B\n", "#include <x>\n", "struct ", "macro ", "config = {", 'import "x";', "comptime ", "typeof(", "let ", "\0", "é", "\n"),
    *("18446744073709551616", "-9223372036854775808", "1_", "0x", "1e99", "while (1) {", "unroll(100) {", "fn f() : void {", "\udc80"),
)

NESTED: tuple[Callable[[int], str], ...] = (
    lambda n: f"begin {{ print({'(' * n}1{')' * n}); }}",
    lambda n: f"begin {{ {'{' * n} print(1); {'}' * n} }}",
    lambda n: f"begin {{ print({'-' * n}1); }}",
    lambda n: f"begin {{ print({'!' * n}true); }}",
    lambda n: f"begin {{ print({'(' * n}1,{'),' * n}1); }}",
    lambda n: f"begin {{ print(1{' + 1' * n}); }}",
    lambda n: f"begin {{ $x = 1; print($x{' + $x' * n}); }}",
    lambda n: f"begin {{ $s = \"a\"; print($s{'[0' * n}{']' * n}); }}",
    lambda n: f"begin {{ {'if (1) {' * n} {'}' * n} }}",
    lambda n: f"begin {{ if (1) {{ }} {'else if (1) { }' * n} }}",
    lambda n: f"begin {{ print({'1 ? ' * n}1{' : 1' * n}); }}",
    lambda n: f"begin {{ print({'strlen(' * n}1{')' * n}); }}",
    lambda n: f"begin {{ $x = 1; print($x{'.a' * n}); }}",
    lambda n: f"begin {{ print(({'int8' + '*' * n})0); }}",
    lambda n: f"begin {{ print(sizeof(int8{'[9]' * n})); }}",
    lambda n: f"begin {{ print({'(int8)' * n}1); }}",
    lambda n: f"begin {{ {'for $i : 0..2 {' * n} {'}' * n} }}",
    lambda n: f"begin {{ {'unroll(2) {' * n} @ = 1; {'}' * n} }}",
    lambda n: f"begin {{ {'print(1); ' * n} }}",
    lambda n: "begin { @ = 1; } " * n,
    lambda n: f"begin{', begin' * n} {{ @ = 1; }}",
    lambda n: f"begin {{ @[1] = 1; {'@[1]++; ' * n}}}",
    lambda n: f'begin {{ print("{"a" * n}"); }}',
    lambda n: f"kprobe:{'a' * n}{', kprobe:b' * n} {{ @ = 1; }}",
    lambda n: f"macro m(x) {{ x + x }} begin {{ print({'m(' * n}1{')' * n}); }}",
    lambda n: f"{''.join(f'macro m{i}() {{ m{i + 1}() + m{i + 1}() }} ' for i in range(n))} macro m{n}() {{ 1 }} begin {{ print(m0()); }}",
    lambda n: f"begin {{ {'$x = (1, $x); ' * min(n, 50)} }}",
    lambda n: f"begin {{ @x = 1; {'@x = (@x, 1); ' * min(n, 50)} }}",
    lambda n: f"begin {{ print({'{' * n} 1 {'}' * n}); }}",
    lambda n: f"begin {{ print({'comptime ' * n}1); }}",
    lambda n: f"begin {{ let $x : {'typeof(' * n}int8{')' * n}; }}",
    lambda n: f"begin {{ print({'(a=' * n}1{')' * n}); }}",
    lambda n: f"struct f {{ {'struct {' * min(n, 99)} int x; {'} y; ' * min(n, 99)} }} begin {{ print(sizeof(struct f)); }}",
)  # fmt: skip


CALLS = (
    *("{}", "_ = {};", "print({});", "$r1 = {};", "@r1 = {};", "@r2[{}] = 1;", "@r3[1] = {};", 'printf("%s", {});', 'printf("%d", {});'),
    *("if ({}) {{ print(1); }}", "print(({}, 1));", "print({} == {});", "$r2 = comptime {};", "print(sizeof({}));", "return {};"),
    *("while ({}) {{ break; }}", "for $r3 : 0..({}) {{ break; }}", "let $r4 : string = {};", "$r5 = {{ {} }}; print($r5);"),
)
UNSTABLE = ("config = { unstable_typeinfo=enable; unstable_tseries=enable }", "config = { max_strlen=8 }", "config = { stack_mode=perf }")


class AnyWorld(NoWorld):
    """A machine where every point is attachable."""

    def matches(self, point: AttachPoint) -> list[AttachPoint]:
        return [point]


def inputs(seed: int, corpus: Path) -> Iterator[str]:
    """Inputs without end, each from its own part of the seed's random numbers."""
    choose = random.Random(seed)
    makers = [Maker(seed, 0.6), Maker(seed, 0.97)]
    deriver = Deriver(seed)
    made: list[Callable[[], str]] = [*(maker.program for maker in makers), deriver.program, partial(_call, choose, makers[1])]
    scripts = [file.read_text(encoding="utf-8") for file in sorted(corpus.glob("*.pt"))]
    while True:
        draw = choose.random()
        if draw < 0.55:
            yield choose.choice(made)()
        elif draw < 0.9:
            text = choose.choice(scripts) if scripts and choose.random() < 0.1 else choose.choice(made)()
            yield _damaged(text, choose)
        elif draw < 0.97:
            yield "".join(choose.choice(FRAGMENTS) for _ in range(choose.randrange(1, 30)))
        else:
            yield choose.choice(NESTED)(choose.choice((5, 30, 150, 400, 3000)))


@cache
def _callable() -> tuple[str, ...]:
    groups = topics.names()
    return tuple(sorted({*groups["Builtin values"], *groups["Functions"], *groups["Aggregations"], *groups["Library macros"]}))


def _call(choose: random.Random, maker: Maker) -> str:
    """Some names of the language with any arguments, in any probe."""
    lines = []
    for _ in range(choose.choice((1, 1, 2, 3))):
        arguments = ", ".join(maker.expression() for _ in range(choose.choice((0, 1, 1, 2, 2, 3, 4))))
        call = f"{choose.choice(_callable())}{f'({arguments})' if arguments or choose.random() < 0.5 else ''}"
        lines.append(choose.choice(CALLS).format(call, call))
    text = " ".join(lines)
    config = choose.choice(UNSTABLE) if choose.random() < 0.2 else ""
    return f"{config}{maker.definitions(text)}{choose.choice(TERMINALS['POINT'])} {{ {maker.setup(text)}{text} }}"


def _damaged(text: str, choose: random.Random) -> str:
    for _ in range(choose.choice((1, 1, 2, 5))):
        at = choose.randrange(len(text) + 1)
        cut = at + choose.choice((0, 0, 1, 2, 10))
        piece = choose.choice((choose.choice(FRAGMENTS), chr(choose.randrange(1, 256)), text[cut : cut + 8], ""))
        text = text[:at] + piece + text[cut:]
    return text


def problem(text: str, seconds: float = SECONDS) -> str:
    """What went wrong with an input, an empty string if nothing did."""
    began = time.process_time()
    try:
        _judge(text)
    except Exception:
        return traceback.format_exc()
    took = time.process_time() - began
    return f"took {took:.1f} s" if took > seconds else ""


def _judge(text: str) -> None:
    found = Diagnostics()
    source = Source("stdin", text)
    script = parse(source, found)
    if script is not None and not found.failed:
        _judge_printing(script)
    diagnostics = Diagnostics()
    try:
        program = compile_program(source, world=AnyWorld(), diagnostics=diagnostics, unsafe=True)
    except CompileError as error:
        assert any(d.severity == "error" for d in error.diagnostics), "refused without an error"
        diagnostics = error.diagnostics
    else:
        made_runs.run(program)
        made_runs.run(program, "json", warn_reads=True)
    for item in diagnostics:
        render(item)


def _judge_printing(script: Script) -> None:
    printed = print_script(script)
    again = parse(Source("printed", printed), Diagnostics())
    assert again is not None, f"the printed program does not parse:\n{printed}"
    assert print_script(again) == printed, f"the printed program prints differently:\n{printed}"
    assert with_room(script.levels, lambda: plain(again) == plain(script)), f"the printed program is another one:\n{printed}"
    assert len(again.comments) == len(script.comments), f"comments differ:\n{printed}"
