"""Input from the host: waited for really, and only when nothing else can run."""

from __future__ import annotations

import os
import threading
import time

from pyprobe.runtime.user.machine import UserMachine


def run_with_pipe(command: str, writes: list[tuple[float, bytes]]) -> tuple[int, bytes]:
    """Run a shell command whose standard input is a host pipe that gets each text after a delay in seconds."""
    reading, writing = os.pipe()

    def feed() -> None:
        for delay, text in writes:
            time.sleep(delay)
            os.write(writing, text)
        os.close(writing)

    out = bytearray()
    machine = UserMachine()
    machine.spawn([b"/bin/sh", b"-c", command.encode()], [b"PATH=/usr/bin:/bin"], b"/", (reading, out.extend, out.extend))
    thread = threading.Thread(target=feed)
    thread.start()
    try:
        return machine.run(), bytes(out)
    finally:
        thread.join()
        os.close(reading)


def test_input_that_comes_late() -> None:
    assert run_with_pipe("cat; echo end", [(0.2, b"one\n"), (0.2, b"two\n")]) == (0, b"one\ntwo\nend\n")


def test_others_run_while_one_waits_for_input() -> None:
    status, output = run_with_pipe("(sleep 0.05; echo woke) & read x; wait; echo got $x", [(0.6, b"text\n")])
    assert (status, output) == (0, b"woke\ngot text\n")


def test_a_busy_program_does_not_starve_the_reader() -> None:
    status, output = run_with_pipe("(while :; do :; done) & read x; echo got $x; kill $!", [(0.2, b"text\n")])
    assert (status, output) == (0, b"got text\n")


def test_real_time_sleeps_really() -> None:
    from pyprobe.runtime.machine.clock import Clock

    out = bytearray()
    machine = UserMachine(clock=Clock(real=True))
    machine.spawn([b"/bin/sh", b"-c", b"sleep 0.5; date +%s"], [b"PATH=/usr/bin:/bin"], b"/", (b"", out.extend, out.extend))
    began = time.time()
    assert machine.run() == 0
    assert 0.5 <= time.time() - began < 5
    assert abs(int(out) - time.time()) < 5
