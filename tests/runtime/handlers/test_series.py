"""Time series as bpftrace 0.27.1 draws them (with BPFTRACE_DUMMY_TS_MAP, which sets its clock)."""

from __future__ import annotations

import pytest

from pyprobe.runtime.context import NoMachine
from tests.runtime.handlers.support import Script

MS = 1_000_000


class Ticks(NoMachine):
    """A clock that a test moves; the machine booted in 1970."""

    ns = 0

    def now(self) -> int:
        return self.ns

    def wall(self) -> int:
        return self.ns


def play(call: str, *points: tuple[int, int], json: bool = False) -> str:
    """The map after recording (milliseconds, value) points."""
    clock = Ticks()
    script = Script(f"config = {{ unstable_tseries = enable }} interval:s:1 {{ @a = {call}; }}", values={"arg": 0}, clock=clock, json=json)
    source = script.context.maps["@a"]
    for at, value in points:
        clock.ns = at * MS
        script.handlers[0]()
        (series,) = source.data.values()
        assert series.cells  # the handler recorded something; what it recorded is replaced by this point's value
        series.cells[max(series.cells)] = [value, 1]
    script.output.maps_at_exit(script.context.maps)
    return script.out.getvalue().decode()


WITH_GAPS = """\
@a:
             -3                                                  9
hh:mm:ss.ms  |___________________________________________________|
00:00:01.200 |            .                                      * 9
00:00:01.300 |            .                                      | -
00:00:01.400 |            .                                      | -
00:00:01.500 *            .                                      | -3
             v___________________________________________________v
             -3                                                  9

"""
ONE_ROW = """\
@a:
                   4                                                   6
hh:mm:ss.ns        |___________________________________________________|
00:00:01.000000000 |                         *                         | 5
                   v___________________________________________________v
                   4                                                   6

"""


@pytest.mark.parametrize(
    ("points", "chart"),
    [([(1000, 5), (1200, 9), (1500, -3)], WITH_GAPS), ([(1000, 5)], ONE_ROW)],
)
def test_chart(points: list[tuple[int, int]], chart: str) -> None:
    assert play("tseries(1, 100ms, 5)", *points) == chart


def test_json_leaves_gaps_out() -> None:
    assert play("tseries(1, 100ms, 5)", (1000, 5), (1200, 9), json=True) == (
        '{"type": "tseries", "data": {"@a": [{"interval_start":"1970-01-01 00:00:01.000000000","value":5},'
        '{"interval_start":"1970-01-01 00:00:01.200000000","value":9}]}}\n'
    )


@pytest.mark.parametrize(("combine", "value"), [("sum", 6), ("avg", 3), ("min", 3), ("max", 3)])
def test_aggregated(combine: str, value: int) -> None:
    script = Script(f'config = {{ unstable_tseries = enable }} interval:s:1 {{ @a = tseries(3, 1s, 5, "{combine}"); }}', json=True)
    script.handlers[0]()
    script.handlers[0]()
    script.output.maps_at_exit(script.context.maps)
    assert f'"value":{value}}}' in script.out.getvalue().decode()
