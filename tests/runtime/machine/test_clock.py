"""Virtual time and its timers."""

from __future__ import annotations

import time

import pytest

from pyprobe.runtime.machine.clock import EPOCH_NS, NEVER, UPTIME_NS, Clock


def test_starts_at_the_epoch() -> None:
    clock = Clock()
    assert (clock.now(), clock.wall()) == (0, EPOCH_NS)
    assert time.gmtime(EPOCH_NS // 10**9)[:6] == (2030, 1, 1, 0, 0, 0)
    assert Clock(5).wall() == 5


def test_a_machine_that_was_booted_a_moment_ago() -> None:
    """A script's `@start = nsecs` in `begin` is true; the wall clock and the time since the start do not show the difference."""
    clock = Clock(uptime_ns=UPTIME_NS)
    assert (clock.now(), clock.wall(), clock.began) == (UPTIME_NS, EPOCH_NS, UPTIME_NS)
    clock.advance_to(UPTIME_NS + 5)
    assert (clock.wall(), clock.wall() - clock.epoch_ns) == (EPOCH_NS + 5, clock.now())
    assert Clock(real=True, uptime_ns=UPTIME_NS).now() >= UPTIME_NS


def test_sleeping_is_a_jump() -> None:
    clock = Clock()
    clock.advance_to(10**15)
    assert clock.now() == 10**15
    clock.advance_to(5)
    assert clock.now() == 10**15


def test_timers() -> None:
    clock = Clock()
    order: list[object] = []
    assert clock.next_deadline() == NEVER
    clock.add(30, lambda: order.append(30))
    first = clock.add(10, lambda: order.append(10))
    clock.add(20, lambda: (order.append(20), clock.add(20, lambda: order.append("nested"))))
    assert clock.deadline == clock.next_deadline() == 10
    clock.cancel(first)
    assert clock.next_deadline() == 20
    clock.advance_to(25)
    clock.run_due()
    assert order == [20, "nested"]
    assert clock.deadline == 30
    clock.cancel(first)


def test_interrupt() -> None:
    clock = Clock()
    clock.add(100, lambda: None)
    clock.interrupt()
    assert clock.deadline == 0
    clock.run_due()
    assert clock.deadline == 100


def test_a_failing_timer_leaves_the_clock_armed() -> None:
    clock = Clock()
    clock.add(1, lambda: 1 // 0)
    clock.add(2, lambda: None)
    clock.advance_to(3)
    with pytest.raises(ZeroDivisionError):
        clock.run_due()
    assert clock.next_deadline() == 2
    clock.run_due()
    assert clock.next_deadline() == NEVER


def test_real_time() -> None:
    clock = Clock(real=True)
    assert abs(clock.wall() - time.time_ns()) < 10**9
    start = time.monotonic_ns()
    clock.advance_to(clock.now() + 20_000_000)
    assert time.monotonic_ns() - start >= 20_000_000
