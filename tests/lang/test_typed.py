"""Whatever the checks accept keeps the guarantees that the runtime relies on; and what some constructs become."""

from __future__ import annotations

import pytest

from pyprobe.lang import nodes as n
from pyprobe.lang.compiler import compile_program
from pyprobe.lang.diagnostics import CompileError
from pyprobe.lang.passes.walk import descend
from pyprobe.lang.program import Program
from pyprobe.lang.source import Source
from pyprobe.lang.typesys import INT64, UINT64, Aggregate, String, Tuple
from tests.lang.test_check import _cases
from tests.lang.typed import violations
from tests.lang.worlds import TableWorld


def compiled(text: str) -> Program:
    return compile_program(Source("stdin", text), world=TableWorld())


def test_accepted_programs_keep_the_guarantees() -> None:
    found = {}
    for case in _cases():
        try:
            program = compile_program(Source("stdin", case.program), world=TableWorld(), params=case.params, environ=case.environ)
        except CompileError:
            continue  # whether it is rejected rightly is test_check's matter
        found[case.name] = violations(program)
    assert len(found) > 500
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_maps_have_the_joined_types_of_all_probes() -> None:
    program = compiled('begin { @["a", 1] = nsecs; @c = count(); } end { @["abc", 300] = 5; @s[1] = sum(-1); @s[2] = sum(pid); }')
    assert program.maps["@"].key == Tuple((String(4), program.maps["@"].key.elements[1]))  # type: ignore[union-attr]  # a tuple it is
    assert str(program.maps["@"].key) == "(string[4],int16)"
    assert program.maps["@"].value == UINT64
    assert program.maps["@c"].key is None
    assert program.maps["@c"].value == Aggregate("count", False)
    assert str(program.maps["@s"].value) == "sum_t"
    assert program.maps["@s"].kind == "percpuhash"


def test_points_of_a_wildcard_share_one_body() -> None:
    program = compiled("kprobe:vfs_* { @[probe] = count(); }")
    assert [p.name for p in program.probes] == ["kprobe:vfs_open", "kprobe:vfs_read", "kprobe:vfs_write"]
    assert len({id(p.body) for p in program.probes}) == 1


def test_compound_assignment_is_spelled_out() -> None:
    program = compiled("begin { @x = nsecs; @x += 1; }")
    assignment = program.probes[0].body.statements[1]
    assert isinstance(assignment, n.Assign)
    assert isinstance(assignment.value, n.Binary)
    assert (assignment.op, assignment.value.op, assignment.value.type) == ("", "+", UINT64)
    assert assignment.value.right.type == UINT64


def test_unroll_is_copied() -> None:
    program = compiled("begin { unroll(3) { @++; } }")
    assert sum(isinstance(node, n.Increment) for node in descend(program.probes[0].body)) == 3


def test_an_aggregation_at_the_end_of_a_block_is_assigned_inside() -> None:
    program = compiled("begin { @x = { $y = 1; sum($y) }; }")
    calls = [node for node in descend(program.probes[0].body) if isinstance(node, n.Assign) and isinstance(node.value, n.Call)]
    assert [str(c.target.type) for c in calls] == ["sum_t"]
    assert isinstance(calls[0].value, n.Call)
    assert [arg.type for arg in calls[0].value.args if isinstance(arg, n.Expr)] == [INT64]


def test_types_that_contain_themselves_come_to_an_end() -> None:
    with pytest.raises(CompileError):
        compiled("begin { $x = 1; $x = ($x, $x); }")
    compiled_again = compiled("begin { @x = (1, @x.0); }")
    assert compiled_again.maps
