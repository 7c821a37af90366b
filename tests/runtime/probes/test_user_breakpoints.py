"""The tests of uprobe and uretprobe again, with breakpoints and trampolines in place of hooks: the same hits, the same results."""

from __future__ import annotations

import pytest

from tests.runtime.probes.test_usdt import test_a_probe_at_several_places_fires_at_all, test_arguments  # noqa: F401 - these too
from tests.runtime.probes.test_user import *  # noqa: F403 - every test of that module runs here too


@pytest.fixture
def breakpoints():
    return True


# What replaced return addresses and real exceptions change, as they do under Linux:
del test_cxx_exceptions  # noqa: F821 - the unwinder of C++ meets a trampoline
del test_coroutines_return_in_another_order  # noqa: F821 - instances are a stack (kernel/events/uprobes.c)
del test_probes_do_not_change_the_program  # noqa: F821 - a breakpoint takes time


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
@pytest.mark.parametrize(("breakpoints", "found"), [(True, 1), (False, 0)], ids=["breakpoints", "hooks"])
def test_what_a_suspicious_program_finds(compiled, trace, arch, found):
    program = compiled("detect.c", "-static", "-no-pie", arch=arch)
    run = trace([program], (f"uprobe:{program}:victim",), (f"uretprobe:{program}:victim",))
    wanted = ("breakpoint instruction", "changed code", "strange return address", "slow")
    assert run.out.decode().splitlines() == [f"{what}: {found}" for what in wanted]
    assert len(run.events) == 2 * 101


def test_processes_that_map_one_file(compiled, trace):
    """Each of them is hit, forked or executed anew; the file itself stays as it is."""
    program = compiled("calls.c")
    before = program.read_bytes()
    script = f"{program} 2; ({program} 1; :); cmp {program} {program} && {program} 3"
    run = trace(["/bin/sh", "-c", script], (f"uprobe:{program}:leaf", "pid"))
    assert len(run.events) == 6
    assert len({e[1] for e in run.events}) == 3
    assert program.read_bytes() == before


def test_probes_on_every_instruction_change_the_time_only(compiled, trace):
    program = compiled("threads.c", "-pthread")
    assert trace([program], (f"uprobe:{program}:*",)).out == trace([program]).out


def test_time_of_a_hit(compiled, trace):
    program = compiled("calls.c")
    plain, probed = trace([program, "4"]), trace([program, "4"], (f"uprobe:{program}:leaf",))
    assert probed.machine.clock.now() - plain.machine.clock.now() == 4 * 1000


@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_stack_through_replaced_returns(compiled, trace, arch):
    program = compiled("calls.c", "-fno-omit-frame-pointer", "-static", "-no-pie", arch=arch)
    stacks = []
    for probes in ((), ((f"uretprobe:{program}:rec",),)):
        run = trace([program, "3"], (f"uprobe:{program}:rec", ("ustack",)), *probes)
        stacks.append([e[1] for e in run.events if e[0].startswith("uprobe")])
    assert stacks[0] == stacks[1]
    assert max(len(s) for s in stacks[0]) > 4
