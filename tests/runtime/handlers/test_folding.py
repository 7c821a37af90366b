"""Blocks inside blocks beyond what Python's own syntax allows, with values, variables and jumps across all levels."""

from __future__ import annotations

import pytest

from pyprobe.runtime.handlers.folding import folded

DEPTHS = [18, 150]


def nested(header: str, depth: int, inner: str, *, close: str = "}") -> str:
    return " ".join([header.replace("#", str(i)) for i in range(depth)]) + " { " + inner + " } " + close * depth


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("header", "before"),
    [
        ("if ($x) { $n++;", ""),
        ("if ($x == 0) { print(-1); } else { $n++;", ""),
        ("for $i# : 1..2 { $n += $i#;", ""),
        ("for $kv# : @m { $n += $kv#.1;", "@m[5] = 1;"),
        ("while (1) { $n++; if ($n > {depth}) { break; }", ""),
        ("unroll (1) { $n++;", ""),
        ("{ $n++;", ""),
    ],
)
def test_every_block_nests(pyprobe, tmp_path, header, before, depth):
    close = "break; }" if header.startswith("while") else "}"
    script = tmp_path / "deep.pt"
    header = header.replace("{depth}", str(depth))
    script.write_text(f"begin {{ $x = 1; $n = 0; {before} {nested(header, depth, '$x = 2;', close=close)} print(($n, $x)); exit(); }}")
    run = pyprobe(str(script))
    assert (run.out.split("\n")[0], run.status) == (f"({depth}, 2)", 0), run.err


@pytest.mark.parametrize("depth", [3, 70, 200])
@pytest.mark.parametrize(
    ("jump", "shown"),
    [("continue;", [0, 1, 3, 4, 99]), ("break;", [0, 1, 99]), ("return;", [0, 1])],
)
def test_jumps_out_of_deep_blocks(pyprobe, tmp_path, jump, shown, depth):
    body = nested("if ($a) {", depth, f"if ($i == 2) {{ {jump} }} print($i);")
    script = tmp_path / "jumps.pt"
    script.write_text(f"begin {{ $a = 1; for $i : 0..5 {{ {body} }} print(99); }} end {{ print(100); }}")
    assert [int(line) for line in pyprobe(str(script)).out.split()] == [*shown, 100]


def test_a_thousand_levels(pyprobe, tmp_path):
    script = tmp_path / "thousand.pt"
    script.write_text(f"begin {{ $x = 1; $n = 0; {nested('if ($x) {', 990, '$n = 7;')} print($n); }}")
    assert pyprobe(str(script)).out.strip() == "7"


def test_values_of_deep_blocks(pyprobe, tmp_path):
    script = tmp_path / "values.pt"
    value = "if ($x) { $x++; " * 300 + "$x" + " } else { 0 }" * 300
    script.write_text(f"begin {{ $x = 1; $y = {value}; print(($x, $y)); }}")
    assert pyprobe(str(script)).out.strip() == "(301, 301)"


def test_ordinary_bodies_are_not_touched():
    lines = ["for v_i in range(3):", "    if v_i:", "        t1 = 2"]
    assert folded(lines, [None] * 3) == (lines, [None] * 3)
