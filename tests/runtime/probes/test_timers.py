"""interval and profile on the machine's clock; begin and end outside of it."""

from __future__ import annotations

import pytest

from pyprobe.lang.attachpoint import PointError
from pyprobe.runtime.probes.timers import period
from pyprobe.runtime.probes.world import MachineWorld
from tests.runtime.probes.conftest import point


def timer(provider, unit, rate):
    return point(f"{provider}:", unit=unit, rate=rate)


def test_a_timer_fires_at_its_times_while_the_program_sleeps(trace):
    run = trace(
        ["/bin/sleep", "1"], (timer("interval", "ms", 300), "nsecs", "pid"), (timer("profile", "hz", 4), "comm", ("ustack", "raw", 3))
    )
    assert [e[1] for e in run.events if e[0] == "interval:ms:300"] == [1_300_000_000, 1_600_000_000, 1_900_000_000]
    assert {e[2] for e in run.events if e[0] == "interval:ms:300"} == {0}
    assert [e[1:] for e in run.events if e[0] == "profile:hz:4"][:3] == [(b"swapper/0", (0,))] * 3


def test_a_profile_samples_the_running_program(compiled, trace):
    program = compiled("busy.c", "-fno-omit-frame-pointer")
    run = trace([program], (timer("profile", "us", 100), "comm", "usermode", ("ustack", "raw", 3), ("reg", "ip")))
    assert len(run.events) > 10
    samples = [e for e in run.events if e[1] == b"busy" and e[2] == 1]
    assert len(samples) > 10 and all(e[3][:2] == (1000, e[4]) for e in samples)


def test_simultaneous_timers_fire_in_source_order(trace):
    run = trace(["/bin/sleep", "1"], (timer("profile", "ms", 400),), (timer("interval", "us", 400_000),))
    assert [e[0] for e in run.events] == ["profile:ms:400", "interval:us:400000"] * 2


def test_begin_and_end(trace):
    run = trace(["/bin/true"], ("begin", "pid", "comm", "probe"), ("end", "probetype", ("ustack", "raw", 1)))
    assert run.events == [("begin", 999, b"pyprobe", b"begin"), ("end", b"special", (999,))]


@pytest.mark.parametrize(("unit", "rate", "expected"), [("s", 2, 2 * 10**9), ("ms", 3, 3 * 10**6), ("us", 1, 1000), ("hz", 99, 10101010)])
def test_periods(unit, rate, expected):
    assert period(timer("interval", unit, rate)) == expected


@pytest.mark.parametrize(
    ("unit", "rate", "message"),
    [("x", 1, "x is not an accepted unit of time"), ("s", 0, "interval frequency should be a positive integer")],
)
def test_errors(unit, rate, message):
    with pytest.raises(PointError) as raised:
        list(MachineWorld().matches(timer("interval", unit, rate)))
    assert raised.value.message == message
