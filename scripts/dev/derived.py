"""Programs derived from the grammar itself, so that every construct that the parser knows is tried, also in places where nobody writes it.

A program is a random derivation: at every rule an alternative is drawn, and near the end of its budget the shortest one. Terminals get
words of their kind; between them stands white space or, now and then, a comment. The same seed gives the same programs.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from pyprobe.lang import tables

TERMINALS: dict[str, tuple[str, ...]] = {
    "NAME": (
        *("a", "x", "foo", "pid", "comm", "int8", "uint64", "string", "print", "str", "m", "n", "count", "nsecs", "arg0", "hash", "if_"),
        *("kstack", "sum", "len", "void", "config", "max_strlen", "stack_mode", "bpftrace", "buffer", "retval", "exit", "printf", "name"),
    ),
    "NUMBER": ("0", "1", "2", "5", "0x1F", "1e6", "0755", "1_000", "10ms", "5ul", "18446744073709551615", "64"),
    "STRING": ('"a"', '""', '"%d\\n"', '"\\x41\\"/*"', '"stdlib/x.h"', '"a // b"'),
    "VARIABLE": ("$x", "$y", "$if", "$z"),
    "PARAMETER": ("$1", "$2", "$99"),
    "COUNT": ("$#",),
    "MAP": ("@", "@x", "@y", "@if"),
    "POINT": (
        *("begin", "end", "BEGIN", "kprobe:f", "interval:s:1", "uprobe:/bin/sh:f+4", 'usdt:"/a b":c', "test:t", "kprobe:vfs_*", "$1"),
        *("tracepoint:a:b", "self:signal:SIGUSR1", "n=kprobe:g", "profile:10ms", "watchpoint:0x10:8:w", "iter:task", "hardware:cycles:100"),
    ),
    "STRUCT": ("struct", "union", "enum"),
    "ASSIGN": ("=",),
    "INCREMENT": ("++", "--"),
    "COMPOUND": ("+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="),
    "EQUALITY": ("==", "!="),
    "SHIFT": ("<<", ">>"),
    "RELATION": ("<", "<=", ">", ">="),
    "PREDICATE_END": ("/",),
    "CONDITION_OPEN": ("(",),
    "CAST_OPEN": ("(",),
    "RECORD_OPEN": ("(",),
    "TYPE_NEXT": ("",),
    "DISCARD": ("_",),
    "END": ("",),
    "ANGLE_OPEN": ("<",),
    "ANGLE_CLOSE": (">",),
}
BETWEEN = (
    *((" ",) * 40 + ("\n",) * 4),
    *("", "\t", "\r\n", "\n\n\n", " // c\n", " /* c */ ", "/**/", " /* a\n * b\n */ ", "\n// own line\n", " //\n", "/* // */"),
)
C_SECTIONS = (
    *("#define A 1\n", "#include <stddef.h>\n", "struct foo { int a; char n[4]; };\n", "enum e { E0, E1 = 5 }\n"),
    "union u { int a; };\n// c\n",
)
ENTRIES = ("entry", "points predicate body", "MACRO NAME LPAR macro_parameters RPAR block")  # what a program consists of
HEADS = ("#!/usr/bin/env pyprobe\n", "// head\n", "/* head */ ")


@cache
def _rules() -> tuple[dict[str, list[tuple[str, ...]]], dict[str, str], dict[str, int]]:
    """The alternatives of every rule, the text of every fixed terminal, and the fewest terminals that a symbol takes."""
    from lark import Lark

    text = Path(tables.__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    lark = Lark(text, parser="lalr", lexer="contextual", start=list(tables.STARTS))
    rules: dict[str, list[tuple[str, ...]]] = {}
    for rule in lark.rules:
        rules.setdefault(str(rule.origin.name), []).append(tuple(str(symbol.name) for symbol in rule.expansion))
    fixed = {t.name: str(t.pattern.value) for t in lark.terminals if t.name not in TERMINALS}
    least: dict[str, int] = dict.fromkeys([*fixed, *TERMINALS], 1)
    changed = True
    while changed:
        changed = False
        for name, alternatives in rules.items():
            sizes = [sum(least[s] for s in a) for a in alternatives if all(s in least for s in a)]
            if sizes and min(sizes) < least.get(name, 1 << 30):
                least[name] = min(sizes)
                changed = True
    return rules, fixed, least


class Deriver:
    """Derives programs from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def program(self) -> str:
        """One whole program."""
        choose = self._random
        head = choose.choice(HEADS) if choose.random() < 0.1 else ""
        section = choose.choice(C_SECTIONS) if choose.random() < 0.15 else ""
        items = [self._terminals(choose.choice(ENTRIES), choose.choice((10, 30, 60, 120))) for _ in range(choose.choice((1, 1, 2, 3)))]
        return head + section + self._spelled([word for item in items for word in item])

    def _terminals(self, start: str, budget: int) -> list[str]:
        """The terminals of a derivation from these symbols; once `budget` of them are certain, the shortest alternatives are taken."""
        rules, _, least = _rules()
        choose = self._random
        found: list[str] = []
        waiting = start.split()[::-1]
        due = sum(least[symbol] for symbol in waiting)  # terminals that what waits will take at least
        while waiting:
            symbol = waiting.pop()
            due -= least[symbol]
            if symbol not in rules:
                found.append(symbol)
                continue
            alternatives = rules[symbol]
            room = budget - len(found) - due
            fitting = [a for a in alternatives if sum(least[s] for s in a) <= max(room, least[symbol])]
            picked = choose.choice(fitting)
            if "INCREMENT" in picked and choose.random() < 0.9:  # most operands are wrong here
                picked = choose.choice(fitting)
            due += sum(least[s] for s in picked)
            waiting += reversed(picked)
        return found

    def _spelled(self, terminals: list[str]) -> str:
        _, fixed, _ = _rules()
        choose = self._random
        texts: list[str] = []
        comments = choose.random() < 0.4
        for terminal in terminals:
            texts.append(choose.choice(TERMINALS[terminal]) if terminal in TERMINALS else fixed[terminal])
            texts.append(choose.choice(BETWEEN) if comments else " ")
        return "".join(texts)
