"""Wildcards become points, and points share a body unless its meaning differs."""

from __future__ import annotations

import pytest

from pyprobe.lang.compiler import compile_program, prepare, run_passes
from pyprobe.lang.diagnostics import CompileError
from pyprobe.lang.passes.unit import Options, Unit
from pyprobe.lang.source import Source
from tests.lang.worlds import TableWorld


def _expanded(text: str, environ: dict[str, str] | None = None) -> Unit:
    unit = prepare(Source("stdin", text), TableWorld(), Options(environ=environ))
    run_passes(unit, until="expand")
    return unit


def _groups(unit: Unit) -> list[list[str]]:
    return [[point.name for point in body.points] for body in unit.bodies]


def test_a_wildcard_is_compiled_once() -> None:
    unit = _expanded("kprobe:vfs_* { @[func, probe] = count(); }")
    assert _groups(unit) == [["kprobe:vfs_open", "kprobe:vfs_read", "kprobe:vfs_write"]]
    assert unit.world.asked_args == 0  # type: ignore[attr-defined]  # the table world counts


def test_providers_do_not_share() -> None:
    unit = _expanded("kprobe:vfs_read, uprobe:/bin/prog:main*, kprobe:vfs_open { @ = count(); }")
    assert _groups(unit) == [["kprobe:vfs_read", "kprobe:vfs_open"], ["uprobe:/bin/prog:main", "uprobe:/bin/prog:main_loop"]]
    assert unit.bodies[0].block is not unit.bodies[1].block


def test_args_are_shared_where_they_are_equal() -> None:
    unit = _expanded("tracepoint:syscalls:sys_* { print(args.ret); }")
    assert _groups(unit) == [
        ["tracepoint:syscalls:sys_enter_close"],
        ["tracepoint:syscalls:sys_enter_read"],
        ["tracepoint:syscalls:sys_exit_close", "tracepoint:syscalls:sys_exit_read"],
    ]


def test_a_program_keeps_the_order_of_clauses_and_every_point() -> None:
    program = compile_program(Source("stdin", "END { } kprobe:vfs_* { @ = count(); } BEGIN { }"), world=TableWorld())
    assert [(p.name, p.index) for p in program.probes] == [
        ("end", 0),
        ("kprobe:vfs_open", 1),
        ("kprobe:vfs_read", 1),
        ("kprobe:vfs_write", 1),
        ("begin", 2),
    ]
    assert len({id(p.body) for p in program.probes}) == 3


def test_the_predicate_is_in_the_body() -> None:
    unit = _expanded("BEGIN / 1 / { print(1); }")
    assert "If(" in repr(unit.bodies[0].block)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kprobe:nosuch { }", "No matches for kprobe nosuch."),
        ("kprobe:no* { }", "Probe has no valid attach points. If this is expected, set the 'missing_probes' config variable to 'warn'."),
        ("uprobe:/bin/none:f { }", "uprobe target file '/bin/none' does not exist or is not executable"),
    ],
)
def test_missing(text: str, message: str) -> None:
    with pytest.raises(CompileError) as caught:
        _expanded(text)
    assert [d.message for d in caught.value.diagnostics if d.severity == "error"] == [message]


def test_missing_as_a_warning() -> None:
    unit = _expanded("kprobe:nosuch, kprobe:vfs_open { } kprobe:none { }", {"BPFTRACE_MISSING_PROBES": "warn"})
    assert [d.message for d in unit.diagnostics if "traceable" not in d.message] == [
        "No matches for kprobe nosuch. Skipping.",
        "No matches for kprobe none. Skipping.",
        "Probe has no valid attach points. It is being removed which may cause issues with program behavior.",
    ]
    assert _groups(unit) == [["kprobe:vfs_open"]]


def test_missing_is_ignored() -> None:
    unit = _expanded("kprobe:nosuch { } BEGIN { }", {"BPFTRACE_MISSING_PROBES": "ignore"})
    assert not list(unit.diagnostics)
    assert _groups(unit) == [["begin"]]


def test_too_many() -> None:
    with pytest.raises(CompileError, match="more than 3 BPF programs, which exceeds the current limit of 2"):
        _expanded("config = { max_bpf_progs = 2 } kprobe:vfs_* { }")
