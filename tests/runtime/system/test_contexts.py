"""What handlers see of the processor and of the task that an event finds: `ctx`, `curtask`, `usermode`."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pyprobe.runtime.system.kernels.store import Kernel
from tests.conftest import Result

Guest = Callable[..., Result]

FIRST = {"x86_64": "di", "arm64": "regs[0]"}


def test_ctx_at_a_kprobe_is_the_registers_there(guest: Guest, kernel: Kernel) -> None:
    script = f"""kprobe:vfs_open {{
        $registers = (struct pt_regs *)ctx;
        @[$registers->{FIRST[kernel.arch]} == arg0, $registers->sp == reg("sp")] = count();
    }}"""
    done = guest("ls /etc", script=script)
    assert re.findall(r"@\[(.*?)\]", done.out) == ["true, true"], done.err


@pytest.mark.parametrize("event", ["profile:us:500", "interval:us:500", "software:cpu-clock:500us"])
def test_timers_find_a_task_and_registers(guest: Guest, event: str) -> None:
    script = f"""{event} {{
        @[curtask.tgid == pid, ((struct bpf_perf_event_data *)ctx)->regs.sp == reg("sp")] = count();
        @mode[usermode == 1, reg("sp") >> 63 == 0] = count();
    }}"""
    done = guest("ls /etc", script=script)
    assert re.findall(r"@\[(.*?)\]", done.out) == ["true, true"], done.err
    assert {"true, true", "false, false"} >= set(re.findall(r"@mode\[(.*?)\]", done.out)) >= {"false, false"}


@pytest.mark.parametrize("event", ["interval:us:50", "profile:us:50", "kprobe:vfs_*", "tracepoint:sched:sched_switch"])
def test_our_own_processes_are_not_shown(guest: Guest, event: str) -> None:
    """Neither init, which serves the files that the command reads, nor the command while it was not yet called by its name."""
    done = guest("sh -c 'ls -lR /bin /proc/self > /tmp/listing; cat /tmp/listing > /dev/null'", script=f"{event} {{ @[comm] = count(); }}")
    comms = set(re.findall(r"@\[(.*?)\]", done.out))
    assert {"ls", "sh"} <= comms and "init" not in comms, done
