"""Statically defined probes: where their arguments are, and their semaphores."""

from __future__ import annotations

import pytest

from pyprobe.lang.attachpoint import NoMatch, PointError
from pyprobe.runtime.machine.usdt import operands
from pyprobe.runtime.probes.world import MachineWorld
from tests.runtime.probes.conftest import point


def static(text, **parts):
    return point(text, **parts)


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_arguments(compiled, trace, arch):
    program = compiled("static.c", "-static", arch=arch)
    run = trace([program], (static(f"usdt:{program}:args", namespace="app"), *(("arg", i) for i in range(11))), arch=arch)
    name = f"usdt:{program}:app:args"
    (_, first, *_), (_, second, *_) = run.events
    assert [first, second] == [1, 2]
    last = {"x86_64": 42, "arm64": 0}[arch]
    assert [e[0] for e in run.events] == [name, name]
    assert [e[3:] for e in run.events] == [(1, 200, -5, 34, 17, 200, last, 0, 0), (2, 200, -5, 34, 17, 300, last, 0, 0)]
    assert run.out == b"87 0\n"


@pytest.mark.parametrize("linked", ["-static", "-pie", "-no-pie"])
def test_semaphores_are_raised_while_attached(compiled, trace, linked):
    program = compiled("static.c", linked)
    run = trace([program], (static(f"usdt:{program}:guarded"),))
    assert run.out == b"87 1\n"
    assert [e[0] for e in run.events] == [f"usdt:{program}:app:guarded"] * 2


def test_a_probe_at_several_places_fires_at_all(compiled, trace):
    program = compiled("static.c")
    run = trace([program], (static(f"usdt:{program}:twice"), ("arg", 0)))
    assert [e[1] for e in run.events] == [1, 2, 1, 2]


def test_names(compiled):
    program = compiled("static.c")
    world = MachineWorld()

    def found(text, **parts):
        return [p.name.removeprefix(f"usdt:{program}:") for p in world.matches(static(text, **parts))]

    assert found(f"usdt:{program}:args") == ["app:args", "other:args"]
    assert found(f"usdt:{program}:args", namespace="other") == ["other:args"]
    assert found(f"usdt:{program}:*", namespace="app") == ["app:args", "app:guarded", "app:twice"]
    assert found(f"usdt:{program}:no*") == []
    assert [one.name for one in world.listing(f"usdt:{program}:*:args")] == [f"usdt:{program}:{ns}:args" for ns in ("app", "other")]
    assert [one.name for one in world.listing(f"usdt:{program}:g*")] == [f"usdt:{program}:app:guarded"]


def test_errors(compiled):
    program = compiled("static.c")
    with pytest.raises(NoMatch, match=f"No matches for usdt {program}:nosuch."):
        MachineWorld().matches(static(f"usdt:{program}:nosuch"))
    with pytest.raises(PointError, match="usdt target file '/no/such' does not exist or is not executable"):
        MachineWorld().matches(static("usdt:/no/such:nosuch"))


@pytest.mark.parametrize(
    ("text", "arch", "register", "memory", "rest"),
    [
        ("-4@%edi", "x86_64", "di", False, (4, True, 0, "", 1)),
        ("1@%sil", "x86_64", "si", False, (1, False, 0, "", 1)),
        ("8@%r10", "x86_64", "r10", False, (8, False, 0, "", 1)),
        ("2@%r9w", "x86_64", "r9", False, (2, False, 0, "", 1)),
        ("8@-16(%rbp)", "x86_64", "bp", True, (8, False, -16, "", 1)),
        ("8@16(%rsp,%rax,4)", "x86_64", "sp", True, (8, False, 16, "ax", 4)),
        ("4@[sp, 16]", "arm64", "sp", True, (4, False, 16, "", 1)),
        ("-8@x3", "arm64", "r3", False, (8, True, 0, "", 1)),
        ("8@[x3, x4]", "arm64", "r3", True, (8, False, 0, "r4", 1)),
    ],
)
def test_operands(text, arch, register, memory, rest):
    (operand,) = operands(text, arch)
    assert operand is not None
    assert (operand.register, operand.memory) == (register, memory)
    assert (operand.size, operand.signed, operand.offset, operand.index, operand.scale) == rest


@pytest.mark.parametrize("text", ["8f@%xmm0", "16@%edi", "8@8(%rip)", "4@what", "4@%nosuch", "4@$x", "", "@@@", "4@"])
def test_operands_that_cannot_be_had(text):
    assert not any(operands(text, "x86_64"))
