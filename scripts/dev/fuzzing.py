"""Inputs that try to break the front end, and the judgement over what it does with them.

Kinds: made-up programs with many wrong holes, byte-level damage to them and to the packaged scripts, plain noise, and nesting of every
construct to any depth. For every input the compiler must give diagnostics or a program, in bounded time, and must print what it parsed
so that it parses to the same tree again.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from pyprobe.lang.attachpoint import AttachPoint
from pyprobe.lang.compiler import compile_program
from pyprobe.lang.diagnostics import CompileError, Diagnostics, render
from pyprobe.lang.parser import parse
from pyprobe.lang.printer import print_script
from pyprobe.lang.source import Source
from pyprobe.lang.world import NoWorld
from pyprobe.scripts.dev.made_programs import Maker

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


class AnyWorld(NoWorld):
    """A machine where every point is attachable."""

    def matches(self, point: AttachPoint) -> list[AttachPoint]:
        return [point]


def inputs(seed: int, corpus: Path) -> Iterator[str]:
    """Inputs without end, each from its own part of the seed's random numbers."""
    choose = random.Random(seed)
    maker = Maker(seed, 0.6)
    scripts = [file.read_text(encoding="utf-8") for file in sorted(corpus.glob("*.pt"))]
    while True:
        draw = choose.random()
        if draw < 0.45:
            yield maker.program()
        elif draw < 0.9:
            text = choose.choice(scripts) if scripts and choose.random() < 0.15 else maker.program()
            yield _damaged(text, choose)
        elif draw < 0.97:
            yield "".join(choose.choice(FRAGMENTS) for _ in range(choose.randrange(1, 30)))
        else:
            yield choose.choice(NESTED)(choose.choice((5, 30, 150, 400, 3000)))


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
        printed = print_script(script)
        again = parse(Source("printed", printed), Diagnostics())
        assert again is not None, f"the printed program does not parse:\n{printed}"
        assert print_script(again) == printed, f"the printed program prints differently:\n{printed}"
    diagnostics = Diagnostics()
    try:
        compile_program(source, world=AnyWorld(), diagnostics=diagnostics)
    except CompileError as error:
        assert any(d.severity == "error" for d in error.diagnostics), "refused without an error"
        diagnostics = error.diagnostics
    for item in diagnostics:
        render(item)
