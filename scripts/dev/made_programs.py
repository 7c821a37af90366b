"""Small programs made up by rule, valid and nearly valid ones, for the fuzzer and for comparisons with a real bpftrace.

A program is a few statements drawn from templates whose holes are filled with expressions, mostly of the kind that belongs there. What an
expression needs (a variable with a value, a map) is put before it. The same seed gives the same programs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

# Leaves by kind. `$x` and `@x` in them are defined by the line of that name in SETUP.
LEAVES: dict[str, tuple[str, ...]] = {
    "i": ("0", "1", "5", "-1", "100", "255", "70000", "0x10", "1e3", "0755", "4294967296", "9223372036854775807", "18446744073709551615")
    + ("pid", "tid", "nsecs", "cpu", "elapsed", "uid", "rand", "$i", "$u", "$b8", "@i", "@m[1]", "(uint8)5", "(int64)-3", "(int16)7")
    + ("sizeof(int32)", "@c", "@sum", "$t.0", "$r.a", "strlen($s)", "1s", "ONE", "$e", "len(@m)", "comptime 3", "(1)", 'getopt("n", 4)'),
    "s": ('"a"', '"hello"', '""', '"a\\nb"', "$s", "comm", "str($s)", "probe", "@s", '@ms["a"]', "$t.1", "$r.b", '"x" + "y"', "str(5)"),
    "b": ("true", "false", "$b", "1 == 2", "$i > 3", "!$b", "has_key(@m, 1)", "is_err(5)", 'strcontains($s, "a")', "@b"),
    "p": ("(int8*)0", "(int32*)8", "$p", "(void*)0", "(int8**)0", "&$i", "&@i", "(struct foo*)0", "$f", "kptr(5)", "(uint64*)$i"),
    "t": ("(1, 2)", '(1, "a")', "$t", "(1,)", "((1, 2), 3)", "()", '("a", true, $i)', "@t"),
    "r": ("(a=1)", '(a=1, b="x")', "$r", "(b=(c=1))", "@r"),
    "a": ("(uint8[4])5", "$arr", '(int8[])"abc"', 'pton("127.0.0.1")', "$f.arr", "*$arr"),
    "o": ("kstack", "ustack(3)", "ntop(5)", 'strftime("%H", nsecs)', 'buf("abc", 2)', "ksym(5)", "macaddr((int8*)0)", "username")
    + ("nsecs(tai)", "config", "curtask", "args", "retval", "arg0", "func", "*$f", "nosuch", "@nosuch", "$nosuch", "@h", "@stats", "@m"),
    "m": ("@m", "@ms", "@mt", "@c2", "@i", "@h", "@nosuch"),
    "k": ("1", '"a"', "(1, 2)", "1, 2", "$i", "comm", '(1, "a")', "true", "@i"),
    "v": ("$i", "$u", "$s", "$b", "$t", "$p", "$new", "$b8"),
    "T": ("int8", "uint8", "int32", "uint64", "bool", "string", "string[5]", "int8*", "uint8[4]", "struct foo", "struct foo*", "enum color")
    + ("void", "nosuch_t", "typeof($i)", "int8[2][2]", "count_t", "u32", "buffer[4]", "username_t"),
    "n": ("0", "1", "3", "-1", "100", "$i", '"a"', "1000"),
}
SETUP = {
    "$i": "$i = 5;", "$u": "$u = (uint32)7;", "$b8": "let $b8 : int8 = 3;", "$s": '$s = "abc";', "$b": "$b = true;", "$t": '$t = (1, "x");',
    "$r": '$r = (a=1, b="y");', "$p": "$p = (int32*)16;", "$f": "$f = (struct foo*)0;", "$arr": "$arr = (uint8[4])7;", "$e": "$e = (enum color)1;",
    "@i": "@i = 3;", "@m": "@m[1] = 2;", "@ms": '@ms["a"] = "b";', "@mt": '@mt[1, "a"] = 3;', "@c": "@c = count();", "@c2": "@c2[1] = count();",
    "@sum": "@sum = sum(5);", "@s": '@s = "str";', "@b": "@b = true;", "@t": "@t = (1, 2);", "@r": "@r = (a=1);", "@h": "@h = hist(3);",
    "@stats": "@stats = stats(3);",
}  # fmt: skip
DEFINITIONS = {
    "struct foo": "struct foo { int a; char name[8]; int arr[3]; struct { int x; } in; struct foo *next; unsigned bits : 3; }",
    "enum color": "enum color { RED, ONE = 1, GREEN = 7 };",
    "ONE": "enum color { RED, ONE = 1, GREEN = 7 };",
}
EXPRESSIONS = (
    "{i} + {i}", "{i} - {i}", "{i} * {i}", "{i} / {i}", "{i} % {i}", "{i} & {i}", "{i} | {i}", "{i} ^ {i}", "{i} << {i}", "{i} >> {i}",
    "{e} == {e}", "{i} < {i}", "{s} == {s}", "{e} != {e}", "{b} && {b}", "{b} || {e}", "!{b}", "-{i}", "~{i}", "*{p}", "({T}){e}", "({T}){i}",
    "{b} ? {i} : {i}", "{b} ? {e} : {e}", "{i} ?: {i}", "{p} + {i}", "{p} - {i}", "{t}.0", "{t}.1", "{t}[0]", "{r}.a", "{r}.b", "{s}[{n}]",
    "{a}[{n}]", "{p}[{n}]", "sizeof({T})", "sizeof({e})", "({e}, {e})", "(x={e}, y={e})", "{v}++", "--{v}", "@m[{k}]", "@m[{k}]++", "@i++",
    "str({e})", "str({p}, {n})", "buf({e}, {n})", "strlen({e})", "strncmp({s}, {s}, {n})", "ntop({e})", "ksym({i})", "has_key({m}, {k})",
    "len({m})", "is_str({e})", "is_integer({e})", "bswap({i})", "kptr({p})", "{{ {e} }}", "if ({b}) {{ {e} }} else {{ {e} }}", "$f.a", "$f.{f}",
    "(*$f).{f}", "offsetof(struct foo, {f})", "strcontains({s}, {s})", "signal_name({i})", "kstack({n})", "ustack({w}, {n})", "nsecs({w})",
    "strftime({s}, {i})", "macaddr({e})", "comptime {e}", "comptime ({i} + {i})", "find(@m, {k}, {v})", "delete({m}, {k})", "reg({s})",
    "pton({s})", "usym({i})", "memcmp({e}, {e}, {n})", "is_literal({e})", "strerror({i})", "assert_str({e})", "getopt({s}, {e})", "strcap({e})",
    "str_concat({s}, {e})", "strstr({s}, {s})", "is_scalar({m})", "join({p})", "percpu_kaddr({s})", "pid({w})", "username()", "elapsed()",
)  # fmt: skip
STATEMENTS = (
    "print({e});", "print({e});", "printf({F}, {e});", "printf({F}, {e}, {e});", "printf({F});", "$x = {e};", "$x = {e}; $x = {e};", "@x = {e};",
    "@x = {e}; @x = {e};", "@y[{k}] = {e};", "@y[{k}] = {e}; @y[{k}] = {e};", "{v} = {e};", "{v} += {e};", "{v} {o}= {i};", "@i {o}= {e};",
    "@m[{k}] {o}= {i};", "let $x : {T} = {e};", "let $x : {T}; $x = {e};", "let $x; $x = {e};", "let $x;", "_ = {e};", "{e};", "if ({e}) {{ {S} }}",
    "if ({b}) {{ {S} }} else {{ {S} }}", "if {b} {{ {S} }}", "while ({e}) {{ {S} break; }}", "unroll({n}) {{ {S} }}",
    "for $k : {n}..{n} {{ {S} }}", "for ($k : 0..3) {{ print($k); {S} }}", "for ($kv : {m}) {{ print({kv}); }}", "for ($kv : @m) {{ {S} }}",
    "@a1 = {A};", "@a1 = {A}; @a1 = {A};", "@a2[{k}] = {A};", "$x = {A};", "print({m});", "print({m}, {n});", "print({m}, {n}, {n});", "clear({m});",
    "zero({e});", "delete({m}, {k});", "delete(@m[{k}]);", "delete({m});", "exit({e});", "exit();", "return;", "return {e};", "break;", "continue;",
    "{{ {S} {S} }}", "time({s});", "join({e});", "cat({s});", "system({s});", "errorf({F}, {e});", "warnf({F}, {e});", "assert({e}, {s});",
    "static_assert({e}, {s});", "fail({F}, {e});", "if comptime ({e}) {{ {S} }} else {{ {S} }}", "if comptime ({Q}) {{ {S} }} else {{ {S} }}",
    "@q = {e}; print(@q);", "$x = {e}; @z[$x] = 1;", "$x = {t}; $x.0 = 1;", "print({e}) print({e});", "unwatch({e});", "m1({e});", "print(m1({e}));",
    "m2({v});", "m3({m});", "print(m0);", "print(m0());",
)  # fmt: skip
POOLS: dict[str, tuple[str, ...]] = {
    "f": ("a", "name", "arr", "in", "in.x", "next", "next.a", "bits", "nosuch", "x"),
    "w": ("tai", "boot", "monotonic", "perf", "raw", "build_id", "nosuch", "bpftrace", "3", "init", "curr_ns"),
    "o": ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"),
    "kv": ("$kv", "$kv.0", "$kv.1", "$kv.2", "$kv.0.0", "$kv.0.1", "$other"),
    "F": ('"%d\\n"', '"%s\\n"', '"x"', '"%d %s"', '"%5d"', '"%-10s|"', '"%r"', '"%c"', '"%p"', '"%lx"', '"%%"', '"%f"', "$s", '"%llu %d"', '"%s%s"'),
    "Q": ("is_str({e})", "is_ptr({e})", "sizeof({e}) == {n}", "is_integer({e})", "is_scalar({m})", "1 == {n}", "is_literal({e})", "true"),
    "A": ("count()", "sum({i})", "min({i})", "max({i})", "avg({i})", "stats({i})", "hist({i})", "hist({i}, {n})", "lhist({i}, 0, 100, 10)")
    + ("lhist({i}, {n}, {n}, {n})", "count({i})", "sum({e})", "{{ {S} count() }}", "tseries({i}, 1s, 5)", "avg({e})"),
    "P": ("begin", "begin", "BEGIN", "interval:s:1", "profile:hz:99", "end", "test:t", "self:signal:SIGUSR1"),
}  # fmt: skip
MACROS = "macro m0() {{ {i} }} macro m1(x) {{ x + 1 }} macro m2($x) {{ $x = {e}; }} macro m3(@m) {{ @m[{k}] = {e}; }} "
CONFIGS = ("max_strlen=64", "print_maps_on_exit=false", "nosuch=1", 'max_map_keys="x"', "stack_mode=perf", "missing_probes=warn")
_HOLE = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_NEEDS = re.compile(r"[$@]\w+|struct foo|enum color|ONE\b")
STRAY = ("", ";", "}", ")", "(", '"', "/", "@", "$", "1x", "let", "=", ",", "#", "...", "\\", "`", "if", "?")


class Maker:
    """Makes programs from one seed. `correctness` is the share of holes that get what belongs there."""

    def __init__(self, seed: int, correctness: float = 0.85) -> None:
        self._random = random.Random(seed)
        self._correctness = correctness

    def program(self) -> str:
        """One whole program."""
        choose = self._random
        body = " ".join(self._fill(choose.choice(STATEMENTS), 2) for _ in range(choose.choice((1, 1, 1, 2, 3))))
        predicate = f" / {self._expression('b', 1)} /" if choose.random() < 0.1 else ""
        if choose.random() < 0.1:
            body += " " + self._fill(choose.choice(STATEMENTS), 1).removesuffix(";")
        clause = f"{choose.choice(POOLS['P'])}{predicate} {{ {self.setup(body)}{body} }}"
        macros = self._fill(MACROS, 1) if re.search(r"\bm\d\b", body) else ""
        if choose.random() < 0.08:
            clause += f" end {{ {self._fill(choose.choice(STATEMENTS), 1)} }}"
        config = f"config = {{ {choose.choice(CONFIGS)} }} " if choose.random() < 0.04 else ""
        declaration = f"let @m = {choose.choice(('hash', 'lruhash', 'percpuhash', 'bad'))}({choose.choice('159')}0); " * (
            choose.random() < 0.04
        )
        whole = f"{config}{declaration}{macros}{clause}"
        whole = self.definitions(whole) + whole
        return self._damaged(whole) if choose.random() < 0.06 else whole

    def expression(self) -> str:
        """An expression of any kind."""
        return self._expression("e", 1)

    def definitions(self, text: str) -> str:
        """The C definitions that the text needs."""
        return "".join(dict.fromkeys(DEFINITIONS[name] + " " for name in _NEEDS.findall(text) if name in DEFINITIONS))

    def _damaged(self, text: str) -> str:
        at = self._random.randrange(len(text))
        return text[:at] + self._random.choice(STRAY) + text[at + self._random.choice((0, 0, 1, 3)) :]

    def setup(self, text: str) -> str:
        """The statements that give what the text uses a value."""
        lines: dict[str, None] = {}
        for name in _NEEDS.findall(text):
            if name in SETUP and self._random.random() < 0.97:
                lines[SETUP[name]] = None
        return "".join(line + " " for line in lines)

    def _fill(self, template: str, depth: int) -> str:
        def hole(match: re.Match[str]) -> str:
            if match[1] is None:
                return match[0][0]
            return self._hole(match[1], depth)

        return _HOLE.sub(hole, template)

    def _hole(self, kind: str, depth: int) -> str:
        if kind == "S":
            return self._fill(self._random.choice(STATEMENTS), depth - 1) if depth > 0 else "print(1);"
        if kind in POOLS:
            return self._fill(self._random.choice(POOLS[kind]), depth - 1)
        if kind == "T" or kind in "mkvn":
            return self._random.choice(LEAVES[kind])
        return self._expression(kind, depth)

    def _expression(self, kind: str, depth: int) -> str:
        if kind == "e":
            kind = self._random.choice("iiisssbbpttrao")
        elif self._random.random() > self._correctness:
            kind = self._random.choice("isbptrao")
        if depth > 0 and self._random.random() < 0.35:
            return self._fill(self._random.choice(EXPRESSIONS), depth - 1)
        return self._random.choice(LEAVES[kind])


def programs(seed: int, correctness: float = 0.85) -> Iterator[str]:
    """Programs without end."""
    maker = Maker(seed, correctness)
    while True:
        yield maker.program()
