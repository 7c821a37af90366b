"""The parser: syntax.txt and syntax_errors.txt hold what real bpftrace says; here are the trees, our own extensions and the limits."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pyprobe.lang import nodes as n
from pyprobe.lang import tables
from pyprobe.lang.diagnostics import Diagnostics, render
from pyprobe.lang.parser import parse, parse_expression
from pyprobe.lang.printer import print_script, show
from pyprobe.lang.source import Source
from tests.lang.trees import expression, parsed, plain

CASES = Path(__file__).with_name("syntax.txt")


def cases(path: Path = CASES) -> list[tuple[str, str]]:
    _, *blocks = path.read_text(encoding="utf-8").split("\n===\n")
    return [(program, wanted) for program, wanted in (block.split("\n---\n") for block in blocks if block.strip())]


def first_error(text: str) -> str:
    diagnostics = Diagnostics()
    script = parse(Source("stdin", text), diagnostics)
    assert (script is None) == diagnostics.failed
    return render(diagnostics.items[0]) if diagnostics.items else "OK"


def same(text: str, wanted: str) -> bool:
    return [line.rstrip() for line in text.rstrip().split("\n")] == [line.rstrip() for line in wanted.rstrip().split("\n")]


def test_enough_cases() -> None:
    assert len(cases()) > 450


@pytest.mark.parametrize(("program", "wanted"), cases())
def test_syntax(program: str, wanted: str) -> None:
    found = first_error(program + "\n")
    assert same(found, wanted), f"{found}\ninstead of\n{wanted}"


@pytest.mark.parametrize(("program", "wanted"), cases(CASES.with_name("syntax_errors.txt")))
def test_all_syntax_errors(program: str, wanted: str) -> None:
    diagnostics = Diagnostics()
    assert parse(Source("stdin", program), diagnostics) is None
    found = "\n".join(render(d) for d in diagnostics)
    assert same(found, wanted), f"{found}\ninstead of\n{wanted}"


def test_what_follows_the_first_error_is_read_within_bounds() -> None:
    diagnostics = Diagnostics()
    assert parse(Source("stdin", "begin { print(" + "(" * 400 + "$" + ",1" * 100_000 + " }"), diagnostics) is None
    assert len(diagnostics.items) < 1100


def message(text: str) -> str:
    return first_error(text).split("\n")[0].removeprefix("stdin:")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$a + $b * $c", "$a + ($b * $c)"),
        ("$a - $b - $c", "($a - $b) - $c"),
        ("$a << 1 + 2 < 3", "($a << (1 + 2)) < 3"),
        ("$a | $b ^ $c & $d == $e", "$a | ($b ^ ($c & ($d == $e)))"),
        ("$a || $b && $c", "$a || ($b && $c)"),
        ("$a ? $b : $c ? $d : $e", "$a ? $b : ($c ? $d : $e)"),
        ("-$a.b[1]", "-$a.b[1]"),
        ("(uint8)$x + 1", "((uint8)$x) + 1"),
        ("(foo)*tid", "(foo)(*tid)"),
        ("(pid)*tid", "pid * tid"),
        ("(x)-1", "(x)(-1)"),
        ("($x)-1", "$x - 1"),
        ("(struct foo *)arg0", "(struct foo*)arg0"),
        ("(typeof($x))y", "(typeof($x))y"),
        ("(int8[4])$x", "(int8[4])$x"),
        ("(string[64])$x", "(string[64])$x"),
        ("(a /* ) */ ) // )\n-1", "(a)(-1)"),
        ("(a[1]) + 1", "(a)[1] + 1"),
        ("(a == 1)", "a == 1"),
        ("(a=1, b=(2, 3))", "(a=1, b=(2, 3))"),
        ("(1,)", "(1,)"),
        ("()", "()"),
        ("1.0", "1.0"),
        ("$x.0.1", "$x.0.1"),
        ("$x->if.struct", "$x.if.struct"),
        ("--$x", "--$x"),
        ("$x -1", "$x - 1"),
        ("@ + @x[1, 2] + @y[(1, 2)]", "(@ + @x[1, 2]) + @y[1, 2]"),
        ("(@x)[1]", "(@x)[1]"),
        ("comptime 1 + 2", "(comptime 1) + 2"),
        ("if $x { 1 } else if ($y) { 2 } else { 3 }", "if $x { 1 } else if $y { 2 } else { 3 }"),
        ("{ $y = 1; $y }", "{\n  $y = 1;\n  $y\n}"),
        ("sizeof(a[3]) + sizeof((a)[3]) + sizeof($x[3])", "(sizeof(a[3]) + sizeof((a)[3])) + sizeof($x[3])"),
        ("offsetof(struct foo, a.b)", "offsetof(struct foo, a.b)"),
        ("f(typeof(struct foo), 1)", "f(typeof(struct foo), 1)"),
    ],
)
def test_structure(text: str, wanted: str) -> None:
    assert show(expression(text)) == wanted


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000),
        ("0x_Ff", 255),
        ("0755", 493),
        ("1e6", 10**6),
        ("2E3", 2000),
        ("5us", 5000),
        ("2m", 120 * 10**9),
        ("1d", 86400 * 10**9),
        ("7ull", 7),
    ],
)
def test_integers(text: str, value: int) -> None:
    e = expression(text)
    assert isinstance(e, n.Integer) and e.value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [(r'"a\n\t\r\"\\"', b'a\n\t\r"\\'), (r'"\0\33\x4\x41\X41"', b"\0\x1b\x04AA"), ('"é"', "é".encode()), ('""', b""), (r'"\1011"', b"A1")],
)
def test_strings(text: str, value: bytes) -> None:
    e = expression(text)
    assert isinstance(e, n.String) and e.value == value


def test_keywords_by_position() -> None:
    parsed("begin { format; $x.for; print(breaks); unrolled = 1; }".replace("unrolled = 1;", "$if = 1; @let = 2;"))
    parsed("macro fn(config) { config } fn let($let : macro) : import { } begin { fn(1); }")


def test_sections() -> None:
    text = (
        "#!/usr/bin/env x\n#define A 1\nstruct a { int b; } __attribute__((packed));\nenum { B };\n"
        'import "x";\nconfig = { a = 1; B = "c"; d = raw }\nbegin { }\n'
    )
    script = parsed(text)
    assert script.c_section.strip() == "#define A 1\nstruct a { int b; } __attribute__((packed));\nenum { B };"
    assert text[script.c_section_start :].startswith(script.c_section)
    assert [i.path for i in script.imports] == ["x"]
    assert script.config is not None
    assert [(e.name, e.value, e.is_string) for e in script.config] == [("a", 1, False), ("B", "c", True), ("d", "raw", False)]


def test_empty_program() -> None:
    for text in ("", "\n", "// nothing\n", "/* open", "#!x", "#define A"):
        assert parsed(text).items == []


def test_attach_points_are_cut_out() -> None:
    def points(text: str) -> list[str]:
        probe = parsed(text).items[0]
        assert isinstance(probe, n.Probe)
        return [p.text for p in probe.points]

    assert points("begin/1/{ }") == ["begin"]
    assert points("kprobe:f/1/{ }") == ["kprobe:f/1/"]
    assert points("uprobe:/bin/sh:f /x/ { }") == ["uprobe:/bin/sh:f"]
    assert points('uprobe:"a b,{":"x\\"{" { }') == ['uprobe:"a b,{":"x\\"{"']
    assert points("a:b,\n c:d /* , e */, $1 { }") == ["a:b", "c:d", "$1"]
    probe = parsed("begin\n/ $x / 2 / // {\n{ }").items[0]
    assert isinstance(probe, n.Probe) and probe.predicate is not None and show(probe.predicate) == "$x / 2"


def test_values_of_bodies() -> None:
    """Nobody can use the value of a probe's or a loop's body; a macro's is the point of it."""
    assert plain(parsed("begin { if (1) { f() } else { g() } }")) == plain(parsed("begin { if (1) { f(); } else { g(); } }"))
    assert plain(parsed("begin { for $i : 0..1 { f() } }")) == plain(parsed("begin { for $i : 0..1 { f(); } }"))
    assert plain(parsed("macro a() { f() }")) != plain(parsed("macro a() { f(); }"))


# ---- the outer body written < ... >


@pytest.mark.parametrize(
    ("angle", "braces"),
    [
        ("kprobe:do_fork < @[comm] = count(); >", "kprobe:do_fork { @[comm] = count(); }"),
        ("begin < @x = arg0 > 1; if (1 < 2) { @++; } >", "begin { @x = arg0 > 1; if (1 < 2) { @++; } }"),
        ("begin /pid > 1/ < f(); >", "begin /pid > 1/ { f(); }"),
        ("begin, end, < for $i : 0..2 { f($i); } > end { }", "begin, end { for $i : 0..2 { f($i); } } end { }"),
        ("begin < @x = { 1 } > 2; { 1; } >", "begin { @x = { 1 } > 2; { 1; } }"),
        ("begin < > end < f(); >end { }", "begin { } end { f(); } end { }"),
        ("begin < f(1 >> 2 >= 3); >", "begin { f(1 >> 2 >= 3); }"),
        ("begin < while (1) { if (2) { 3 } } >", "begin { while (1) { if (2) { 3 } } }"),
    ],
)
def test_angle_bodies(angle: str, braces: str) -> None:
    assert plain(parsed(angle)) == plain(parsed(braces))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("begin < f() >", "1:14-14: ERROR: syntax: expected expression"),
        ("begin { if (1) < f(); > }", "1:16-17: ERROR: syntax: expected '{'"),
        ("macro a() < 1; >", "1:11-12: ERROR: syntax: expected '{'"),
        ("begin < f(); } >", "1:14-15: ERROR: syntax: expected expression"),
        ("begin < f();", "1:13-13: ERROR: syntax: expected expression"),
    ],
)
def test_angle_errors(text: str, wanted: str) -> None:
    assert message(text) == wanted


def test_ternary_statements() -> None:
    """One may begin with anything but a variable or map, which bpftrace takes for the target of an assignment."""
    parsed("begin { ($x) ? f() : g(); -$x ? 1 : 2; 1 ? 2 : $x ? 3 : 4; _ = $x ? 1 : 2; pid ? f() : g() }")
    for text in ("$x ? f() : g()", "@x[1] ? f() : g()", "$x + 1 ?: 2", "@ == 1 ? 2 : 3;"):
        assert "expected ';'" in message(f"begin {{ {text} }}")


def test_expression_alone() -> None:
    diagnostics = Diagnostics()
    e = parse_expression(Source("A", "(B + 1) * 2"), diagnostics)
    assert e is not None and show(e) == "(B + 1) * 2"
    for text in ("", "1 2", "1;", "{"):
        assert parse_expression(Source("A", text), Diagnostics()) is None


# ---- any depth, any text

N = 20000
NESTED = {
    "tuples": "begin { " + "(1, " * N + "1" + ")" * N + " }",
    "prefixes": "begin { " + "!" * N + "1 }",
    "a sum": "begin { 1" + " + 1" * 3 * N + " }",
    "blocks": "begin { " + "{" * N + "}" * N + " }",
    "ifs": "begin { " + "if (1) {" * N + "}" * N + " }",
    "else ifs": "begin { if (1) {}" + " else if (1) {}" * 3 * N + " }",
    "ternaries": "begin { $x = " + "1 ? 2 : " * 3 * N + "3 }",
    "casts": "begin { " + "(int8)" * N + "1 }",
    "types": "begin { (" + "typeof(" * N + "1" + ")" * N + ")1 }",
    "pointers": "begin { let $x : int8" + "*" * 3 * N + "; }",
    "fields": "begin { $x" + ".a" * 3 * N + " }",
    "C braces": "struct a " + "{" * N,
    "C groups": "struct " + "(" * N,
}


@pytest.mark.parametrize("name", NESTED)
def test_depth(name: str) -> None:
    found = message(NESTED[name])
    assert "nested too deeply" in found or name.startswith("C ")


def test_reasonable_depth() -> None:
    parsed("begin { " + "(" * N + "1" + ")" * N + " }")
    parsed("begin { " + "f(" * 450 + "1" + ")" * 450 + " }")
    parsed("begin { " + "if (1) {" * 200 + "}" * 200 + " }")


@pytest.mark.parametrize(
    "text",
    [
        "begin { print($x" + " + $x" * 5000 + ") }",
        "begin { if ($x" + " && $x" * 5000 + ") {} }",
        "begin { if ($x) {}" + " else if ($x) { f() }" * 5000 + " else { f() } }",
        "begin { print($x == 1 ? 2 : " + "$x == 1 ? 2 : " * 5000 + "3) }",
        "begin { print($x" + ".a" * 5000 + ") }",
    ],
)
def test_chains_are_not_deep(text: str) -> None:
    """What stands side by side does not count as inside each other, and prints as it parses (where it shows no structure)."""
    script = parsed(text)
    assert 5000 <= script.levels < 5100
    printed = print_script(script)
    if "?" not in text:
        assert print_script(parsed(printed)) == printed


def test_long_is_not_deep() -> None:
    parsed("begin { " + "$x = 1;" * 5000 + "f(" + "1," * 5000 + "1); }" + "a,b{}" * 2000)


def test_odd_bytes() -> None:
    for text in ("\0", "begin { \0 }", "\udcff", 'begin { "\udcff" }', "begin { é }", "é { }", "\x0c"):
        first_error(text)
    assert parsed('begin { "\udcff" }').items


def test_parentheses_make_nothing_deeper() -> None:
    """What is as deep as is allowed still is when it is printed, with parentheses around each part."""
    text = f"begin {{ print({'1 ? ' * 1950}1{' : 2' * 1950}); }}"
    printed = print_script(parsed(text))
    assert "1 ? (1 ? (" in printed and print_script(parsed(printed)) == printed
    assert "nested too deeply" in first_error(f"begin {{ print({'1 ? ' * 2050}1{' : 2' * 2050}); }}")


# ---- the tables


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tables, "_BUILT", "test.json")
    tables.load.cache_clear()
    yield tmp_path / "pyprobe" / f"grammar-{zlib.crc32(tables._grammar().encode()):08x}.json"
    tables.load.cache_clear()


def test_tables_are_kept(fresh: Path) -> None:
    first = tables.load()
    assert fresh.stat().st_mode & 0o022 == 0
    tables.load.cache_clear()
    kept = fresh.read_bytes()
    assert tables.load().states == first.states
    assert fresh.read_bytes() == kept


@pytest.mark.parametrize("damage", [b"", b"\n", b"1 0 0\n{}", b"garbage", None])
def test_damaged_tables_are_made_again(fresh: Path, damage: bytes | None) -> None:
    tables.load()
    whole = fresh.read_bytes()
    fresh.write_bytes(whole[:-100] if damage is None else damage)
    tables.load.cache_clear()
    assert tables.load().starts
    assert fresh.read_bytes() == whole


def test_tables_others_may_write_are_not_read(fresh: Path) -> None:
    tables.load()
    fresh.chmod(0o666)
    tables.load.cache_clear()
    tables.load()
    assert fresh.stat().st_mode & 0o022 == 0


def test_tables_of_other_grammars_stay_but_not_for_ever(fresh: Path) -> None:
    fresh.parent.mkdir()
    others = [fresh.with_name(f"grammar-{age:08x}.json") for age in range(12)]
    for age, other in enumerate(others):
        other.write_bytes(b"of another checkout")
        os.utime(other, (age, age))
    tables.load()
    assert sorted(p.name for p in fresh.parent.iterdir()) == sorted(p.name for p in (*others[-7:], fresh))


def test_no_cache_directory(fresh: Path) -> None:
    fresh.parent.parent.joinpath("pyprobe").write_text("a file where the directory should be")
    assert tables.load().starts


def test_many_at_once(fresh: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len({len(t.states) for t in pool.map(lambda _: tables.load.__wrapped__(), range(8))}) == 1
    assert [p.name for p in fresh.parent.iterdir()] == [fresh.name]


def test_parsing_does_not_import_lark() -> None:
    tables.load()
    code = "import sys; from pyprobe.lang.parser import *; parse(Source('a', 'begin { 1 }'), Diagnostics()); print('lark' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=True)
    assert result.stdout == "False\n"
