"""A bounded number of the inputs that scripts/dev/fuzz makes, and every kind of nesting at every size."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pyprobe.scripts.dev import fuzzing

SCRIPTS = Path(__file__).parents[2] / "scripts"
SEVERAL = 4  # times the usual time: other tests run at the same time


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_made_up_and_damaged(seed: int) -> None:
    for text in itertools.islice(fuzzing.inputs(seed, SCRIPTS), 300):
        assert fuzzing.problem(text, SEVERAL * fuzzing.SECONDS) == "", text


@pytest.mark.parametrize(
    "text",
    [
        "begin { @a = min(1s); }/*",
        'import "x";/*\x00..',
        'begin { $t = (1, "x"); $x = (a=1); time(sizeof("") ? () : $t); }',
        "begin { $a = nsecs; print($a ? (1, 2) : ()); }",
        "begin { if (pid) { print(1); } else { if (pid) { 1 } else { 3 }; } }",
        "kprobe:f // a\n/* b */ / *@y + { $a = 1; $a } /* c */ / // d\n{ }",
        "profile:hz:9\x1f { _ = probe; }",
        "union u { int a;\r\n };\r\nbegin { }\r\n",
        "interval:s:1 { unwatch(0); delete(@m[1]); }",
        'begin { print(memcmp(pid == 1, (1, "a"), 2)); print(memcmp(kstack, buf("a", 1), 2)); }',
        "end / 1 == 2 / { @a1 = avg(()); @a1 = max(5); }",
        "uprobe:/a:b { print(write_user(7, pid == 2, -3)); print(write_user(7, (1, 2), 2)); }",
        "kprobe:f { for $x : ()..if (comptime 1) { } else if 5 { } { } }",
        'begin { if (1) { 1 } else { if (2) { 5 } else { (1, "a") }; } }',
    ],
)
def test_what_was_found(text: str) -> None:
    assert fuzzing.problem(text, SEVERAL * fuzzing.SECONDS) == ""


@pytest.mark.parametrize("number", range(len(fuzzing.NESTED)))
def test_nesting(number: int) -> None:
    for depth in (3, 190, 2000):
        text = fuzzing.NESTED[number](depth)
        assert fuzzing.problem(text, SEVERAL * fuzzing.SECONDS) == "", (depth, text[:100])
