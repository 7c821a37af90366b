"""Attach points: attach_points.tsv holds names and messages of real bpftrace; here are the parts, and what only we decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyprobe.lang.attachpoint import AttachPoint, parse_point
from pyprobe.lang.diagnostics import Diagnostics, render
from pyprobe.lang.providers import PROVIDERS, check
from pyprobe.lang.source import Source, Span
from tests.lang.trees import parsed

LINES = [line.split("\t") for line in Path(__file__).with_name("attach_points.tsv").read_text(encoding="utf-8").splitlines()[1:]]


def points(text: str, *params: str, user: bool = False) -> tuple[list[AttachPoint], Diagnostics]:
    diagnostics = Diagnostics()
    found = parse_point(text, Span(Source("stdin", text), 0, len(text)), params, diagnostics, user=user, unsafe=True)
    return found, diagnostics


def one(text: str, *params: str, user: bool = False) -> AttachPoint:
    found, diagnostics = points(text, *params, user=user)
    assert len(found) == 1, [d.message for d in diagnostics]
    return found[0]


@pytest.mark.parametrize(("text", "params", "wanted"), LINES)
def test_like_bpftrace(text: str, params: str, wanted: str) -> None:
    probe: Any = parsed(text + " { }").items[0]
    diagnostics = Diagnostics()
    read = [p for written in probe.points for p in parse_point(written.text, written.span, params.split(), diagnostics)]
    errors = [d.message for d in diagnostics] or [error.message for point in read if not point.expanded for error in check(point)]
    found = [f"ERROR: {message}" for message in errors] or [point.name for point in read] or ["nothing"]
    assert " & ".join(found) == wanted


def parts(point: AttachPoint) -> dict[str, Any]:
    return {name: value for name in point.__slots__ if name not in ("text", "span") and (value := getattr(point, name))}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("BEGIN", {"provider": "begin"}),
        ("k:vfs_read+8", {"provider": "kprobe", "function": "vfs_read", "offset": 8}),
        ("kprobe:m:f", {"provider": "kprobe", "target": "m", "function": "f"}),
        ("kprobe:0x10", {"provider": "kprobe", "address": 16}),
        ("kfunc:m:f", {"provider": "fentry", "target": "m", "function": "f"}),
        ("fentry:bpf:3:f", {"provider": "fentry", "target": "bpf", "program": 3, "function": "f"}),
        ("u:/bin/sh:main", {"provider": "uprobe", "target": "/bin/sh", "function": "main"}),
        ('uprobe:"/a b:c":cpp:"f(int)"', {"provider": "uprobe", "target": "/a b:c", "language": "cpp", "function": "f(int)"}),
        ("uprobe:libc:0x100", {"provider": "uprobe", "target": "libc", "address": 256}),
        ("uprobe:./a@b.c:10:2", {"provider": "uprobe", "target": "./a", "line": ("b.c", 10, 2)}),
        ("uprobe:./a@b.c:10", {"provider": "uprobe", "target": "./a", "line": ("b.c", 10, 0)}),
        ("U:./a:ns:n", {"provider": "usdt", "target": "./a", "namespace": "ns", "function": "n"}),
        ("t:sched:sched_switch", {"provider": "tracepoint", "target": "sched", "function": "sched_switch"}),
        ("rt:m:e", {"provider": "rawtracepoint", "target": "m", "function": "e"}),
        ("p:hz:99", {"provider": "profile", "unit": "hz", "rate": 99}),
        ("i:10ms", {"provider": "interval", "unit": "us", "rate": 10000}),
        ("s:faults:100", {"provider": "software", "function": "faults", "rate": 100}),
        ("w:0x10:8:wr", {"provider": "watchpoint", "address": 16, "length": 8, "mode": "rw"}),
        ("it:task:pin", {"provider": "iter", "function": "task", "pin": "pin"}),
        ("self:signal:SIGUSR1", {"provider": "self", "target": "signal", "function": "SIGUSR1"}),
        ("here=test:a", {"provider": "test", "function": "a", "alias": "here"}),
    ],
)
def test_parts(text: str, wanted: dict[str, Any]) -> None:
    assert parts(one(text)) == wanted


def test_every_provider_has_a_name_of_its_own() -> None:
    assert all(name == name.lower() for name in PROVIDERS)


def test_a_process_stands_for_a_program() -> None:
    assert parts(one("uprobe:main", user=True)) == {"provider": "uprobe", "function": "main"}
    assert parts(one("usdt:n", user=True)) == {"provider": "usdt", "function": "n"}
    assert [p.provider for p in points("u*:./a:f")[0]] == ["uprobe", "usdt"]
    assert [p.provider for p in points("*:./a:f", user=True)[0]] == ["uprobe", "usdt"]


def test_wildcard_provider_without_match() -> None:
    assert [d.message for d in points("x*:f")[1]] == ["No probe type matched for x*"]


def test_parameters_that_never_end() -> None:
    assert [d.message for d in points("$1", "$1")[1]] == ["positional parameters refer to each other without end"]
    assert points("$1", "$2$2", "$1$1")[1].failed


def test_place_of_an_error() -> None:
    probe: Any = parsed("begin, kprobe:a:b:c\n{ }").items[0]
    diagnostics = Diagnostics()
    parse_point(probe.points[1].text, probe.points[1].span, [], diagnostics)
    assert render(diagnostics.items[0]).split("\n") == [
        "stdin:1:8-20: ERROR: kprobe probe type requires 1 or 2 arguments, found 3",
        "begin, kprobe:a:b:c",
        " " * 7 + "~" * 12,
    ]


def test_hints_follow_the_last_error() -> None:
    assert [(error.message, error.hints) for error in check(one("watchpoint:1:8:z"))] == [
        ("watchpoint mode must be combination of (r,w,x)", ()),
        ("invalid watchpoint mode: z", ("supported modes: x,w,rw",)),
    ]
